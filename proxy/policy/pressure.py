"""Whether a class of operations is under attack, and what its requests cost meanwhile. Pure.

    1 token --pushed for RISE_NS--> 2 --pushed--> ... most
      ^----- left alone for FALL_NS, at each step -------'

A class is pushed if more of its requests reach the keyserver than the forecast has room for, and the site shows that
it cannot bear it: its answers are late or fail, or it refuses unusually many of that class. That it refuses counts
only as long as the price is the usual one: a higher price refuses by itself, and would hold itself up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from proxy.settings.kinds import SECOND

RISE_NS: Final = 10 * SECOND
FALL_NS: Final = 60 * SECOND


class Signs(NamedTuple):
    """What the figures of the last half minute say."""

    loaded: bool  # more reaches the keyserver than is to be expected
    strained: bool  # it answers late, or fails
    refusing: bool  # more of the class is refused than usual

    def pushing(self, times: int) -> bool:
        """Tell whether it takes a higher price than `times`."""
        return self.loaded and (self.strained or (self.refusing and times == 1))


@dataclass(slots=True)
class Pressure:
    """One class.

    Attributes:
        times: Tokens of its class that a request costs, or would in shadow mode.
        since_ns: Since when it is pushed, or left alone; or when it last came to a step.
        pushed: Which of the two.

    """

    times: int = 1
    since_ns: int = 0
    pushed: bool = False

    def turn(self, signs: Signs, most: int, now_ns: int) -> bool:
        """Look at signs, as often as one likes; true if the price has changed.

        Args:
            signs: Of the class.
            most: The highest price, 1 or more.
            now_ns: CLOCK_MONOTONIC.

        """
        before, pushing = self.times, signs.pushing(self.times)
        if pushing != self.pushed:
            self.pushed, self.since_ns = pushing, now_ns
        elif now_ns - self.since_ns >= (RISE_NS if pushing else FALL_NS):
            self.times += 1 if pushing else -1
            self.since_ns = now_ns
        self.times = max(1, min(self.times, most))
        return self.times != before
