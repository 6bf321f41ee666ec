"""Connections that are held to cost their clients time (how: `tarpit.pyx`)."""

from enum import IntEnum
from typing import Final

KERNEL_OBJECT_BYTES: Final[int]
"""What the kernel's objects for a connection are taken to weigh, without its buffers, bytes."""
MOST_PER_TURN: Final[int]
"""Connections that are looked at in one turn, at most."""

class TarpitMode(IntEnum):
    """What a held connection is sent."""

    SLOW = 0
    """1 to 3 bytes of a reply that never ends, each interval."""
    STICKY = 1
    """Nothing."""
    RANDOM = 2
    """One of both, drawn for each connection, in intervals drawn between half and twice the interval."""

class Tarpit:
    """Connections that are held to cost their clients time; a descriptor and a few words each.

    Times are ns of any clock that does not jump, given by the caller, to the ms.
    """

    def __init__(
        self, *, mode: int, most: int, most_kernel_bytes: int, interval_ns: int, hold_ns: int, seed: int
    ) -> None:
        """Start empty.

        Args:
            mode: A TarpitMode.
            most: How many are held at once, 0..2**20.
            most_kernel_bytes: How much memory of the kernel they may take together, >= 0.
            interval_ns: Time between two looks at a connection, 1 ms..1 day.
            hold_ns: Longest time that one is held, 1 ms..1 day.
            seed: Of the times and sizes that are drawn, 0..2**64-1.

        Raises:
            ValueError: An argument is out of range.
            OverflowError: An argument does not fit its machine word.

        """

    @property
    def held(self) -> int:
        """Connections held."""
    @property
    def kernel_bytes(self) -> int:
        """Memory of the kernel for them, a multiple of 1024 bytes.

        For each the greater of what is queued and the bound of the buffer, both ways, and KERNEL_OBJECT_BYTES; as
        of the last look. Between two looks a client can add what its window still allowed: one packet of at most
        64 KiB.
        """
    @property
    def user_bytes(self) -> int:
        """Memory of ours for them, unused places too, bytes; all that grows with their number."""
    def configure(self, *, mode: int, most: int, most_kernel_bytes: int, interval_ns: int, hold_ns: int) -> None:
        """Take new settings, as those of `__init__`; after an error the old ones hold.

        The interval holds for all from their next look on, the rest for those that come. Who is held is held on,
        even if they are now too many.
        """
    def hold(self, fd: int, now_ns: int, silent: bool = False) -> bool:
        """Take a connected, non-listening socket over, which nobody else reads or watches any more.

        Args:
            fd: Its descriptor; its buffers are shrunk in any case.
            now_ns: Now.
            silent: Never write to it, whatever the mode: TLS is spoken there.

        Returns:
            True: the descriptor is owned from now on, and closed with RST. False: there is no room for it (or it
            is no socket, or Linux is older than 4.12 and cannot weigh it); the caller closes it.

        """
    def turn(self, now_ns: int) -> int:
        """Look at the connections that are due: send them their bytes, close those that are dead or too old.

        At most MOST_PER_TURN of them; a round that was cut short goes on in the next turn. Nothing happens between
        two calls, so call it often: a call that finds nothing due costs 6 µs for 10,000 held.

        Returns:
            How many were closed.

        """
    def close(self) -> None:
        """Close all and free the memory; the tarpit is empty and may be used on."""
