"""Distances on the earth: known ones, poles, the date line, and laws that hold everywhere."""

from __future__ import annotations

from math import isclose

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geo.sphere import EARTH_KM, FARTHEST_KM, distance_km

latitudes, longitudes = st.floats(-90, 90), st.floats(-180, 180)
points = st.tuples(latitudes, longitudes)
DEGREE_KM = FARTHEST_KM / 180


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((52.52, 13.405), (35.68, 139.69), 8918),  # Berlin, Tokyo
        ((40.71, -74.01), (51.51, -0.13), 5570),  # New York, London
        ((0, 179.5), (0, -179.5), DEGREE_KM),  # across the date line
        ((-17, 179), (-17, -179), 212.7),
        ((90, 0), (90, 137), 0),  # one pole, whatever the longitude
        ((90, 12), (-90, -77), FARTHEST_KM),
        ((89.5, 0), (89.5, 180), DEGREE_KM),  # over the pole
        ((89.5, 0), (89.5, 90), 78.6),
        ((0, 0), (0, 180), FARTHEST_KM),
        ((30, 40), (-30, -140), FARTHEST_KM),  # the other side of the world
        ((52, 13), (52, 13), 0),
    ],
)
def test_known_distances(one: tuple[float, float], other: tuple[float, float], expected: float) -> None:
    """Within a kilometre, or what the shape of the earth does."""
    assert distance_km(*one, *other) == pytest.approx(expected, rel=2e-3, abs=0.2)


def test_a_metre_is_a_metre() -> None:
    """Short ways are not lost in rounding, in the middle of the world or beside a pole."""
    metre = 360 / (2 * 3.141592653589793 * EARTH_KM * 1000)  # degrees
    for latitude in (0, 52, -89.99):
        assert distance_km(latitude, 7, latitude + metre, 7) == pytest.approx(0.001, rel=1e-6)


@given(points, points, points)
def test_laws_of_distances(one: tuple[float, float], other: tuple[float, float], third: tuple[float, float]) -> None:
    """Both ways are as long, none is longer than half around, and no detour is shorter."""
    way = distance_km(*one, *other)
    assert way == distance_km(*other, *one)
    assert 0 <= way <= FARTHEST_KM
    assert way <= distance_km(*one, *third) + distance_km(*third, *other) + 1e-3


@given(points, points, st.integers(-3, 3))
def test_around_the_world_is_nowhere_else(one: tuple[float, float], other: tuple[float, float], turns: int) -> None:
    """360 degrees of longitude change nothing."""
    assume(abs(other[1]) <= 180)
    around = distance_km(*one, other[0], other[1] + 360 * turns)
    assert isclose(around, distance_km(*one, *other), abs_tol=1e-2)
