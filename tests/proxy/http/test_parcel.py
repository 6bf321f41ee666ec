"""Bodies in pieces, on a shelf that has room for so much."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.parcel import PIECE_BYTES, Parcel, Shelf

PLENTY = 1 << 30


@given(st.lists(st.binary()))
def test_pieces_come_back_as_they_came(pieces: list[bytes]) -> None:
    """Each of them, and all together behind a head."""
    parcel = Parcel(Shelf(PLENTY), PLENTY)
    assert all(parcel.add(piece) for piece in pieces)
    assert [parcel.piece(number) for number in range(parcel.count)] == pieces
    assert parcel.joined(b"head") == b"head" + b"".join(pieces)
    assert parcel.size == sum(map(len, pieces))


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 300_001])
@pytest.mark.parametrize("start", [0, 7])
def test_a_whole_is_cut_into_pieces(size: int, start: int) -> None:
    """None of them is larger than it may be, and together they are the whole."""
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    parcel = Parcel(Shelf(PLENTY), PLENTY)
    assert parcel.fill(bytes(start) + data, start)
    pieces = [parcel.piece(number) for number in range(parcel.count)]
    assert b"".join(pieces) == data
    assert all(0 < len(piece) <= PIECE_BYTES for piece in pieces)


@pytest.mark.parametrize("number", [-1, 1])
@pytest.mark.parametrize("whole", [True, False])
def test_no_such_piece(number: int, *, whole: bool) -> None:
    """Only those that are there can be had."""
    parcel = Parcel(Shelf(PLENTY), PLENTY)
    assert parcel.fill(b"x", 0) if whole else parcel.add(b"x")
    with pytest.raises(IndexError, match=f"piece {number} not in"):
        parcel.piece(number)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 400)), max_size=30))
def test_neither_a_parcel_nor_the_shelf_holds_more_than_it_may(sizes: list[tuple[int, int]]) -> None:
    """What would be too much is not taken at all; what was taken is given back with the parcel."""
    shelf = Shelf(1000)
    parcels = [Parcel(shelf, 500) for _ in range(3)]
    for number, size in sizes:
        before = parcels[number].size
        fits = before + size <= 500 and shelf.used_bytes + size <= 1000
        assert parcels[number].add(bytes(size)) == fits
        assert parcels[number].size == before + size * fits
    assert shelf.used_bytes == sum(parcel.size for parcel in parcels) <= 1000
    del parcels
    assert shelf.used_bytes == 0


def test_a_whole_for_which_there_is_no_room() -> None:
    """It is not taken, and the shelf has what it had."""
    shelf = Shelf(1000)
    assert not Parcel(shelf, 499).fill(bytes(500), 0)
    first = Parcel(shelf, 600)
    assert first.fill(bytes(600), 0)
    assert not Parcel(shelf, 600).fill(bytes(401), 0)
    assert shelf.used_bytes == 600
    assert Parcel(shelf, 600).fill(bytes(401), 1)
