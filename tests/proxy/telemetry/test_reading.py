"""What is made of the counters of the workers."""

from __future__ import annotations

import numpy as np
import pytest

from fastpath.counters import COUNTER_BYTES, Counters
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action
from proxy.telemetry.reading import Reading

CERT = OperationClass.CERT
MS = 1_000_000


def counters() -> Counters:
    """Return those of one worker."""
    return Counters(memoryview(bytearray(COUNTER_BYTES)))


def answer(mine: Counters, count: int, upstream_ns: int = MS, status: int = 200) -> None:
    """Let the keyserver have answered so many gets."""
    for _ in range(count):
        mine.record(CERT, Action.ALLOW, status, 0, 0, upstream_ns, -1)


def refuse(mine: Counters, count: int) -> None:
    """Let a limit have refused so many."""
    for _ in range(count):
        mine.record(CERT, Action.LIMIT, 429, 0, -1, -1, -1)


def test_load_is_what_the_keyserver_answered() -> None:
    """Requests that were refused, or answered from the cache, are no load."""
    mine = counters()
    answer(mine, 30)
    answer(mine, 5, upstream_ns=-1)
    refuse(mine, 100)
    reading = Reading.of(mine.snapshot(), 7)
    assert (reading.load[CERT], reading.requests[CERT], reading.refused[CERT]) == (30, 135, 100)
    assert reading.refused_share[CERT] == pytest.approx(100 / 135)


def test_difference_of_two() -> None:
    """What came between two readings, and the time between them."""
    mine = counters()
    answer(mine, 30)
    before = Reading.of(mine.snapshot(), 1000)
    answer(mine, 12, status=500)
    after = Reading.of(mine.snapshot(), 4000).since(before)
    assert (after.time_ns, after.load[CERT], after.answers, after.failures) == (3000, 12, 12, 12)


@pytest.mark.parametrize(
    ("fast", "slow", "expected_us"),
    [(19, 0, np.nan), (20, 0, 1000), (90, 10, 1000), (89, 11, 250_000)],
)
def test_time_of_nine_in_ten(fast: int, slow: int, expected_us: float) -> None:
    """It is rounded up to a bound of the histogram, and not known of few."""
    mine = counters()
    answer(mine, fast)
    answer(mine, slow, upstream_ns=200 * MS)
    np.testing.assert_equal(Reading.of(mine.snapshot(), 0).slow_us[CERT], expected_us)


@pytest.mark.parametrize(("good", "bad", "failing"), [(0, 19, False), (0, 20, True), (180, 20, True), (181, 20, False)])
def test_failing(good: int, bad: int, failing: bool) -> None:  # noqa: FBT001 - a row of a table
    """A tenth of the answers are failures, and some."""
    mine = counters()
    answer(mine, good)
    answer(mine, bad, status=503)
    assert Reading.of(mine.snapshot(), 0).failing is failing
