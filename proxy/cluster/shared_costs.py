"""Fat subjects: what was dear to answer on one node is dear on all.

    subject -> service time, size of the answer

Subjects are words hashed with a secret that all nodes have. What is told was seen in the records: an answer that took
or weighed enough is looked up in the memory of the workers, who know what it cost. The latest answer counts, whoever
gave it. That a subject is not fat any more each node finds out by itself.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath.costs import LEAST_SERVICE_US, LEAST_SIZE_BYTES, TTL_NS
from proxy.cluster.hearsay import Hearsay
from proxy.cluster.keys import Family
from proxy.cluster.topic import Saying
from proxy.settings.kinds import HOUR

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastpath import CostMemory
    from proxy.cluster.store_clock import StoreClock
    from proxy.cluster.word import Word

MOST: Final = 8192
MOST_SEEN: Final = 4096
PER_TURN: Final = 64
PER_STEP: Final = 16
CHANGED: Final = 4  # it is said again if it is by a fourth more or less, or was said an hour ago
_SUBJECT_BYTES: Final = 8
_COST: Final = Struct(">II")


class SharedCosts:
    """The topic; see `proxy.cluster.topic`."""

    family = Family.SUBJECT
    longest_us = TTL_NS // 1000

    def __init__(self, clock: StoreClock, costs: CostMemory, *, now: Callable[[], int]) -> None:
        """Begin with nothing to tell.

        Args:
            clock: The store's.
            costs: Memory of the workers.
            now: CLOCK_MONOTONIC, ns.

        """
        self.hearsay = Hearsay(MOST, of_nodes=False)
        self._clock = clock
        self._costs = costs
        self._now = now
        self._seen: dict[int, None] = {}

    def feed(self, records: NDArray[np.void]) -> None:
        """Look at records of RECORD_DTYPE."""
        fat = (records["upstream_us"] >= LEAST_SERVICE_US) | (records["sent"] >= LEAST_SIZE_BYTES)
        self._seen.update(dict.fromkeys(np.unique(records["subject_hash"][fat]).tolist()))
        while len(self._seen) > MOST_SEEN:
            del self._seen[next(iter(self._seen))]

    def gather(self) -> Iterator[Saying | None]:
        """See `Topic`."""
        for number in range(min(len(self._seen), PER_TURN)):
            subject = next(iter(self._seen))
            del self._seen[subject]
            now_ns = self._now()
            cost = self._costs.look_up(subject, now_ns)
            thing = subject.to_bytes(_SUBJECT_BYTES)
            if cost is not None and not self._was_said(thing, cost.service_us, cost.size_bytes, now_ns):
                since_ns = now_ns - cost.age_ns
                yield Saying(thing, since_ns, since_ns + TTL_NS, _COST.pack(cost.service_us, cost.size_bytes))
            elif number % PER_STEP == 0:
                yield None

    def _was_said(self, thing: bytes, service_us: int, size_bytes: int, now_ns: int) -> bool:
        said = self.hearsay.last(thing, "")
        if said is None or self._clock.local_ns(said.stamp_us) < now_ns - HOUR:
            return False
        before = _COST.unpack(said.body)
        return all(
            abs(now - then) <= max(now, then) // CHANGED
            for now, then in zip((service_us, size_bytes), before, strict=True)
        )

    def check(self, word: Word) -> None:
        """See `Topic`."""
        if len(word.thing) != _SUBJECT_BYTES or len(word.body) != _COST.size:
            raise ValueError("not a cost")
        service_us, size_bytes = _COST.unpack(word.body)
        if service_us < LEAST_SERVICE_US and size_bytes < LEAST_SIZE_BYTES:
            raise ValueError("not the cost of a fat subject")

    def hear(self, word: Word, before: Word | None) -> None:  # noqa: ARG002 - of the contract
        """See `Topic`; what we have seen later ourselves counts."""
        subject, now_ns = int.from_bytes(word.thing), self._now()
        noted_ns = min(now_ns, self._clock.local_ns(word.stamp_us))
        known = self._costs.look_up(subject, now_ns)
        if noted_ns > 0 and (known is None or known.age_ns > now_ns - noted_ns):
            service_us, size_bytes = _COST.unpack(word.body)
            self._costs.note(subject, service_us, size_bytes, noted_ns)

    def over(self, word: Word) -> None:
        """See `Topic`; the memory forgets by itself."""
