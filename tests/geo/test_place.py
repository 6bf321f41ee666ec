"""Places as plain data."""

from __future__ import annotations

import json

import pytest

from fastpath.origin import NetworkKind
from geo.place import UNKNOWN, Holder, Location, Place


@pytest.mark.parametrize(
    ("location", "facts"),
    [
        (UNKNOWN, {"country": "", "latitude": None, "radius_km": None, "asn": None, "holder": "", "kind": "unknown"}),
        (Location(Place("DE")), {"country": "DE", "latitude": None, "longitude": None, "radius_km": None}),
        (
            Location(Place("GB", "Boxford", 51.75, -1.25, 100.0), Holder(1221, "Telstra"), NetworkKind.MOBILE),
            {"city": "Boxford", "longitude": -1.25, "radius_km": 100.0, "asn": 1221, "kind": "mobile"},
        ),
    ],
)
def test_as_json(location: Location, facts: dict[str, object]) -> None:
    """What is not known is null or empty: JSON has no NaN."""
    told = json.loads(json.dumps(location.as_json(), allow_nan=False))
    assert {key: told[key] for key in facts} == facts
