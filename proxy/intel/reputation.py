"""What clients, their networks and the networks of these were like lately: points that fade. Pure.

    a ban, a hard verdict, a listing -> points for the client, a part of them for its network and its ASN
    time, and minutes in which it behaved -> fewer points

Who is not known has no points, and is as anybody else; nobody begins with some. Points halve in a day by themselves.
Behaving takes a share of them for each minute with a request that was answered: so an hour of it does as much as a day
without, and a flood of good requests no more than one a minute.

Points are no verdict. They weigh little (`weight`), less than it takes to be as likely an abuser as not, and less for
what others in a network did: nobody is held back for his neighbours alone. And as verdicts are among what gives
points, their weight must not be enough to bring the next one: at its most it leaves a client far below `PRICED`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from fastpath import parents
from proxy.policy.ladder import is_client

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

HALVES_SECONDS: Final = 86_400.0
MOST_POINTS: Final = 4.0
GOOD_MINUTE: Final = 1 / 87  # share of the points that it takes: an hour of them halves
SHARES: Final = (1.0, 0.25, 1 / 16)  # of points: the client, its network, its ASN
WEIGHTS: Final = (2.0, 0.6, 0.3)  # log-odds at their most, likewise
FORGOTTEN: Final = 0.02  # points that are none
MOST_SUBJECTS: Final = 65_536
MOST_ASN: Final = 2**32 - 1
_MINUTE: Final = 60.0


class Standing(NamedTuple):
    """Points: of a client, of its network, of its ASN."""

    client: float = 0.0
    network: float = 0.0
    asn: float = 0.0

    @property
    def weight(self) -> float:
        """What they say against the client, log-odds; 0.0: nothing."""
        return sum(most * (1 - float(2.0**-points)) for most, points in zip(WEIGHTS, self, strict=True))


class Reputation:
    """The points of many. Of more than MOST_SUBJECTS those with the fewest go."""

    def __init__(self, most: int = MOST_SUBJECTS) -> None:
        """Nobody is known."""
        self._rows: dict[tuple[bool, int], int] = {}  # whether it is an ASN, and which
        self._asns = np.zeros(most, bool)
        self._keys = np.zeros(most, np.uint64)
        self._points = np.zeros(most, np.float32)
        self._since_s = np.zeros(most, np.float64)  # when they were so many
        self._good_s = np.zeros(most, np.float64)  # when it behaved last
        self._free = [*range(most)]

    def __len__(self) -> int:
        """Return how many are known."""
        return len(self._rows)

    def blame(self, subject: int, points: float, now_s: float, asn: int = 0) -> None:
        """Give points to a client and, less, to what is around it; or to a network, which then counts as such.

        Args:
            subject: Key of a client or network.
            points: Above 0.
            now_s: Seconds since 1970.
            asn: Of the client; 0: unknown.

        """
        for share, about in zip(SHARES, _around(subject, asn), strict=True):
            if about is not None:
                self._add(about, points * share, now_s)

    def credit(self, clients: Iterable[int], now_s: float) -> None:
        """Note that clients have behaved; once a minute each is enough, and more changes nothing."""
        for client in clients:
            row = self._rows.get((False, client))
            if row is not None and now_s - self._good_s[row] >= _MINUTE:
                self._good_s[row] = now_s
                self._set(row, self._now(row, now_s) * (1 - GOOD_MINUTE), now_s)

    def standing(self, client: int, now_s: float, asn: int = 0) -> Standing:
        """Return the points of a client and of what is around it."""
        return Standing(*(self._of(about, now_s) for about in _around(client, asn)))

    def known(self, clients: NDArray[np.uint64]) -> list[int]:
        """Return those of some clients that have points themselves."""
        return [client for client in clients.tolist() if (False, client) in self._rows]

    # Rows.

    def _add(self, about: tuple[bool, int], points: float, now_s: float) -> None:
        row = self._rows.get(about)
        if row is None:
            if not self._free:
                self._make_room(now_s)
            row = self._rows[about] = self._free.pop()
            self._asns[row], self._keys[row] = about
            self._points[row] = self._good_s[row] = 0.0
        self._set(row, min(MOST_POINTS, self._now(row, now_s) + points), now_s)

    def _set(self, row: int, points: float, now_s: float) -> None:
        self._points[row], self._since_s[row] = points, now_s
        if points < FORGOTTEN:
            self._forget(row)

    def _forget(self, row: int) -> None:
        del self._rows[bool(self._asns[row]), int(self._keys[row])]
        self._free.append(row)
        self._points[row] = 0.0

    def _of(self, about: tuple[bool, int] | None, now_s: float) -> float:
        row = None if about is None else self._rows.get(about)
        points = 0.0 if row is None else self._now(row, now_s)
        return points if points >= FORGOTTEN else 0.0

    def _now(self, row: int, now_s: float) -> float:
        """Return the points that are left; a clock that was set back adds none."""
        passed_s = max(0.0, now_s - float(self._since_s[row]))
        return float(self._points[row] * 2.0 ** (-passed_s / HALVES_SECONDS))

    def _make_room(self, now_s: float) -> None:
        """Forget a sixteenth, those with the fewest points: so that not each newcomer costs a look at all."""
        left = self._points * 2.0 ** (-np.maximum(0.0, now_s - self._since_s) / HALVES_SECONDS)
        for row in np.argsort(left)[: max(1, len(left) // 16)].tolist():
            self._forget(row)

    # Disk.

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return what is known, for a file: a copy."""
        rows = self._points > 0
        return {
            "asns": self._asns[rows],
            "keys": self._keys[rows],
            "points": self._points[rows],
            "since_s": self._since_s[rows],
        }

    def take_up(self, columns: Mapping[str, NDArray[Any]], now_s: float) -> None:
        """Go on from what was written down; what makes no sense is left out."""
        for is_asn, key, points, since_s in _rows(columns):
            about = is_asn, key
            if about not in self._rows and self._free and FORGOTTEN <= points <= MOST_POINTS and since_s <= now_s:
                row = self._rows[about] = self._free.pop()
                self._asns[row], self._keys[row] = about
                self._set(row, points, since_s)


def _around(subject: int, asn: int) -> Iterator[tuple[bool, int] | None]:
    """Yield the client, its network and its ASN; None for what there is not."""
    above = parents(subject)
    yield (False, subject) if is_client(subject) else None
    yield (False, above[-1] if above else subject)
    yield (True, asn) if 0 < asn <= MOST_ASN else None


def _rows(columns: Mapping[str, NDArray[Any]]) -> Iterator[tuple[bool, int, float, float]]:
    lists = (columns[name].tolist() for name in ("asns", "keys", "points", "since_s"))
    return zip(*lists, strict=True)
