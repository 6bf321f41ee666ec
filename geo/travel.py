"""Impossible travel: something that belongs to one person acts from places that nobody gets between in that time.

    sighting of a principal -> its last places -> distance, less what is not certain -> speed -> Finding

A *principal* is what stays the same wherever it acts from: an account, a certificate that is uploaded, a program. An
address is none, for an address does not travel. Principals come from *sources*, each with a weight of its own, since a
stolen password says more than two people who upload the same certificate.

Error bars. A database of addresses means a circle. Of a distance only what is left without both circles is certain, and
of a time nobody is surer than the clocks are, so

    least speed = (distance - radius - other radius) / (time + slack)
    most speed  = (distance + radius + other radius) / (time - slack)

Nothing is said unless the *least* speed is more than CEILING_KMH. It weighs more the faster it is, all that the source
weighs from FULL times the ceiling on. So what acts on two continents within a minute is no exception that the time is
too short for, but the strongest case there is: the slack is what it is divided by. Which of the two places is the wrong
one is not known; the finding is about the client that acted last, and about the other one when that acts again.

Trust. Who comes through a VPN, a relay or a satellite is anywhere, and so is who has a server: a sighting there is left
out. A carrier brings its clients to the internet where it likes: it counts for a quarter (TRUST).

Crowds. Certificates are uploaded by others than their owners, by friends after a keysigning and by keyservers, and a
program is used by many. What is seen in more than two places is probably shared, and weighs less with each of them. Of
an account, which one person has, this is not said.

A journey is judged once, on arrival: places are compared that were left since somebody was here last. After so long
that all of the earth is in reach nothing is compared, and nothing kept. Principals are kept as keyed hashes.
"""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b
from math import inf, log
from operator import itemgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import parents
from fastpath.origin import NetworkKind
from geo.record import COUNTRY_KM
from geo.sphere import FARTHEST_KM, distance_km

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from geo.place import Location, Place

CEILING_KMH: Final = 1000.0  # an airliner with the wind
SLACK_S: Final = 60.0
FULL: Final = 8.0
WORTH_SAYING: Final = 0.1  # log-odds
PRINCIPALS: Final = 8192
MOST_STAYS: Final = 6  # of one principal
HASH_BYTES: Final = 8
HOUR_NS: Final = 3600 * 1_000_000_000
SECOND_NS: Final = 1_000_000_000
TRUST: Final[Mapping[NetworkKind, float]] = {
    NetworkKind.RESIDENTIAL: 1.0,
    NetworkKind.EDUCATION: 0.8,
    NetworkKind.BUSINESS: 0.7,  # offices go out where their company does
    NetworkKind.UNKNOWN: 0.6,
    NetworkKind.MOBILE: 0.25,
    NetworkKind.SATELLITE: 0.0,
    NetworkKind.HOSTING: 0.0,
    NetworkKind.VPN: 0.0,
    NetworkKind.TOR: 0.0,
    NetworkKind.RELAY: 0.0,
}
# How far from the middle of their country people may be, where only that is known; others: COUNTRY_KM.
SIZES_KM: Final[Mapping[str, float]] = {
    "AQ": 3000.0,
    "AR": 2300.0,
    "AU": 2600.0,
    "BR": 2700.0,
    "CA": 3400.0,
    "CD": 1300.0,
    "CL": 3800.0,  # Easter Island
    "CN": 3000.0,
    "DZ": 1300.0,
    "EC": 1300.0,  # Galapagos
    "ES": 1900.0,  # Canary Islands
    "FM": 1700.0,
    "FR": 1200.0,
    "GL": 1500.0,
    "ID": 2800.0,
    "IN": 1800.0,
    "IR": 1300.0,
    "JP": 1900.0,
    "KI": 2800.0,
    "KZ": 1700.0,
    "LY": 1100.0,
    "MN": 1300.0,
    "MX": 2000.0,
    "NO": 1900.0,  # Svalbard
    "NZ": 1400.0,
    "PE": 1200.0,
    "PF": 1500.0,
    "PH": 1100.0,
    "PT": 1800.0,  # Azores
    "RU": 4800.0,
    "SA": 1300.0,
    "SD": 1200.0,
    "US": 6300.0,  # Hawaii
    "ZA": 1300.0,
}


class Source(NamedTuple):
    """Where principals come from."""

    weight: float  # log-odds of a journey that cannot be, at most
    personal: bool = False  # it belongs to one person: many places are no crowd


class Sighting(NamedTuple):
    """Something that belongs to somebody was seen to act."""

    principal: bytes  # what was seen; the same bytes of another source are another one
    source: str
    client: int  # key of the client that it came from
    location: Location
    at_ns: int  # when, on whatever clock: steps of it are borne


class Span(NamedTuple):
    """Between what and what something is."""

    least: float
    most: float


class Finding(NamedTuple):
    """A journey that cannot be: evidence, with what it is not sure of."""

    client: int
    source: str
    weight: float  # log-odds
    distance_km: Span
    speed_kmh: Span
    reason: str  # for the operator, one line


class Stay(NamedTuple):
    """Where a principal was, and when last."""

    network: int
    place: Place
    trust: float
    at_ns: int


class Journey(NamedTuple):
    """From one place to another."""

    distance_km: Span
    speed_kmh: Span
    seconds: float


class Travel:
    """The principals of one node and where they were; bounded.

    Attributes:
        found: How many findings there were.

    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        secret: bytes,
        *,
        ceiling_kmh: float = CEILING_KMH,
        slack_s: float = SLACK_S,
        principals: int = PRINCIPALS,
    ) -> None:
        """Know nobody.

        Args:
            sources: By name. One without weight is not listened to.
            secret: Key of the hashes, up to 64 bytes.
            ceiling_kmh: As fast as anybody is, above 0.
            slack_s: How far clocks may be apart, and records from what they tell of; above 0.
            principals: That are remembered; the one that was seen longest ago goes.

        """
        self.found = 0
        self._sources = sources
        self._secret = secret
        self._ceiling_kmh = ceiling_kmh
        self._slack_s = slack_s
        self._most = principals
        self._longest_ns = int(FARTHEST_KM / ceiling_kmh * HOUR_NS)
        self._stays: OrderedDict[bytes, tuple[Stay, ...]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many principals are remembered."""
        return len(self._stays)

    def see(self, sighting: Sighting) -> Finding | None:
        """Take note of a sighting; return what is to be said of its client."""
        source, stay = self._sources[sighting.source], _stay(sighting)
        if stay is None or not source.weight:
            return None
        key = self._key(sighting)
        before = [each for each in self._stays.get(key, ()) if self._in_reach(each, sighting.at_ns)]
        places = len({(each.place.country, each.place.city) for each in (*before, stay)})
        share = 1.0 if source.personal else min(1.0, 2 / places)
        finding = self._judge(sighting, stay, before, source.weight * share)
        self._remember(key, before, stay)
        return finding

    def _judge(self, sighting: Sighting, stay: Stay, before: Iterable[Stay], most: float) -> Finding | None:
        """Return what the worst of the journeys says that end with this stay."""
        ways = [(each, journey(each, stay, self._slack_s)) for each in before]
        here = [each for each, way in ways if each.network == stay.network or not way.distance_km.least]
        here_ns = max((each.at_ns for each in here), default=-inf)
        journeys = [
            (most * min(each.trust, stay.trust) * self._excess(way), each.place, way)
            for each, way in ways
            if each not in here and each.at_ns > here_ns
        ]
        weight, origin, way = max(journeys, key=itemgetter(0), default=(0.0, stay.place, None))
        if way is None or weight < WORTH_SAYING:
            return None
        self.found += 1
        reason = f"{_told(way)}; {sighting.source} seen in {_name(origin)} and in {_name(stay.place)}"
        return Finding(sighting.client, sighting.source, weight, way.distance_km, way.speed_kmh, reason)

    def _excess(self, way: Journey) -> float:
        """Return how much of its weight a journey has: 0 up to the ceiling, 1 from FULL times that on."""
        times = way.speed_kmh.least / self._ceiling_kmh
        return min(1.0, log(times) / log(FULL)) if times > 1 else 0.0

    def _in_reach(self, stay: Stay, at_ns: int) -> bool:
        """Whether it was so short a time ago, or after, that not all places can be reached."""
        return abs(at_ns - stay.at_ns) < self._longest_ns

    def _remember(self, key: bytes, before: Iterable[Stay], stay: Stay) -> None:
        last_ns = max((each.at_ns for each in before if each.network == stay.network), default=stay.at_ns)
        stays = [each for each in before if each.network != stay.network]
        stays.append(stay._replace(at_ns=max(stay.at_ns, last_ns)))
        self._stays[key] = tuple(stays[-MOST_STAYS:])
        self._stays.move_to_end(key)
        if len(self._stays) > self._most:
            self._stays.popitem(last=False)

    def _key(self, sighting: Sighting) -> bytes:
        return blake2b(
            b"%b\0%b" % (sighting.source.encode(), sighting.principal), digest_size=HASH_BYTES, key=self._secret
        ).digest()


def journey(origin: Stay, end: Stay, slack_s: float) -> Journey:
    """Return what is known of a journey, in whichever direction it was."""
    one, other = origin.place, end.place
    distance = distance_km(one.latitude, one.longitude, other.latitude, other.longitude)
    unsure = radius_km(one) + radius_km(other)
    distances = Span(max(0.0, distance - unsure), distance + unsure)
    seconds = abs(end.at_ns - origin.at_ns) / SECOND_NS
    shortest = seconds - slack_s
    fastest = distances.most / shortest * 3600 if shortest > 0 else inf
    return Journey(distances, Span(distances.least / (seconds + slack_s) * 3600, fastest), seconds)


def radius_km(place: Place) -> float:
    """Return how far from a place its people may be: where no city is known, as far as their country goes."""
    return place.radius_km if place.city else max(place.radius_km, SIZES_KM.get(place.country, COUNTRY_KM))


def network_of(client: int) -> int:
    """Return the network around a client, /24 or /48; itself where there is none."""
    return parents(client)[-1] if parents(client) else client


def _stay(sighting: Sighting) -> Stay | None:
    """Return where something was seen; None if that says nothing."""
    place, trust = sighting.location.place, TRUST[sighting.location.kind]
    if place is None or not place.located or not trust:
        return None
    return Stay(network_of(sighting.client), place, trust, sighting.at_ns)


def _told(way: Journey) -> str:
    least, most = way.distance_km
    return f"{least:,.0f} to {most:,.0f} km in {way.seconds:,.0f} s, which is at least {way.speed_kmh.least:,.0f} km/h"


def _name(place: Place) -> str:
    return f"{place.city} ({place.country})" if place.city else place.country or "a place without a name"
