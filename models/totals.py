"""How much was asked for in each network lately, and how often for each subject: windows of time, in columns.

Windows of clients (windows.py) are for models. They hold so many requests however long those took, and what of their
order and their pauses tells people from programs. Of networks and of subjects the operator wants to know who or what it
is that keeps the guard busy now. So these hold the minute that is being filled and the one before it, and five totals.
Bits of different members are the same as there. For each record that costs a quarter of what windows of clients do.

What was not asked for in either minute is forgotten. Where all rows are taken, those with the fewest requests are made
free: a flood of subjects that are asked for once pushes out its like, and not what everybody asks for. Who comes anew
in such a flood may be counted from the second or third request only.

Memory, for 8,192 rows: two panes of 168 bytes, and 25 bytes of what else there is of a row: 3 MB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.key_arrays import network_keys
from models.features import different
from models.marks import DELAY, SHADOW, are_lookups
from models.row_index import RowIndex

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from models.steps import Steps

    Flags = NDArray[np.bool_]
    Keys = NDArray[np.uint64]
    Records = NDArray[np.void]
    Rows = NDArray[np.int32]

ROWS: Final = 8192
TURN: Final = 512  # records, in two steps of 0.1 ms
PANE_NS: Final = 60_000_000_000
SECOND_NS: Final = 1_000_000_000
REQUESTS, ANSWERED, MISSED, REFUSED, SENT = range(5)  # columns of a pane
NOT_FOUND: Final = 404
NOBODY: Final = 0  # no key of a client or network; the hash of a subject that was not read
BIT_WORDS: Final = 32
_BITS_SHIFT: Final = np.uint64(54)  # leaves a number of one of 1,024 bits
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio
_MOST_RANK: Final = 65_535  # 16 bits are sorted in 50 us; to part numbers most of which are 1 may take milliseconds


class Grouping(NamedTuple):
    """Whose records are added up together, and who or what is told apart among them; NOBODY: neither."""

    keys: Callable[[Records], Keys]
    members: Callable[[Records], Keys]


def _subjects(records: Records) -> Keys:
    return np.where(are_lookups(records), records["subject_hash"], NOBODY)


BY_NETWORK: Final = Grouping(lambda records: network_keys(records["client"]), _subjects)
BY_SUBJECT: Final = Grouping(_subjects, lambda records: records["client"])


class Total(NamedTuple):
    """What was asked for in a network, or about a subject."""

    key: int
    operation: int  # of the last request
    requests: int
    members: int  # different ones, about: the standard error is 3 % for 1,000; 7,098 at the most
    not_found_share: float  # of what has a name and was not refused
    refused_share: float  # by the guard
    sent_bytes: int


class Pane(NamedTuple):
    """A minute."""

    totals: NDArray[np.int64]  # shape (5, rows)
    bits: NDArray[np.uint32]  # of members, shape (rows, BIT_WORDS)

    @classmethod
    def empty(cls, rows: int) -> Pane:
        """Return one in which nothing happened."""
        return cls(np.zeros((SENT + 1, rows), np.int64), np.zeros((rows, BIT_WORDS), np.uint32))

    def clear(self, rows: Rows | slice = slice(None)) -> None:
        """Forget rows."""
        self.totals[:, rows] = 0
        self.bits[rows] = 0


class Totals:
    """Those of one node, of networks or of subjects; bounded."""

    def __init__(self, grouping: Grouping, rows: int = ROWS) -> None:
        """Know nothing.

        Args:
            grouping: BY_NETWORK or BY_SUBJECT.
            rows: How many of them there are, 4 x TURN or more.

        Raises:
            ValueError: Too few rows.

        """
        if rows < 4 * TURN:
            raise ValueError(f"rows {rows} are fewer than {4 * TURN}")
        self._grouping = grouping
        self._index = RowIndex(rows)
        self._key = np.zeros(rows, np.uint64)
        self._operation = np.zeros(rows, np.uint8)
        self._now, self._before = Pane.empty(rows), Pane.empty(rows)
        self._minute = 0
        self._since_ns = 0  # the first record

    def feed(self, records: Records) -> Steps[None]:
        """Add records of RECORD_DTYPE, in the order of time, step by step.

        Those of a step count for the minute of the last of them.
        """
        for start in range(0, len(records), TURN):
            yield from self._add(records[start : start + TURN])

    def seconds(self, now_ns: int) -> int:
        """Return how many of the last seconds are counted: 60 to 120, or since the first record."""
        begins_ns = max(self._since_ns or now_ns, (now_ns // PANE_NS - 1) * PANE_NS)
        return max(1, (now_ns - begins_ns) // SECOND_NS)

    def busiest(self, most: int, now_ns: int) -> list[Total]:
        """Return those with the most requests, the busiest first, at most so many."""
        self._pass(now_ns)
        used = self._index.used
        rows = used[np.argsort(-self._requests(used), kind="stable")[:most]]
        requests, answered, missed, refused, sent = self._now.totals[:, rows] + self._before.totals[:, rows]
        columns = (
            self._key[rows],
            self._operation[rows],
            requests,
            different(self._now.bits[rows] | self._before.bits[rows]).round().astype(np.int64),
            missed / np.maximum(answered, 1),
            refused / np.maximum(requests, 1),
            sent,
        )
        return [Total(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]

    def _requests(self, rows: Rows) -> NDArray[np.int64]:
        requests: NDArray[np.int64] = self._now.totals[REQUESTS, rows] + self._before.totals[REQUESTS, rows]
        return requests

    def _pass(self, now_ns: int) -> None:
        """Begin the minute that it is, if it is a new one; forget who was idle."""
        minutes = now_ns // PANE_NS - self._minute
        if minutes <= 0:
            return
        self._minute += minutes
        for _ in range(min(minutes, 2)):
            self._now, self._before = self._before, self._now
            self._now.clear()
        used = self._index.used
        self._index.release(used[self._requests(used) == 0])

    def _add(self, records: Records) -> Steps[None]:
        """Add records of one turn; between the two steps somebody may ask for the busiest."""
        end_ns = int(records["time_ns"][-1])
        self._since_ns = self._since_ns or end_ns
        self._pass(end_ns)
        if self._index.free < TURN:
            self._make_room()
        yield
        keys = self._grouping.keys(records)
        counted = np.flatnonzero(keys != NOBODY)
        found, places = np.unique(keys[counted], return_inverse=True)
        placed = self._index.place(found)
        self._key[placed] = found
        rows = placed[places]
        self._operation[rows] = records["operation"][counted]  # of several for a row the last one stays
        self._add_totals(records, counted, rows)
        self._add_members(self._grouping.members(records)[counted], rows)
        yield

    def _make_room(self) -> None:
        """Free the rows with the fewest requests, for two turns of which all keys are new."""
        used = self._index.used
        requests = np.minimum(self._requests(used), _MOST_RANK).astype(np.uint16)
        gone = used[np.argsort(requests, kind="stable")[: 2 * TURN]]
        for pane in (self._now, self._before):
            pane.clear(gone)
        self._index.release(gone)

    def _add_totals(self, records: Records, counted: NDArray[np.intp], rows: Rows) -> None:
        action = records["action"][counted]
        refused = (action > DELAY) & (action < SHADOW)
        answered = are_lookups(records)[counted] & ~refused
        missed = answered & (records["status"][counted] == NOT_FOUND)
        columns = (np.ones(len(rows), np.bool_), answered, missed, refused, records["sent"][counted])
        for total, column in zip(self._now.totals, columns, strict=True):
            np.add.at(total, rows, column.astype(np.int64))

    def _add_members(self, members: Keys, rows: Rows) -> None:
        known = members != NOBODY
        bit = (members[known] * _SPREAD >> _BITS_SHIFT).astype(np.uint32)
        place = rows[known] * BIT_WORDS + (bit >> 5)
        np.bitwise_or.at(self._now.bits.reshape(-1), place, np.uint32(1) << (bit & 31))
