"""The table of clients in shared memory: who has how many tokens left, exact across the workers of a node.

Every method may be called in any process that maps the memory, at any time. Times are ns of CLOCK_MONOTONIC,
given by the caller, 0..2**61.
"""

from collections.abc import Sequence
from typing import Final

from fastpath._gcra_py import Limit

LAYOUT: Final[dict[str, int]]
"""Sizes of the parts, bytes, and the number of ways; for tests that write into the memory."""

def table_bytes(clients: int) -> int:
    """Return the size of the memory for at least `clients` clients (a multiple of 8), bytes."""

def hash_key(key: int, secret: bytes) -> int:
    """Return SipHash-1-3 of the 8 little-endian bytes of `key`; ValueError unless the secret has 16 bytes."""

class LimitSet:
    """The limits of one policy, compiled; immutable. None or Mode.OFF: the bucket is not limited."""

    def __init__(self, limits: Sequence[Limit | None]) -> None:
        """Take 12 limits by index, the total first; ValueError for another number."""
    def cost_ns(self, bucket: int, times: int) -> int:
        """Return what a `spend` takes of `bucket`, in the time that it takes to flow back, ns; 0: it is not limited."""

class Spending:
    """What the weightier of the two limits of a request says: refused before delayed, enforced before shadow.

    `shadow`: what the limit would have done; the caller must neither wait nor refuse. If
    `retry_after_ns` > 0 it would have refused, else it would have delayed by `wait_ns`.
    """

    @property
    def bucket(self) -> int:
        """Index of the limit that says this, 0..11."""
    @property
    def allowed(self) -> bool:
        """Whether the request goes on (after `wait_ns`, unless `shadow`); always true in shadow mode."""
    @property
    def shadow(self) -> bool:
        """Whether the limit is in shadow mode."""
    @property
    def wait_ns(self) -> int:
        """How long the request waits for its tokens, which are already taken, ns; 0 if refused."""
    @property
    def remaining(self) -> int:
        """Tokens left in that bucket."""
    @property
    def retry_after_ns(self) -> int:
        """After this time the same request would be allowed, ns; 0 if it is allowed now."""
    @property
    def reset_after_ns(self) -> int:
        """Time until that bucket is full, ns."""

class ClientTable:
    """A set-associative table of fixed size over shared memory; all zero is an empty table."""

    def __init__(self, memory: memoryview, secret: bytes) -> None:
        """Take memory of `table_bytes()` bytes and the 16-byte secret of the region.

        Raises:
            ValueError: The size or the alignment of the memory, or the length of the secret, is wrong.

        """

    @property
    def capacity(self) -> int:
        """Number of slots."""
    @property
    def evictions(self) -> int:
        """Clients turned out while they still owed something; by all processes, since the region was made."""
    @property
    def untracked(self) -> int:
        """Requests let through unaccounted because their set was full of fresh claims; in practice 0."""
    def spend(
        self, limits: LimitSet, key: int, bucket: int, price: int, now_ns: int, times: int = 1
    ) -> Spending | None:
        """Take `price` tokens of the total (bucket 0) and `times` of `bucket`, or neither.

        Args:
            limits: The policy.
            key: From `client_key`, 1..2**64-1.
            bucket: 1..11; the total is always charged.
            price: Tokens of the total, 0..1_000_000; more than its burst counts as its burst.
            now_ns: Now, 0..2**61.
            times: Tokens of `bucket`, 1..16; more than its burst counts as its burst. A limit that delays takes at
                most what comes back within its longest delay, so that it still refuses nobody who waits.

        Returns:
            None: allowed now, nothing to say. Otherwise what the weightier limit says; if it refuses,
            nothing was paid. A limit in shadow mode never refuses, and is charged if it would not have.

        Raises:
            ValueError: An argument is out of range.
            OverflowError: An argument does not fit its machine word.

        """
    def refund(self, limits: LimitSet, key: int, bucket: int, price: int, now_ns: int, times: int = 1) -> None:
        """Give back what a `spend` with the same arguments paid, for a request that was never served."""
    def charge(self, limits: LimitSet, key: int, tokens: int, now_ns: int, bucket: int = 0) -> None:
        """Take tokens of the total, or of another bucket, after the fact, there or not.

        A client that has no slot pays nothing. The bucket goes at most one more burst below empty. `tokens` of 0 or
        less change nothing.

        Raises:
            ValueError: There is no such bucket.

        """

    def give_back(self, limits: LimitSet, key: int, tokens: int, now_ns: int) -> None:
        """Give tokens of the total back that were taken for what was not needed then."""

    def add(self, key: int, bucket: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """Take, or give back, what was spent elsewhere: on another node.

        Args:
            key: From `client_key`. A client that has no slot gets one, if there is something to take.
            bucket: 0..11.
            delta_ns: By so much the bucket is emptied, in the time that it takes to flow back; negative: filled, and
                never more than full. -2**61..2**61.
            most_ns: So long, at most, the bucket takes to be full afterwards; if it takes longer already it stays.
                0..2**61.
            now_ns: Now, 0..2**61.

        Raises:
            ValueError: An argument is out of range.
            OverflowError: An argument does not fit its machine word.

        """
    def peek(self, key: int) -> tuple[int, ...] | None:
        """Return the 12 TATs of a client, ns, or None; creates nothing."""
    def used(self, now_ns: int) -> int:
        """Return the number of clients that still owe something; 10 ms for a million slots."""
    def place(self, key: int) -> tuple[int, int]:
        """Return where a key belongs: the index of the first way of its set, and its tag; for tests."""
