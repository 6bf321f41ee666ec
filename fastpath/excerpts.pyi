"""Texts out of uploads, on their way from one worker to the analyst: a small ring, beside that of the records."""

from typing import Final

EXCERPT_BYTES: Final[int]
"""Size of the memory, bytes."""

class Excerpts:
    """One such ring over shared memory, for the one process that writes and the one that reads."""

    def __init__(self, memory: memoryview) -> None:
        """Take `EXCERPT_BYTES` of memory; ValueError if it is smaller or not aligned."""

    def write(self, client: int, text: bytes) -> bool:
        """Append the first 64 bytes of a text of a client; False if there was no room and it was left out."""

    def take(self) -> list[tuple[int, bytes]]:
        """Return all clients and texts, the oldest first, and wipe them."""
