"""Snapshots: sums over the workers."""

import operator
from itertools import pairwise

import pytest

from fastpath.counters import COUNTER_BYTES, Counters
from fastpath.snapshot import BOUNDS_NS, BOUNDS_SECONDS, Histogram, Snapshot, total


def snapshot(operation: int, times: int) -> Snapshot:
    """Return what a worker counts that saw one kind of request so many times."""
    counters = Counters(memoryview(bytearray(COUNTER_BYTES)))
    for _ in range(times):
        counters.record(operation, 0, 200, 1_000, 20_000, 5_000_000, 7_000_000_000)
    counters.set_connections(times)
    counters.set_tarpit_held(times + 1)
    counters.set_parked(times + 2)
    return counters.snapshot()


def test_the_sum_of_workers() -> None:
    """Counters, histograms and gauges of all workers are added, place by place."""
    summed = total([snapshot(1, 2), snapshot(1, 3), snapshot(2, 5)])
    assert [row[0] for row in summed.requests[:4]] == [0, 5, 5, 0]
    assert summed.responses[200] == 10
    assert (summed.decision.sum_ns, summed.added.sum_ns) == (10_000, 200_000)
    assert summed.delayed.sum_ns == 70_000_000_000
    assert [sum(histogram.counts) for histogram in summed.upstream[:4]] == [0, 5, 5, 0]
    assert (summed.connections, summed.tarpit_held, summed.parked) == (10, 13, 16)


def test_the_sum_of_one() -> None:
    """A single worker is its own sum; no worker is a mistake."""
    assert total([snapshot(1, 2)]) == snapshot(1, 2)
    with pytest.raises(ValueError, match="not enough values"):
        total([])


def test_only_like_is_added() -> None:
    """A histogram or a snapshot is added to its like, and not to any other tuple."""
    assert Histogram([1], 2) + Histogram([3], 4) == Histogram([4], 6)
    for like in (Histogram([1], 2), snapshot(1, 1)):
        with pytest.raises(TypeError):
            operator.add(like, (1, 2))


@pytest.mark.parametrize("bounds", [*BOUNDS_NS.values()], ids=BOUNDS_NS)
def test_bounds_rise(bounds: tuple[int, ...]) -> None:
    """The search for a bucket needs rising bounds, and the compiled block has room for 15."""
    assert all(low < high for low, high in pairwise(bounds))
    assert len(bounds) <= 15


def test_bounds_in_seconds() -> None:
    """The bounds are those that the design names, in seconds."""
    ends = {name: (bounds[0], bounds[-1]) for name, bounds in BOUNDS_SECONDS.items()}
    assert ends == {
        "decision": (0.25e-6, 0.01),
        "added": (10e-6, 0.1),
        "upstream": (0.001, 60),
        "delayed": (0.01, 30),
        "claim": (0.0002, 1),
    }
