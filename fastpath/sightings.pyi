"""What was seen lately; the argument why no interleaving breaks it is in `sightings.pyx`."""

from typing import Final

SIGHTING_BYTES: Final[int]
"""Size of the memory, bytes: 16 MiB for 2,097,152 sightings."""
UNIT_NS: Final[int]
"""How exactly times are kept, ns: about 69 s."""
LONGEST_NS: Final[int]
"""The longest window, ns: about 26 days."""

class Sightings:
    """A memory of pairs of words, shared by all processes of a node; all zero: nothing was seen.

    Two pairs are taken for one with a probability of 2**-44 for each look.
    """

    def __init__(self, memory: memoryview, secret: bytes) -> None:
        """Take `SIGHTING_BYTES` of memory and the 16-byte secret of the region; touches nothing.

        Raises:
            ValueError: The memory is too small or not aligned, or the secret has not 16 bytes.

        """

    def seen(self, where: int, what: int, window_ns: int, now_ns: int) -> bool:
        """Return whether `add` was called for the pair within `window_ns`, 0..LONGEST_NS; may forget, never invents.

        The window ends up to UNIT_NS later. `now_ns`: CLOCK_MONOTONIC.
        """

    def add(self, where: int, what: int, now_ns: int) -> None:
        """Remember the pair from now on; the oldest of its set of eight makes room."""

    def unseen(self, where: int, whats: tuple[int, ...], window_ns: int, now_ns: int) -> int:
        """Return of how many of the pairs `seen` would say no; each that is there twice counts twice."""

    def add_all(self, where: int, whats: tuple[int, ...], now_ns: int) -> None:
        """Remember many pairs: a signature by itself would cost a crossing, and an upload may have two thousand."""
