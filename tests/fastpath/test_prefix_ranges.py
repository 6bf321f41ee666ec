"""Nested prefixes as ranges."""

import numpy as np
import pytest

from fastpath.prefix_ranges import RANGE_BYTES, ROW_BYTES, flatten

ROW = np.dtype([("high", "u8"), ("low", "u8"), ("length", "u4"), ("value", "u4")])
RANGE = np.dtype([("high", "u8"), ("low", "u8"), ("value", "u8")])
TOP = 2**63
Row = tuple[int, int, int, int]


def flattened(rows: list[Row]) -> list[tuple[int, int, int]]:
    """Return the ranges of rows."""
    ranges = np.zeros(2 * len(rows) + 1, RANGE)
    return [tuple(each) for each in ranges[: flatten(np.array(rows, ROW), ranges)].tolist()]


@pytest.mark.parametrize(
    ("rows", "ranges"),
    [
        ([], [(0, 0, 0)]),
        ([(0, 0, 0, 5)], [(0, 0, 5)]),
        ([(0, 0, 0, 5), (0, 0, 0, 6)], [(0, 0, 6)]),
        ([(TOP, 0, 1, 5)], [(0, 0, 0), (TOP, 0, 5)]),
        ([(0, 0, 1, 5)], [(0, 0, 5), (TOP, 0, 0)]),
        ([(0, 0, 1, 5), (TOP, 0, 1, 5)], [(0, 0, 5)]),
        ([(0, 0, 0, 1), (TOP, 0, 1, 2), (TOP, 0, 128, 3)], [(0, 0, 1), (TOP, 0, 3), (TOP, 1, 2)]),
        ([(7, 0, 64, 1), (7, 0, 128, 2), (7, 0, 128, 3)], [(0, 0, 0), (7, 0, 3), (7, 1, 1), (8, 0, 0)]),
        ([(7, 0, 64, 1), (7, 2**64 - 1, 128, 2)], [(0, 0, 0), (7, 0, 1), (7, 2**64 - 1, 2), (8, 0, 0)]),
        ([(2**64 - 1, 2**64 - 1, 128, 9)], [(0, 0, 0), (2**64 - 1, 2**64 - 1, 9)]),
    ],
)
def test_ranges(rows: list[Row], ranges: list[tuple[int, int, int]]) -> None:
    """A range begins where the longest match changes, and only there."""
    assert flattened(rows) == ranges


def test_all_lengths_nested() -> None:
    """129 prefixes in each other are the most there can be."""
    assert flattened([(0, 0, length, length + 1) for length in range(129)])[0] == (0, 0, 129)


def test_rows_out_of_order() -> None:
    """Their ranges are wrong, but no more than there is room for, and nothing is overrun."""
    draw = np.random.default_rng(1)
    for _ in range(50):
        rows = np.zeros(400, ROW)
        rows["high"], rows["length"] = draw.integers(0, 2**63, 400), draw.integers(0, 129, 400)
        rows["value"] = draw.integers(0, 2**32, 400)
        assert flatten(rows, np.zeros(801, RANGE)) <= 801
    assert flatten(np.array([(0, 0, 128 - n % 129, 1) for n in range(1_000)], ROW), np.zeros(2_001, RANGE)) <= 2_001


def test_room_and_lengths() -> None:
    """Too little room and a length that no address has are refused."""
    assert (ROW.itemsize, RANGE.itemsize) == (ROW_BYTES, RANGE_BYTES)
    with pytest.raises(ValueError, match="room for 2 ranges, not 3"):
        flatten(np.zeros(1, ROW), np.zeros(2, RANGE))
    with pytest.raises(ValueError, match="longer than 128"):
        flatten(np.array([(0, 0, 129, 1)], ROW), np.zeros(3, RANGE))
