"""A recording becomes a table in which everybody is who he was, and nobody has an address."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from bench.recording.table import table_of_recordings

if TYPE_CHECKING:
    from pathlib import Path


def line(address: str, second: int, **fields: object) -> str:
    """Return a line of an access log."""
    usual = {
        "time": f"2026-11-21T08:00:{second:02}.000000Z", "event": "request", "request_id": "1", "method": "GET",
        "http": "1.0", "operation": "cert", "action": "allow", "reason": "none", "status": 200, "cached": False,
        "wait_ms": 0.0, "upstream_ms": 1.0, "total_ms": 1.5, "received": 0, "sent": 1500, "network": "",
        "source": "peer", "address": address, "subject": f"{second:040X}",
    }  # fmt: skip
    return json.dumps(usual | fields) + "\n"


def recording(folder: Path) -> Path:
    """Make one of two runs: one with two addresses in shadow mode, and one in enforce mode."""
    folder.mkdir()
    run = {"family": "gpg", "label": "legitimate", "split": "train"}
    runs = [
        run | {"run": "a-0", "tool": "a", "mode": "shadow", "addresses": ["127.16.0.1", "127.16.0.2"]},
        run | {"run": "b-0", "tool": "b", "mode": "enforce", "addresses": ["127.16.0.1"], "label": "abusive"},
    ]
    (folder / "runs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in runs))
    shadow = [line(f"127.16.0.{1 + second % 2}", second) for second in range(20)]
    (folder / "access-shadow.jsonl").write_text("".join(shadow) + line("127.16.0.9", 30))
    (folder / "access-enforce.jsonl").write_text("".join(line("127.16.0.1", second) for second in range(15)))
    return folder


def test_everybody_is_who_he_was(tmp_path: Path) -> None:
    """Records go to the run that had the address in that mode; runs of two recordings are different ones."""
    once = table_of_recordings([recording(tmp_path / "one")])
    once = once.at(~once.shared)
    assert list(zip(once.tool, once.client.tolist(), once.requests.tolist(), once.label, strict=True)) == [
        ("a", 0, 8, "legitimate"), ("a", 1, 8, "legitimate"), ("b", 0, 8, "abusive"), ("b", 0, 15, "abusive"),
    ]  # fmt: skip
    both = table_of_recordings([tmp_path / "one", recording(tmp_path / "two")])
    assert len(set(both.run[~both.shared])) == 4
    assert not any("127." in word for column in both[:6] for word in column)


def test_several_behind_one_address(tmp_path: Path) -> None:
    """Honest clients of a tool are there once more, three and six of them behind one address; abusive ones are not."""
    made = table_of_recordings([recording(tmp_path / "one")])
    shared = made.at(made.shared)
    assert set(zip(shared.tool, shared.run, strict=True)) == {
        ("a", "0-a-shadow-3-together"), ("a", "0-a-shadow-6-together"),
    }  # fmt: skip
    assert shared.requests[shared.run == "0-a-shadow-6-together"].tolist() == [8, 15, 30, 60]
    again = table_of_recordings([tmp_path / "one"])
    assert (again.features == made.features).all()


def test_a_log_without_subjects(tmp_path: Path) -> None:
    """A log that lacks what features need is an error, not a table of nothing."""
    folder = recording(tmp_path / "one")
    (folder / "access-shadow.jsonl").write_text(line("127.16.0.1", 1, subject=None))
    with pytest.raises(ValueError, match="1 lines"):
        table_of_recordings([folder])
