"""Hearsay: the last word of each node on each thing. Plain synchronous code without a clock.

Each node says only what it knows itself, and its later words take the place of its earlier ones. So whatever is lost,
doubled or comes in another order: nodes that have the same last words believe the same.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cluster.word import Word

Name = tuple[bytes, str]


class Hearsay:
    """The words of all nodes, this one included, on one topic; of more than `most` those go that are over first.

    Attributes:
        most: How many are kept.
        latest_us: The latest stamp that was seen.

    """

    def __init__(self, most: int, *, of_nodes: bool = True) -> None:
        """`of_nodes`: nodes do not speak for each other; else the last word on a thing counts, whosever it is."""
        self.most = most
        self.latest_us = 0
        self._of_nodes = of_nodes
        self._words: dict[bytes, dict[str, Word]] = {}
        self._count = 0
        self._ends: list[tuple[int, Name]] = []  # a heap; what was said again later is in it twice

    def __len__(self) -> int:
        """Return how many words there are."""
        return self._count

    def __iter__(self) -> Iterator[Word]:
        """Yield all words; none may be taken meanwhile."""
        return (word for words in self._words.values() for word in words.values())

    def name(self, thing: bytes, node: str) -> Name:
        """Return that by which later words take the place of earlier ones."""
        return thing, node if self._of_nodes else ""

    def field(self, word: Word) -> bytes:
        """Return the same as the name of a field in the store."""
        thing, node = self.name(word.thing, word.node)
        return thing + node.encode()

    def last(self, thing: bytes, node: str) -> Word | None:
        """Return the last word of a node on a thing."""
        return self._words.get(thing, {}).get(self.name(thing, node)[1])

    def of(self, thing: bytes) -> list[Word]:
        """Return the words of all nodes on a thing."""
        return [*self._words.get(thing, {}).values()]

    def take(self, word: Word) -> bool:
        """Keep a word if it is later than the last one in its place; tell whether it is."""
        thing, node = self.name(word.thing, word.node)
        last = self._words.get(thing, {}).get(node)
        if last is not None and (last.stamp_us, last.until_us) >= (word.stamp_us, word.until_us):
            return False
        self.latest_us = max(self.latest_us, word.stamp_us)
        self._words.setdefault(thing, {})[node] = word
        self._count += last is None
        heappush(self._ends, (word.until_us, (thing, node)))
        if len(self._ends) > 2 * self.most + 64:
            self._ends = [(each.until_us, self.name(each.thing, each.node)) for each in self]
            heapify(self._ends)
        while self._count > self.most:
            self._pop()
        return True

    def expire(self, now_us: int) -> Iterator[Word | None]:
        """Let go of the words that are over, and yield each; None: the end of one that was said again."""
        while self._ends and self._ends[0][0] <= now_us:
            yield self._pop()

    def _pop(self) -> Word | None:
        until_us, (thing, node) = heappop(self._ends)
        word = self._words.get(thing, {}).get(node)
        if word is None or word.until_us != until_us:
            return None
        del self._words[thing][node]
        if not self._words[thing]:
            del self._words[thing]
        self._count -= 1
        return word
