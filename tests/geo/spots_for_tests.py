"""Clients in places, for tests of clusters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastpath import client_key
from geo.grouping import SPOT
from geo.place import Holder, Location, Place
from geo.travel import network_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

FRANKFURT = Location(Place("DE", "Frankfurt", 50.11, 8.68, 20), Holder(64_500, "Some Hosting"))
MAINZ = Location(Place("DE", "Mainz", 50.00, 8.27, 20), Holder(64_501, ""))  # 32 km from there
DATE_LINE = [Location(Place("FJ", f"beach {side}", -17.0, side, 5)) for side in (179.95, -179.95)]
POLE = [Location(Place("AQ", f"hut {side}", -89.9, side, 5)) for side in (0.0, 90.0, 180.0)]


def client(number: int, host: int = 1) -> int:
    """Return the key of a client; each number is a network of its own."""
    return client_key(bytes([100, *divmod(number, 256), host]))


def elsewhere(number: int) -> Location:
    """Return a place where nobody else is, in a network of nobody else."""
    place = Place("XX", f"village {number}", number * 37 % 140 - 70.0, number * 53 % 360 - 180.0, 20)
    return Location(place, Holder(65_000 + number, ""))


def spots(*rows: tuple[int, Location]) -> NDArray[np.void]:
    """Return clients in places."""
    made = np.zeros(len(rows), SPOT)
    for row, (key, (place, holder, _)) in zip(made, rows, strict=True):
        where = (place.latitude, place.longitude) if place else (np.nan, np.nan)
        row["client"], row["network"], row["asn"] = key, network_of(key), holder.asn if holder else 0
        row["latitude"], row["longitude"] = where
    return made
