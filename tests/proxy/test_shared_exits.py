"""The list of shared exits: from the configuration and a file, and always the last good one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from proxy import shared_exits
from proxy.config import Config
from proxy.shared_exits import SharedExits

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """# Tor exits
192.0.2.1
  198.51.100.0/24  # a carrier

2001:db8::7\r
"""


def config(path: Path | None, networks: str = "203.0.113.0/24") -> Config:
    """Return a configuration with a file."""
    return Config.from_env(
        {"HKPGUARD_SHARED_EXITS": networks, "HKPGUARD_SHARED_EXITS_FILE": "" if path is None else str(path)}
    )


def texts(exits: SharedExits, given: Config) -> list[str]:
    """Return the list."""
    return [str(network) for network in exits.read(given)]


def test_configuration_and_file(tmp_path: Path) -> None:
    """Both count; in the file comments, empty lines and spaces do not."""
    file = tmp_path / "exits"
    file.write_text(GOOD)
    exits = SharedExits()
    assert texts(exits, config(file)) == ["203.0.113.0/24", "192.0.2.1/32", "198.51.100.0/24", "2001:db8::7/128"]
    assert texts(exits, config(None)) == ["203.0.113.0/24"]
    assert exits.problem == ""


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("192.0.2.1\n\nnonsense\n", "line 3: 'nonsense' must be a network"),
        ("192.0.2.1/24\n", "line 1: '192.0.2.1/24' has bits set"),
        ("192.0.2.1 192.0.2.2\n", "line 1:"),
        ("\N{SNOWMAN}\n", "line 1:"),
        ("x" * 1000, f"line 1: {'x' * 80!r} must"),
        ("#" * 200, "more than 100 bytes"),
    ],
)
def test_bad_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, said: str) -> None:
    """The last good list stays, a line in the log says where the fault is; what is in the configuration counts."""
    if "more than" in said:
        monkeypatch.setattr(shared_exits, "MOST_BYTES", 100)
    file = tmp_path / "exits"
    file.write_text("192.0.2.9\n")
    exits = SharedExits()
    exits.read(config(file))
    file.write_text(bad, "utf-8")
    with capture_logs() as log:
        assert texts(exits, config(file, "203.0.113.1")) == ["203.0.113.1/32", "192.0.2.9/32"]
    assert [each["event"] for each in log] == ["shared exits could not be read, the list before stays"]
    assert said in log[0]["problem"]
    assert said in exits.problem
    file.write_text("192.0.2.10\n")
    assert texts(exits, config(file, "")) == ["192.0.2.10/32"]
    assert exits.problem == ""


def test_no_file(tmp_path: Path) -> None:
    """At the start there is no last good list."""
    exits = SharedExits()
    assert texts(exits, config(tmp_path / "nowhere")) == ["203.0.113.0/24"]
    assert "No such file" in exits.problem
