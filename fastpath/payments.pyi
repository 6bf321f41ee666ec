"""What was paid from budgets of which no record can tell: a worker writes it down, the analyst reads it."""

from typing import Final, NamedTuple

PAYMENT_NOTES: Final[int]
"""How many notes may wait to be read."""
PAYMENT_BYTES: Final[int]
"""Size of the memory, bytes."""

class Payment(NamedTuple):
    """Tokens that were taken from one budget."""

    time_ns: int
    """CLOCK_MONOTONIC."""
    key: int
    """Of the bucket, from `bucket_key`."""
    kind: int
    """Of the budget."""
    tokens: int
    """How many."""
    address: bytes
    """Of the client, 4 or 16 bytes: whose limits these are."""

class Payments:
    """The notes of one worker, who alone writes; one process at a time reads."""

    def __init__(self, memory: memoryview) -> None:
        """Take `PAYMENT_BYTES` of memory; ValueError if it is smaller or not aligned."""

    def write(self, time_ns: int, key: int, kind: int, tokens: int, address: bytes) -> bool:
        """Write a note; False if there is no room. ValueError if there is no such kind or address."""

    def take(self, most: int) -> list[Payment]:
        """Return notes that nobody has read, the oldest first, at most so many."""
