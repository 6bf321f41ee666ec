"""Impossible travel: rows of where something was seen, and what is to be said of it."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, parse_address
from fastpath.origin import NetworkKind
from geo.atlas import Atlas, Sources
from geo.place import Location, Place
from geo.sphere import FARTHEST_KM
from geo.travel import MOST_STAYS, SIZES_KM, TRUST, Finding, Sighting, Source, Travel, network_of, radius_km
from tests.geo.databases_for_tests import bundle

if TYPE_CHECKING:
    from pathlib import Path

SECOND = 1_000_000_000
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
NOW = 10 * DAY
ACCOUNT, CERTIFICATE = "account", "certificate"
SOURCES = {ACCOUNT: Source(4.0, personal=True), CERTIFICATE: Source(2.0), "off": Source(0.0)}
HOME = NetworkKind.RESIDENTIAL

BERLIN = Place("DE", "Berlin", 52.52, 13.405, 20)
POTSDAM = Place("DE", "Potsdam", 52.40, 13.06, 20)
MUNICH = Place("DE", "Munich", 48.14, 11.58, 20)
TOKYO = Place("JP", "Tokyo", 35.68, 139.69, 20)
NEW_YORK = Place("US", "New York", 40.71, -74.01, 20)
SUVA = Place("FJ", "Suva", -18.14, 178.44, 20)
APIA = Place("WS", "Apia", -13.83, -171.76, 20)  # 1,150 km from Suva, across the date line
ALERT = Place("CA", "Alert", 82.50, -62.35, 20)
NORILSK = Place("RU", "Norilsk", 69.35, 88.20, 20)  # 3,030 km from Alert, across the pole
GERMANY = Place("DE", "", 51.0, 9.0, 200)
AMERICA = Place("US", "", 37.75, -97.82, 1000)
NOWHERE = Place("DE")


def client(number: int) -> int:
    """Return the key of a client in a network of its own."""
    return client_key(parse_address(f"198.51.{number}.7"))


def sighting(
    number: int,
    place: Place | None,
    at_ns: int,
    kind: NetworkKind = HOME,
    source: str = ACCOUNT,
    principal: bytes = b"somebody",
) -> Sighting:
    """Return what was seen from the network of this number."""
    return Sighting(principal, source, client(number), Location(place, None, kind), at_ns)


def travel(**settings: float) -> Travel:
    """Return one that knows nobody."""
    return Travel(SOURCES, b"secret", **settings)  # type: ignore[arg-type]  # of each its own


def said_of(*seen: Sighting) -> list[Finding | None]:
    """Return what is said of each sighting, in their order."""
    watching = travel()
    return [watching.see(each) for each in seen]


@pytest.mark.parametrize(
    ("before", "after", "gap_ns", "weight"),
    [
        (BERLIN, TOKYO, 20 * SECOND, 4.0),  # less than a minute: the strongest there is
        (BERLIN, TOKYO, 0, 4.0),  # at once is not divided by nothing
        (BERLIN, TOKYO, HOUR, 4.0),  # 8,800 km/h
        (BERLIN, TOKYO, 2 * HOUR, 2.8),  # 4,400 km/h
        (BERLIN, TOKYO, 8 * HOUR, 0.17),  # 1,100 km/h
        (BERLIN, TOKYO, 9 * HOUR, None),  # a fast airliner
        (BERLIN, TOKYO, DAY, None),
        (TOKYO, BERLIN, 2 * HOUR, 2.8),
        (BERLIN, MUNICH, 50 * MINUTE, None),
        (BERLIN, MUNICH, 10 * MINUTE, 1.8),
        (BERLIN, POTSDAM, 0, None),  # the circles overlap
        (BERLIN, BERLIN, 0, None),
        (SUVA, APIA, 10 * MINUTE, 3.4),  # across the date line, not around the world
        (SUVA, APIA, 75 * MINUTE, None),
        (ALERT, NORILSK, 30 * MINUTE, 3.4),  # across the pole
        (ALERT, NORILSK, 3 * HOUR, None),
        (TOKYO, GERMANY, HOUR, 4.0),
        (BERLIN, GERMANY, 0, None),
        (BERLIN, AMERICA, 0, 4.0),  # at the least 1,600 km, for it may be on the east coast
        (BERLIN, AMERICA, 2 * HOUR, None),
        (NEW_YORK, AMERICA, 0, None),
        (BERLIN, None, 0, None),
        (BERLIN, NOWHERE, 0, None),
        (NOWHERE, TOKYO, 0, None),
    ],
)
def test_two_sightings(before: Place | None, after: Place | None, gap_ns: int, weight: float | None) -> None:
    """What is said of the second: by the least distance and the longest time that may have been."""
    first, second = said_of(sighting(1, before, NOW), sighting(2, after, NOW + gap_ns))
    assert first is None
    assert (second and second.weight) == (None if weight is None else pytest.approx(weight, abs=0.15))


@pytest.mark.parametrize("kind", NetworkKind)
@pytest.mark.parametrize("first", [False, True])
def test_kinds_of_networks(kind: NetworkKind, first: bool) -> None:  # noqa: FBT001 - a row
    """The less a place says, the less a journey does, whichever end it is; who may be anywhere travels nowhere."""
    kinds = (kind, HOME) if first else (HOME, kind)
    found = said_of(sighting(1, BERLIN, NOW, kinds[0]), sighting(2, TOKYO, NOW + SECOND, kinds[1]))[1]
    expected = {
        HOME: 4.0,
        NetworkKind.EDUCATION: 3.2,
        NetworkKind.BUSINESS: 2.8,
        NetworkKind.UNKNOWN: 2.4,
        NetworkKind.MOBILE: 1.0,
    }
    assert (found and found.weight) == (pytest.approx(expected[kind]) if kind in expected else None)
    assert set(TRUST) == set(NetworkKind)


def test_who_may_be_anywhere_leaves_no_trace() -> None:
    """A visit through a VPN between two that are possible is not a stay: nothing is compared with it."""
    assert (
        said_of(
            sighting(1, BERLIN, NOW),
            sighting(2, TOKYO, NOW + SECOND, NetworkKind.VPN),
            sighting(1, BERLIN, NOW + 2 * SECOND),
            sighting(3, MUNICH, NOW + 2 * HOUR),
        )
        == [None] * 4
    )


@pytest.mark.parametrize("step_ns", [-1, -MINUTE, -2 * HOUR, -DAY])
def test_clock_that_steps_back(step_ns: int) -> None:
    """Places are as far apart in time as the clock says, whichever way it went."""
    forth = said_of(sighting(1, BERLIN, NOW), sighting(2, TOKYO, NOW - step_ns))[1]
    back = said_of(sighting(1, BERLIN, NOW), sighting(2, TOKYO, NOW + step_ns))[1]
    assert (back and back[2:5]) == (forth and forth[2:5])


def test_clock_that_steps_back_forgets_nothing() -> None:
    """A stay ends when it was seen last, not where the clock went."""
    found = said_of(
        sighting(1, BERLIN, NOW), sighting(1, BERLIN, NOW - 3 * HOUR), sighting(2, TOKYO, NOW + 30 * MINUTE)
    )[2]
    assert found
    assert found.weight == pytest.approx(4.0)


def test_journey_is_judged_once() -> None:
    """On arrival; who stays, also with a second network of the same town, has not travelled again."""
    found = said_of(
        sighting(1, BERLIN, NOW),
        sighting(2, TOKYO, NOW + MINUTE),
        sighting(2, TOKYO, NOW + 2 * MINUTE),
        sighting(3, TOKYO, NOW + 3 * MINUTE),
        sighting(1, BERLIN, NOW + 4 * MINUTE),
        sighting(1, BERLIN, NOW + 5 * MINUTE),
    )
    assert [each is not None for each in found] == [False, True, False, False, True, False]


def test_whose_journey_it_is() -> None:
    """That of the client that acted last, with its source, and of one principal of one source."""
    watching = travel()
    assert watching.see(sighting(1, BERLIN, NOW)) is None
    assert watching.see(sighting(2, TOKYO, NOW, principal=b"somebody else")) is None
    assert watching.see(sighting(3, TOKYO, NOW, source=CERTIFICATE)) is None
    assert watching.see(sighting(4, TOKYO, NOW, source="off")) is None
    found = watching.see(sighting(5, TOKYO, NOW))
    assert found is not None
    assert (found.client, found.source) == (client(5), ACCOUNT)
    assert (watching.found, len(watching)) == (1, 3)


def test_an_address_does_not_travel() -> None:
    """A network whose place is another one in another file has not moved."""
    assert said_of(sighting(1, BERLIN, NOW), sighting(1, TOKYO, NOW)) == [None, None]
    six = [client_key(parse_address(text)) for text in ("2001:db8:1:2::1", "2001:db8:1:3::1", "2001:db8:2::1")]
    assert network_of(six[0]) == network_of(six[1]) != network_of(six[2])


def test_crowds() -> None:
    """A certificate that many upload says less with each place; an account that is everywhere is no less suspicious."""
    places = [
        Place("XX", f"town {number}", latitude, longitude, 20)
        for number, (latitude, longitude) in enumerate([(0, 0), (0, 60), (0, 120), (0, 180), (0, -120), (60, 0)])
    ]
    for source, expected in (
        (CERTIFICATE, [2, 4 / 3, 1, 4 / 5, 2 / 3]),
        (ACCOUNT, [4, 4, 4, 4, 4]),
    ):
        _, *found = said_of(
            *(sighting(number, place, NOW + number * SECOND, source=source) for number, place in enumerate(places))
        )
        assert [each and each.weight for each in found] == [pytest.approx(weight) for weight in expected]


def test_what_is_not_certain_is_told() -> None:
    """Distance and speed as ranges, and in words for the operator."""
    found = said_of(sighting(1, BERLIN, NOW), sighting(2, TOKYO, NOW + HOUR))[1]
    assert found is not None
    assert found.distance_km == pytest.approx((8878, 8958), abs=5)
    assert found.speed_kmh == pytest.approx((8878 * 60 / 61, 8958 * 60 / 59), rel=1e-3)
    assert found.reason == (
        "8,877 to 8,957 km in 3,600 s, which is at least 8,731 km/h; account seen in Berlin (DE) and in Tokyo (JP)"
    )
    at_once = said_of(sighting(1, BERLIN, NOW), sighting(2, AMERICA, NOW + SECOND))[1]
    assert at_once is not None
    assert at_once.speed_kmh.most == inf
    assert at_once.reason.endswith("account seen in Berlin (DE) and in US")


@pytest.mark.parametrize(
    ("place", "expected"),
    [(BERLIN, 20), (GERMANY, 1000), (AMERICA, SIZES_KM["US"]), (Place("", "", 0, 0, 3000), 3000)],
)
def test_where_no_city_is_known_all_of_the_country_is_meant(place: Place, expected: float) -> None:
    """As far as it goes, but not less than the file says."""
    assert radius_km(place) == expected


LINKOPING, MILTON = "89.160.20.112", "216.160.83.56"
NORWAY, CHANGCHUN, EXIT = "2a02:cf40::1", "175.16.199.1", "81.2.69.142"


@pytest.mark.parametrize(
    ("one", "other", "gap_ns", "weight"),
    [
        (LINKOPING, MILTON, SECOND, 2.4),
        (LINKOPING, MILTON, 9 * HOUR, None),
        (LINKOPING, CHANGCHUN, 2 * HOUR, 1.4),
        (LINKOPING, NORWAY, 0, None),  # a country without a city reaches far
        (MILTON, NORWAY, MINUTE, 2.4),
        (EXIT, MILTON, 0, None),  # an exit of Tor
        (LINKOPING, "10.0.0.1", 0, None),
    ],
)
def test_databases_of_maxmind(tmp_path: Path, one: str, other: str, gap_ns: int, weight: float | None) -> None:
    """The same with places, radii and kinds as real files have them, where nothing is known of most networks."""
    if not bundle():
        pytest.skip("MaxMind's databases (../shared/data/dev.tar.xz) are not here")
    names = ("GeoIP2-City-Test.mmdb", "GeoIP2-Anonymous-IP-Test.mmdb")
    city, anonymous = (tmp_path / name for name in names)
    for path in (city, anonymous):
        path.write_bytes(bundle()[path.name])
    atlas, watching = Atlas(Sources(city=(str(city),), anonymous=(str(anonymous),))), travel()
    for number, (text, at_ns) in enumerate(((one, NOW), (other, NOW + gap_ns))):
        packed = parse_address(text)
        found = watching.see(Sighting(b"x", ACCOUNT, client_key(packed), atlas.locate(packed), at_ns))
        assert number or found is None
    assert (found and found.weight) == (None if weight is None else pytest.approx(weight, abs=0.15))


# Bounds.


def test_memory_is_bounded() -> None:
    """The principals that were seen last, their last places, and no longer than something could be said."""
    watching = travel(principals=3)
    for number in range(5):
        watching.see(sighting(1, BERLIN, NOW, principal=b"%d" % number))
    assert len(watching) == 3
    assert watching.see(sighting(2, TOKYO, NOW, principal=b"1")) is None
    assert watching.see(sighting(2, TOKYO, NOW, principal=b"4")) is not None
    for number in range(3 * MOST_STAYS):
        watching.see(sighting(number, MUNICH, NOW, principal=b"4"))
    assert max(map(len, watching._stays.values())) == MOST_STAYS
    watching.see(sighting(77, MUNICH, NOW + DAY, principal=b"4"))
    assert min(map(len, watching._stays.values())) == 1


def test_principals_are_not_kept_in_clear() -> None:
    """Only keyed hashes of them."""
    watching = travel()
    watching.see(sighting(1, BERLIN, NOW, principal=b"alice"))
    assert [len(each) for each in watching._stays] == [8]


# Laws.

places = st.builds(
    Place,
    st.sampled_from(["DE", "US", "JP", ""]),
    st.sampled_from(["", "here"]),
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.floats(0, 2000),
)


@given(places, places, st.integers(-2 * DAY, 2 * DAY), st.sampled_from([*NetworkKind]), st.sampled_from([*NetworkKind]))
def test_laws_of_journeys(one: Place, other: Place, gap_ns: int, kind: NetworkKind, other_kind: NetworkKind) -> None:
    """Nothing is said unless what is certain is faster than the ceiling; there and back are the same."""
    there = said_of(sighting(1, one, NOW, kind), sighting(2, other, NOW + gap_ns, other_kind))[1]
    back = said_of(sighting(2, other, NOW, other_kind), sighting(1, one, NOW + gap_ns, kind))[1]
    assert (there and there[2:5]) == (back and back[2:5])
    if there is not None:
        assert there.speed_kmh.least > 1000
        assert there.distance_km.least > 1000 * (abs(gap_ns) / HOUR)
        assert there.distance_km.least + radius_km(one) + radius_km(other) <= FARTHEST_KM + 1
        assert there.speed_kmh.least <= there.speed_kmh.most
        assert 0 < there.weight <= 4


@given(places, places, st.integers(0, DAY), st.integers(0, DAY))
def test_longer_is_never_worse(one: Place, other: Place, gap_ns: int, more_ns: int) -> None:
    """Who takes more time for the same way is not accused of more."""
    sooner, later = (
        said_of(sighting(1, one, NOW), sighting(2, other, NOW + gap))[1] for gap in (gap_ns, gap_ns + more_ns)
    )
    assert (later.weight if later else 0) <= (sooner.weight if sooner else 0)
