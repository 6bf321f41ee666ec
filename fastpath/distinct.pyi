"""How many subjects an aggregate asked for, in shared memory; all workers of a node count together.

`_distinct_py.py` explains what is counted and how well. Times are ns of CLOCK_MONOTONIC, given by the caller,
0..2**61. Every method may be called in any process that maps the memory, at any time; each raises ValueError for
an argument out of range and OverflowError for one that does not fit its machine word.
"""

from typing import Final

from fastpath._distinct_py import EXACT as EXACT
from fastpath._distinct_py import REGISTERS as REGISTERS
from fastpath._distinct_py import WINDOW_NS as WINDOW_NS

DISTINCT_BYTES: Final[int]
"""Size of the memory, bytes: 1_040 for each of 16_384 aggregates and a line, 16.3 MiB."""
LAYOUT: Final[dict[str, int]]
"""Sizes of the parts, bytes, and the number of ways; for tests that write into the memory."""

class DistinctTable:
    """What 16_384 aggregates asked for in this generation (of six hours) and the last one; all zero: nothing.

    An aggregate that is not there yet takes the place of one that knows nothing; if all eight of its set know
    something, of the one that knows least: so a flood of new networks drives out the small, never a scraper.
    """

    def __init__(self, memory: memoryview, secret: bytes) -> None:
        """Take `DISTINCT_BYTES` of memory and the 16-byte secret of the region; touches nothing.

        Raises:
            ValueError: The memory is too small or not aligned, or the secret has not 16 bytes.

        """

    @property
    def capacity(self) -> int:
        """Number of aggregates."""
    @property
    def evictions(self) -> int:
        """Aggregates turned out while they still knew something; by all processes, since the region was made."""
    @property
    def untracked(self) -> int:
        """Subjects not remembered because their aggregate never got a place; in practice 0."""
    def add(self, aggregate: int, subject_hash: int, now_ns: int) -> None:
        """Count a subject: in the rest of this generation and in the whole next one.

        Args:
            aggregate: Any word but 0.
            subject_hash: Any word; two subjects of one word are one.
            now_ns: Now.

        """
    def estimate(self, aggregate: int, now_ns: int) -> float:
        """Return how many subjects the aggregate knows.

        Exact while there are at most 64 in each generation; later with a standard error of 4.6 %.
        """
    def sketch(self, aggregate: int, now_ns: int) -> bytes:
        """Return the registers of all that the aggregate knows, also of what is counted exactly: 512 bytes, 0..40.

        Registers of two tables of the same secret are merged by taking the higher of each two.
        """
    def place(self, aggregate: int) -> int:
        """Return the index of the first way of the set of an aggregate; for tests."""
