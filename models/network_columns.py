"""What networks asked for, in columns: how much that was new to them, how much of it was cold, how much usually is.

A network has a row in one of the sets of eight. In a full set it takes the row of the one that asked least lately,
so that a flood of networks that ask once pushes out its like, and not who asks much. Figures fade all at once, when
`fade` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]
    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Rows = NDArray[np.intp]

WAYS: Final = 8
MOST_ROWS: Final = WAYS << 24
_SET: Final = np.uint64(40)  # the bits of a word from here on choose the set


class Activity(NamedTuple):
    """Networks, each with its figures."""

    networks: Words
    asked: Figures
    cold: Figures
    usual: Figures

    def at(self, places: Rows) -> Activity:
        """Return some of them, in that order."""
        return Activity(self.networks[places], self.asked[places], self.cold[places], self.usual[places])


class NetworkColumns:
    """Figures of up to so many networks."""

    def __init__(self, rows: int) -> None:
        """Know nobody.

        Args:
            rows: 32 bytes each; a power of two, WAYS..MOST_ROWS.

        Raises:
            ValueError: Another number.

        """
        if not WAYS <= rows <= MOST_ROWS or rows & (rows - 1):
            raise ValueError(f"rows {rows} is not a power of two from {WAYS} to {MOST_ROWS}")
        self._columns = Activity(np.zeros(rows, np.uint64), np.zeros(rows), np.zeros(rows), np.zeros(rows))
        self._last_set = np.uint64(rows // WAYS - 1)

    def add(self, networks: Words, words: Words, cold: Flags, usual: float) -> None:
        """Add one that was asked for to each network; a network may occur more than once.

        Where different new networks come for one row, the last one gets it, and the others go without.

        Args:
            networks: Their keys.
            words: Keyed hashes of them: else somebody with many networks could have them push out each other.
            cold: Whether what was asked for was cold.
            usual: How much of it would usually be, 0..1.

        """
        columns = self._columns
        rows = self._rows(networks, words)
        new = rows[columns.networks[rows] != networks]
        columns.asked[new] = columns.cold[new] = columns.usual[new] = 0.0
        columns.networks[rows] = networks
        placed = columns.networks[rows] == networks
        size = len(columns.networks)
        asked = np.bincount(rows[placed], minlength=size)
        columns.asked[:] += asked
        columns.usual[:] += asked * usual
        columns.cold[:] += np.bincount(rows[placed & cold], minlength=size)

    def fade(self, left: float) -> None:
        """Leave so much of all figures, 0..1."""
        for figures in (self._columns.asked, self._columns.cold, self._columns.usual):
            np.multiply(figures, left, out=figures)

    def of(self, networks: Words, words: Words) -> Activity:
        """Return the figures of networks, in their order, as `add` takes them; 0 of who is not known."""
        rows = self._rows(networks, words)
        found = self._columns.at(rows)
        known = found.networks == networks
        return Activity(networks, *(np.where(known, figures, 0.0) for figures in found[1:]))

    def all(self) -> Activity:
        """Return all networks that are known, in no order."""
        return self._columns.at(np.flatnonzero(self._columns.networks))

    def _rows(self, networks: Words, words: Words) -> Rows:
        """Return where each network has its figures, or shall have them."""
        sets = (words >> _SET & self._last_set).astype(np.intp)
        found = self._columns.networks.reshape(-1, WAYS).take(sets, axis=0) == networks[:, None]
        asked = self._columns.asked.reshape(-1, WAYS).take(sets, axis=0)
        rows: Rows = sets * WAYS + np.where(found, -1.0, asked).argmin(axis=1)
        return rows
