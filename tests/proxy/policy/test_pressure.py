"""When prices rise, and when they fall again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.pressure import FALL_NS, RISE_NS, Pressure, Signs

SECOND = 1_000_000_000
CALM, ATTACK = Signs(loaded=False, strained=False, refusing=False), Signs(loaded=True, strained=True, refusing=False)
REFUSING = Signs(loaded=True, strained=False, refusing=True)


def told(signs: Signs, seconds: int, pressure: Pressure | None = None, most: int = 4) -> list[int]:
    """Return the price at each second."""
    pressure = pressure or Pressure()
    prices = []
    for second in range(seconds):
        pressure.turn(signs, most, second * SECOND)
        prices.append(pressure.times)
    return prices


@pytest.mark.parametrize(
    "signs",
    [
        CALM,
        Signs(loaded=True, strained=False, refusing=False),
        Signs(loaded=False, strained=True, refusing=True),
    ],
)
def test_one_sign_is_not_enough(signs: Signs) -> None:
    """A busy day that the site bears, and a slow keyserver that nobody floods, raise nothing."""
    assert set(told(signs, 3600)) == {1}


def test_rises_step_by_step_to_the_most() -> None:
    """Ten seconds for each step, and never more than was allowed."""
    prices = told(ATTACK, 60)
    assert prices[:10] == [1] * 10
    assert [prices[second] for second in (10, 20, 30, 40, 59)] == [2, 3, 4, 4, 4]


def test_falls_more_slowly() -> None:
    """A minute for each step, counted anew whenever the attack comes back."""
    prices = told(CALM, 200, Pressure(times=4, since_ns=0, pushed=True))
    assert [prices[second] for second in (0, 59, 60, 120, 180)] == [4, 4, 3, 2, 1]
    pressure = Pressure(times=4, since_ns=0, pushed=True)
    for second in range(600):
        pressure.turn(CALM if second % 60 else ATTACK, 4, second * SECOND)
        assert pressure.times == 4


def test_refusals_raise_but_do_not_hold() -> None:
    """Unusual refusals make the price two; that it refuses more then holds nothing up."""
    prices = told(REFUSING, 71)
    assert max(prices) == 2
    assert (prices[10], prices[70]) == (2, 2)
    assert told(REFUSING, 72)[-1] == 1


def test_lower_bound_by_the_operator_holds_at_once() -> None:
    """A reload with a lower most takes effect with the next look."""
    pressure = Pressure(times=4, since_ns=0, pushed=True)
    assert pressure.turn(ATTACK, 2, SECOND)
    assert pressure.times == 2


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 90))), st.integers(1, 16))
def test_bounds(looks: list[tuple[bool, bool, bool, int]], most: int) -> None:
    """Whatever the signs, the price is 1 to the most, and moves by one step at a time, never before its time."""
    pressure, now_ns, moved_ns = Pressure(), 0, 0
    for loaded, strained, refusing, seconds in looks:
        now_ns += seconds * SECOND
        before = pressure.times
        if pressure.turn(Signs(loaded, strained, refusing), most, now_ns):
            assert now_ns - moved_ns >= (RISE_NS if pressure.times > before else FALL_NS)
            moved_ns = now_ns
        assert 1 <= pressure.times <= most
        assert abs(pressure.times - before) <= 1
