"""A recording of two runs, end to end: gpg and a scraper, each through its relay and a guard, before onak."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.recording import gnupg, scrapers
from bench.recording.catalogue import TOOLS, Case
from bench.recording.plan import ENFORCE, SHADOW, Run
from bench.recording.record import record

if TYPE_CHECKING:
    from pathlib import Path

    from bench.recording.session import Act
    from tests.integration.conftest import Need


GPG_ADDRESS, SCRAPER_ADDRESS = "127.61.1.7", "127.61.2.8"


def run(name: str, act: Act, mode: str, address: str) -> Run:
    """Return a run that begins at once."""
    tool = next(tool for tool in TOOLS if tool.name == name)
    return Run(name=name, tool=tool, case=Case(act=act), mode=mode, seed=1, addresses=[address], after=0.0)


def lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_two_runs(need: Need, tmp_path: Path) -> None:
    """Each run is found in the log of its guard under its own address, with all that the features need."""
    need("onak", "gpg", "dirmngr")
    walk = partial(scrapers.one_by_one, order="dump", rate=20.0, count=6, shape="plain", pace="even")
    planned = [
        run("gpg refresh", partial(gnupg.refresh, keys=3), SHADOW, GPG_ADDRESS),
        run("dump walker", walk, ENFORCE, SCRAPER_ADDRESS),
    ]
    returned = record(tmp_path / "out", planned, minutes=0.5, debian=0, made=15)
    refreshed, walked = lines(tmp_path / "out" / "runs.jsonl")
    assert [refreshed, walked] == returned
    assert (refreshed["label"], refreshed["ended"], refreshed["requests"]) == ("legitimate", "done", 3)
    assert (walked["label"], walked["ended"], walked["requests"]) == ("abusive", "done", 6)
    asked_by_gpg = lines(tmp_path / "out" / "access-shadow.jsonl")
    asked_by_scraper = lines(tmp_path / "out" / "access-enforce.jsonl")
    assert {line["address"] for line in asked_by_gpg} == {GPG_ADDRESS}
    assert {line["address"] for line in asked_by_scraper} == {SCRAPER_ADDRESS}
    assert {line["http"] for line in (*asked_by_gpg, *asked_by_scraper)} == {"1.0"}
    assert len({line["subject"] for line in asked_by_scraper}) == 6
    assert sorted(line["status"] for line in asked_by_gpg) == [200, 200, 404]  # a third is unknown to the keyserver
    assert all(refreshed["begin"] <= line["time"] <= refreshed["end"] for line in asked_by_gpg)
