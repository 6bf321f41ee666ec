"""What each client did lately, in columns: one row for each, added up from records as they come.

A window holds the last PANE to 2 x PANE requests of a client: those of the pane that is being filled, and of the one
before it. It is forgotten when the client is away for six hours (strands.FORGET_NS). So an old sin does not count for
ever, a patient client is not forgotten between two requests, and there is no moment at which little is known of a
busy one.

All figures are whole numbers that are added, or of which the greatest is kept, or bits that are set (marks.py). Rows
are made free between turns of TURN records, counted from the first one ever fed. So the same records give exactly the
same windows, however the stream is cut into blocks.

Memory, for 65,536 rows: two panes of 156 bytes and 81 bytes of what else there is of a row: 26 MB.
A turn takes about a millisecond, in five steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath.record_array import RECORD_DTYPE, gather
from models.marks import BANNED, MARKS, PEAKS, SUMS, Kept, are_lookups, marks_of, matrix_of
from models.row_index import RowIndex
from models.steps import whole
from models.strands import Strands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.steps import Steps

    Flags = NDArray[np.bool_]
    Records = NDArray[np.void]
    Keys = NDArray[np.uint64]
    Rows = NDArray[np.int32]
    Matrix = NDArray[np.int32]

TURN: Final = 512
PANE: Final = 240
FIRST_LOOKS: Final = np.array([8, 15, 30, 60, 120, PANE])
BIT_WORDS: Final = 8
_BITS_SHIFT: Final = np.uint64(56)  # leaves a number of one of 256 bits
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio

WINDOW: Final = np.dtype([*((name, np.int32) for name in MARKS.names or ()), ("members", np.uint32, (BIT_WORDS,))])
"""A window: sums and peaks as in `marks.py`, and a bit for each member, some of them the same (features.different)."""
_SUMS: Final = slice(0, len(SUMS))
_PEAKS: Final = slice(len(SUMS), len(SUMS) + len(PEAKS))
_MEMBERS: Final = slice(len(SUMS) + len(PEAKS), None)
_WIDTH: Final = WINDOW.itemsize // 4
# Windows are kept as a matrix: NumPy copies records field by field, in ten times the time.


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
        self._now, self._before = np.zeros((rows, _WIDTH), np.int32), np.zeros((rows, _WIDTH), np.int32)
        self._kept = Kept.empty(rows)
        self._look_at = np.full(rows, FIRST_LOOKS[0], np.int64)
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
        records = np.asarray(records, RECORD_DTYPE)  # joined blocks have lost the gap in the layout
        while len(records):
            if self.left == TURN:
                self._make_room()
            block, records = records[: self.left], records[self.left :]
            self.left = self.left - len(block) or TURN
            banned = block["reason"] == BANNED
            if banned.any():
                block = gather(block, np.flatnonzero(~banned))
            if len(block):
                yield from self._add(block)
            self._fed += len(block)

    def due(self) -> Rows:
        """Return the rows to be scored, and make the next appointment with them.

        The first looks are at 8, 15, 30, 60 and 120 requests, further ones at every 240. Who passed several since the
        last call is due once.
        """
        rows = np.flatnonzero(self._kept.requests >= self._look_at).astype(np.int32)
        requests = self._kept.requests[rows]
        early = FIRST_LOOKS[np.searchsorted(FIRST_LOOKS[:-1], requests, side="right")]
        self._look_at[rows] = np.where(requests < PANE, early, (requests // PANE + 1) * PANE)
        return rows

    def columns(self, rows: Rows) -> NDArray[np.void]:
        """Return the windows of rows, both panes together, as WINDOW."""
        windows = self._now[rows]
        _merge(windows, self._before[rows])
        return windows.view(WINDOW).reshape(len(rows))

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
        self._kept.requests[gone] = 0
        self.evicted += len(gone)

    def _add(self, records: Records) -> Steps[None]:
        """Add records of one turn."""
        keys = records["client"]
        order = np.argsort(keys, kind="stable")
        records, keys = gather(records, order), keys[order]
        starts = np.flatnonzero(np.append(True, keys[1:] != keys[:-1]))
        placed = self._index.place(keys[starts])
        rows = np.repeat(placed, np.diff(np.append(starts, len(records))))
        self._key[placed] = keys[starts]
        self._seen[rows] = self._fed + order  # the last one stays
        alive = self._kept.requests[placed] > 0
        strands = Strands(starts, rows, records["time_ns"], self._kept.time_ns[placed], alive)
        yield
        marks = yield from marks_of(records, strands, self._kept)
        yield
        numbers = strands.count(self._kept.requests)
        self._look_at[strands.renewed] = FIRST_LOOKS[0]
        self._fill(strands, numbers, marks, _members(records))
        yield

    def _fill(self, strands: Strands, numbers: Rows, marks: NDArray[np.void], members: tuple[Flags, Keys]) -> None:
        """Add marks to the panes.

        A piece is a part of the block that falls into one pane of one row. Only the last two pieces of a row leave
        something behind, however long the block is.
        """
        opens = (numbers - 1) % PANE == 0
        begins = opens.copy()
        begins[strands.starts] = True
        pieces = np.flatnonzero(begins)
        added = _added(marks, members, begins, pieces)
        rows = strands.rows[strands.starts]
        first = np.searchsorted(pieces, strands.starts)
        last = np.append(first[1:], len(pieces)) - 1

        going_on = ~opens[strands.starts]
        filled = self._now[rows[going_on]]
        _merge(filled, added[first[going_on]])
        self._now[rows[going_on]] = filled

        turned = opens[pieces[last]]
        rows, first, last = rows[turned], first[turned], last[turned]
        before = self._now[rows]
        inner = (last > first) & opens[pieces[last - 1]]
        before[inner] = added[last[inner] - 1]
        before[numbers[pieces[last]] == 1] = 0
        self._before[rows] = before
        self._now[rows] = added[last]


def _members(records: Records) -> tuple[Flags, Keys]:
    """Return which records have something to be told apart, and a well-mixed word of it."""
    lookups = are_lookups(records)
    return lookups, records["subject_hash"][lookups] * _SPREAD


def _added(marks: NDArray[np.void], members: tuple[Flags, Keys], begins: Flags, pieces: NDArray[np.intp]) -> Matrix:
    """Return what each piece adds."""
    added = np.zeros((len(pieces), _WIDTH), np.int32)
    of_records = matrix_of(marks)
    added[:, _SUMS] = np.add.reduceat(of_records[:, _SUMS], pieces, axis=0)
    added[:, _PEAKS] = np.maximum.reduceat(of_records[:, _PEAKS], pieces, axis=0)
    which, words = members
    piece = (np.cumsum(begins) - 1)[which]
    bit = (words >> _BITS_SHIFT).astype(np.uint32)
    np.bitwise_or.at(added.view(np.uint32)[:, _MEMBERS], (piece, bit >> 5), np.uint32(1) << (bit & 31))
    return added


def _merge(windows: Matrix, others: Matrix) -> None:
    """Add other windows to windows."""
    windows[:, _SUMS] += others[:, _SUMS]
    np.maximum(windows[:, _PEAKS], others[:, _PEAKS], out=windows[:, _PEAKS])
    windows[:, _MEMBERS] |= others[:, _MEMBERS]
