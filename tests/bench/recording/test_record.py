"""What is written down of a recording."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console

from bench.recording.catalogue import Family
from bench.recording.plan import runs
from bench.recording.record import Happened, _access_lines, _written, table

if TYPE_CHECKING:
    from pathlib import Path

PLANNED = runs([Family.GPG, Family.SCRAPER], 1)
SWARM = next(run for run in PLANNED if run.case.networks > 1)
REFRESH = next(run for run in PLANNED if run.tool.name == "gpg refresh")


def happened(**changes: object) -> Happened:
    """Return what became of a refresh, with changes."""
    done = Happened(run=REFRESH, begin="a", end="b", ended="done", connections=1, told=Counter({"gpg exit 0": 1}))
    return dataclasses.replace(done, **changes)  # type: ignore[arg-type]


def access(address: str) -> str:
    """Return a line of an access log."""
    return json.dumps({"event": "request", "address": address}) + "\n"


def test_requests_are_counted_by_the_addresses_of_a_run(tmp_path: Path) -> None:
    """In all logs together."""
    logs = {"shadow": [access(each) for each in SWARM.addresses], "enforce": [access(REFRESH.addresses[0])]}
    lines = _written(tmp_path, [happened(), happened(run=SWARM)], logs)
    assert [line["requests"] for line in lines] == [1, len(SWARM.addresses)]
    assert [json.loads(line) for line in (tmp_path / "runs.jsonl").read_text().splitlines()] == lines
    assert (tmp_path / "access-shadow.jsonl").read_text() == "".join(logs["shadow"])


def test_a_line_says_who_and_what() -> None:
    """Enough to train with, and to make the run again."""
    line = happened().line(5)
    assert line["tool"] == "gpg refresh"
    assert line["label"] == "legitimate"
    assert line["split"] == "train"
    assert line["what"] == REFRESH.case.what
    assert line["addresses"] == REFRESH.addresses
    assert line["requests"] == 5
    assert line["told"] == {"gpg exit 0": 1}


def test_only_whole_lines_about_requests_are_taken() -> None:
    """The guard writes other things, and may be in the middle of a line."""
    whole = '{"event": "request", "status": 200}\n'
    assert _access_lines('{"event": "started"}\n' + whole + "Traceback\n" + whole[:-5]) == [whole]


def test_the_table_tells_what_went_wrong() -> None:
    """A row for each family that was recorded, and one for all."""
    lines = [happened().line(3), happened(ended="time").line(0), happened(ended="OSError: full", run=SWARM).line(9)]
    out = StringIO()
    Console(file=out, width=160).print(table(lines))
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in out.getvalue().splitlines() if "│" in line
    ]
    assert rows == [
        ["gpg", "legitimate", "2", "0", "3", "1", "1", "0"],
        ["scraper", "abusive", "1", str(int(SWARM.tool.split == "test")), "9", "0", "0", "1"],
        ["all", "", "3", str(int(SWARM.tool.split == "test")), "12", "1", "1", "1"],
    ]
