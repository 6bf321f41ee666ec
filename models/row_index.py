"""Which row of a table a key has: sorted keys, asked and told by the array.

A hash table would need a loop over keys, or a set of ways that fills up before the table does. A sorted array needs
neither, and nobody can choose keys that collide. New keys cost a copy of the array (0.75 MiB for 65,536 rows, some
50 us), whether one comes or a thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    Rows = NDArray[np.int32]


class RowIndex:
    """Gives out rows, 0 up to so many."""

    def __init__(self, rows: int) -> None:
        """All rows are free."""
        self._keys: Keys = np.empty(0, np.uint64)
        self._rows: Rows = np.empty(0, np.int32)
        self._free: Rows = np.arange(rows, dtype=np.int32)[::-1].copy()
        self._free_rows = rows

    @property
    def free(self) -> int:
        """How many rows have no key."""
        return self._free_rows

    @property
    def used(self) -> Rows:
        """The rows that have a key, in the order of keys; do not change it."""
        return self._rows

    def place(self, keys: Keys) -> Rows:
        """Return the row of each key; a new key gets a free one.

        Args:
            keys: Ascending, each once, shape (n,); no more new ones than rows are free.

        """
        places = np.searchsorted(self._keys, keys)
        known = np.zeros(len(keys), np.bool_)
        inside = places < len(self._keys)
        known[inside] = self._keys[places[inside]] == keys[inside]
        new = np.flatnonzero(~known)
        rows: Rows = np.empty(len(keys), np.int32)
        rows[known] = self._rows[places[known]]
        if len(new):
            rows[new] = self._take(len(new))
            self._keys = np.insert(self._keys, places[new], keys[new])
            self._rows = np.insert(self._rows, places[new], rows[new])
        return rows

    def release(self, rows: Rows) -> None:
        """Forget the keys of these rows, each once."""
        gone = np.zeros(len(self._free), np.bool_)
        gone[rows] = True
        kept = ~gone[self._rows]
        self._keys, self._rows = self._keys[kept], self._rows[kept]
        self._free[self._free_rows : self._free_rows + len(rows)] = rows
        self._free_rows += len(rows)

    def _take(self, count: int) -> Rows:
        if count > self._free_rows:
            raise ValueError(f"{count} new keys, but {self._free_rows} free rows")
        self._free_rows -= count
        return self._free[self._free_rows : self._free_rows + count][::-1]
