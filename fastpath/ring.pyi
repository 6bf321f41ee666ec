"""A ring of records: one worker writes, the analyst reads, nobody waits."""

from typing import Final

from fastpath.record import Record

RING_BYTES: Final[int]
"""Size of the memory, bytes."""
RING_RECORDS: Final[int]
"""How many records it holds."""
KNOCK_BYTES: Final[int]
KNOCK_RECORDS: Final[int]
"""The same of a ring of knocks: connections that were not taken on."""

class Ring:
    """One ring over shared memory, for the one process that writes and the one that reads."""

    def __init__(self, memory: memoryview, size: int = ...) -> None:
        """Take memory for `size` records, a power of two up to RING_RECORDS, which is the default.

        Raises:
            ValueError: Another size, or the memory is smaller (RING_BYTES, KNOCK_BYTES) or not aligned.

        """

    @property
    def lost(self) -> int:
        """Records that were dropped because the ring was full, since the region was made."""

    def write(
        self,
        time_ns: int,
        client: int,
        request_id: int,
        subject_hash: int,
        upstream_us: int,
        wait_us: int,
        total_us: int,
        received: int,
        sent: int,
        status: int,
        operation: int,
        action: int,
        reason: int,
        source: int,
        method: int,
        flags: int,
        upstream: int,
        address: bytes,
        subject: bytes,
        fingerprint: bytes,
        /,
    ) -> bool:
        """Append a record (fields: `Record`); False if the ring was full and it was lost.

        Times in µs and bytes stop at 0 and 2**32-1; the subject is cut at 64 bytes; b"" is no
        fingerprint.

        Raises:
            ValueError: The address has neither 4 nor 16 bytes, or the fingerprint neither 0 nor 16.
            OverflowError: Another field does not fit.

        """

    def drain(self, most: int) -> list[Record]:
        """Return up to `most` records, the oldest first, and free their places."""

    def take(self, most: int) -> bytes:
        """Return up to `most` records as they stand in memory, and free their places; for `record.records`."""

def notable(block: bytes) -> bytes:
    """Return the records of a block (`Ring.take`) that tell of something unusual, in their order.

    That is, those with a reason. Of a client's refusals by one limit within the block the first is enough.
    """
