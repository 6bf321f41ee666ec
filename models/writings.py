"""What the user IDs look like that a client uploads: told by the model of texts, counted, and not kept.

    excerpts of uploads -> TextScorer -> of the last SOME of a client: how many look like what

A text is looked at once and then forgotten. What stays of it is two bits, and of a client no more than SOME of these.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final

import numpy as np

from models.text import KINDS, in_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from models.text import TextScorer

SOME: Final = 32  # of one client
FEWEST: Final = 4  # of which something is said: one may look like anything
MOST_CLIENTS: Final = 4096


class Writings:
    """Of all clients of one node; bounded."""

    def __init__(self) -> None:
        """Nobody has uploaded anything."""
        self._kinds: OrderedDict[int, deque[list[bool]]] = OrderedDict()

    def read(self, excerpts: Sequence[tuple[int, bytes]], scorer: TextScorer) -> Iterator[tuple[int, str]]:
        """Look at excerpts, clients and texts; yield each of these clients, and what is to be said of it now."""
        kinds = scorer.kinds([text for _, text in excerpts])
        clients = dict.fromkeys(client for client, _ in excerpts)
        for (client, _), row in zip(excerpts, kinds.tolist(), strict=True):
            self._kinds.setdefault(client, deque(maxlen=SOME)).append(row)
            self._kinds.move_to_end(client)
        for client in clients:
            yield client, self._said(client)
        while len(self._kinds) > MOST_CLIENTS:
            self._kinds.popitem(last=False)

    def _said(self, client: int) -> str:
        found = self._kinds[client]
        if len(found) < FEWEST:
            return ""
        return "; ".join(in_words(np.array(found).reshape(-1, len(KINDS)), "uploaded user IDs"))
