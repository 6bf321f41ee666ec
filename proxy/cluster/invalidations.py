"""Which answers are stale: an upload on one node ends what all nodes keep of that certificate.

Workers advance the epoch of a certificate (`fastpath.epochs`) when somebody uploads it; here it is noticed that they
did, which by comparing the 65,536 counters with what they were, and told. Counters of one number stand for the same
certificates on all nodes, as all hash them with the same secret. What was told while nobody could hear it cannot be
known: who may have missed something forgets all that he keeps, once.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath.epochs import EPOCHS
from proxy.cluster.keys import Family

if TYPE_CHECKING:
    from fastpath import Epochs
    from proxy.cluster.store import Store

MOST_GROUPS: Final = 4096  # told at once; of more all is told
ALL: Final = 0  # the group that stands for all certificates
FRESH_US: Final = 60 * 10**6  # what was told longer ago is not listened to: somebody plays it again
MOST_NODE: Final = 64
MOST_NODES: Final = 4096
_HEAD: Final = Struct(">qB")  # when, length of the node's name


class Invalidations:
    """Those of one node.

    Attributes:
        pending: Groups that are to be told.

    """

    def __init__(self, node: str, memory: memoryview, epochs: Epochs) -> None:
        """Begin with what is now.

        Args:
            node: Name of this node.
            memory: Of the epochs.
            epochs: The same.

        """
        self.pending: set[int] = set()
        self._node = node.encode()
        self._epochs = epochs
        self._advanced = epochs.advanced
        self._words = np.frombuffer(memory, np.uint64)[:EPOCHS]
        self._before = self._words.copy()
        self._heard_us: dict[bytes, int] = {}
        self._told_us = 0

    @property
    def due(self) -> bool:
        """Whether anything was advanced since the last look."""
        return self._epochs.advanced != self._advanced

    def look(self) -> None:
        """Find what was advanced since the last look: some 50 µs if anything was, else nearly nothing."""
        advanced = self._epochs.advanced
        if advanced != self._advanced:
            self._advanced, now = advanced, self._words.copy()
            self.pending.update(np.flatnonzero(now != self._before).tolist())
            self._before = now
            if len(self.pending) > MOST_GROUPS:
                self.pending = {ALL}

    async def tell(self, store: Store, now_us: int) -> None:
        """Tell the others; what could not be told stays pending."""
        if not self.pending:
            return
        groups = sorted(self.pending)
        self._told_us = max(now_us, self._told_us + 1)
        head = _HEAD.pack(self._told_us, len(self._node)) + self._node
        payload = head + np.array(groups, ">u2").tobytes()
        await store.publish(Family.CACHE, store.seal.seal(Family.CACHE, payload))
        self.pending.difference_update(groups)

    def hear(self, payload: bytes, now_us: int) -> None:
        """Forget what another node says is stale; ValueError if it makes no sense."""
        if len(payload) < _HEAD.size:
            raise ValueError("too short")
        told_us, length = _HEAD.unpack_from(payload)
        node, groups = payload[_HEAD.size : _HEAD.size + length], payload[_HEAD.size + length :]
        if not 0 < len(node) == length <= MOST_NODE or len(groups) % 2 or len(groups) > 2 * MOST_GROUPS:
            raise ValueError("not what nodes tell")
        if node == self._node or told_us <= self._heard_us.get(node, 0) or abs(told_us - now_us) > FRESH_US:
            return
        if node not in self._heard_us and len(self._heard_us) >= MOST_NODES:
            del self._heard_us[next(iter(self._heard_us))]
        self._heard_us[node] = told_us
        for group in np.frombuffer(groups, ">u2").tolist():
            self._advance(group)

    def missed(self) -> None:
        """Forget all: something may have been told that we did not hear."""
        self._advance(ALL)

    def _advance(self, group: int) -> None:
        """Advance an epoch, and do not tell others of that: they know."""
        self._epochs.advance(group)
        self._before[group] += np.uint64(1)
        self._advanced += 1
