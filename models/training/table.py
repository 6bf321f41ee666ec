"""The table of features: what clients looked like whenever a guard would have looked at them, and who they were.

There are no addresses and no subjects in it, and times only as pauses within a window: nobody can be found again in
it. Of what kind its network is, is not written either, and recordings do not know (networks.py). The table is small
enough for the repository, as a CSV that can be read by anything.
"""

from __future__ import annotations

import csv
import gzip
import io
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.features import BEHAVIOUR, FEATURES, NAMES, NETWORK, compute
from models.marks import BANNED
from models.windows import FIRST_LOOKS, PANE, TURN, Windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Flags = NDArray[np.bool_]
    Texts = NDArray[np.str_]

MOST_LOOKS: Final = 12  # of one client: the first six, and six more at 240 requests each
WHO: Final = ("run", "tool", "family", "label", "split", "mode", "client", "requests")
ABUSIVE: Final = "abusive"
TRAIN, TEST, OWN = "train", "test", "own"  # splits; an operator's own clients have one of their own
SHARED: Final = "shared"  # mode of what nobody recorded: several runs of a tool put together, as from one address
EARLIER: Final = "earlier"  # mode of what is from logs of before
DIGITS: Final = ".5g"
_WRITTEN: Final = NAMES[BEHAVIOUR]
_UNWRITTEN: Final = (0.0,) * len(FEATURES[NETWORK])


class Who(NamedTuple):
    """To whom records belong."""

    run: str
    tool: str
    family: str
    label: str
    split: str
    mode: str


class Table(NamedTuple):
    """Looks at clients, shape (n,) each; those of one client stand together, the first one first.

    The only look at a client with fewer requests than the first look takes is none that a guard takes: it is there to
    be counted as missed.
    """

    run: Texts
    tool: Texts
    family: Texts
    label: Texts
    split: Texts
    mode: Texts
    client: NDArray[np.int64]  # a number within the run
    requests: NDArray[np.int64]  # of the client, up to this look
    features: NDArray[np.float32]  # shape (n, k)

    @property
    def abusive(self) -> Flags:
        """Which looks are at abusers."""
        found: Flags = self.label == ABUSIVE
        return found

    @property
    def shared(self) -> Flags:
        """Which looks are at several clients behind one address."""
        found: Flags = self.mode == SHARED
        return found

    @property
    def fresh(self) -> Flags:
        """Which looks are at clients of the logs that are trained on now, whose networks were looked up."""
        found: Flags = (self.split == OWN) & (self.mode != EARLIER)
        return found

    @property
    def behaviour(self) -> NDArray[np.float32]:
        """The features of what clients do."""
        return self.features[:, BEHAVIOUR]

    @property
    def seen(self) -> Flags:
        """Which are looks that a guard takes."""
        found: Flags = self.requests >= FIRST_LOOKS[0]
        return found

    @property
    def clients(self) -> NDArray[np.intp]:
        """A number for each client, the same for all looks at it, ascending from 0."""
        new = np.ones(len(self.run), np.bool_)
        new[1:] = (self.run[1:] != self.run[:-1]) | (self.client[1:] != self.client[:-1])
        return np.cumsum(new) - 1

    def at(self, which: NDArray[np.intp] | Flags) -> Table:
        """Return some of the looks."""
        return Table._make(column[which] for column in self)


def looks_of(records: NDArray[np.void]) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield how many requests the one client of these records had made at each look at it, and its features then."""
    records = records[records["reason"] != BANNED]  # which windows leave out, too
    windows, made, row = Windows(2 * TURN), 0, np.zeros(1, np.int32)
    for ends in _ends(len(records)):
        windows.feed(records[made:ends])
        made = ends
        yield made, compute(windows.columns(row))[0]


def _ends(count: int) -> list[int]:
    further = range(2 * PANE, count + 1, PANE)
    ends = [int(end) for end in (*FIRST_LOOKS, *further) if end <= count][:MOST_LOOKS]
    return ends or [count] * (count > 0)


def table_of(clients: Iterable[tuple[Who, int, NDArray[np.void]]]) -> Table:
    """Return the table of clients: who they are, their numbers within the run, their records in the order of time."""
    return _table(
        (*who, number, requests, features)
        for who, number, records in clients
        for requests, features in looks_of(records)
    )


def _table(rows: Iterable[tuple[Any, ...]]) -> Table:
    columns: list[Sequence[Any]] = [*zip(*rows, strict=True)] or [()] * len(Table._fields)
    texts = (np.array(column, np.str_) for column in columns[:6])
    numbers = (np.array(column, np.int64) for column in columns[6:8])
    return Table._make((*texts, *numbers, np.array(columns[8], np.float32).reshape(-1, len(NAMES))))


def joined(tables: Iterable[Table]) -> Table:
    """Return several tables as one."""
    return Table._make(np.concatenate(columns) for columns in zip(*tables, strict=True))


def write(table: Table, path: Path) -> None:
    """Write a table; the same one gives the same bytes."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*WHO, *_WRITTEN])
    for *who, features in zip(*table, strict=True):
        rows.writerow([*who, *(format(value, DIGITS) for value in features[BEHAVIOUR].tolist())])
    path.write_bytes(gzip.compress(text.getvalue().encode(), mtime=0))


def read(path: Path) -> Table:
    """Return a table that was written.

    Raises:
        ValueError: It is none, or of other features.

    """
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        heading = next(rows, [])
        if tuple(heading) != (*WHO, *_WRITTEN):
            raise ValueError(f"{path} is no table of these features: record anew, or take the table of this version")
        return _table((*row[:6], int(row[6]), int(row[7]), [*map(float, row[8:]), *_UNWRITTEN]) for row in rows)
