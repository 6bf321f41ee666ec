"""The circuit breaker: who fails is left alone, for longer each time, and comes back."""

from __future__ import annotations

import pytest

from proxy.plugins.breaker import FAILURES, FIRST_NS, LONGEST_NS, Breaker

SECOND = 1_000_000_000


def broken(now_ns: int = 0) -> Breaker:
    """Return a circuit that has just opened."""
    breaker = Breaker()
    breaker.failed("bad", now_ns, fatal=True)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    """Three failures in a row open it; a success between them begins the row anew."""
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        assert not breaker.failed("bad", 0)
    assert not breaker.succeeded(0)
    assert [breaker.failed("bad", 0) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
    assert breaker.open


def test_fatal_failure_opens_it_at_once() -> None:
    """Who is gone need not fail three times."""
    assert broken().open


def test_open_circuit_leaves_alone() -> None:
    """For its time nothing is allowed; then a trial is."""
    breaker = broken()
    assert not breaker.allows(FIRST_NS - 1)
    assert breaker.allows(FIRST_NS)
    assert breaker.rest_ns(FIRST_NS - SECOND) == SECOND


def test_trial_that_succeeds_closes_it() -> None:
    """Once it works, all is as before; it is told once."""
    breaker = broken()
    assert breaker.succeeded(FIRST_NS)
    assert not breaker.succeeded(FIRST_NS)
    assert (breaker.open, breaker.reason) == (False, "")


def test_trials_that_fail_make_it_longer() -> None:
    """Each trial that fails doubles the time, up to a bound; the opening is told once."""
    breaker, now_ns, rests = broken(), 0, []
    for _ in range(12):
        rests.append(breaker.rest_ns(now_ns))
        now_ns += rests[-1]
        assert not breaker.failed("bad", now_ns)
    assert rests[:4] == [FIRST_NS, 2 * FIRST_NS, 4 * FIRST_NS, 8 * FIRST_NS]
    assert rests[-1] == LONGEST_NS


@pytest.mark.parametrize(("calm_ns", "rest_ns"), [(LONGEST_NS - 1, 2 * FIRST_NS), (LONGEST_NS, FIRST_NS)])
def test_flapping_is_no_escape(calm_ns: int, rest_ns: int) -> None:
    """One that breaks soon after it was restored rests twice as long; one that was well for long begins anew."""
    breaker = broken()
    breaker.succeeded(FIRST_NS)
    now_ns = FIRST_NS + calm_ns
    breaker.failed("bad", now_ns, fatal=True)
    assert breaker.rest_ns(now_ns) == rest_ns
