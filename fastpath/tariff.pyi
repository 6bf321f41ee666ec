"""How many tokens of its class a request costs just now; shared by all processes of a node, written by the analyst."""

from typing import Final

TARIFF_BYTES: Final[int]
"""Size of the memory, bytes."""

class Tariff:
    """A price for each class of operations, and until when it holds."""

    def __init__(self, memory: memoryview) -> None:
        """Take `TARIFF_BYTES` of memory; ValueError if it is too small or not aligned."""

    def times(self, kind: int, now_ns: int) -> int:
        """Return how many tokens of its class a request costs, 1..MOST_TIMES; ValueError if there is no such class."""

    def set(self, kind: int, times: int, until_ns: int) -> None:
        """Let requests of a class cost `times` tokens until a time on CLOCK_MONOTONIC, then one.

        Raises:
            ValueError: There is no such class, `times` is not in 1..MOST_TIMES, or the time is out of range.

        """
