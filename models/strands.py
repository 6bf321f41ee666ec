"""A block of records put in order, and how each record finds the one before it.

What comes before the first record of a row in the block is what the row has kept from earlier blocks. So there is one
arithmetic for both, and it does not matter where a stream is cut into blocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Column = NDArray[Any]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.intp]

FORGET_NS: Final = 6 * 3_600_000_000_000


class Strands:
    """The records of a block: row by row, and within a row as they came.

    A strand is what belongs together of a row. It ends where the row was away for longer than FORGET_NS, and the first
    one in the block may go on with what the row has kept.

    Attributes:
        rows: The row of each record, shape (n,).
        starts: Where the records of a row begin.
        begins: Whether a record is the first of a strand in this block, shape (n,).
        renewed: Rows whose last strand began in this block.

    """

    def __init__(self, starts: Places, rows: Column, time_ns: Column, kept_ns: Column, alive: Flags) -> None:
        """Find the strands.

        Args:
            starts: Where the records of a row begin, ascending, the first 0.
            rows: The row of each record, shape (n,).
            time_ns: Of each record, shape (n,).
            kept_ns: Of the last record of each of `starts` in earlier blocks.
            alive: Whether there was one.

        """
        self.rows, self.starts = rows, starts
        previous_ns = np.empty_like(time_ns)
        previous_ns[1:] = time_ns[:-1]
        previous_ns[starts] = kept_ns
        self.begins: Flags = time_ns - previous_ns > FORGET_NS
        goes_on = alive & ~self.begins[starts]
        self.begins[starts] = True
        self._strand = np.cumsum(self.begins) - 1
        self._goes_on = np.zeros(self._strand[-1] + 1, np.bool_)
        self._goes_on[self._strand[starts]] = goes_on
        last = np.append(starts[1:], len(rows)) - 1
        self._is_last = np.zeros_like(self._goes_on)
        self._is_last[self._strand[last]] = True
        self.renewed: Column = rows[last[~self._goes_on[self._strand[last]]]]

    def before(self, values: Column, kept: Column, where: Places | slice = slice(None)) -> Column:
        """Return the value before each in its strand, 0 if there is none, and keep the last one for the next block.

        Args:
            values: Never 0, shape (m,).
            kept: One for each row; is changed.
            where: The records that have the values, ascending; without it all.

        """
        rows, strand = self.rows[where], self._strand[where]
        previous: Column = np.where(self._goes_on[strand], kept[rows], 0)
        inner = np.flatnonzero(strand[1:] == strand[:-1]) + 1
        previous[inner] = values[inner - 1]
        kept[self.renewed] = 0
        last = self._is_last[strand]
        kept[rows[last]] = values[last]  # of several for a row the last one stays
        return previous

    def count(self, kept: Column, breaks: Flags | None = None) -> Column:
        """Return the number of each record in its strand, from 1, and again from 1 at `breaks`; `kept` has the last."""
        places = np.arange(len(self.rows))
        begins = self.begins if breaks is None else self.begins | breaks
        since = np.maximum.accumulate(np.where(begins, places, 0))
        goes_on = self._goes_on[self._strand] & self.begins
        if breaks is not None:
            goes_on &= ~breaks
        numbers: Column = places - since + 1 + np.where(goes_on, kept[self.rows], 0)[since]
        kept[self.rows] = numbers  # the last one stays
        return numbers
