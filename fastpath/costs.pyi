"""What fat subjects cost the upstream when they were last asked for, in memory shared by the workers of a node.

Times are ns of CLOCK_MONOTONIC, given by the caller, 0..2**61. Every method may be called in any process that
maps the memory, at any time.
"""

from typing import Final, NamedTuple

COST_MEMORY_BYTES: Final[int]
"""Size of the memory, bytes."""
CELLS: Final[int]
"""How many subjects it holds at most: 32,768."""
LEAST_SERVICE_US: Final[int]
"""From this service time on a subject is fat: 5 ms."""
LEAST_SIZE_BYTES: Final[int]
"""From this size on a subject is fat: 64 KiB."""
TTL_NS: Final[int]
"""After this time a cost is forgotten: a day."""

class Cost(NamedTuple):
    """What the last answer about a subject cost the upstream."""

    service_us: int
    """Until it had answered, µs, at most 2**32 - 1."""
    size_bytes: int
    """Of the answer, at most 2**32 - 1."""
    age_ns: int
    """Time since then."""

class CostMemory:
    """A memory of fixed size; all zero is empty."""

    def __init__(self, memory: memoryview) -> None:
        """Take `COST_MEMORY_BYTES` of memory; ValueError if it is smaller or not aligned."""

    def note(self, subject_hash: int, service_us: int, size_bytes: int, now_ns: int) -> None:
        """Remember what an answer cost if it was fat; if not, forget what is remembered of its subject.

        Args:
            subject_hash: A keyed hash of the subject, 0..2**64-1; its high bits choose the place.
            service_us: Any; what is out of 0..2**32-1 is taken for the nearest.
            size_bytes: Likewise.
            now_ns: Now.

        """

    def look_up(self, subject_hash: int, now_ns: int) -> Cost | None:
        """Return what the last answer about a subject cost; None if it is not known to be fat."""

    def entries(self, now_ns: int, most: int) -> list[tuple[int, Cost]]:
        """Return subject hashes and costs, at most `most`, the fattest first (5 ms count as 64 KiB).

        Takes milliseconds. A cell that a race has spoilt may appear as a subject that nobody knows.
        """
