"""Which edition of a thing is the present one; shared by all processes of a node."""

from typing import Final

EPOCHS: Final[int]
"""How many counters there are; they stand at the beginning of the memory."""
EPOCH_BYTES: Final[int]
"""Size of the memory, bytes: 512 KiB and a line."""

class Epochs:
    """A counter for each of 65,536 groups of things; all zero: nothing was ever changed."""

    def __init__(self, memory: memoryview) -> None:
        """Take `EPOCH_BYTES` of memory; ValueError if it is too small or not aligned."""

    @property
    def advanced(self) -> int:
        """How often any of them was advanced: who has to know which looks only if this has changed."""
    def of(self, thing: int) -> int:
        """Return the epoch of a thing, named by a word that was hashed with a secret."""

    def advance(self, thing: int) -> None:
        """Begin a new epoch: what was kept of the thing is not valid any more."""
