"""How a budget of everybody is shared by its members: the exits, or the networks, that uploads come through.

    part   of the burst and of the rate one member may have a quarter
    turn   who had less lately goes before who had more

Turns. What a member had counts for a while: up to three, one of which is forgotten each 8 hours. Each leaves a twelfth
of the burst, and a quarter of the longest wait, to members that had fewer. All take from one bucket, so together they
never have more than the budget gives; how far each may empty it depends on what it had. So members that had k or more
can bring it down to the depth of k, and whoever had fewer finds what is kept below:

    had 0   ████████████████ wait      a burst of 600: 600, and up to 60 s of waiting
    had 3   ████████████               450, and up to 15 s

Of a flood through N members, at whatever rate, this follows. Its first N uploads are like anybody's, and may take all
there is for as long as N tokens take to come back. From then on its members have had one, and whoever comes for the
first time goes before them as long as they go on; after as long again so does who comes for the second time, and so on.
To come first once more a member has to hold still for 8 hours: N that take turns make 3 N such uploads a day, which
leaves room for others while the budget gives more than that. With a burst below four little or nothing is kept.

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
MOST_HAD: Final = 3  # more does not count
KEPT: Final = 12  # one in so many of the burst is kept from each turn for the one before
FORGOTTEN_NS: Final = 8 * 3600 * 1_000_000_000
_EVERYBODY, _PART, _HAD = range(3)  # what a bucket is for
# A charge goes one burst into debt, so that a burst of two counts to four.
_LATELY: Final = Budget(Limit(name="lately", burst=2, count=1, period_ns=FORGOTTEN_NS), BudgetKind.NEW_CERTS)


class Bill(NamedTuple):
    """What is to be paid from a bucket."""

    budget: Budget
    key: int
    cost: int
    forgiving: bool = False  # it counts, and refuses nobody


class Sharing:
    """The members of the shared budgets of a node."""

    def __init__(self, buckets: BucketTable) -> None:
        """`buckets`: of the node."""
        self._buckets = buckets

    def bills(self, limit: Limit, kind: BudgetKind, member: int, cost: int, now_ns: int) -> Iterator[Bill]:
        """Yield what a member has to pay for `cost` tokens of a shared budget."""
        had = min(self._had(kind, member, now_ns) + cost - 1, MOST_HAD)
        yield Bill(_part(limit, kind), bucket_key(kind, member, _PART), cost)
        yield Bill(_turn(limit, kind, had), everybody(kind), cost)

    def note(self, kind: BudgetKind, member: int, cost: int, now_ns: int) -> None:
        """Take note that a member had `cost` tokens."""
        self._buckets.charge(_LATELY, bucket_key(kind, member, _HAD), cost, now_ns)

    def _had(self, kind: BudgetKind, member: int, now_ns: int) -> int:
        """Return how much a member had lately."""
        forgotten_ns = self._buckets.peek(bucket_key(kind, member, _HAD)) or 0
        return max(0, -((now_ns - forgotten_ns) // FORGOTTEN_NS))


def everybody(kind: BudgetKind) -> int:
    """Return the key of the bucket from which all members take."""
    return bucket_key(kind, 0, _EVERYBODY)


def used(limit: Limit, kind: BudgetKind, buckets: BucketTable, now_ns: int) -> float:
    """Return how much of the burst of a shared budget is used; above 1 some wait for what is yet to come."""
    return max(0, (buckets.peek(everybody(kind)) or 0) - now_ns) / limit.burst_offset_ns


def is_slow(limit: Limit, part: float) -> bool:
    """Whether so much of the burst is used that the next upload of those who had most would have to wait."""
    return part * limit.burst > _left(limit, MOST_HAD) - 1


def _left(limit: Limit, had: int) -> int:
    """Return how much of the burst a member may use."""
    return max(1, limit.burst * (KEPT - had) // KEPT)


@lru_cache(maxsize=64)  # few networks have budgets of their own; it is only quicker
def _part(limit: Limit, kind: BudgetKind) -> Budget:
    period_ns = min(PARTS * limit.emission_interval_ns, MAX_PERIOD_NS)
    return Budget(replace(limit, burst=max(1, limit.burst // PARTS), count=1, period_ns=period_ns), kind)


@lru_cache(maxsize=64)
def _turn(limit: Limit, kind: BudgetKind, had: int) -> Budget:
    """Return the budget as a member finds it; the rate, and so the bucket, is that of all."""
    wait_ns = limit.max_delay_ns * (MOST_HAD + 1 - had) // (MOST_HAD + 1)
    return Budget(replace(limit, burst=_left(limit, had), max_delay_ns=wait_ns), kind)
