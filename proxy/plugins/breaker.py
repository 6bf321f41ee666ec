"""The circuit breaker of a plugin: who fails again and again is left alone for a while, then tried once.

    closed --failures in a row, or one that is fatal--> open --its time is over--> trial --success--> closed
                                                         ^-----------failure (twice the time)----------'

The time is doubled also when a circuit opens again that has not been closed for long.
"""

from __future__ import annotations

from typing import Final

from proxy.settings.kinds import MINUTE, SECOND

FAILURES: Final = 3  # one after the other
FIRST_NS: Final = 5 * SECOND
LONGEST_NS: Final = 10 * MINUTE


class Breaker:
    """One circuit; times are ns on CLOCK_MONOTONIC.

    Attributes:
        open: Whether the plugin is left alone.
        reason: The last failure.

    """

    def __init__(self) -> None:
        """Begin closed."""
        self.open = False
        self.reason = ""
        self._failures = 0
        self._rest_ns = 0
        self._until_ns = 0
        self._closed_ns = 0  # since when

    def allows(self, now_ns: int) -> bool:
        """Tell whether the plugin may be asked; an open circuit allows a trial when its time is over."""
        return not self.open or now_ns >= self._until_ns

    def failed(self, reason: str, now_ns: int, *, fatal: bool = False) -> bool:
        """Note a failure; true if the circuit is open now, and was closed."""
        self.reason = reason
        self._failures += 1
        if not (self.open or fatal or self._failures >= FAILURES):
            return False
        opened = not self.open
        calm = opened and now_ns - self._closed_ns >= LONGEST_NS
        self._rest_ns = FIRST_NS if calm or not self._rest_ns else min(2 * self._rest_ns, LONGEST_NS)
        self._until_ns = now_ns + self._rest_ns
        self.open = True
        return opened

    def succeeded(self, now_ns: int) -> bool:
        """Note a success; true if the circuit was open and is closed now."""
        restored = self.open
        if restored:
            self._closed_ns = now_ns
        self.open = False
        self.reason = ""
        self._failures = 0
        return restored

    def rest_ns(self, now_ns: int) -> int:
        """Return how long it still leaves the plugin alone; 0: it is closed, or a trial is due."""
        return max(0, self._until_ns - now_ns) if self.open else 0
