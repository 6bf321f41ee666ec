"""Which of a million networks an address lies in, from shared memory; `prefixes.pyx` tells how and why it holds.

An address is 4 or 16 bytes in network order; an IPv4-mapped one is its IPv4 address, and no IPv6 prefix holds it. A
value is 1..2**32 - 1, and 0 is none: of no prefix, or of the longest one, which then is a hole in those around it.
"""

from collections.abc import Iterator
from mmap import mmap
from typing import Final, NamedTuple

MOST_PREFIXES: Final[int]
"""Of a set or a book: 67,108,864."""
NODE_KEYS: Final[int]
"""Keys in a node: each level of a tree is filled up to a multiple of it with all ones."""
MAGIC_WORD: Final[int]
"""The first word of a set."""

class Layout(NamedTuple):
    """Where the parts of a set stand: offsets in bytes. For `prefix_build`, and tests that write into the memory."""

    levels4: list[tuple[int, int]]  # offset and number of keys, uint32, the leaves first
    values4: int  # uint32
    levels6: list[tuple[int, int]]  # the same of the high halves, uint64
    lows6: int  # uint64
    values6: int  # uint32
    size: int

def layout(ranges4: int, ranges6: int) -> Layout:
    """Return where the parts of a set stand; ValueError unless there is a range of each family, and not too many."""

def prefix_bytes(capacity: int) -> int:
    """Return the size of the memory of a book.

    Two times 41 bytes for each prefix, if all were of IPv6, nested or apart; of IPv4 they take 17. Memory is taken as
    sets need it: while there is one that one alone, both while another is published.

    Args:
        capacity: Prefixes of a set, 1..MOST_PREFIXES.

    Raises:
        ValueError: Out of range.

    """

class PrefixSet:
    """A set that `prefix_build.build` has made. If its memory changes answers become wrong, nothing worse."""

    def __init__(self, memory: bytes | bytearray | memoryview | mmap) -> None:
        """Take the memory of a set, which begins at a cache line if it is to be quick.

        Raises:
            ValueError: Not a set, or not a whole one, or not aligned to 8 bytes.

        """

    @property
    def prefixes(self) -> int:
        """Number of prefixes that it was built of."""

    def look_up(self, address: bytes) -> int:
        """Return the value of the longest prefix that holds the address, 0 if there is none.

        Raises:
            ValueError: Another length.

        """

class PrefixBook:
    """The set that a node goes by at present, in memory that all its processes share; all zero: no prefix.

    One writer at a time, with one publication at a time. An object is for one thread.
    """

    def __init__(self, memory: memoryview, capacity: int) -> None:
        """Take `prefix_bytes(capacity)` of memory, from a page on if it can be had; touches nothing.

        Raises:
            ValueError: The memory is too small or not aligned, or the capacity is out of range.

        """

    @property
    def generation(self) -> int:
        """Number of sets published so far; the present one is the last of them."""

    @property
    def prefixes(self) -> int:
        """Number of prefixes that the present set was built of."""

    def look_up(self, address: bytes) -> int:
        """Return the value of the longest prefix of the present set that holds the address, 0 if there is none.

        Raises:
            ValueError: Another length.

        """

    def publish(self, built: bytes | bytearray | memoryview | mmap) -> Iterator[None]:
        """Writer: put a set in the place of the present one, in pieces of half a mebibyte.

        Returns:
            The work: each step copies a piece, or gives one of the replaced set back to the kernel; a loop serves
            others between them. Readers have the set once all of it is copied. A publication that is not gone
            through to its end changes nothing for them, or keeps memory until the next.

        Raises:
            ValueError: Not a set, or larger than a half: one of `capacity` prefixes always fits.

        """
