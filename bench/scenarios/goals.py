"""What should become of a group of visitors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from bench.scenarios.clock import SECOND

if TYPE_CHECKING:
    from bench.scenarios.world import Tally


class Goal(Protocol):
    """A bound on a tally."""

    def met(self, tally: Tally, length_ns: int) -> bool:
        """Tell whether it was kept in a scenario of that length."""


@dataclass(frozen=True, slots=True)
class NobodyDenied:
    """Of honest clients."""

    def met(self, tally: Tally, length_ns: int) -> bool:
        """See `Goal`."""
        return tally.denied == 0 and length_ns > 0

    def __str__(self) -> str:
        """Say it."""
        return "0 denied"


@dataclass(frozen=True, slots=True)
class Refused:
    """Of those who take what is not theirs: so much of what they ask for is refused."""

    least_share: float

    def met(self, tally: Tally, length_ns: int) -> bool:
        """See `Goal`."""
        return length_ns > 0 and tally.refused_share >= self.least_share

    def __str__(self) -> str:
        """Say it."""
        return f">= {self.least_share:.0%} refused"


@dataclass(frozen=True, slots=True)
class Noticed:
    """Of those whom no limit can tell from others: the score for cold certificates of each of their networks."""

    least_score: float

    def met(self, tally: Tally, length_ns: int) -> bool:
        """See `Goal`."""
        return length_ns > 0 and bool(tally.cold_scores) and tally.cold_scores[0] >= self.least_score

    def __str__(self) -> str:
        """Say it."""
        return f"noticed, cold >= {self.least_score:g}"


@dataclass(frozen=True, slots=True)
class NotToldApart:
    """Of those who do what others do as well, from where they do it: whatever becomes of them (docs/limits.md).

    No rule that refuses the one lets the other pass. So there is no bound, and what became of them is told.
    """

    def met(self, tally: Tally, length_ns: int) -> bool:
        """See `Goal`."""
        return tally.requests > 0 and length_ns > 0

    def __str__(self) -> str:
        """Say it."""
        return "not told apart"


@dataclass(frozen=True, slots=True)
class HeldTo:
    """Of vandals: no more gets through than a budget of the class gives."""

    burst: int
    each_ns: int

    def met(self, tally: Tally, length_ns: int) -> bool:
        """See `Goal`."""
        return tally.answered <= self.burst + length_ns // self.each_ns

    def __str__(self) -> str:
        """Say it."""
        return f"<= {self.burst} + 1 in {self.each_ns / SECOND:g} s"


@dataclass(frozen=True, slots=True)
class UpstreamShare:
    """Of those who ask for what is costly: the keyserver has its time for others; nobody is denied for asking."""

    most: float

    def met(self, tally: Tally, length_ns: int) -> bool:
        """See `Goal`."""
        return tally.denied == 0 and tally.upstream_us * 1000 <= self.most * length_ns

    def __str__(self) -> str:
        """Say it."""
        return f"0 denied, upstream <= {self.most:.0%}"
