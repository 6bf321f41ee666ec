"""What is read of a record, and what is not believed."""

from __future__ import annotations

from math import inf, isnan, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.origin import NetworkKind as Kind
from geo.place import Holder, Place
from geo.record import CITY_KM, COUNTRY_KM, LONGEST_NAME, NOTHING, read
from tests.geo.databases_for_tests import BERLIN, CITY, TELSTRA

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["country", "city", "names", "en", "location", "latitude", "longitude", "accuracy_radius", "traits",
             "iso_code", "country_code", "autonomous_system_number", "autonomous_system_organization", "user_type"]
        )
        | st.integers(),
        inner,
        max_size=8,
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("record", "place"),
    [
        (CITY, Place("GB", "Boxford", 51.75, -1.25, 100.0)),
        (BERLIN, Place("DE", "Berlin", 52.5, 13.4, CITY_KM)),
        ({"country_code": "DE", "latitude": 51, "longitude": 9}, Place("DE", "", 51.0, 9.0, COUNTRY_KM)),
        ({"country_code": "DE"}, Place("DE")),
        ({"city": {"names": {"ja": "東京"}}, "country_code": "JP"}, Place("JP", "東京")),
        ({"location": {"latitude": 0, "longitude": 0}}, Place("", "", 0.0, 0.0, COUNTRY_KM)),
        ({**CITY, "location": {"latitude": 51.75, "longitude": -1.25, "accuracy_radius": 30_000}},
         Place("GB", "Boxford", 51.75, -1.25, CITY_KM)),
        ({**CITY, "location": {"latitude": 51.75, "longitude": -1.25, "accuracy_radius": -1}},
         Place("GB", "Boxford", 51.75, -1.25, CITY_KM)),
        ({"registered_country": {"iso_code": "FR"}}, None),
    ],
)  # fmt: skip
def test_places(record: dict[str, Any], place: Place | None) -> None:
    """Nested and flat records give the same; a radius that is missing or absurd is the usual one."""
    assert read(record).place == place


@pytest.mark.parametrize("latitude", [90.1, -91, nan, inf, "51", True, None, 10**400, b"51"])
def test_bad_coordinates(latitude: object) -> None:
    """Coordinates that are none are left out, and the rest of the record counts."""
    place = read({"country_code": "GB", "location": {"latitude": latitude, "longitude": 0.0}}).place
    assert place is not None
    assert place.country == "GB"
    assert not place.located
    assert isnan(place.latitude)


@pytest.mark.parametrize("code", ["de", "D", "DEU", "D1", "ÄÖ", "", b"DE", 1, None, ["DE"]])
def test_bad_countries(code: object) -> None:
    """A country is two capital letters, and nothing else."""
    assert read({"country_code": code, "country": {"iso_code": code}}).place is None


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("a\nb\x1b[31m c\u202ed", "a b [31m c d"),
        ("  a  b  ", "a b"),
        ("x" * 5000, "x" * LONGEST_NAME),
        ("\x00", ""),
        (b"bytes", ""),
    ],
)
def test_names(given_name: object, shown: str) -> None:
    """Names become one short line without control characters; they are shown on terminals and in logs."""
    holder = read({"autonomous_system_number": 1, "autonomous_system_organization": given_name}).holder
    assert holder == Holder(1, shown)


@pytest.mark.parametrize(
    ("record", "holder"),
    [
        (TELSTRA, Holder(1221, "Telstra")),
        ({"traits": TELSTRA}, Holder(1221, "Telstra")),
        ({"organization": "Telstra Internet"}, Holder(0, "Telstra Internet")),
        ({"autonomous_system_number": 2**32}, None),
        ({"autonomous_system_number": -1}, None),
        ({"autonomous_system_number": True}, None),
        ({"autonomous_system_number": "1221"}, None),
    ],
)
def test_holders(record: dict[str, Any], holder: Holder | None) -> None:
    """A number that is none of an autonomous system is not believed."""
    assert read(record).holder == holder


def test_kinds() -> None:
    """Traits are read at the top and in `traits`."""
    assert read({"is_tor_exit_node": True}).kind is Kind.TOR
    assert read({**CITY, "traits": {"user_type": "college"}}).kind is Kind.EDUCATION


@pytest.mark.parametrize("record", [None, 1, "text", [], {}, {"traits": []}, {1: {"country_code": "DE"}}])
def test_no_record(record: object) -> None:
    """What is no record says nothing."""
    assert read(record) == NOTHING


@given(anything)
def test_whatever_it_is(record: object) -> None:
    """Nothing in a record raises, and what is found is within its bounds."""
    place, holder, _ = read(record)
    if place:
        assert len(place.country) in {0, 2}
        assert len(place.city) <= LONGEST_NAME
        assert place.city.isprintable()
        assert not place.located or (abs(place.latitude) <= 90 and abs(place.longitude) <= 180)
    if holder:
        assert 0 <= holder.asn < 2**32
