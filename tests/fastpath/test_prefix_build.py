"""Sets of prefixes from arrays."""

import numpy as np
import pytest

from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet

NETWORKS = np.zeros((3, 16), np.uint8)
LENGTHS = np.array([0, 128, 64], np.uint8)
VALUES = np.array([1, 2, 3], np.uint32)


def test_rows_of_prefixes() -> None:
    """Networks of IPv4 are mapped, and their lengths with them."""
    rows = Rows.of([(bytes([192, 0, 2, 0]), 24, 7), (bytes(16), 0, 2**32 - 1)])
    assert [bytes(network) for network in rows.networks] == [bytes(10) + b"\xff\xff\xc0\x00\x02\x00", bytes(16)]
    assert (rows.lengths.tolist(), rows.values.tolist()) == ([120, 0], [7, 2**32 - 1])


@pytest.mark.parametrize(
    "row", [(bytes(5), 0, 1), (b"", 0, 1), (bytes(4), 33, 1), (bytes(4), -1, 1), (bytes(16), 129, 1)]
)
def test_what_is_no_prefix(row: tuple[bytes, int, int]) -> None:
    """A network of another size, or a length beyond it, is refused."""
    with pytest.raises(ValueError, match=f"network of {len(row[0])} bytes with prefix length {row[1]}"):
        Rows.of([row])


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_value_out_of_range(value: int) -> None:
    """A value is 32 bits."""
    with pytest.raises(OverflowError):
        Rows.of([(bytes(4), 0, value)])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (Rows(NETWORKS, LENGTHS[:2], VALUES), "arrays of shapes"),
        (Rows(NETWORKS, LENGTHS, VALUES[:2]), "arrays of shapes"),
        (Rows(NETWORKS[:, :15], LENGTHS, VALUES), "arrays of shapes"),
        (Rows(NETWORKS, LENGTHS.astype(np.int64), VALUES), "not of uint8"),
        (Rows(NETWORKS, LENGTHS, VALUES.astype(np.int64)), "not of uint8"),
        (Rows(NETWORKS, np.array([0, 129, 0], np.uint8), VALUES), "prefix length 129 not in 0..128"),
    ],
)
def test_arrays_that_do_not_fit(rows: Rows, said: str) -> None:
    """Arrays of other shapes, kinds or contents are refused."""
    with pytest.raises(ValueError, match=said):
        build(rows)


def test_arrays_with_gaps() -> None:
    """Slices of larger arrays are as good as arrays."""
    matcher = PrefixSet(build(Rows(np.zeros((6, 32), np.uint8)[::2, ::2], LENGTHS, VALUES)))
    assert [matcher.look_up(number.to_bytes(16)) for number in (0, 1, 1 << 64)] == [2, 3, 1]


def test_what_is_said_twice_takes_no_room() -> None:
    """Prefixes that change nothing, of the same value inside or beside another, make no range."""
    around = build(Rows.of([(bytes([10, 0, 0, 0]), 8, 1)]))
    inside = [(bytes([10, n, 0, 0]), 16, 1) for n in range(256)]
    assert len(build(Rows.of([(bytes([10, 0, 0, 0]), 8, 1), *inside]))) == len(build(Rows.of(inside))) == len(around)
