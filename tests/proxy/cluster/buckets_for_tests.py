"""The buckets of a node, without shared memory: what a ledger looks at."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fastpath._gcra_py import shift

if TYPE_CHECKING:
    from proxy.cluster.ledger import Place


class Buckets:
    """Buckets of one node; `tats`: their TATs, ns."""

    def __init__(self) -> None:
        """All are full."""
        self.tats: defaultdict[Place, int] = defaultdict(int)

    def tat(self, place: Place) -> int:
        """See `Levels`."""
        return self.tats[place]

    def add(self, place: Place, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """See `Levels`."""
        self.tats[place] = shift(self.tats[place], delta_ns, most_ns, now_ns)

    def charge(self, place: Place, ns: int, now_ns: int) -> None:
        """Take tokens of so many ns, whether they are there or not."""
        self.tats[place] = max(self.tats[place], now_ns) + ns
