"""Who is there, by what was seen at each look: pure, without a store or a clock.

A beat counts as new by its number, which is under the seal: nobody can forge or repeat one, whatever the store says of
the time. A node without a new beat for three looks in a row is lost; after an outage of the store it has longer, for
nodes come back one after the other. One that says that it leaves is gone at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from proxy.cluster.beat import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.cluster.beat import Beat

MISSED: Final = 3  # looks
MISSED_AFTER_OUTAGE: Final = 10
LENIENT_LOOKS: Final = 10
FORGOTTEN: Final = 60  # looks
FRESH_MS: Final = 5000  # how old the first beat may be that is seen of a life

Word = Literal["live", "lost", "other protocol"]


@dataclass(slots=True)
class Member:
    """Another node, as it was seen last."""

    beat: Beat
    live: bool
    seen_ns: int  # its last new beat, on our clock
    missed: int = 0  # looks since

    @property
    def counted(self) -> bool:
        """Whether it is there, and speaks our protocol."""
        return self.live and self.beat.protocol == PROTOCOL

    @property
    def state(self) -> Word:
        """How it is, in a word."""
        return "lost" if not self.live else "live" if self.counted else "other protocol"


class Moved(NamedTuple):
    """A node that has come or gone."""

    beat: Beat
    how: Literal["joined", "drained", "lost"]


class Roster:
    """The other nodes, as one of them knows them.

    Attributes:
        looks: How many there were.

    """

    def __init__(self) -> None:
        """Know nobody."""
        self.looks = 0
        self._members: dict[str, Member] = {}
        self._lenient = 0  # looks that are still to be so

    @property
    def members(self) -> tuple[Member, ...]:
        """All that are known, also those that are lost."""
        return tuple(self._members.values())

    @property
    def counted(self) -> int:
        """How many count."""
        return sum(each.counted for each in self._members.values())

    def outage(self) -> None:
        """Take note that nobody could be seen for a while."""
        self._lenient = LENIENT_LOOKS

    def look(self, beats: Iterable[Beat], now_ns: int, now_ms: int) -> list[Moved]:
        """Take note of all beats that there are now; return who came and went, at the first look nobody.

        Args:
            beats: Of others, one for each node.
            now_ns: On our clock.
            now_ms: On that of the beats.

        """
        seen = {beat.node: beat for beat in beats}
        moved = [move for beat in seen.values() if (move := self._saw(beat, now_ns, now_ms))]
        patience = MISSED_AFTER_OUTAGE if self._lenient else MISSED
        for node, member in [*self._members.items()]:
            if node not in seen:
                member.missed += 1
            if member.live and member.missed >= patience:
                member.live = False
                moved.append(Moved(member.beat, "lost"))
            if member.missed >= FORGOTTEN:
                del self._members[node]
        self._lenient = max(0, self._lenient - 1)
        self.looks += 1
        return moved if self.looks > 1 else []

    def _saw(self, beat: Beat, now_ns: int, now_ms: int) -> Moved | None:
        before = self._members.get(beat.node)
        same = before is not None and before.beat.life == beat.life
        if beat.left:
            gone = self._members.pop(beat.node) if same else None
            return Moved(beat, "drained") if gone and gone.live else None
        fresh = abs(now_ms - beat.at_ms) <= FRESH_MS
        if before is not None and (before.beat.number >= beat.number if same else not fresh):
            before.missed += 1  # nothing new, or something old that somebody has put back
            return None
        self._members[beat.node] = member = Member(beat, same or fresh, now_ns)
        came = member.live and not (before and before.live)
        return Moved(beat, "joined") if came else None
