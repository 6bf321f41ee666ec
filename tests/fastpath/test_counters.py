"""Counters: what a worker counts, the analyst reads."""

from collections.abc import Callable

import pytest

from fastpath.counters import COUNTER_BYTES, Counters
from fastpath.snapshot import BOUNDS_NS, Claimed, Snapshot

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
NOT = -1  # not observed


@pytest.fixture
def counters(shared: Shared) -> Counters:
    """Return counters at zero."""
    return Counters(shared(COUNTER_BYTES))


def test_nothing_at_first(counters: Counters) -> None:
    """All zero memory is zero counters."""
    snapshot = counters.snapshot()
    histograms = [snapshot.decision, snapshot.added, snapshot.delayed, *snapshot.upstream]
    assert sum(map(sum, snapshot.requests)) == sum(snapshot.responses) == 0
    assert all(sum(histogram.counts) == histogram.sum_ns == 0 for histogram in histograms)
    assert (snapshot.connections, snapshot.tarpit_held, snapshot.parked) == (0, 0, 0)


def test_a_request_counts_once_in_its_place(counters: Counters) -> None:
    """Operation, action and status each have a counter of their own."""
    counters.record(11, 7, 429, NOT, NOT, NOT, NOT)
    snapshot = counters.snapshot()
    assert snapshot.requests[11][7] == sum(map(sum, snapshot.requests)) == 1
    assert snapshot.responses[429] == sum(snapshot.responses) == 1


@pytest.mark.parametrize("use", range(4))
def test_uses_of_the_cache(counters: Counters, use: int) -> None:
    """Each has a counter; who says nothing did not use it."""
    counters.record(1, 0, 200, NOT, NOT, NOT, NOT, use)
    counters.record(1, 0, 200, NOT, NOT, NOT, NOT)
    assert counters.snapshot().cache == [(use == place) + (place == 0) for place in range(4)]


@pytest.mark.parametrize("use", [-1, 4])
def test_no_such_use_of_the_cache(counters: Counters, use: int) -> None:
    """That is the caller's bug, and counts nowhere."""
    with pytest.raises(ValueError, match=f"cache_use {use} not in 0..3"):
        counters.record(1, 0, 200, NOT, NOT, NOT, NOT, use)
    assert sum(counters.snapshot().responses) == 0


@pytest.mark.parametrize(("status", "place"), [(0, 0), (599, 599), (600, 0), (-1, 0), (99_999, 0)])
def test_odd_status(counters: Counters, status: int, place: int) -> None:
    """An upstream's odd status is counted, as none."""
    counters.record(0, 0, status, NOT, NOT, NOT, NOT)
    assert counters.snapshot().responses[place] == 1


@pytest.mark.parametrize(("operation", "action"), [(-1, 0), (12, 0), (0, -1), (0, 12)])
def test_out_of_range(counters: Counters, operation: int, action: int) -> None:
    """An operation or action that does not exist is the caller's bug and counts nowhere."""
    with pytest.raises(ValueError, match=f"operation {operation} or action {action} not in"):
        counters.record(operation, action, 200, 1, 1, 1, 1)
    assert sum(counters.snapshot().responses) == 0


@pytest.mark.parametrize(("position", "name"), [*enumerate(("decision", "added", "upstream", "delayed"))])
def test_a_value_falls_into_its_bucket(counters: Counters, position: int, name: str) -> None:
    """A bound belongs to the bucket below it, as in Prometheus; what is beyond all bounds to the last one."""
    bounds = BOUNDS_NS[name]
    values = [0, *bounds, *[bound + 1 for bound in bounds]]
    for value in values:
        times = [NOT] * 4
        times[position] = value
        counters.record(3, 0, 200, *times)
    found = getattr(counters.snapshot(), name)
    histogram = found[3] if name == "upstream" else found
    assert histogram.counts == [2, *[2] * (len(bounds) - 1), 1]
    assert histogram.sum_ns == sum(values)


def test_what_was_not_observed_is_not_counted(counters: Counters) -> None:
    """A request that was not forwarded or delayed has no such time; 0 ns is one."""
    counters.record(3, 0, 200, 0, NOT, NOT, NOT)
    snapshot = counters.snapshot()
    assert sum(snapshot.decision.counts) == 1
    assert sum(snapshot.added.counts) + sum(snapshot.upstream[3].counts) + sum(snapshot.delayed.counts) == 0


def test_gauges(counters: Counters) -> None:
    """Gauges say what was set last, and nothing when a new worker starts; its counters go on."""
    counters.set_connections(3)
    counters.set_tarpit_held(4)
    counters.set_parked(5)
    counters.record(0, 0, 200, NOT, NOT, NOT, NOT)
    snapshot = counters.snapshot()
    assert (snapshot.connections, snapshot.tarpit_held, snapshot.parked) == (3, 4, 5)
    counters.start()
    snapshot = counters.snapshot()
    assert (snapshot.connections, snapshot.tarpit_held, snapshot.parked) == (0, 0, 0)
    assert snapshot.responses[200] == 1


def test_a_gauge_is_not_negative(counters: Counters) -> None:
    """Closing more than was opened is a bug, not a huge number."""
    with pytest.raises(OverflowError):
        counters.set_connections(-1)


def test_another_process_reads(shared: Shared, together: Together) -> None:
    """What one process counts, another reads."""
    memory = shared(COUNTER_BYTES)

    def work(_: int) -> None:
        for _ in range(1_000):
            Counters(memory).record(1, 2, 200, 5, NOT, NOT, NOT)

    together(work, 1)
    snapshot: Snapshot = Counters(memory).snapshot()
    assert (snapshot.requests[1][2], snapshot.decision.sum_ns) == (1_000, 5_000)


@pytest.mark.parametrize("size", [0, COUNTER_BYTES - 1])
def test_wrong_memory(size: int) -> None:
    """Too little memory is refused."""
    with pytest.raises(ValueError, match=f"memory of the counters: {size} bytes, not {COUNTER_BYTES}"):
        Counters(memoryview(bytearray(size)))


@pytest.mark.parametrize("outcome", list(Claimed))
def test_claims(counters: Counters, outcome: Claimed) -> None:
    """What became of a claim is counted, and how long its request waited if it did."""
    counters.claimed(outcome)
    counters.claimed(outcome, 3_000_000)
    snapshot = counters.snapshot()
    assert snapshot.claims == [2 * (each is outcome) for each in Claimed]
    assert (sum(snapshot.claim.counts), snapshot.claim.sum_ns) == (1, 3_000_000)


@pytest.mark.parametrize("outcome", [-1, len(Claimed)])
def test_no_such_outcome(counters: Counters, outcome: int) -> None:
    """A number beyond the last one is refused, before anything is counted."""
    with pytest.raises(ValueError, match="outcome"):
        counters.claimed(outcome)
    assert sum(counters.snapshot().claims) == 0
