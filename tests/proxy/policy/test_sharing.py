"""Budgets of everybody: who goes before whom, and what a flood cannot take from others."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import Limit
from proxy.policy.budgets import BudgetKind
from proxy.policy.sharing import KNOWN_TURNS, NEW_TURNS, TURNS, Bill, Share, Sharing, everybody, is_slow, used
from tests.proxy.policy.tables_for_tests import tables_of

if TYPE_CHECKING:
    from random import Random

    from fastpath import BucketTable

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
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

    def upload(self, member: int, cost: int = 1, turns: range = TURNS) -> Outcome:
        """Let a member upload, all or nothing, as `Contents` does."""
        share = Share(KIND, member, cost, turns)
        paid: list[Bill] = []
        waits = [0]
        for bill in self.sharing.bills(self.limit, share, self.now_ns):
            spending = self.buckets.spend(bill.budget, bill.key, bill.cost, self.now_ns)
            if spending is not None and not spending.allowed:
                for each in paid:
                    self.buckets.refund(each.budget, each.key, each.cost, self.now_ns)
                self.sharing.note_refusal(share, self.now_ns)
                return Outcome(admitted=False)
            paid.append(bill)
            waits.append(spending.wait_ns if spending else 0)
        self.sharing.note(share, self.now_ns)
        self.admitted += cost
        return Outcome(admitted=True, wait_ns=max(waits))

    def give(self, member: int, had: int) -> None:
        """Let a member have had so much."""
        self.sharing.note(Share(KIND, member, had), self.now_ns)

    def refuse(self, member: int) -> None:
        """Let a member have been refused, by this budget or another."""
        self.sharing.note_refusal(Share(KIND, member, 1), self.now_ns)

    def turn(self, member: int, cost: int = 1, turns: range = TURNS) -> int:
        """Return whose turn it is."""
        return self.sharing.turn(Share(KIND, member, cost, turns), self.now_ns)

    def used_up_by(self, had: int) -> int:
        """Return how many tokens are there for members that had so much before each; all at once, none waits."""
        count = 0
        while True:
            member = 1000 * (had + 1) + count
            if had:
                self.give(member, had)
            if self.upload(member) != (True, 0):
                return count
            count += 1


@pytest.mark.parametrize(
    ("burst", "for_each"),
    [
        (600, [600, 560, 520, 480, 440, 440]),
        (15, [15, 14, 13, 12, 11, 11]),
        (5, [5, 4, 4, 4, 3, 3]),
        (4, [4, 3, 3, 3, 2, 2]),
        (2, [2, 1, 1, 1, 1, 1]),
        (1, [1, 1, 1, 1, 1, 1]),
    ],
)
def test_burst_by_what_a_member_had(burst: int, for_each: list[int]) -> None:
    """Who had nothing may use all of it, who had four or more eleven parts of fifteen."""
    limit = Limit(name="a", burst=burst, count=1, period_ns=SECOND)
    assert [Members(limit).used_up_by(had) for had in range(6)] == for_each


@pytest.mark.parametrize(("had", "most_wait_s"), [(0, 60), (1, 48), (2, 36), (3, 24), (4, 12), (9, 12)])
def test_longest_wait_by_what_a_member_had(had: int, most_wait_s: int) -> None:
    """Who had more is refused earlier, and so waits for less."""
    members = Members(Limit(name="a", burst=1, count=1, period_ns=6 * SECOND, max_delay_ns=60 * SECOND))
    waits, member, outcome = [], 1, Outcome(admitted=True)
    while outcome.admitted:
        member += 1
        members.give(member, had)
        waits.append(outcome.wait_ns)
        outcome = members.upload(member)
    assert max(waits) == most_wait_s * SECOND


@pytest.mark.parametrize(
    ("uploads", "hours", "turn"),
    [
        (1, 0, 1), (1, 7.9, 1), (1, 8, 0), (3, 7.5, 3), (3, 8, 2), (3, 24, 0), (4, 7.9, 4), (4, 8, 3),
        (100, 0, 4), (100, 8, 3), (100, 16, 2), (100, 31, 1), (100, 32, 0),
    ],
)  # fmt: skip
def test_what_a_member_had_is_forgotten(uploads: int, hours: float, turn: int) -> None:
    """One each eight hours; all of it after a day, or after 32 hours if there was more than three."""
    members = Members(NEW)
    members.give(HONEST, uploads)
    members.now_ns += int(hours * HOUR)
    assert members.turn(HONEST) == turn


@pytest.mark.parametrize(
    ("refusals", "minutes", "turn"),
    [
        (1, 0, 0), (2, 0, 1), (2, 19.9, 1), (2, 20, 0), (3, 19.9, 2), (3, 20, 1), (3, 39.9, 1), (3, 40, 0),
        (100, 0, 3), (100, 59.9, 1), (100, 60, 0),
    ],
)  # fmt: skip
def test_refusals_are_forgotten(refusals: int, minutes: float, turn: int) -> None:
    """One each twenty minutes. One alone counts nothing: when to come back, as it was told, remains true."""
    members = Members(NEW)
    for _ in range(refusals):
        members.refuse(HONEST)
    members.now_ns += int(minutes * MINUTE)
    assert members.turn(HONEST) == turn


def test_refusals_count_beside_what_a_member_had() -> None:
    """Both together, up to the last turn."""
    members = Members(NEW)
    members.give(HONEST, 2)
    for turn in (2, 3, 4, 4):
        members.refuse(HONEST)
        assert members.turn(HONEST) == turn


@pytest.mark.parametrize(("cost", "had", "turn"), [(1, 0, 0), (2, 0, 1), (2, 1, 2), (4, 0, 3), (10, 0, 4), (3, 9, 4)])
def test_upload_of_several_counts_as_the_last_of_them(cost: int, had: int, turn: int) -> None:
    """Nobody gets more by putting all into one upload."""
    members = Members(NEW)
    if had:
        members.give(HONEST, had)
    assert members.turn(HONEST, cost) == turn


@pytest.mark.parametrize(("had", "known", "new"), [(0, 0, 1), (1, 1, 2), (2, 2, 3), (3, 3, 4), (4, 3, 4), (9, 3, 4)])
def test_turns_of_what_is_known_and_of_what_is_new(had: int, known: int, new: int) -> None:
    """Who uploads updates is never last, who uploads something new never first."""
    members = Members(EXITS)
    if had:
        members.give(HONEST, had)
    assert members.turn(HONEST, turns=KNOWN_TURNS) == known
    assert members.turn(HONEST, turns=NEW_TURNS) == new


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


@pytest.mark.parametrize(("limit", "count"), [(EXITS, 1000), (NEW, 1000), (NEW, 4000)])
def test_flood_is_told_apart_by_asking_on(limit: Limit, count: int) -> None:
    """From the fourth time on that each of N members asks, whoever comes for the first time goes before them.

    Long before each of them had its first upload, which takes N intervals.
    """
    members = Members(limit)
    pause_ns = 4 * MINUTE // count
    honest_ns = NOW + 12 * MINUTE + limit.emission_interval_ns
    for number in range(8 * count):
        members.now_ns += pause_ns
        members.upload(number % count)
        if members.now_ns >= honest_ns:
            honest_ns += 5 * limit.emission_interval_ns
            assert members.upload(HONEST + number).admitted
    assert members.now_ns - NOW < count * limit.emission_interval_ns


@pytest.mark.parametrize(
    ("flooding", "turns", "had"),
    [(NEW_TURNS, KNOWN_TURNS, 9), (KNOWN_TURNS, NEW_TURNS, 0), (KNOWN_TURNS, NEW_TURNS, 1)],
)
def test_known_and_new_beside_each_other(flooding: range, turns: range, had: int) -> None:
    """Any update passes a flood of new ones; the first and the second new one of an exit pass a flood of updates."""
    members = Members(EXITS)
    for number in range(20_000):
        members.now_ns += SECOND // 5
        members.upload(number % 20, turns=flooding)
        if number > 6000 and number % 500 == 0:
            if had:
                members.give(HONEST + number, had)
            assert members.upload(HONEST + number, turns=turns).admitted


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
        members.give(member, 4)
        outcome = members.upload(member)
        assert (outcome.wait_ns > 0 or not outcome.admitted) == slow
