"""What a worker counts, in shared memory: one block for each, written by it alone, summed by the analyst."""

from typing import Final

from fastpath.snapshot import Snapshot

COUNTER_BYTES: Final[int]
"""Size of the memory, bytes."""

class Counters:
    """The counters of one worker; only that worker may call what changes them."""

    def __init__(self, memory: memoryview) -> None:
        """Take `COUNTER_BYTES` of memory; ValueError if it is smaller or not aligned."""

    def start(self) -> None:
        """Begin a worker's life: nothing is open or held; what its predecessor counted stays."""

    def record(
        self,
        operation: int,
        action: int,
        status: int,
        decision_ns: int,
        added_ns: int,
        upstream_ns: int,
        wait_ns: int,
        cache_use: int = 0,
    ) -> None:
        """Count a request.

        Args:
            operation: 0..11.
            action: 0..5; plus 6 if it was only a shadow's.
            status: Of the response; what is not in 0..599 is counted as 0.
            decision_ns: Time of the decision; this and the following: negative if not observed.
            added_ns: Time that the guard added.
            upstream_ns: Time of the upstream.
            wait_ns: Time that the request was delayed.
            cache_use: What the cache was to the request, 0..3; 0: nothing.

        Raises:
            ValueError: operation, action or cache_use is out of range.

        """

    def turned_away(self, reason: int) -> None:
        """Count a connection that was not taken on; ValueError unless `reason` is in 0..7."""

    def claimed(self, outcome: int, waited_ns: int = -1) -> None:
        """Count a claim by what became of it, and how long its request waited; negative: not at all.

        ValueError unless `outcome` is in 0..5.
        """

    def set_connections(self, count: int) -> None:
        """Set the number of open client connections, >= 0."""

    def set_tarpit_held(self, count: int) -> None:
        """Set the number of connections held in the tarpit, >= 0."""

    def set_parked(self, count: int) -> None:
        """Set the number of requests that wait for their time, >= 0."""

    def snapshot(self) -> Snapshot:
        """Return what stands there now; may be called in any process."""
