"""What is rare among the networks of a site.

A program that thousands use says nothing of a person; one that four networks of a thousand use may. Nothing is rare
before so many networks were seen that it could be told. Bounded; what is common stays so until it is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MOST: Final = 4096  # things
ENOUGH: Final = 1000  # networks, to tell what is rare


class Rarity:
    """Things, and which networks have them."""

    def __init__(self, most_networks: int) -> None:
        """Call rare what at most so many networks have."""
        self._most = most_networks
        self._holders: OrderedDict[bytes, set[int] | None] = OrderedDict()  # None: common
        self._networks: set[int] = set()  # until there are enough

    def is_rare(self, thing: bytes, network: int) -> bool:
        """Take note that a network has something; return whether that is rare."""
        if len(self._networks) < ENOUGH:
            self._networks.add(network)
        holders = self._holders.setdefault(thing, set())
        self._holders.move_to_end(thing)
        if len(self._holders) > MOST:
            self._holders.popitem(last=False)
        if holders is None:
            return False
        holders.add(network)
        if len(holders) > self._most:
            self._holders[thing] = None
            return False
        return len(self._networks) >= ENOUGH
