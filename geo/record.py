"""Reads a record of a database: nested as MaxMind writes it, flat as ip-location-db does. Pure.

A file is of others, and so is each text and number in it. What is not as it should be is left out, and the rest of
the record counts.

    nested  {"country": {"iso_code": ..}, "city": {"names": {"en": ..}}, "location": {"latitude": .., "longitude": ..,
             "accuracy_radius": ..}, "traits": {"user_type": .., "autonomous_system_number": .., ..}}
    flat    {"country_code": .., "city": .., "latitude": .., "longitude": .., "autonomous_system_number": .., ..}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastpath.origin import NetworkKind
from geo.network_kind import told_by
from geo.place import Holder, Place

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_NAME: Final = 80  # characters
HALF_WAY_KM: Final = 20_038.0  # around the world: nobody is farther away than that
MOST_ASN: Final = 2**32 - 1
# Where a database names coordinates but no radius: those of a city, or the middle of a country.
CITY_KM: Final = 100.0
COUNTRY_KM: Final = 1000.0
_EMPTY: Final[Mapping[str, Any]] = {}


class Found(NamedTuple):
    """What one database says of an address."""

    place: Place | None = None
    holder: Holder | None = None
    kind: NetworkKind = NetworkKind.UNKNOWN


NOTHING: Final = Found()


def read(record: object) -> Found:
    """Return what a record says, as far as it can be believed."""
    if not isinstance(record, dict):
        return NOTHING
    traits = _part(record, "traits")
    said = {**record, **traits} if traits else record
    return Found(_place(record), _holder(said), told_by(said))


def _place(record: Mapping[str, Any]) -> Place | None:
    country = _country(_part(record, "country").get("iso_code") or record.get("country_code"))
    city = _city(record.get("city"))
    location = _part(record, "location") or record
    latitude, longitude = _number(location.get("latitude"), 90.0), _number(location.get("longitude"), 180.0)
    if latitude is None or longitude is None:
        return Place(country, city) if country else None
    radius = _number(location.get("accuracy_radius"), HALF_WAY_KM)
    usual = CITY_KM if city else COUNTRY_KM
    return Place(country, city, latitude, longitude, radius if radius is not None and radius > 0 else usual)


def _holder(said: Mapping[str, Any]) -> Holder | None:
    number = said.get("autonomous_system_number")
    asn = number if isinstance(number, int) and not isinstance(number, bool) and 0 < number <= MOST_ASN else 0
    name = _name(said.get("autonomous_system_organization")) or _name(said.get("organization"))
    return Holder(asn, name) if asn or name else None


def _part(record: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = record.get(name)
    return part if isinstance(part, dict) else _EMPTY


def _country(code: object) -> str:
    is_one = isinstance(code, str) and len(code) == len("DE") and code.isascii() and code.isalpha() and code.isupper()
    return str(code) if is_one else ""


def _city(city: object) -> str:
    """Return the name of a city: a text, or names by language, of which English is preferred."""
    if not isinstance(city, dict):
        return _name(city)
    names = _part(city, "names")
    return _name(names.get("en") or next(iter(names.values()), ""))


def _name(text: object) -> str:
    """Return a text that can be shown: in one line, of printable characters, not too long."""
    if not isinstance(text, str):
        return ""
    begin = text[: 2 * LONGEST_NAME]
    shown = "".join(char if char.isprintable() else " " for char in begin)
    return " ".join(shown.split())[:LONGEST_NAME].strip()


def _number(value: object, most: float) -> float | None:
    """Return a number within -most..most; None for anything else, NaN among it."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -most <= value <= most else None
