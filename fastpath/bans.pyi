"""What the analyst thinks of clients and networks, in shared memory: it alone writes, workers read without locks.

Times are ns of CLOCK_MONOTONIC, given by the caller. A ban holds while now_ns < until_ns.
"""

from enum import IntEnum
from typing import Final, NamedTuple

BAN_TABLE_BYTES: Final[int]
"""Size of the memory, bytes."""
LAYOUT: Final[dict[str, int]]
"""Sizes of the parts, bytes, and the number of ways; for tests that write into the memory."""

class Standing(IntEnum):
    """What an address may do now; the higher, the harder."""

    WELCOME = 0
    PRICED = 1  # its requests cost several times as much
    DELAYED = 2  # and wait
    LIMITED = 3  # they are answered with 429
    TARPIT = 4
    BANNED = 5

class BanEntry(NamedTuple):
    """A ban in force."""

    key: int
    until_ns: int
    standing: int

class BanTable:
    """A table of fixed size over shared memory; all zero is an empty table.

    One process at a time may change it, and none while another one that changes it lives; any may read it at
    any time. The first change that an object makes in a process calls `recover`.
    """

    def __init__(self, memory: memoryview, secret: bytes) -> None:
        """Take `BAN_TABLE_BYTES` of memory and the 16-byte secret of the region; touches nothing.

        Raises:
            ValueError: The memory is too small or not aligned, or the secret has not 16 bytes.

        """

    @property
    def capacity(self) -> int:
        """Most bans at a time: 65_536, expired ones included until `expire`."""
    def recover(self) -> None:
        """Writer: count anew what the predecessor left, wherever it was killed, and erase what is no ban."""
    def put(self, key: int, until_ns: int, standing: int = ...) -> bool:
        """Writer: ban a client or a network; a ban that the key has is replaced, be it longer or not.

        The key is banned without a gap, also while its ban is replaced.

        Args:
            key: From `client_key`, `parents` or `parse_network`.
            until_ns: End of the ban, 1..2**61 - 1.
            standing: Any but `Standing.WELCOME`.

        Returns:
            False: there is no room, and nothing has changed. No other ban is ever given up for a new one.

        Raises:
            ValueError: An argument is out of range.
            OverflowError: An argument does not fit its machine word.

        """
    def remove(self, key: int) -> bool:
        """Writer: lift a ban; false if there is none."""
    def expire(self, now_ns: int) -> None:
        """Writer: free the slots of the bans that are over."""
    def entries(self, now_ns: int) -> list[BanEntry]:
        """Return the bans in force, in no order; what is put or lifted meanwhile may be in it or not."""
    def used(self, now_ns: int) -> int:
        """Return the number of bans in force."""
    def until(self, key: int, now_ns: int) -> int:
        """Return when the ban of exactly this key ends, ns; 0 if none is in force."""
    def standing(self, address: bytes, now_ns: int) -> int:
        """Return the `Standing` of an address: the hardest of the bans on it and on the networks around it.

        Of an IPv4 address: the /32 and the /24; of an IPv6 address: the /64, the /56 and the /48. BANNED is
        harder than TARPIT, however long each lasts; so the longest of several equal bans decides when it ends.

        Args:
            address: 4 or 16 bytes in network order; an IPv4-mapped address is its IPv4 address.
            now_ns: Now.

        Raises:
            ValueError: Another length. (`look_up`, the same in C, answers WELCOME.)

        """
    def place(self, key: int) -> tuple[int, int]:
        """Return the first slots of the two lines where a key may stand; for tests."""
