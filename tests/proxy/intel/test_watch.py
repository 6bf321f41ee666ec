"""The analyst's side of the feeds."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from proxy.intel.watch import LONGEST_WAIT_SECONDS, FeedState, IntelWatch
from tests.proxy.intel.feeds_for_tests import NOW_S, config_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

A = {"a": {"url": "https://a.x/"}}


class Couriers:
    """Couriers that say what a test wants, one after the other; the last one goes on for ever.

    Attributes:
        begun: The environments that they were begun with.
        ended: How many were ended before their time.

    """

    def __init__(self, *scripts: list[dict[str, Any] | bytes]) -> None:
        """`scripts`: of those that end by themselves."""
        self.begun: list[dict[str, str]] = []
        self.waits: list[float] = []
        self.ended = 0
        self.idle = asyncio.Event()
        self._scripts = [*scripts]

    async def lines(self, environ: dict[str, str]) -> AsyncGenerator[bytes]:
        """See `courier_lines`."""
        self.begun.append(environ)
        if not self._scripts:
            self.idle.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.ended += 1
        for line in self._scripts.pop(0):
            yield line if isinstance(line, bytes) else json.dumps(line).encode()

    async def sleep(self, seconds: float) -> None:
        """Wait for no time."""
        self.waits.append(seconds)
        await asyncio.sleep(0)


def watch(folder: Path, couriers: Couriers | None = None, feeds: dict[str, dict[str, str]] = A) -> IntelWatch:
    """Return a watch whose time stands still."""
    couriers = couriers or Couriers()
    return IntelWatch(config_of(folder, feeds), wall=lambda: NOW_S, sleep=couriers.sleep, lines=couriers.lines)


def said(outcome: str = "new", problem: str = "", *, listings: int = 5, age_s: float = 0.0, name: str = "a") -> bytes:
    """Return what a courier says of a feed."""
    told = {"feed": name, "listings": listings, "confirmed": NOW_S - age_s, "outcome": outcome, "problem": problem}
    return json.dumps(told).encode()


async def test_without_feeds_nothing_runs(tmp_path: Path) -> None:
    """Nothing leaves the machine unless a feed is named, and what was there of feeds is taken away."""
    folder = tmp_path / "intel"
    folder.mkdir()
    (folder / "combined").touch()
    (folder / "a.feed").touch()
    couriers = Couriers()
    work = asyncio.create_task(watch(tmp_path, couriers, {}).run())
    for _ in range(5):
        await asyncio.sleep(0)
    work.cancel()
    assert couriers.begun == []
    assert [*folder.iterdir()] == []


async def test_courier_is_begun_again(tmp_path: Path) -> None:
    """One that ends, or talks nonsense, is begun again, later each time; what is known stays."""
    couriers = Couriers([json.loads(said())], [b"nonsense"], *([[]] * 8))
    observer = watch(tmp_path, couriers)
    work = asyncio.create_task(observer.run())
    async with asyncio.timeout(5):
        await couriers.idle.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert couriers.waits == [4, 8, 16, 32, 64, 128, 256, *[LONGEST_WAIT_SECONDS] * 3]
    assert observer.feeds["a"].listings == 5
    assert couriers.ended == 1


async def test_reload(tmp_path: Path) -> None:
    """A configuration with other feeds ends the courier and begins another; one that says the same does not."""
    couriers = Couriers()
    observer = watch(tmp_path, couriers)
    work = asyncio.create_task(observer.run())
    async with asyncio.timeout(5):
        await couriers.idle.wait()
        observer.reload(config_of(tmp_path, A, MODE="shadow"))
        await asyncio.sleep(0)
        assert couriers.ended == 0
        couriers.idle.clear()
        observer.reload(config_of(tmp_path, {"b": {"url": "https://b.x/"}}))
        await couriers.idle.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    assert couriers.ended == 2
    assert [*observer.feeds] == ["b"]


@pytest.mark.parametrize(
    ("lines", "degraded"),
    [
        ([said()], ""),
        ([said("failed", "the answer is 500", age_s=600)], "the list of feed a is 10 minutes old: the answer is 500"),
        (
            [b'{"feed": "a", "listings": 0, "confirmed": 0, "outcome": "failed", "problem": "no"}'],
            "feed a has no list: no",
        ),
        ([said("failed", "no"), said("same")], ""),
        ([said("failed", "no"), b'{"feed": "a", "listings": 0, "confirmed": 0}'], "feed a has no list: no"),
        ([said("failed", "no", name="other")], ""),
        ([b'{"combined": {"problem": "it is not written down"}}'], "it is not written down"),
        ([b'{"combined": {"problem": "x"}}', b'{"combined": {"denied": 1}}'], ""),
    ],
)
async def test_degraded(tmp_path: Path, lines: list[bytes], degraded: str) -> None:
    """What is wrong with feeds is told, until it is well again."""
    observer = watch(tmp_path)
    for line in lines:
        observer.hear(line)
    assert observer.degraded == degraded


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"feed": 1}', b'{"combined": 1}', b'{"feed": "a"}'])
async def test_nonsense(tmp_path: Path, line: bytes) -> None:
    """What a courier never says ends it."""
    with pytest.raises(ValueError, match=r".*"):
        watch(tmp_path).hear(line)


async def test_metrics(tmp_path: Path) -> None:
    """The age of each list, its size, how it was asked, and the rules; no age where there is no list."""
    observer = watch(tmp_path, feeds=A | {"b": {"url": "https://b.x/"}})
    observer.hear(said("same", age_s=60))
    observer.hear(b'{"combined": {"prefixes": 9, "denied": 2, "priced": 3}}')
    samples = {
        (each.name, *each.labels.values()): each.value for family in observer.collect() for each in family.samples
    }
    assert samples["hkpguard_intel_age_seconds", "a"] == 60
    assert ("hkpguard_intel_age_seconds", "b") not in samples
    assert samples["hkpguard_intel_listings", "a"] == 5
    assert samples["hkpguard_intel_fetches_total", "a", "same"] == 1
    assert samples["hkpguard_intel_fetches_total", "b", "failed"] == 0
    assert samples["hkpguard_intel_prefixes", "denied"] == 2
    assert observer.feeds["b"] == FeedState()
