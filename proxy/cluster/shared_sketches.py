"""How much the networks have asked for that ask the most, of all nodes together.

    asker (a network and a class of operations) -> its sketch: the registers of a HyperLogLog, 512 bytes

Sketches of several nodes are merged by taking the higher of each two registers: what a network has asked several nodes
for counts once. Each node tells its own only, and keeps those of others apart from it. Written into each other's memory
they would never be over: the generations of nodes do not begin at the same time, and what is in the last one of one
node would be in the present one of another, there and back.

Told are networks that are no longer counted exactly, the busiest of the last seconds first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath import bucket_key
from fastpath._distinct_py import EXACT, MAX_RANK, REGISTERS, WINDOW_NS, estimate
from fastpath.key_arrays import network_keys
from proxy.cluster.hearsay import Hearsay
from proxy.cluster.keys import Family
from proxy.cluster.topic import Saying
from proxy.hkp.classes import OperationClass
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastpath import DistinctTable
    from proxy.cluster.store_clock import StoreClock
    from proxy.cluster.word import Word

MOST: Final = 4096
MOST_BUSY: Final = 4096
TOLD: Final = 32  # each time
EVERY_NS: Final = 10 * SECOND
COUNTED: Final = (OperationClass.CERT, OperationClass.IDENTITY)
_ASKER_BYTES: Final = 8


class SharedSketches:
    """The topic; see `proxy.cluster.topic`."""

    family = Family.SKETCH
    longest_us = 2 * WINDOW_NS // 1000

    def __init__(self, node: str, clock: StoreClock, distinct: DistinctTable, *, now: Callable[[], int]) -> None:
        """Begin with nothing to tell.

        Args:
            node: Name of this one.
            clock: The store's.
            distinct: What networks have asked this node for.
            now: CLOCK_MONOTONIC, ns.

        """
        self.hearsay = Hearsay(MOST)
        self._node = node
        self._clock = clock
        self._distinct = distinct
        self._now = now
        self._busy: Counter[int] = Counter()
        self._due_ns = 0

    def feed(self, records: NDArray[np.void]) -> None:
        """Look at records of RECORD_DTYPE."""
        asked = records[np.isin(records["operation"], COUNTED)]
        networks, counts = np.unique(network_keys(asked["client"]), return_counts=True)
        self._busy.update(dict(zip(networks.tolist(), counts.tolist(), strict=True)))
        if len(self._busy) > 2 * MOST_BUSY:
            self._busy = Counter(dict(self._busy.most_common(MOST_BUSY)))

    def gather(self) -> Iterator[Saying | None]:
        """See `Topic`."""
        now_ns = self._now()
        if now_ns < self._due_ns or not self._busy:
            return
        self._due_ns = now_ns + EVERY_NS
        busy, self._busy = self._busy, Counter()
        yield None
        for network, _ in busy.most_common(TOLD):
            for kind in COUNTED:
                asker = bucket_key(kind, network)
                if self._distinct.estimate(asker, now_ns) > EXACT:
                    sketch = self._distinct.sketch(asker, now_ns)
                    said = self.hearsay.last(asker.to_bytes(_ASKER_BYTES), self._node)
                    if said is None or said.body != sketch:
                        yield Saying(asker.to_bytes(_ASKER_BYTES), now_ns, now_ns + WINDOW_NS, sketch)
                yield None

    def count(self, asker: int, now_ns: int) -> float:
        """Return how many subjects an asker has asked all nodes for, as `DistinctTable.estimate`."""
        words = self.hearsay.of(asker.to_bytes(_ASKER_BYTES))
        others = [np.frombuffer(word.body, np.uint8) for word in words if word.node != self._node]
        if not others:
            return self._distinct.estimate(asker, now_ns)
        own = np.frombuffer(self._distinct.sketch(asker, now_ns), np.uint8)
        merged = np.maximum.reduce([own, *others])
        return estimate(np.bincount(merged, minlength=MAX_RANK + 1).tolist())

    def check(self, word: Word) -> None:
        """See `Topic`."""
        if len(word.thing) != _ASKER_BYTES or len(word.body) != REGISTERS or max(word.body) > MAX_RANK:
            raise ValueError("not a sketch")

    def hear(self, word: Word, before: Word | None) -> None:
        """See `Topic`; it is enough that it is in `hearsay`."""

    def over(self, word: Word) -> None:
        """See `Topic`."""
