"""What time it is for the store: all nodes measure by that, for their own clocks differ by seconds or minutes.

An answer that tells the time was given between question and answer; so the middle of the two is wrong by half the way
at most. Between answers the clock of this node goes on, which loses some µs a second.
"""

from __future__ import annotations

from typing import Final

US: Final = 1000  # ns
DRIFT: Final = 10_000  # by one part of so many a clock may be wrong, and the last good answer is worth less with it
PLAUSIBLE_US: Final = (10**15, 10**16)  # the years 2001 to 2286


class StoreClock:
    """The clock of the store as this node knows it."""

    def __init__(self) -> None:
        """Begin without knowing it."""
        self._offset_us: int | None = None
        self._error_us = 0
        self._asked_ns = 0

    @property
    def known(self) -> bool:
        """Whether the store has told the time."""
        return self._offset_us is not None

    def note(self, asked_ns: int, came_ns: int, said_us: int) -> None:
        """Take what the store said of the time, asked and answered by CLOCK_MONOTONIC; ValueError if it is nonsense."""
        if not PLAUSIBLE_US[0] <= said_us <= PLAUSIBLE_US[1]:
            raise ValueError(f"the store says that it is {said_us} µs after 1970")
        error_us = (came_ns - asked_ns) // US // 2
        offset_us = said_us - (asked_ns + came_ns) // US // 2
        if self._offset_us is not None:
            known_to_us = self._error_us + (asked_ns - self._asked_ns) // US // DRIFT
            if error_us > known_to_us and abs(offset_us - self._offset_us) <= error_us + known_to_us:
                return  # it says the same, but less exactly
        self._offset_us, self._error_us, self._asked_ns = offset_us, error_us, came_ns

    def store_us(self, local_ns: int) -> int:
        """Return a time of CLOCK_MONOTONIC as the store has it, at least 1; only if it is known."""
        return max(1, local_ns // US + (self._offset_us or 0))

    def local_ns(self, store_us: int) -> int:
        """Return the reverse; what was before this machine started is below 0."""
        return (store_us - (self._offset_us or 0)) * US
