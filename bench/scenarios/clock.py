"""Virtual time: lives that sleep, and a heap of who wakes next."""

from collections.abc import Generator
from heapq import heappop, heappush

Life = Generator[int, int, None]
"""What somebody does: yields how long to sleep, ns, and is sent the time at which it wakes."""

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START_NS = 1_000_000 * SECOND  # as on a machine that has been up for days: 0 means "never" in many a table


class Clock:
    """Runs lives side by side; those that wake at the same time in the order in which they went to sleep.

    Attributes:
        now_ns: The time, as CLOCK_MONOTONIC would tell it.

    """

    def __init__(self) -> None:
        """Nobody lives yet."""
        self.now_ns = START_NS
        self._sleepers: list[tuple[int, int, Life]] = []
        self._turn = 0

    def add(self, life: Life, after_ns: int = 0) -> None:
        """Let a life begin `after_ns` from now."""
        self._sleep(life, self.now_ns + after_ns + next(life))

    def run(self, until_ns: int) -> None:
        """Let time pass until `until_ns`, or until all lives have ended."""
        while self._sleepers and self._sleepers[0][0] <= until_ns:
            self.now_ns, _, life = heappop(self._sleepers)
            try:
                pause_ns = life.send(self.now_ns)
            except StopIteration:
                continue
            self._sleep(life, self.now_ns + pause_ns)

    def _sleep(self, life: Life, wake_ns: int) -> None:
        self._turn += 1
        heappush(self._sleepers, (wake_ns, self._turn, life))
