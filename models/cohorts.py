"""Cohorts: clients of many networks that behave alike, and have something in common that is suspicious.

    clients that are due (Watch) -> cell (how it behaves)             -+-> cohorts -> findings
                                 -> marks (what speaks against it)    -+

Alike. The features of a client (`models.features`) are rounded coarsely, those that describe a program and not a
person, and all together make a *cell*: one number. There are two roundings, half a step apart, so that one who is at
an edge in the one is not in the other.

Suspicious. A client is *marked* for what would not convict anybody alone: of what its network obtained most was cold
(`models.coldness`), most of its searches found nothing, or most of its requests upload.

A cohort is a cell in which MARKED networks or more (/24, /48) are marked for one thing, and so large a share of the
networks in it that others of the site cannot explain it: the share that is certain (Wilson's interval, three standard
deviations down) is at least ABOVE of the way from what is usual for others to all. Refreshes of a thousand people are
alike as well; but what they obtain is not cold. And where all is cold, on a small server, that is usual.

Only those are found who are marked themselves, so an honest client that happens to behave alike is left alone.

How a client behaved when it was looked at last is what counts, for six hours, of the 16,384 that were looked at last.
Memory: 35 bytes for each window, 2.3 MB for 65,536.

Not found: who does it among more honest clients that behave the same way, as a walk at the pace of gpg where many
refresh; who gives each of its clients another program and another pace, or mixes what is cold with as much that
everybody wants. That makes it slower and dearer by as much.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.key_arrays import network_keys
from models.coldness import SECOND_NS, proven
from models.detector import Finding
from models.features import NAMES
from models.marks import FORGET_NS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.coldness import Coldness
    from models.steps import Steps
    from models.watch import Due
    from models.windows import Windows

    Columns = NDArray[np.void]
    Keys = NDArray[np.uint64]
    Flags = NDArray[np.bool_]
    Places = NDArray[np.intp]

COHORT: Final = "cohort"
MOST_CLIENTS: Final = 16_384
MARKED: Final = 8  # networks
ABOVE: Final = 0.4
WEIGHT: Final = 3.0  # alone it moves nobody; with what marks a member it does
MOST_SHARE: Final = 0.8  # of searches, or of requests: "most"
ALL_COLD: Final = 0.99  # usual as long as nothing is known, or where each certificate is wanted by one person
LEAST: Final = 4  # of which a share is taken
LOOK_S: Final = 10
LASTS_S: Final = 3600  # what was said of a member
MOST_SAID: Final = 65_536
MOST_FOUND: Final = 512  # at a time; the others come 10 s later
COLD, MISSING, UPLOADING = range(3)
TEXTS: Final = ("obtain what nobody else asks for", "search for what is not there", "upload")
# Of each feature, what is not told apart. Peaks and what grows with the time that a client is watched are left out.
STEPS: Final = {
    "identity_share": 0.5,
    "words_share": 0.5,
    "upload_share": 0.5,
    "page_share": 0.5,
    "unknown_share": 0.5,
    "odd_method_share": 0.5,
    "http_1_0_share": 0.5,
    "distinct_share": 0.5,
    "domain_share": 0.5,
    "same_domain_share": 0.5,
    "key_id_share": 0.5,
    "order": 0.5,
    "overlap_share": 0.5,
    "nearness": 10.0,
    "pause": 3.0,
    "pause_spread": 2.0,
    "upload_size": 4.0,
}
_COLUMNS: Final = [NAMES.index(name) for name in STEPS]
_WIDTHS: Final = np.array([*STEPS.values()])
_ROUNDINGS: Final = (0.5, 0.8)  # of a step, so that no edge is at 0 or 1
_ODD: Final = np.random.default_rng(1).integers(0, 2**63, len(STEPS), np.uint64) | np.uint64(1)
_SPREAD: Final = np.uint64(0x9E3779B97F4A7C15)


class Cohort(NamedTuple):
    """Clients that belong together."""

    about: int  # COLD, MISSING or UPLOADING
    networks: int  # that are marked
    share: float  # of the networks of the cell, what is certain of it
    usual: float  # share among others
    clients: Keys


class Cohorts:
    """Looks at clients of one node; bounded.

    Attributes:
        found: The cohorts that there were when it looked last.

    """

    def __init__(self, windows: Windows, *, coldness: Coldness | None = None) -> None:
        """Know nobody.

        Args:
            windows: Whose rows they are. Like `coldness` they are fed by somebody else.
            coldness: Without it nobody is marked for what is cold.

        """
        self.found: list[Cohort] = []
        self._coldness = coldness
        self._windows = windows
        rows = windows.rows
        self._key = np.zeros(rows, np.uint64)
        self._cells = np.zeros((rows, len(_ROUNDINGS)), np.uint64)
        self._marks = np.zeros((rows, len(TEXTS)), np.bool_)
        self._seen_s = np.full(rows, -(2**40), np.int64)
        self._look_s = 0
        self._said: OrderedDict[int, int] = OrderedDict()  # until when, of clients

    def look(self, now_ns: int) -> Iterator[Finding | None]:
        """Yield what is to be said now; None: nothing yet, but a step is done (`models.steps`).

        Members of a cohort are named again before an hour is over.
        """
        now_s = now_ns // SECOND_NS
        if now_s < self._look_s:
            return
        self._look_s = now_s + LOOK_S
        self.found = yield from self._cohorts(now_s)
        yield from self._findings(now_s)

    @property
    def members(self) -> set[int]:
        """Whoever is in a cohort, by their keys."""
        return {client for cohort in self.found for client in cohort.clients.tolist()}

    def note(self, due: Due, now_ns: int) -> None:
        """Keep how clients behave, and what speaks against them."""
        self._key[due.rows] = due.clients
        self._cells[due.rows] = cells(due.features)
        self._marks[due.rows] = self._marked(due.columns, due.clients, now_ns)
        self._seen_s[due.rows] = now_ns // SECOND_NS

    def _marked(self, columns: Columns, clients: Keys, now_ns: int) -> Flags:
        return np.column_stack(
            (
                self._cold(clients, now_ns),
                _most(columns["missed"], columns["searches"]),
                _most(columns["uploads"], columns["requests"]),
            )
        )

    def _cold(self, clients: Keys, now_ns: int) -> Flags:
        """Tell whose networks obtained mostly what was cold: it is at least half way from what was usual to all."""
        if self._coldness is None:
            return np.zeros(len(clients), np.bool_)
        _, asked, cold, usual = self._coldness.activity(network_keys(clients), now_ns)
        flags: Flags = (asked >= LEAST) & (usual < ALL_COLD * asked) & (2 * cold >= usual + asked)
        return flags

    def _cohorts(self, now_s: int) -> Steps[list[Cohort]]:
        rows = self._seen_lately(now_s)
        clients, marks = self._key[rows], self._marks[rows]
        networks = network_keys(clients)
        found: list[Cohort] = []
        for rounding in range(len(_ROUNDINGS)):
            group = yield from _grouped(self._cells[rows, rounding], networks)
            for about in range(len(TEXTS)):
                found += group.cohorts(about, clients, marks[:, about])
                yield
        return found

    def _seen_lately(self, now_s: int) -> Places:
        rows: Places = np.flatnonzero(self._seen_s > now_s - FORGET_NS // SECOND_NS)
        rows = rows[self._windows.keys(rows.astype(np.int32)) == self._key[rows]]  # not of who left his row to others
        if len(rows) > MOST_CLIENTS:
            rows = rows[np.argpartition(self._seen_s[rows], -MOST_CLIENTS)[-MOST_CLIENTS:]]
        return rows

    def _findings(self, now_s: int) -> Iterator[Finding]:
        left = MOST_FOUND
        for cohort in self.found:
            reason = (
                f"one of {len(cohort.clients)} clients of {cohort.networks} networks that behave alike and"
                f" {TEXTS[cohort.about]}: {cohort.share:.0%} of those who behave so, usually {cohort.usual:.0%}"
            )
            for client in cohort.clients.tolist():
                if left and self._said.get(client, 0) < now_s + LASTS_S // 2:
                    left -= 1
                    self._said[client] = now_s + LASTS_S
                    self._said.move_to_end(client)
                    yield Finding(client, COHORT, WEIGHT, reason)
        while len(self._said) > MOST_SAID:
            self._said.popitem(last=False)


class _Group(NamedTuple):
    """Clients by their cells; a network counts once in a cell, however many clients it has there.

    Pairs are of a cell and a network.
    """

    cell: Places  # of each client
    pair: Places  # of each client
    cell_of_pair: Places
    networks: Places  # how many are in each cell

    def cohorts(self, about: int, clients: Keys, marks: Flags) -> Iterator[Cohort]:
        """Yield the cohorts of clients that are marked."""
        marked_pairs = np.bincount(self.pair[marks], minlength=len(self.cell_of_pair)) > 0
        marked = np.bincount(self.cell_of_pair[marked_pairs], minlength=len(self.networks))
        share = proven(self.networks.astype(np.float64), marked.astype(np.float64))
        # One more of each kind: where nobody else is known, half of the others are taken to be marked.
        usual = (marked.sum() - marked + 1) / (self.networks.sum() - self.networks + 2)
        above = (share - usual) / (1 - usual)
        for cell in np.flatnonzero((marked >= MARKED) & (above >= ABOVE)):
            members = clients[marks & (self.cell == cell)]
            yield Cohort(about, int(marked[cell]), float(share[cell]), float(usual[cell]), members)


def _grouped(client_cells: Keys, networks: Keys) -> Steps[_Group]:
    """Group clients; arrays by client, shape (n,)."""
    cell_values, cell = np.unique(client_cells, return_inverse=True)
    yield
    _, first, pair = np.unique(client_cells ^ networks * _SPREAD, return_index=True, return_inverse=True)
    yield
    cell_of_pair = cell[first]
    return _Group(cell, pair, cell_of_pair, np.bincount(cell_of_pair, minlength=len(cell_values)))


def cells(features: NDArray[np.float32]) -> Keys:
    """Return the cell of each client for each rounding, shape (n, 2)."""
    steps = features[:, _COLUMNS] / _WIDTHS
    rounded = [np.floor(steps + offset).astype(np.int64).astype(np.uint64) for offset in _ROUNDINGS]
    return np.column_stack([(each * _ODD).sum(axis=1, dtype=np.uint64) * _SPREAD for each in rounded])


def _most(some: NDArray[np.int32], of_all: NDArray[np.int32]) -> Flags:
    flags: Flags = (of_all >= LEAST) & (some >= MOST_SHARE * of_all)
    return flags
