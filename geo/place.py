"""Where an address is and whose network it is of: what databases say of it, once that has been checked."""

from __future__ import annotations

from math import nan
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath.origin import NetworkKind

if TYPE_CHECKING:
    from typing import Any


class Place(NamedTuple):
    """Where people with an address probably are.

    Attributes:
        country: ISO 3166-1 alpha-2, such as DE; empty: not known.
        city: Its name; empty: not known.
        latitude: Degrees, -90..90; with `longitude` and `radius_km` NaN where only the country is known, so that no
            distance to it can be taken for one.
        longitude: Degrees, -180..180.
        radius_km: How far from there they may be. Databases mean that two of three are within it, not all.

    """

    country: str
    city: str = ""
    latitude: float = nan
    longitude: float = nan
    radius_km: float = nan

    @property
    def located(self) -> bool:
        """Whether there are coordinates."""
        return self.radius_km >= 0


class Holder(NamedTuple):
    """The autonomous system that an address is announced by."""

    asn: int  # 1..2**32 - 1; 0: not known
    name: str  # of the organisation; may be empty


class Location(NamedTuple):
    """All that the databases say of an address."""

    place: Place | None = None
    holder: Holder | None = None
    kind: NetworkKind = NetworkKind.UNKNOWN

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data; what is not known is None or empty."""
        place, holder = self.place or NOWHERE, self.holder or NOBODY
        return {
            "country": place.country,
            "city": place.city,
            "latitude": place.latitude if place.located else None,
            "longitude": place.longitude if place.located else None,
            "radius_km": place.radius_km if place.located else None,
            "asn": holder.asn or None,
            "holder": holder.name,
            "kind": self.kind.name.lower(),
        }


NOWHERE: Final = Place("")
NOBODY: Final = Holder(0, "")
UNKNOWN: Final = Location()
