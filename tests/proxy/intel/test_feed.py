"""One feed: when it is asked, and what is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.intel.feed import FIRST_SECONDS, Feed, Report
from proxy.intel.formats.reading import NotAList
from proxy.intel.snapshot import SnapshotStore
from proxy.intel.web import FetchFailed
from tests.proxy.intel.feeds_for_tests import NOW_S, FakeSource, feed_config, listings, texts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.intel.listing import Listings

HOUR = 3600.0
TWENTY = listings(*(f"1.2.3.{last}" for last in range(20)))
ONE, TWO = listings("1.2.3.4"), listings("1.2.3.4", "1.2.3.5")


class Desk:
    """A feed over a folder, with a source that a test scripts, and no chance."""

    def __init__(
        self, folder: Path, *answers: Listings | Exception | None, now_s: float = NOW_S, **settings: str
    ) -> None:
        """Take the settings of the feed."""
        self.source = FakeSource(*answers)
        self.marks: Mapping[str, str] = {}
        self.config = feed_config(**{"every": "1h", "expires": "1d", **settings})
        self.store = SnapshotStore(folder)
        self.feed = Feed("a", self.config, self.store, self._make, now_s=now_s, random=lambda: 0.5)

    def _make(self, _config: object, marks: Mapping[str, str]) -> FakeSource:
        self.marks = marks
        return self.source

    @property
    def listed(self) -> list[str]:
        """What is believed."""
        return texts(self.feed.snapshot.listings) if self.feed.snapshot else []


async def test_list_replaces_the_one_before(tmp_path: Path) -> None:
    """What a source lists no longer is listed no longer."""
    desk = Desk(tmp_path, TWO, ONE)
    assert (await desk.feed.ask(NOW_S)).outcome == "new"
    assert (await desk.feed.ask(NOW_S)).outcome == "new"
    assert desk.listed == ["1.2.3.4/32"]
    assert desk.source.accepted == 2


async def test_restart(tmp_path: Path) -> None:
    """After a restart the last list holds, its marks are asked with, and it is asked when it was due anyway."""
    await Desk(tmp_path, TWO).feed.ask(NOW_S)
    desk = Desk(tmp_path, None, now_s=NOW_S + 600)
    assert desk.listed == ["1.2.3.4/32", "1.2.3.5/32"]
    assert desk.marks == {"etag": '"2"'}
    assert desk.feed.due_s == NOW_S + HOUR + FIRST_SECONDS / 2


async def test_first_time(tmp_path: Path) -> None:
    """A feed without a list is asked within seconds; not all at the same moment."""
    assert Desk(tmp_path, ONE).feed.due_s == NOW_S + FIRST_SECONDS / 2
    assert Desk(tmp_path, ONE, url="/a/file").feed.due_s == NOW_S


async def test_confirmed(tmp_path: Path) -> None:
    """A source that says "as before" keeps the list from expiring."""
    desk = Desk(tmp_path, TWO, None)
    await desk.feed.ask(NOW_S)
    assert await desk.feed.ask(NOW_S + HOUR) == Report("same")
    assert desk.feed.expires_s == NOW_S + 25 * HOUR
    assert Desk(tmp_path, None, now_s=NOW_S + 2 * HOUR).feed.expires_s == NOW_S + 25 * HOUR


@pytest.mark.parametrize(
    ("error", "words"),
    [(FetchFailed("the answer is 500"), "the answer is 500"), (NotAList("a page"), "it is no list: a page")],
)
async def test_failure_keeps_the_list(tmp_path: Path, error: Exception, words: str) -> None:
    """Whatever goes wrong, the last good list stays in force, and on disk."""
    desk = Desk(tmp_path, TWO, error)
    await desk.feed.ask(NOW_S)
    assert await desk.feed.ask(NOW_S + HOUR) == Report("failed", words)
    assert len(desk.listed) == 2
    assert len(Desk(tmp_path, None, now_s=NOW_S + HOUR).listed) == 2


async def test_back_off(tmp_path: Path) -> None:
    """After failures it is asked later each time, up to its usual pause; a success forgets them."""
    desk = Desk(tmp_path, *[FetchFailed("no")] * 8, ONE)
    pauses = []
    for _ in range(8):
        await desk.feed.ask(NOW_S)
        pauses.append(desk.feed.due_s - NOW_S)
    assert pauses == pytest.approx([1.05 * each for each in (60, 120, 240, 480, 960, 1920, 3600, 3600)])
    await desk.feed.ask(NOW_S)
    assert desk.feed.due_s == NOW_S + HOUR


@pytest.mark.parametrize(("wait_s", "pause"), [(600.0, 630.0), (86_400.0, 3780.0), (1.0, 63.0)])
async def test_asked_to_wait(tmp_path: Path, wait_s: float, pause: float) -> None:
    """A server that wants to be left alone is, but not for longer than the usual pause."""
    desk = Desk(tmp_path, FetchFailed("the answer is 429", wait_s))
    await desk.feed.ask(NOW_S)
    assert desk.feed.due_s - NOW_S == pytest.approx(pause)


@pytest.mark.parametrize(
    ("before", "after", "settings", "outcome"),
    [
        (TWENTY, TWO, {}, "new"),
        (TWENTY, ONE, {}, "held"),
        (TWENTY, ONE, {"shrink": "5"}, "new"),
        (TWENTY, ONE, {"shrink": "0"}, "new"),
        (TWENTY, listings(), {}, "held"),
        (TWENTY, listings(), {"least": "0", "shrink": "0"}, "new"),
        (ONE, TWENTY, {}, "new"),
        (ONE, TWENTY, {"most": "19"}, "held"),
        (TWENTY, listings(), {"format": "crowdsec"}, "new"),
        (ONE, TWENTY, {"format": "tor", "least": "1"}, "new"),
    ],
)
async def test_plausible(
    tmp_path: Path, before: Listings, after: Listings, settings: dict[str, str], outcome: str
) -> None:
    """A list that is empty, too long, or a fraction of what it was is held back, and the one before stays."""
    desk = Desk(tmp_path, before, after, **settings)
    await desk.feed.ask(NOW_S)
    report = await desk.feed.ask(NOW_S + HOUR)
    assert report.outcome == outcome
    assert bool(report.problem) is (outcome == "held")
    assert len(desk.listed) == len(before if outcome == "held" else after)
    assert desk.source.accepted == 2 - (outcome == "held")


@pytest.mark.parametrize(("count", "outcome"), [(0, "held"), (299, "held"), (300, "new")])
async def test_tor(tmp_path: Path, count: int, outcome: str) -> None:
    """A list of exits with a handful of addresses is an accident of its maker."""
    exits = listings(*(f"1.2.{number // 256}.{number % 256}" for number in range(count)))
    assert (await Desk(tmp_path, exits, kind="tor").feed.ask(NOW_S)).outcome == outcome


async def test_expiry(tmp_path: Path) -> None:
    """A list that nobody confirms goes when its time is over; then a short one is no longer suspicious."""
    desk = Desk(tmp_path, TWENTY, ONE)
    await desk.feed.ask(NOW_S)
    assert not desk.feed.expire(NOW_S + 24 * HOUR - 1)
    await desk.feed.ask(NOW_S + HOUR)
    assert len(desk.listed) == 20
    assert desk.feed.expire(NOW_S + 24 * HOUR)
    assert not desk.feed.expire(NOW_S + 24 * HOUR)
    assert desk.listed == []
    assert desk.store.load("a", desk.config, NOW_S + HOUR) is None
    assert (await desk.feed.ask(NOW_S + 25 * HOUR)).outcome == "new"


async def test_disk_full(tmp_path: Path) -> None:
    """A list that cannot be written down is in force, and that is told."""
    desk = Desk(tmp_path / "folder", ONE)
    (tmp_path / "folder").touch()
    report = await desk.feed.ask(NOW_S)
    assert report.outcome == "new"
    assert report.problem.startswith("it is not written down")
    assert desk.listed == ["1.2.3.4/32"]


async def test_nothing_changed_and_nothing_there(tmp_path: Path) -> None:
    """A server that says "not modified" to somebody who has nothing is wrong."""
    assert (await Desk(tmp_path, None).feed.ask(NOW_S)).outcome == "failed"
