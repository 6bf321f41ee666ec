"""Concurrency caps that survive a killed worker (how: `leases.pyx`)."""

from typing import Final

LEASE_BYTES: Final[int]
"""Size of the memory, bytes."""
MAX_CLIENT_CAP: Final[int]
MAX_TOTAL_CAP: Final[int]
CLIENT_BUSY: Final[int]
"""Answer of `acquire`: the client is at its cap."""
TOTAL_BUSY: Final[int]
"""Answer of `acquire`: the class is at its cap."""

class Leases:
    """The leases of one worker, in memory shared by all of them."""

    def __init__(self, memory: memoryview, generations: memoryview, worker: int, secret: bytes) -> None:
        """Take `LEASE_BYTES` of memory, the generations of the workers ('Q'), one's own index and the secret.

        The generation of the worker is read here, once: a worker that has been replaced holds nothing.

        Raises:
            ValueError: A size, the alignment, or the worker is out of range.

        """

    def acquire(self, bucket: int, key: int, client_cap: int, total_cap: int) -> int:
        """Hold a place of a client in a class and one of the class, or neither.

        Args:
            bucket: Class, 0..11.
            key: From `client_key`.
            client_cap: How many the client may hold in this class at once, 0..16; 0: no cap.
            total_cap: How many may be held in this class by all clients at once, 0..256; 0: no cap.

        Returns:
            A handle >= 0 for `release`; CLIENT_BUSY (-1) or TOTAL_BUSY (-2). Never too many are held; in a
            race CLIENT_BUSY may come although there is room, so queue and try again.

        Raises:
            ValueError: An argument is out of range.

        """

    def release(self, handle: int) -> None:
        """Give the places of a handle back; nothing happens if they are no longer held.

        Raises:
            ValueError: `acquire` never gave such a handle.

        """
