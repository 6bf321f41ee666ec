"""What the workers counted, as figures of each class of operations: at a moment, or between two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.snapshot import BOUNDS_NS
from proxy.policy.actions import Action

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastpath.snapshot import Snapshot

    Figures = NDArray[np.float64]

LEAST_COUNT: Final = 20  # of what a share or a time is taken
FAILED: Final = 0.1  # share of answers
LATE: Final = 0.9  # of the answers took no longer
_FAILURES: Final = (500, 502, 503, 504)
_BOUNDS_US: Final = np.array([*BOUNDS_NS["upstream"], 2 * BOUNDS_NS["upstream"][-1]]) / 1000


class Reading(NamedTuple):
    """Counters at a moment, or what came between two; arrays are by class."""

    time_ns: int
    requests: Figures
    refused: Figures
    upstream: Figures  # answers of the keyserver, by class and bucket of time
    answers: int
    failures: int

    @classmethod
    def of(cls, snapshot: Snapshot, time_ns: int) -> Reading:
        """Take what is needed of all counters."""
        requests = np.array(snapshot.requests, np.float64)
        return cls(
            time_ns,
            requests.sum(axis=1),
            requests[:, Action.LIMIT],
            np.array([histogram.counts for histogram in snapshot.upstream], np.float64),
            sum(snapshot.responses),
            sum(snapshot.responses[status] for status in _FAILURES),
        )

    def since(self, other: Reading) -> Reading:
        """Return what came after another one."""
        return Reading(
            self.time_ns - other.time_ns,
            self.requests - other.requests,
            self.refused - other.refused,
            self.upstream - other.upstream,
            self.answers - other.answers,
            self.failures - other.failures,
        )

    @property
    def load(self) -> Figures:
        """How many requests the keyserver answered."""
        counts: Figures = self.upstream.sum(axis=1)
        return counts

    @property
    def slow_us(self) -> Figures:
        """In which time nine of ten were answered, rounded up to a bound; NaN if there were few."""
        reached = np.cumsum(self.upstream, axis=1) >= LATE * self.load[:, None]
        return np.where(self.load >= LEAST_COUNT, _BOUNDS_US[reached.argmax(axis=1)], np.nan)

    @property
    def refused_share(self) -> Figures:
        """Share of the requests that a limit refused; NaN if there were few."""
        return np.where(self.requests >= LEAST_COUNT, self.refused / np.maximum(self.requests, 1), np.nan)

    @property
    def failing(self) -> bool:
        """Whether the site cannot answer what it is asked."""
        return self.failures >= LEAST_COUNT and self.failures >= FAILED * self.answers
