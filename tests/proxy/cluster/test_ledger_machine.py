"""The ledger against its plain twin: whatever happens, both know the same, tell the same and move buckets alike."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from models.steps import whole
from proxy.cluster.ledger import Ledger, Place, Question, Size
from tests.proxy.cluster import plain_ledger
from tests.proxy.cluster.buckets_for_tests import Buckets

SECOND = 10**9
TOKEN = SECOND // 3  # no whole microseconds
SIZE = Size(TOKEN, 20 * TOKEN)
PLACES = (Place(1 << 57, 0), Place(1 << 57, 1), Place(7, 12))
places = st.sampled_from(PLACES)


class Twins(RuleBasedStateMachine):
    """Two ledgers of which all is done twice."""

    def __init__(self) -> None:
        """Begin with full buckets."""
        super().__init__()
        self.now_ns = 1_000 * SECOND
        self.share = 1
        self.buckets, self.twins_buckets = Buckets(), Buckets()
        self.ledger = Ledger(self.buckets, self.now_ns, most=64)
        self.twin = plain_ledger.PlainLedger(self.twins_buckets, self.now_ns)
        self.asked: list[tuple[Question, plain_ledger.Question]] = []

    @rule(ns=st.one_of(st.integers(0, SECOND // 4), st.integers(0, 40 * SECOND)))
    def wait(self, ns: int) -> None:
        """Let time go by."""
        self.now_ns += ns

    @rule(place=places, tokens=st.integers(0, 12), before_ns=st.integers(0, SECOND))
    def spend(self, place: Place, tokens: int, before_ns: int) -> None:
        """Take tokens, and hear of it some time after."""
        self.move(place, max(self.buckets.tat(place), self.now_ns) + tokens * TOKEN * self.share)
        since_ns, self.now_ns = self.now_ns, self.now_ns + before_ns
        for ledger in (self.ledger, self.twin):
            ledger.note(place, SIZE, since_ns, tokens, self.now_ns)

    @rule(place=places, tokens=st.integers(1, 5))
    def spend_unheard(self, place: Place, tokens: int) -> None:
        """Take tokens of which no record tells yet."""
        self.move(place, max(self.buckets.tat(place), self.now_ns) + tokens * TOKEN * self.share)

    @rule(place=places, tokens=st.integers(1, 5))
    def give_back(self, place: Place, tokens: int) -> None:
        """Give tokens back."""
        tat_ns = self.buckets.tat(place)
        self.move(place, min(tat_ns, max(self.now_ns, tat_ns - tokens * TOKEN * self.share)))

    @rule(place=places)
    def evict(self, place: Place) -> None:
        """Turn a bucket out of its table."""
        self.move(place, 0)

    @rule(nodes=st.integers(1, 5), alone=st.booleans())
    def stand(self, nodes: int, alone: bool) -> None:  # noqa: FBT001 - drawn
        """Lose the store or find it, with so many nodes."""
        shares = {each.stand(nodes, alone=alone, now_ns=self.now_ns) for each in (self.ledger, self.twin)}
        (self.share,) = shares

    @precondition(lambda self: not self.asked)
    @rule()
    def turn(self) -> None:
        """Ask about all that is to be told."""
        found = whole(self.ledger.questions(99, self.now_ns))
        by_place = {each.place: each for each in self.twin.questions(self.now_ns)}
        assert {each.place for each in found} == by_place.keys()
        self.asked = [(each, by_place[each.place]) for each in found]

    @rule(place=places, most_ns=st.integers(0, 9 * TOKEN))
    def question(self, place: Place, most_ns: int) -> None:
        """Ask about a part of what is untold of one bucket."""
        if place in self.twin.accounts and all(each.place != place for each, _ in self.asked):
            self.asked.append((self.ledger.question(place, most_ns), self.twin.question(place, most_ns)))

    @rule()
    def ask(self) -> None:
        """Say how the buckets stand; again if no answer came."""
        for question, twin in self.asked:
            self.ledger.ask(question, self.now_ns)
            self.twin.ask(twin, self.now_ns)
            assert (question.told_ns, question.base_ns, question.most_ns, question.mark) == (
                twin.told_ns,
                twin.base_ns,
                twin.most_ns,
                twin.mark,
            )

    @precondition(lambda self: self.asked)
    @rule(part=st.floats(0, 1), kept=st.floats(0, 1), mark=st.integers(0, 2), came=st.booleans())
    def answer(self, part: float, kept: float, mark: int, came: bool) -> None:  # noqa: FBT001 - drawn
        """Answer to one question, or take it back; a part of what it told may not count."""
        question, twin = self.asked.pop()
        if not came or not twin.asked_ns:
            self.ledger.take_back(question)
            self.twin.keep(twin, twin.told_ns)
            return
        kept_ns, level_ns = int(kept * max(0, twin.told_ns)), int(part * twin.most_ns)
        self.ledger.keep(question, kept_ns)
        self.twin.keep(twin, kept_ns)
        self.ledger.answered(question, level_ns, mark, self.now_ns)
        if mark:
            self.twin.answered(twin, level_ns, mark, self.now_ns)

    @rule()
    def recall(self) -> None:
        """Hear that the store has lost what it was told."""
        self.ledger.recall()
        self.twin.recall()

    @invariant()
    def alike(self) -> None:
        """Both know the same."""
        for place in PLACES:
            assert self.ledger.account(place) == self.twin.account(place)
            assert self.buckets.tat(place) == self.twins_buckets.tat(place)

    def move(self, place: Place, tat_ns: int) -> None:
        """Move the bucket of both."""
        self.buckets.tats[place] = self.twins_buckets.tats[place] = tat_ns


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
