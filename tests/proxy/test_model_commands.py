"""`hkpguard models` and `hkpguard train`, as an operator uses them."""

from __future__ import annotations

import gzip
import json
import sys
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from models.manifest import read_manifest
from models.scorer import MAIN, SHIPPED
from models.training.shipped import put
from proxy.cli import app
from tests.geo.databases_for_tests import write
from tests.models.models_for_tests import model

if TYPE_CHECKING:
    from pathlib import Path

    from typer.testing import Result


def run(state: Path, *words: str, **settings: str) -> Result:
    """Run a command with this folder for state."""
    environ = {f"HKPGUARD_{name}": value for name, value in settings.items()}
    return CliRunner().invoke(app, words, obj={"HKPGUARD_STATE_DIR": str(state), **environ})


def own(state: Path) -> Path:
    """Put a model of the operator's own into the folder."""
    folder = state / "models"
    folder.mkdir()
    return put(model(), folder)


def test_list_and_verify(tmp_path: Path) -> None:
    """The shipped models are listed and good; an own one is in use instead; a damaged one is told of, with exit 1."""
    assert run(tmp_path, "models", "list").output.count(" yes ") == 3
    path = own(tmp_path)
    listed = run(tmp_path, "models", "list").output
    assert (listed.count(" yes "), listed.count(" no ")) == (3, 1)
    assert run(tmp_path, "models", "verify").exit_code == 0
    path.write_bytes(b"damaged")
    verified = run(tmp_path, "models", "verify")
    assert verified.exit_code == 1
    assert "SHA-256" in verified.output


def test_show(tmp_path: Path) -> None:
    """The manifest in use is printed as JSON; a name that there is not is refused."""
    shown = json.loads(run(tmp_path, "models", "show").output)
    assert shown == read_manifest(SHIPPED / f"{MAIN}.onnx").model_dump(mode="json")
    own(tmp_path)
    assert json.loads(run(tmp_path, "models", "show", MAIN).output)["version"] == "1"
    assert run(tmp_path, "models", "show", "another").exit_code == 2


def lines(clients: int, requests: int) -> str:
    """Return the access log of people who fetch a few keys each."""
    usual = {
        "event": "request", "request_id": "1", "method": "GET", "http": "1.0", "operation": "cert", "action": "allow",
        "reason": "none", "status": 200, "cached": False, "wait_ms": 0.0, "upstream_ms": 1.0, "total_ms": 1.5,
        "received": 0, "sent": 1500, "network": "", "source": "peer",
    }  # fmt: skip
    return "".join(
        json.dumps(
            usual
            | {
                "time": f"2026-11-21T08:{number // 60:02}:{number % 60:02}.{client:03}000Z",
                "address": f"10.{client}.0.1",
                "subject": f"{(client * 7919 + number) * 2654435761 % 2**64:040X}",
            }
        )
        + "\n"
        for number in range(requests)
        for client in range(clients)
    )


def test_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of honest clients makes a model that is in use from then on; with --dry-run nothing is written."""
    pytest.importorskip("lightgbm")
    monkeypatch.setattr(
        "models.training.own.SLACK", 1.0
    )  # which clients are drawn is chance; whom the bound keeps out: test_own.py
    log = tmp_path / "access.log"
    log.write_text(lines(60, 60) + "a line of something else\n")
    state = tmp_path / "state"
    dry = run(state, "train", "--dry-run", str(log))
    assert dry.exit_code == 0, dry.output
    assert not (state / "models").exists()
    done = run(state, "train", str(log))
    assert done.exit_code == 0, done.output
    assert read_manifest(state / "models" / f"{MAIN}.onnx").metrics["own_clients"] > 0
    assert " yes " in run(state, "models", "list").output
    assert run(state, "train", str(log)).exit_code == 0
    assert "10.5." not in (state / "models" / "abuse-trees.json").read_text()


@pytest.mark.parametrize("abusive", ["hosting", "both"])
def test_networks_are_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abusive: str) -> None:
    """With a database the model learns where abusers come from, if others do not, and the command says what; the
    reservoir has nothing of it.
    """
    pytest.importorskip("lightgbm")
    monkeypatch.setattr("models.training.own.faults", lambda *_given: [])
    log = tmp_path / "access.log"
    log.write_text(lines(120, 20))
    hosting = range(80, 120) if abusive == "hosting" else range(0, 120, 2)
    known = {f"10.{client}.0.0/16": {"autonomous_system_organization": "Some Hosting"} for client in hosting}
    database = str(write(tmp_path / "asn.mmdb", known))
    named = [word for client in range(80, 120) for word in ("--abusive", f"10.{client}.0.0/24")]
    state = tmp_path / "state"
    done = run(state, "train", *named, str(log), GEOIP_ASN=database)
    assert done.exit_code == 0, done.output
    networks = read_manifest(state / "models" / f"{MAIN}.onnx").networks
    assert [*networks] == (["hosting"] if abusive == "hosting" else [])
    said = f"hosting up to {networks['hosting']:g}" if networks else "nothing was learnt"
    assert f"log-odds that networks add to behaviour: {said}\n" in done.output
    assert b"hosting" not in gzip.decompress((state / "models" / "reservoir.csv.gz").read_bytes())


def test_a_worse_model_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not put in use, the command says why, and nothing is written: no reservoir, in which poison would stay."""
    pytest.importorskip("lightgbm")
    monkeypatch.setattr("models.training.own.faults", lambda *_given: ["it finds fewer of the canaries"])
    log = tmp_path / "access.log"
    log.write_text(lines(60, 20))
    done = run(tmp_path / "state", "train", str(log))
    assert done.exit_code == 1
    assert "it is not put in use: it finds fewer of the canaries" in done.output
    assert not (tmp_path / "state" / "models").exists()


@pytest.mark.parametrize(
    ("text", "said"), [("", "LOG__SUBJECTS"), ("nothing\n", "LOG__SUBJECTS"), (lines(3, 20), "fewer than 20 clients")]
)
def test_nothing_to_learn_from(tmp_path: Path, text: str, said: str) -> None:
    """What teaches nothing is refused with a reason, and exit 1."""
    pytest.importorskip("lightgbm")
    log = tmp_path / "access.log"
    log.write_text(text)
    found = run(tmp_path, "train", str(log))
    assert found.exit_code == 1
    assert said in found.output


def test_bad_words(tmp_path: Path) -> None:
    """A file that is not there, and a network that is none, are told of."""
    assert "No such file" in run(tmp_path, "train", str(tmp_path / "none")).output
    assert run(tmp_path, "train", "--honest", "nowhere", "x").exit_code == 2


@pytest.mark.parametrize("plugins", [{}, {"HKPGUARD_PLUGINS__ML_ABUSE_DETECTOR__MODE": "shadow"}])
def test_who_serves_goes_without(plugins: dict[str, str]) -> None:
    """The process that forks workers loads neither onnxruntime nor what trains, not even to check settings."""
    import subprocess  # noqa: PLC0415

    code = (
        f"import sys, proxy.cli; proxy.cli.Config.from_env({plugins}); "
        "print([m for m in ('onnxruntime', 'lightgbm', 'sklearn', 'onnx') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"[]\n"
