"""What time it is for the store, whatever the clocks of nodes say."""

from __future__ import annotations

import pytest

from proxy.cluster.store_clock import StoreClock
from proxy.settings.kinds import SECOND

NOON_US = 1_700_000_000 * 10**6
MS = 1_000_000


def test_the_middle_of_the_way() -> None:
    """What was said is taken for the middle between question and answer, and is wrong by half of the way at most."""
    clock = StoreClock()
    assert not clock.known
    clock.note(10 * SECOND, 10 * SECOND + 20 * MS, NOON_US)
    assert clock.store_us(10 * SECOND + 10 * MS) == NOON_US
    assert clock.local_ns(NOON_US + 10**6) == 11 * SECOND + 10 * MS


# (way of a second answer in ms, by how many ms it tells another time, whether it is believed)
ANSWERS = [(10, 3, True), (100, 30, False), (100, 500, True), (2, -400, True), (20, 0, True), (40, 29, False)]


@pytest.mark.parametrize(("way_ms", "off_ms", "believed"), ANSWERS)
def test_better_answers(way_ms: int, off_ms: int, believed: bool) -> None:  # noqa: FBT001 - of the table
    """An answer that tells less exactly what is known is not believed; one that contradicts it is."""
    clock = StoreClock()
    clock.note(0, 20 * MS, NOON_US)
    now_ns = SECOND - way_ms * MS // 2
    clock.note(now_ns, now_ns + way_ms * MS, NOON_US + 990_000 + off_ms * 1000)
    assert clock.store_us(SECOND) == NOON_US + 990_000 + (off_ms * 1000 if believed else 0)


def test_old_knowledge_is_worth_less() -> None:
    """After some minutes an answer that is less exact is better than none."""
    clock = StoreClock()
    clock.note(0, 2 * MS, NOON_US)
    then_ns = 3600 * SECOND
    clock.note(then_ns, then_ns + 100 * MS, NOON_US + 3600 * 10**6 + 60_000)
    assert clock.store_us(then_ns + 50 * MS) == NOON_US + 3600 * 10**6 + 60_000


@pytest.mark.parametrize("said_us", [0, -5, 10**14, 10**17])
def test_nonsense(said_us: int) -> None:
    """A time far from ours is an error."""
    with pytest.raises(ValueError, match="the store says"):
        StoreClock().note(0, 1, said_us)
