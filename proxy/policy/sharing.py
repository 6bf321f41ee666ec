"""How a budget of everybody is shared by its members: the exits, or the networks, that uploads come through.

    part   of the burst and of the rate one member may have a quarter
    turn   who had less lately goes before who had more, and who was refused once before who comes again and again

Turns. There are five. What a member had counts, and that it was refused again; one of what it had is forgotten each
8 hours, one refusal each 20 minutes. Each turn leaves a fifteenth of the burst, and a fifth of the longest wait, to the
turns before. All take from one bucket, so together they never have more than the budget gives; how far each may empty
it depends on its turn. Members of turn k can bring it down to the depth of k, and whoever has an earlier turn finds
what is kept below:

    turn 0   ███████████████ wait      a burst of 600: 600, and up to 60 s of waiting
    turn 4   ███████████               440, and up to 12 s

One refusal alone counts nothing: who comes back when it was told to has the turn for which it was told.

What brings nothing new (updates, revocations) is never in the last turn, and what is new never in the first, where both
take from one budget: a flood of new certificates ends up behind every update, and a flood of updates behind the first
and the second new certificate of a member.

Of a flood through N members that tries r times a second this follows. Its members are like anybody until they were
refused again, or had something. Those of whom neither is true become rarer than the tokens within a few times N / r:
from then on whoever comes for the first time goes before the flood as long as it goes on. If it tries so seldom that
refusals are forgotten in between, that takes until each member had something, N tokens. To come first once more a
member has to hold still for 8 hours: N that take turns make 3 N such uploads a day, which leaves room for others while
the budget gives more. With a burst below five little or nothing is kept.

What cannot be had: who comes through a member that the flood comes through as well is taken to have had what it had.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import Budget, Limit, bucket_key
from fastpath.gcra import MAX_PERIOD_NS
from proxy.policy.budgets import BudgetKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath import BucketTable

PARTS: Final = 4  # of a budget one member may have one
TURNS: Final = range(5)
KNOWN_TURNS: Final = TURNS[:-1]  # of what brings nothing new, where both kinds take from one budget
NEW_TURNS: Final = TURNS[1:]
KEPT: Final = 15  # one in so many of the burst is kept from each turn for the one before
HAD_FORGOTTEN_NS: Final = 8 * 3600 * 1_000_000_000
REFUSED_FORGOTTEN_NS: Final = 20 * 60 * 1_000_000_000
_EVERYBODY, _PART, _HAD, _REFUSED = range(4)  # what a bucket is for


def _counter(name: str, forgotten_ns: int) -> Budget:
    """Return a bucket that counts: a charge goes one burst into debt, so that a burst of two counts to four."""
    return Budget(Limit(name=name, burst=2, count=1, period_ns=forgotten_ns), BudgetKind.NEW_CERTS)


_LATELY: Final = _counter("lately", HAD_FORGOTTEN_NS)
_IN_VAIN: Final = _counter("in vain", REFUSED_FORGOTTEN_NS)


class Bill(NamedTuple):
    """What is to be paid from a bucket."""

    budget: Budget
    key: int
    cost: int
    forgiving: bool = False  # it counts, and refuses nobody
    limit: Limit | None = None  # of the bucket as a whole, if it is one that all nodes have together


class Share(NamedTuple):
    """What a member asks for."""

    kind: BudgetKind
    member: int
    cost: int
    turns: range = TURNS  # that it takes, one after the other


class Sharing:
    """The members of the shared budgets of a node."""

    def __init__(self, buckets: BucketTable) -> None:
        """`buckets`: of the node."""
        self._buckets = buckets

    def bills(self, limit: Limit, share: Share, now_ns: int) -> Iterator[Bill]:
        """Yield what a member has to pay for what it asks for."""
        yield Bill(_part(limit, share.kind), _key(share, _PART), share.cost)
        yield Bill(_turn(limit, share.kind, self.turn(share, now_ns)), everybody(share.kind), share.cost, limit=limit)

    def turn(self, share: Share, now_ns: int) -> int:
        """Return whose turn it is. Of an upload of several it is that of the last."""
        had = self._count(share, _HAD, HAD_FORGOTTEN_NS, now_ns)
        refused_again = max(0, self._count(share, _REFUSED, REFUSED_FORGOTTEN_NS, now_ns) - 1)
        return share.turns[min(had + refused_again + share.cost, len(share.turns)) - 1]

    def note(self, share: Share, now_ns: int) -> None:
        """Take note that a member had what it asked for."""
        self._buckets.charge(_LATELY, _key(share, _HAD), share.cost, now_ns)

    def note_refusal(self, share: Share, now_ns: int) -> None:
        """Take note that a member was refused, by whichever budget."""
        self._buckets.charge(_IN_VAIN, _key(share, _REFUSED), 1, now_ns)

    def _count(self, share: Share, what: int, forgotten_ns: int, now_ns: int) -> int:
        """Return how much of it is not forgotten, rounded up."""
        empty_ns = self._buckets.peek(_key(share, what)) or 0
        return max(0, -((now_ns - empty_ns) // forgotten_ns))


def everybody(kind: BudgetKind) -> int:
    """Return the key of the bucket from which all members take."""
    return bucket_key(kind, 0, _EVERYBODY)


def used(limit: Limit, kind: BudgetKind, buckets: BucketTable, now_ns: int) -> float:
    """Return how much of the burst of a shared budget is used; above 1 some wait for what is yet to come."""
    return max(0, (buckets.peek(everybody(kind)) or 0) - now_ns) / limit.burst_offset_ns


def is_slow(limit: Limit, part: float) -> bool:
    """Whether so much of the burst is used that the next upload in the last turn would have to wait."""
    return part * limit.burst > _left(limit, TURNS[-1]) - 1


def _key(share: Share, what: int) -> int:
    return bucket_key(share.kind, share.member, what)


def _left(limit: Limit, turn: int) -> int:
    """Return how much of the burst is for those of a turn."""
    return max(1, limit.burst * (KEPT - turn) // KEPT)


@lru_cache(maxsize=64)  # few networks have budgets of their own; it is only quicker
def _part(limit: Limit, kind: BudgetKind) -> Budget:
    period_ns = min(PARTS * limit.emission_interval_ns, MAX_PERIOD_NS)
    return Budget(replace(limit, burst=max(1, limit.burst // PARTS), count=1, period_ns=period_ns), kind)


@lru_cache(maxsize=64)
def _turn(limit: Limit, kind: BudgetKind, turn: int) -> Budget:
    """Return the budget as those of a turn find it; the rate, and so the bucket, is that of all."""
    wait_ns = limit.max_delay_ns * (len(TURNS) - turn) // len(TURNS)
    return Budget(replace(limit, burst=_left(limit, turn), max_delay_ns=wait_ns), kind)
