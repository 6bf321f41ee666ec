"""Buckets by any 64-bit key in shared memory, for the limits that are not per client; exact across the workers.

Every method may be called in any process that maps the memory, at any time. Times are ns of CLOCK_MONOTONIC,
given by the caller, 0..2**61. What is paid: `_buckets_py.py`; `BucketTable` raises ValueError for an argument out
of range and OverflowError for one that does not fit its machine word.
"""

from typing import Final

from fastpath._gcra_py import Limit
from fastpath.table import Spending

BUCKET_TABLE_BYTES: Final[int]
"""Size of the memory, bytes: 16 MiB and a line."""
LAYOUT: Final[dict[str, int]]
"""Sizes of the parts, bytes, and the number of ways; for tests that write into the memory."""

def hash_text(text: bytes, secret: bytes) -> int:
    """Return SipHash-1-3 of any bytes, 1..2**64-1 (0 is told as 1); ValueError unless the secret has 16 bytes.

    The same in C, for those who keep the two words of the secret: `hash_bytes`.
    """

def bucket_key(kind: int, a: int, b: int = 0) -> int:
    """Return a key for a kind and two words, 1..2**64-1; the same in C: `mix`.

    There is no secret in it: of what outsiders choose freely give the `hash_text`.
    """

class Budget:
    """A limit that is not per client, compiled, and what its bucket is called in a `Spending`; immutable."""

    def __init__(self, limit: Limit, kind: int) -> None:
        """Take a limit and its kind, 12..255.

        Raises:
            ValueError: The kind is out of range, or an empty bucket fills in more than 18 years.

        """

    @property
    def kind(self) -> int:
        """What `Spending.bucket` says of it."""
    @property
    def burst_ns(self) -> int:
        """How long an empty bucket takes to be full."""
    @property
    def room_ns(self) -> int:
        """The same, and the longest delay: a request that would take it further is refused."""
    @property
    def enforced(self) -> bool:
        """Whether it is neither in shadow mode nor off."""

class BucketTable:
    """1_048_576 buckets over shared memory; all zero is an empty table.

    A key that has no bucket yet takes the place of one that owes nothing; if all eight of its set owe, of the
    one that owes least. The same key must always be used with the same budget, or one that replaces it.
    """

    def __init__(self, memory: memoryview, secret: bytes) -> None:
        """Take `BUCKET_TABLE_BYTES` of memory and the 16-byte secret of the region; touches nothing.

        Raises:
            ValueError: The memory is too small or not aligned, or the secret has not 16 bytes.

        """

    @property
    def capacity(self) -> int:
        """Number of buckets."""
    @property
    def evictions(self) -> int:
        """Buckets turned out while they still owed something; by all processes, since the region was made."""
    @property
    def untracked(self) -> int:
        """Payments let through unaccounted because their key never got a place; in practice 0."""
    def spend(self, budget: Budget, key: int, cost: int, now_ns: int) -> Spending | None:
        """Take `cost` tokens, or be refused and take none.

        Args:
            budget: The limit.
            key: From `bucket_key`, 1..2**64-1.
            cost: Tokens, 0..1_000_000; more than the burst counts as the burst.
            now_ns: Now, 0..2**61.

        Returns:
            None: taken, nothing to say. Otherwise what the limit says; if it refuses, nothing was taken. A limit
            in shadow mode never refuses, and is charged if it would not have.

        """
    def refund(self, budget: Budget, key: int, cost: int, now_ns: int) -> None:
        """Give back what a `spend` with the same arguments took, for a request that was never served."""
    def charge(self, budget: Budget, key: int, cost: int, now_ns: int) -> None:
        """Take `cost` tokens after the fact, also those that are not there; never refused.

        The bucket goes at most one more burst below empty, whatever it cost. A limit in shadow mode is charged
        like any other.
        """
    def add(self, key: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """Take, or give back, what was spent elsewhere: see `ClientTable.add`.

        A key that has no bucket gets one if there is something to take.
        """
    def peek(self, key: int) -> int | None:
        """Return the TAT of a bucket, ns, or None if it has no place; creates nothing."""
    def place(self, key: int) -> int:
        """Return the index of the set of a key; for tests."""
