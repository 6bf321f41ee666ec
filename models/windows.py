"""What each client did lately, in rows: one for each, added up from records as they come.

A window holds the last PANE to 2 x PANE requests of a client: those of the pane that is being filled, and of the one
before it. It is forgotten when the client is away for six hours (FORGET_NS). So an old sin does not count for
ever, a patient client is not forgotten between two requests, and there is no moment at which little is known of a
busy one.

All figures are whole numbers that are added, or of which the greatest is kept, or bits that are set (marks.py). Rows
are made free between turns of TURN records, counted from the first one ever fed. So the same records give exactly the
same windows, however the stream is cut into blocks.

Memory, for 65,536 rows: two panes of 156 bytes and 73 bytes of what else there is of a row: 25 MB.
A turn takes a tenth of a millisecond, or four tenths where all clients are new, and is a step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath.record_array import RECORD_DTYPE, gather
from models.marks import BANNED, FORGET_NS, PEAKS, SUMS
from models.panes import Panes
from models.row_index import RowIndex
from models.steps import whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.steps import Steps

    Records = NDArray[np.void]
    Keys = NDArray[np.uint64]
    Rows = NDArray[np.int32]

TURN: Final = 512
PANE: Final = 240
FIRST_LOOKS: Final = np.array([8, 15, 30, 60, 120, PANE])
BIT_WORDS: Final = 8

WINDOW: Final = np.dtype([*((name, np.int32) for name in (*SUMS, *PEAKS)), ("members", np.uint32, (BIT_WORDS,))])
"""A window: sums and peaks as in `marks.py`, and a bit for each member, some of them the same (features.different)."""


class Windows:
    """The windows of one node; bounded.

    Attributes:
        evicted: How many windows made room for others, the least recently seen ones.
        left: Of how many records this turn still is.

    """

    def __init__(self, rows: int = 65_536) -> None:
        """Know nobody.

        Args:
            rows: How many windows there are, 2 x TURN or more.

        Raises:
            ValueError: Too few rows.

        """
        if rows < 2 * TURN:
            raise ValueError(f"rows {rows} are fewer than {2 * TURN}")
        self.evicted = 0
        self.left = TURN
        self._index = RowIndex(rows)
        self._key = np.zeros(rows, np.uint64)
        self._panes = Panes(rows, np.isin(np.arange(PANE), FIRST_LOOKS).tobytes())
        self._due = np.zeros(rows, np.bool_)
        self._seen = np.zeros(rows, np.int64)  # the place of its last record in the stream
        self._fed = 0

    @property
    def rows(self) -> int:
        """How many windows there can be."""
        return len(self._key)

    def feed(self, records: Records) -> None:
        """Add records of RECORD_DTYPE, in the order of time.

        Those of who is banned are left out: they show the ban, not what somebody does.
        """
        whole(self.feeding(records))

    def feeding(self, records: Records) -> Steps[None]:
        """`feed`, step by step; windows are not to be looked at before the last one."""
        records = np.ascontiguousarray(records, RECORD_DTYPE)  # joined blocks have lost the gap in the layout
        while len(records):
            if self.left == TURN:
                self._make_room()
            block, records = records[: self.left], records[self.left :]
            self.left = self.left - len(block) or TURN
            self._add(block)
            self._fed += len(block)
            yield

    def due(self) -> Rows:
        """Return the rows to be scored.

        The first looks are at 8, 15, 30, 60 and 120 requests, further ones at every 240. Who passed several since the
        last call is due once.
        """
        rows = np.flatnonzero(self._due).astype(np.int32)
        self._due[rows] = False
        return rows

    def columns(self, rows: Rows) -> NDArray[np.void]:
        """Return the windows of rows, both panes together, as WINDOW."""
        return np.frombuffer(self._panes.read(rows), WINDOW)

    def keys(self, rows: Rows) -> Keys:
        """Return whose rows they are."""
        found: Keys = self._key[rows]
        return found

    def _make_room(self) -> None:
        """See to it that the next turn finds rows, be all of its clients new."""
        if self._index.free >= TURN:
            return
        used = self._index.used
        count = max(TURN, len(used) // 32)  # finding them takes as long for many as for one
        seen = self._seen[used]
        gone = used[seen <= np.partition(seen, count - 1)[count - 1]]
        self._index.release(gone)
        self._panes.forget(gone)
        self._due[gone] = False
        self.evicted += len(gone)

    def _add(self, records: Records) -> None:
        """Add records of one turn."""
        heard = np.flatnonzero(records["reason"] != BANNED)
        if len(heard) < len(records):
            records = gather(records, heard)
        found, places = np.unique(records["client"], return_inverse=True)
        placed = self._index.place(found)
        self._key[placed] = found
        rows = placed[places]
        self._seen[rows] = np.arange(self._fed, self._fed + len(rows))  # the last one stays
        self._panes.add(records.view(np.uint8), rows, self._due.view(np.uint8), FORGET_NS)
