"""Bodies that a worker holds in memory; how, and why, is said in `parcel.pyx`."""

from typing import Final

PIECE_BYTES: Final[int]
"""Most bytes of a piece of what is there as a whole; what comes from a keyserver has its own pieces."""

class Shelf:
    """Room for all parcels of a worker."""

    most_bytes: int
    used_bytes: int
    def __init__(self, most_bytes: int) -> None:
        """Begin empty."""

class Parcel:
    """A body in pieces. It leaves the shelf when nobody holds it any more."""

    size: int
    count: int
    def __init__(self, shelf: Shelf, most_bytes: int) -> None:
        """Begin with nothing."""
    def add(self, piece: bytes) -> bool:
        """Take one more piece; false, and nothing is taken, if the parcel would be too large, or the shelf is full."""
    def fill(self, data: bytes, start: int) -> bool:
        """Be all of `data` from `start` on, once and for all; false, and nothing is taken, if there is no room."""
    def piece(self, number: int) -> bytes:
        """Return a piece; IndexError if there is no such one."""
    def joined(self, head: bytes) -> bytes:
        """Return a head and all pieces that came one by one."""
