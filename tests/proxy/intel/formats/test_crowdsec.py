"""Durations as Go writes them."""

import pytest

from proxy.intel.formats.crowdsec import seconds_of


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3h59m50.5s", 14_390.5),
        ("1m", 60.0),
        ("500ms", 0.5),
        ("1h0m0s", 3600.0),
        ("-1h2m", -3720.0),
        ("5µs", 5e-6),
        ("0s", 0.0),
        ("", None),
        ("5", None),
        ("5d", None),
        ("h", None),
        ("1h 2m", None),
        ("1.h", None),
        ("\u0661h", None),
        ("9" * 13 + "h", None),
        ("inf", None),
        ("-", None),
    ],
)
def test_seconds(text: str, expected: float | None) -> None:
    """A duration is its seconds; what Go would not write is none."""
    assert seconds_of(text) == (expected if expected is None else pytest.approx(expected))
