"""Budgets of everybody: who goes before whom, and what a flood cannot take from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import Limit
from proxy.policy.budgets import BudgetKind
from proxy.policy.sharing import Bill, Sharing, everybody, is_slow, used
from tests.proxy.policy.tables_for_tests import tables_of

if TYPE_CHECKING:
    from random import Random

    from fastpath import BucketTable

SECOND = 1_000_000_000
HOUR = 3600 * SECOND
NOW = 1_000_000 * SECOND
KIND = BudgetKind.EXIT_UPLOADS
EXITS = Limit(name="exits", burst=5, count=1, period_ns=10 * SECOND, max_delay_ns=60 * SECOND)
NEW = Limit(name="new", burst=600, count=600, period_ns=HOUR, max_delay_ns=60 * SECOND)
HONEST = 10**9


class Outcome(NamedTuple):
    """What became of an upload."""

    admitted: bool
    wait_ns: int = 0


class Members:
    """Members of one budget, and a clock."""

    def __init__(self, limit: Limit) -> None:
        """Nobody had anything."""
        self.buckets: BucketTable = tables_of(64).buckets
        self.sharing = Sharing(self.buckets)
        self.limit = limit
        self.now_ns = NOW
        self.admitted = 0

    def upload(self, member: int, cost: int = 1) -> Outcome:
        """Let a member upload, all or nothing, as `Contents` does."""
        paid: list[Bill] = []
        waits = [0]
        for bill in self.sharing.bills(self.limit, KIND, member, cost, self.now_ns):
            spending = self.buckets.spend(bill.budget, bill.key, bill.cost, self.now_ns)
            if spending is not None and not spending.allowed:
                for each in paid:
                    self.buckets.refund(each.budget, each.key, each.cost, self.now_ns)
                return Outcome(admitted=False)
            paid.append(bill)
            waits.append(spending.wait_ns if spending else 0)
        self.sharing.note(KIND, member, cost, self.now_ns)
        self.admitted += cost
        return Outcome(admitted=True, wait_ns=max(waits))

    def used_up_by(self, had: int) -> int:
        """Return how many tokens are there for members that had so much before each; all at once, none waits."""
        count = 0
        while True:
            member = 1000 * (had + 1) + count
            if had:
                self.sharing.note(KIND, member, had, self.now_ns)
            if self.upload(member) != (True, 0):
                return count
            count += 1


@pytest.mark.parametrize(
    ("burst", "for_each"),
    [
        (600, [600, 550, 500, 450, 450]),
        (12, [12, 11, 10, 9, 9]),
        (5, [5, 4, 4, 3, 3]),
        (4, [4, 3, 3, 3, 3]),
        (2, [2, 1, 1, 1, 1]),
        (1, [1, 1, 1, 1, 1]),
    ],
)
def test_burst_by_what_a_member_had(burst: int, for_each: list[int]) -> None:
    """Who had nothing may use all of it, who had three or more three quarters."""
    limit = Limit(name="a", burst=burst, count=1, period_ns=SECOND)
    assert [Members(limit).used_up_by(had) for had in range(5)] == for_each


@pytest.mark.parametrize(("had", "most_wait_s"), [(0, 60), (1, 45), (2, 30), (3, 15), (9, 15)])
def test_longest_wait_by_what_a_member_had(had: int, most_wait_s: int) -> None:
    """Who had more is refused earlier, and so waits for less."""
    members = Members(Limit(name="a", burst=1, count=1, period_ns=5 * SECOND, max_delay_ns=60 * SECOND))
    waits, member, outcome = [], 1, Outcome(admitted=True)
    while outcome.admitted:
        member += 1
        members.sharing.note(KIND, member, had, members.now_ns)
        waits.append(outcome.wait_ns)
        outcome = members.upload(member)
    assert max(waits) == most_wait_s * SECOND


@pytest.mark.parametrize(
    ("uploads", "hours", "had"),
    [(1, 7.9, 1), (1, 8, 0), (3, 7.5, 3), (3, 8, 2), (3, 24, 0), (100, 8, 3), (100, 16, 2), (100, 31, 1), (100, 32, 0)],
)
def test_what_a_member_had_is_forgotten(uploads: int, hours: float, had: int) -> None:
    """One each eight hours; all of it after a day, or after 32 hours if there was more than three."""
    members = Members(NEW)
    members.sharing.note(KIND, HONEST, uploads, members.now_ns)
    members.now_ns += int(hours * HOUR)
    for number in range(NEW.burst):
        members.upload(number)
    members.now_ns += 50 * had * NEW.emission_interval_ns  # until there is what it may use, and no more
    assert members.upload(HONEST).wait_ns == NEW.emission_interval_ns


@pytest.mark.parametrize(("cost", "had"), [(1, 0), (2, 1), (4, 3), (10, 3)])
def test_upload_of_several_counts_as_the_last_of_them(cost: int, had: int) -> None:
    """Nobody gets more by putting all into one upload."""
    members = Members(NEW)
    for number in range(NEW.burst):
        members.upload(number)
    members.now_ns += 50 * had * NEW.emission_interval_ns
    wait_ns = members.upload(HONEST, cost).wait_ns
    refused = cost * NEW.emission_interval_ns > NEW.max_delay_ns * (4 - had) // 4
    assert wait_ns == (0 if refused else cost * NEW.emission_interval_ns)


# Floods.


@st.composite
def floods(draw: st.DrawFn) -> tuple[Limit, int, list[int]]:
    """Return a budget, how many members flood it, and the pauses of their uploads, in turn."""
    limit = draw(st.sampled_from([EXITS, NEW]))
    members = draw(st.integers(1, 60))
    pauses_ms = draw(st.lists(st.sampled_from([0, 10, 200, 1000, 5000]), min_size=1, max_size=5).filter(any))
    return limit, members, [pause * SECOND // 1000 for pause in pauses_ms]


@settings(deadline=None, max_examples=25)
@given(floods(), st.randoms(use_true_random=False))
def test_flood_starves_nobody(flood: tuple[Limit, int, list[int]], random: Random) -> None:
    """Whatever the rate, and whoever it is of N that flood: whoever comes first is let in after N intervals, in time.

    And all together never get more than the budget gives.
    """
    limit, count, pauses_ns = flood
    members = Members(limit)
    first_ns = NOW + (count + 1) * limit.emission_interval_ns
    honest_ns = first_ns
    for number in range(4000):
        members.now_ns += pauses_ns[number % len(pauses_ns)]
        members.upload(random.randrange(count))
        if members.now_ns >= honest_ns:
            honest_ns = members.now_ns + 20 * limit.emission_interval_ns
            assert members.upload(HONEST + number).admitted
    most_ns = members.now_ns - NOW + limit.burst_offset_ns + limit.max_delay_ns
    assert members.admitted * limit.emission_interval_ns <= most_ns


@settings(deadline=None, max_examples=25)
@given(floods())
def test_who_uploads_often_has_what_is_left(flood: tuple[Limit, int, list[int]]) -> None:
    """Nothing is kept for those who do not come: a flood of four members and more has all that the budget gives."""
    limit, count, pauses_ns = flood
    members = Members(limit)
    for number in range(4000):
        members.now_ns += pauses_ns[number % len(pauses_ns)]
        members.upload(number % (count + 3))
    given = min((members.now_ns - NOW) // limit.emission_interval_ns, 4000)
    assert members.admitted >= given * min(count + 3, 4) // 4 - 3


# What the operator is told.


def test_used() -> None:
    """Of the burst; nothing of a budget that nobody has used, more than all if some wait."""
    members = Members(EXITS)
    assert used(EXITS, KIND, members.buckets, members.now_ns) == 0
    parts = []
    for member in range(7):
        members.upload(member)
        parts.append(used(EXITS, KIND, members.buckets, members.now_ns))
    assert parts == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4])
    members.now_ns += 60 * SECOND
    assert used(EXITS, KIND, members.buckets, members.now_ns) == pytest.approx(0.2)
    assert members.buckets.peek(everybody(KIND)) == NOW + 70 * SECOND


@pytest.mark.parametrize("limit", [EXITS, NEW])
def test_is_slow(limit: Limit) -> None:
    """Exactly when the next upload of a member that had much has to wait."""
    members = Members(limit)
    for member in range(limit.burst):
        slow = is_slow(limit, used(limit, KIND, members.buckets, members.now_ns))
        members.sharing.note(KIND, member, 3, members.now_ns)
        outcome = members.upload(member)
        assert (outcome.wait_ns > 0 or not outcome.admitted) == slow
