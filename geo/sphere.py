"""Distances on the earth."""

from __future__ import annotations

from math import atan2, cos, radians, sin, sqrt
from typing import Final

EARTH_KM: Final = 6371.0088  # mean radius; the true shape makes a distance half a per cent longer or shorter
FARTHEST_KM: Final = 20_015.1  # half way around


def distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Return the length of the shortest way between two points, 0..FARTHEST_KM.

    The haversine is good for short ways, where the cosine of their angle would lose them. `atan2` of both halves of the
    circle is good for the longest ones as well, where an arc sine would fail on what rounding makes of 1. Only sines of
    half the difference of longitudes are taken, so that neither the date line nor a pole is a special place.

    Args:
        latitude: Degrees, -90..90.
        longitude: Degrees, however many times around.
        other_latitude: Of the other point.
        other_longitude: Of the other point.

    """
    north, other_north = radians(latitude), radians(other_latitude)
    of_latitudes = sin((other_north - north) / 2) ** 2
    of_longitudes = sin(radians(other_longitude - longitude) / 2) ** 2
    half_chord = min(1.0, of_latitudes + cos(north) * cos(other_north) * of_longitudes)  # squared
    return min(FARTHEST_KM, 2 * EARTH_KM * atan2(sqrt(half_chord), sqrt(1 - half_chord)))
