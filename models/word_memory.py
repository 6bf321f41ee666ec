"""Which words were met lately: a bounded memory that is asked, and told, by the array.

    memory    2**k sets of eight cells, a cache line each; a word has its set by its low bits
    cell      upper half: until when the word is remembered, s; lower half: the upper half of the word. 0: empty

A set that is full forgets the word with the earliest end. So what is kept for longer is safe from a flood of words
that are kept for less: those push out each other first.

Words must be keyed hashes: then nobody outside can fill a set on purpose, and a word is taken for another one with a
probability of at most 2**-29 for each look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

WAYS: Final = 8
MOST_CELLS: Final = WAYS << 32  # with more, sets and cells would go by the same bits
_HALF: Final = np.uint64(32)
_TAG: Final = np.uint64(0xFFFF_FFFF)


class Found(NamedTuple):
    """What is known of words, in their order."""

    known: NDArray[np.bool_]  # it is remembered
    places: NDArray[np.intp]  # the cell that holds it, or the one that makes room for it

    def at(self, which: NDArray[np.bool_]) -> Found:
        """Return some of them."""
        return Found(self.known[which], self.places[which])


class WordMemory:
    """Remembers up to so many words, each until a time of its own."""

    def __init__(self, cells: int) -> None:
        """Remember nothing.

        Args:
            cells: 8 bytes each; a power of two, WAYS..MOST_CELLS.

        Raises:
            ValueError: Another number.

        """
        if not WAYS <= cells <= MOST_CELLS or cells & (cells - 1):
            raise ValueError(f"cells {cells} is not a power of two from {WAYS} to {MOST_CELLS}")
        self._cells = np.zeros(cells, np.uint64)
        self._sets = self._cells.reshape(-1, WAYS)
        self._last_set = np.uint64(len(self._sets) - 1)

    def find(self, words: Words, now_s: int) -> Found:
        """Look for words; `now_s`: 0..2**32-1."""
        sets = (words & self._last_set).astype(np.intp)
        cells = self._sets.take(sets, axis=0)
        match = cells.astype(np.uint32) == (words >> _HALF).astype(np.uint32)[:, None]
        places = sets * WAYS + np.where(match, np.uint64(0), cells).argmin(axis=1)
        held = self._cells[places]
        known = (held & _TAG == words >> _HALF) & (held >> _HALF > np.uint64(now_s))
        return Found(known, places)

    def keep(self, words: Words, found: Found, until_s: int) -> None:
        """Remember words that were just looked for; none for a shorter time than before.

        Where different new ones were found one place, the last one gets it: of 2048 in 65,536 sets about 30 are
        forgotten at once.
        """
        cells = np.uint64(until_s) << _HALF | words >> _HALF
        longest = np.maximum(cells, self._cells[found.places])
        self._cells[found.places] = np.where(found.known, longest, cells)


def first_of_each(words: Words) -> NDArray[np.intp]:
    """Return where each different word comes first, in no order.

    One sort of plain numbers, a third of what `np.unique` takes: the place of a word stands in its low bits, and
    two words that differ there only are taken for one. There are none, with 2048 keyed hashes: 2**-32.
    """
    low = np.uint64((1 << len(words).bit_length()) - 1)
    marked = np.sort((words & ~low) | np.arange(len(words), dtype=np.uint64))
    first = np.ones(len(words), np.bool_)
    first[1:] = (marked[1:] ^ marked[:-1]) > low
    return (marked[first] & low).astype(np.intp)
