"""Clusters: many suspicious clients in one place or network, where usually few are.

    who was refused, or stands accused -> suspicious (for QUARTER) -+-> batch -> geo.grouping -> Cluster
    who asks for anything              -> others, a few by chance  -+            (its own process)

Only clients are counted against a place that are suspicious themselves, and a place only if it is not where the site's
people are anyway. So who lives where attackers rent is left alone, and so is a town of many users.

The others are the baseline, and it is slow on purpose: NEWCOMERS a minute, by chance. Who comes with ten thousand
addresses to make his places usual has to stay for hours to do so, and those of them that become suspicious leave it.

What behaves alike wherever it is, `models.cohorts` looks for.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.origin import NetworkKind
from geo.grouping import NETWORK, SPOT, Terms, pack, read_answer
from geo.place import UNKNOWN
from geo.travel import network_of, radius_km

if TYPE_CHECKING:
    from geo.place import Location

SUSPICIOUS: Final = 2000  # clients
OTHERS: Final = 2048
LEAST_OTHERS: Final = 64  # before that nothing is unusual
NEWCOMERS: Final = 8  # among the others, a minute
QUARTER_S: Final = 900
PLAIN_KM: Final = 100.0  # a circle that is larger is no place
NOWHERE: Final = frozenset({NetworkKind.VPN, NetworkKind.TOR, NetworkKind.RELAY, NetworkKind.SATELLITE})


class Cluster(NamedTuple):
    """Suspicious clients that are together."""

    about: str  # grouping.PLACE or NETWORK
    where: str
    clients: tuple[int, ...]
    networks: int
    share: float  # of the suspicious
    usual: float  # of the others

    @property
    def reason(self) -> str:
        """What is said of each of them."""
        return (
            f"one of {len(self.clients)} suspicious clients of {self.networks} networks {self.where}: "
            f"{self.share:.0%} of all that are suspicious, {self.usual:.1%} of the others"
        )


class Spots:
    """Clients and where they are; of more than `most` the one that was noted longest ago goes."""

    def __init__(self, most: int) -> None:
        """Know nobody."""
        self._spots = np.zeros(most, SPOT)
        self._rows: OrderedDict[int, int] = OrderedDict()  # by client
        self._free = [*range(most)]
        self._known: dict[int, tuple[Location, int]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._rows)

    def __contains__(self, client: int) -> bool:
        """Return whether a client is there."""
        return client in self._rows

    def put(self, client: int, location: Location, now_s: int) -> None:
        """Note where a client is."""
        self.drop(client)
        if not self._free:
            self.drop(next(iter(self._rows)))
        row = self._rows[client] = self._free.pop()
        self._spots[row] = _spot(client, location)
        self._known[client] = location, now_s

    def drop(self, client: int) -> None:
        """Forget a client."""
        if client in self._rows:
            self._free.append(self._rows.pop(client))
            del self._known[client]

    def forget(self, before_s: int) -> None:
        """Forget those that were noted last before then."""
        while self._rows and self._known[client := next(iter(self._rows))][1] < before_s:
            self.drop(client)

    def location(self, client: int) -> Location:
        """Return where a client is."""
        return self._known[client][0] if client in self._known else UNKNOWN

    def all(self) -> np.ndarray:
        """Return them, of dtype SPOT, shape (n,)."""
        return self._spots[[*self._rows.values()]]


class Clusters:
    """The suspicious clients of one node, and its baseline; bounded.

    Attributes:
        suspicious: Who is suspicious, for a quarter of an hour after the last time.
        others: Some of all the others.

    """

    def __init__(self, terms: Terms | None = None) -> None:
        """Know nobody."""
        self._terms = terms or Terms()
        self.suspicious = Spots(SUSPICIOUS)
        self.others = Spots(OTHERS)

    def suspect(self, client: int, location: Location, now_s: int) -> None:
        """Take note that a client is suspicious now."""
        self.others.drop(client)
        self.suspicious.put(client, location, now_s)

    def meet(self, client: int, location: Location, now_s: int) -> None:
        """Take a client among the others, unless it is suspicious."""
        if client not in self.suspicious:
            self.others.put(client, location, now_s)

    def batch(self, now_s: int) -> bytes | None:
        """Return what `geo.grouping` is to look at; None if there cannot be a cluster."""
        self.suspicious.forget(now_s - QUARTER_S)
        if len(self.suspicious) < self._terms.least or len(self.others) < LEAST_OTHERS:
            return None
        return pack(self.suspicious.all(), self.others.all(), self._terms)

    def read(self, answer: bytes) -> list[Cluster]:
        """Return the clusters that `geo.grouping` found; ValueError if its answer broke off."""
        return [
            Cluster(each.about, self._where(each.about, each.clients), tuple(each.clients), *each[2:])
            for each in read_answer(answer)
        ]

    def _where(self, about: str, clients: list[int]) -> str:
        """Return the name of what clients have in common: that of the first of whom it is still known."""
        for client in clients:
            place, holder, _ = self.suspicious.location(client)
            if about == NETWORK and holder:
                return f"of {holder.name or 'a network'} (AS{holder.asn})"
            if about != NETWORK and place:
                return f"near {place.city} ({place.country})"
        return "of one network" if about == NETWORK else "in one place"


def _spot(client: int, location: Location) -> tuple[int, int, int, float, float]:
    place, holder, kind = location
    asn = holder.asn if holder else 0
    if place is None or kind in NOWHERE or not radius_km(place) <= PLAIN_KM:  # NaN is not
        return client, network_of(client), asn, np.nan, np.nan
    return client, network_of(client), asn, place.latitude, place.longitude
