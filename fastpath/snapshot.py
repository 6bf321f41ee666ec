"""The counters of one worker, or the sum of several, as plain lists, and the bounds of the histograms."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final, NamedTuple

_US: Final = 1_000
_MS: Final = 1_000_000
_S: Final = 1_000_000_000

BOUNDS_NS: Final[dict[str, tuple[int, ...]]] = {
    "decision": (
        250, 500, _US, 2_500, 5 * _US, 10 * _US, 25 * _US, 50 * _US, 100 * _US, 250 * _US, 500 * _US,
        _MS, 2_500 * _US, 5 * _MS, 10 * _MS,
    ),
    "added": (
        10 * _US, 20 * _US, 50 * _US, 100 * _US, 200 * _US, 500 * _US,
        _MS, 2 * _MS, 5 * _MS, 10 * _MS, 20 * _MS, 50 * _MS, 100 * _MS,
    ),
    "upstream": (
        _MS, 2_500 * _US, 5 * _MS, 10 * _MS, 25 * _MS, 50 * _MS, 100 * _MS, 250 * _MS, 500 * _MS,
        _S, 2_500 * _MS, 5 * _S, 10 * _S, 30 * _S, 60 * _S,
    ),
    "delayed": (
        10 * _MS, 25 * _MS, 50 * _MS, 100 * _MS, 250 * _MS, 500 * _MS,
        _S, 2_500 * _MS, 5 * _S, 10 * _S, 20 * _S, 30 * _S,
    ),
    "claim": (
        200 * _US, 500 * _US, _MS, 2 * _MS, 5 * _MS, 10 * _MS, 20 * _MS, 50 * _MS, 100 * _MS, 200 * _MS, 500 * _MS, _S,
    ),
}  # fmt: skip
"""Upper bounds of the buckets of each histogram, ns, rising."""

BOUNDS_SECONDS: Final = {name: tuple(bound / _S for bound in bounds) for name, bounds in BOUNDS_NS.items()}
"""The same in seconds, for the metrics."""


class Claimed(IntEnum):
    """What became of a claim to the buckets of the cluster; also the index of its counter."""

    GRANTED = 0
    REFUSED = 1
    LATE = 2  # the deadline passed; from here on the request goes on by what its node says
    DOWN = 3  # the store is out of reach
    GONE = 4  # nobody is there to ask it
    CROWDED = 5  # too many wait already


class Histogram(NamedTuple):
    """Counts of each bucket, not cumulative, the last beyond all bounds; and the sum of the values, ns."""

    counts: list[int]
    sum_ns: int

    def __add__(self, other: object) -> "Histogram":
        """Sum two histograms of the same bounds."""
        if not isinstance(other, Histogram):
            return NotImplemented
        return Histogram(_added(self.counts, other.counts), self.sum_ns + other.sum_ns)


class Snapshot(NamedTuple):
    """All counters of a worker, or of several."""

    requests: list[list[int]]  # [operation][action]; actions 6..11 are those of limits in shadow mode
    responses: list[int]  # [status]; 0: no or an odd status
    decision: Histogram
    added: Histogram
    upstream: list[Histogram]  # [operation]
    delayed: Histogram
    connections: int
    tarpit_held: int
    parked: int
    turned_away: list[int]  # connections, by reason
    cache: list[int]  # requests, by what the cache was to them
    claims: list[int]  # by `Claimed`
    claim: Histogram  # how long their requests waited

    def __add__(self, other: object) -> "Snapshot":
        """Sum two snapshots."""
        if not isinstance(other, Snapshot):
            return NotImplemented
        return Snapshot(
            requests=[_added(mine, theirs) for mine, theirs in zip(self.requests, other.requests, strict=True)],
            responses=_added(self.responses, other.responses),
            decision=self.decision + other.decision,
            added=self.added + other.added,
            upstream=[mine + theirs for mine, theirs in zip(self.upstream, other.upstream, strict=True)],
            delayed=self.delayed + other.delayed,
            connections=self.connections + other.connections,
            tarpit_held=self.tarpit_held + other.tarpit_held,
            parked=self.parked + other.parked,
            turned_away=_added(self.turned_away, other.turned_away),
            cache=_added(self.cache, other.cache),
            claims=_added(self.claims, other.claims),
            claim=self.claim + other.claim,
        )


def total(snapshots: Iterable[Snapshot]) -> Snapshot:
    """Return the sum of the snapshots of all workers; ValueError if there is none."""
    first, *others = snapshots
    for other in others:
        first += other
    return first


def _added(mine: list[int], theirs: list[int]) -> list[int]:
    return [a + b for a, b in zip(mine, theirs, strict=True)]
