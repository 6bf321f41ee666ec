"""What a node has spent and not told: the accounts, look by look."""

from __future__ import annotations

import pytest

from fastpath._gcra_py import Limit, refund, spend
from models.steps import whole
from proxy.cluster.ledger import KEPT, LINGER_NS, SETTLE_NS, WAIT_NS, Ledger, Place, Question, Size
from tests.proxy.cluster.buckets_for_tests import Buckets

SECOND = 10**9
NOW = 1_000 * SECOND
TOKEN = 10 * SECOND
BURST = 40
SIZE = Size(TOKEN, BURST * TOKEN)
LIMIT = Limit(name="x", burst=BURST, count=1, period_ns=TOKEN)
ALICE, BOB = Place(7, 1), Place(8, 1)
NODES = 4
MARK = 7


class Desk:
    """A ledger with its buckets, and a clock."""

    def __init__(self, *, successor: bool = False, most: int = 100) -> None:
        """Begin; the store is there."""
        self.now_ns = NOW
        self.buckets = Buckets()
        self.ledger = Ledger(self.buckets, NOW, successor=successor, most=most)
        self.ledger.stand(NODES, alone=False, now_ns=NOW)

    def spend(self, tokens: int, place: Place = ALICE, share: int = 1) -> None:
        """Spend, and let the records tell of it."""
        self.buckets.charge(place, tokens * TOKEN * share, self.now_ns)
        self.ledger.note(place, SIZE, self.now_ns, 1, self.now_ns)

    @property
    def missing(self) -> float:
        """How many tokens are missing in the bucket of `ALICE`."""
        return max(0, self.buckets.tat(ALICE) - self.now_ns) / TOKEN

    def ask(self, most: int = 10) -> list[Question]:
        """Begin a turn."""
        questions = whole(self.ledger.questions(most, self.now_ns))
        for question in questions:
            self.ledger.ask(question, self.now_ns)
        return questions

    def told(self) -> list[float]:
        """Return the tokens that a turn tells, all of which are answered by nothing more."""
        questions = self.ask()
        for each in questions:
            self.ledger.answered(each, each.told_ns, MARK, self.now_ns)
        return [each.told_ns / TOKEN for each in questions]


def test_what_was_spent_is_told_once() -> None:
    """A turn tells what was spent since the last one, and nothing if nothing was."""
    desk = Desk()
    desk.spend(5)
    assert desk.told() == [5]
    assert desk.told() == []
    desk.spend(2)
    desk.spend(1)
    assert desk.told() == [3]


def test_an_eighth_of_the_share_is_nobodys_business() -> None:
    """Nobody is told of a client until it has spent an eighth of this node's share; then of everything."""
    desk = Desk()
    assert BURST / NODES / KEPT == 1.25
    desk.spend(1)
    assert desk.told() == []
    desk.spend(1)
    assert desk.told() == [2]
    desk.spend(1)
    assert desk.told() == [1]


def test_what_is_untold_fades_at_an_eighth_of_the_share() -> None:
    """A client that asks so rarely that all nodes together give it an eighth of the rate is never told of."""
    desk = Desk()
    for _ in range(5):
        desk.spend(1)
        assert desk.told() == []
        desk.now_ns += KEPT * NODES * TOKEN
    assert desk.ledger.account(ALICE).untold_ns == TOKEN  # of the last one, until somebody looks


def test_an_answer_makes_room_for_what_others_spent() -> None:
    """The level of the cluster becomes that of the node; what was spent since the question stays on top of it."""
    desk = Desk()
    desk.spend(5)
    (question,) = desk.ask()
    desk.buckets.charge(ALICE, 2 * TOKEN, desk.now_ns)
    desk.ledger.answered(question, 30 * TOKEN, MARK, desk.now_ns)
    assert desk.missing == 32
    assert desk.told() == [2]


def test_what_is_looked_at_between_question_and_answer_counts_once() -> None:
    """A record that comes while a question is on its way does not make its tokens count twice."""
    desk = Desk()
    desk.spend(5)
    (question,) = desk.ask()
    desk.spend(2)
    desk.ledger.answered(question, 30 * TOKEN, MARK, desk.now_ns)
    assert desk.missing == 32
    assert desk.told() == [2]


def test_a_question_that_is_asked_again_leaves_what_was_spent_since() -> None:
    """What was spent after a question that got no answer stays in the bucket when it gets one, and is told then."""
    desk = Desk()
    desk.spend(5)
    (question,) = desk.ask()
    desk.spend(2)
    desk.ledger.ask(question, desk.now_ns)
    desk.ledger.answered(question, 30 * TOKEN, MARK, desk.now_ns)
    assert desk.missing == 32
    assert desk.told() == [2]


@pytest.mark.parametrize(("level", "expected"), [(0, 5), (3, 5), (5, 5), (6, 6)])
def test_no_answer_leaves_less_than_this_node_has_spent(level: int, expected: int) -> None:
    """A level that was lowered in the database gives a client what it has from a lone node."""
    desk = Desk()
    desk.spend(5)
    (question,) = desk.ask()
    desk.ledger.answered(question, level * TOKEN, MARK, desk.now_ns)
    assert desk.missing == expected


@pytest.mark.parametrize("level_ns", [-1, (NODES + 1) * BURST * TOKEN + 1, 2**63])
def test_impossible_answers_change_nothing(level_ns: int) -> None:
    """A level beyond what all nodes can have admitted is counted and not believed."""
    desk = Desk()
    desk.spend(5)
    (question,) = desk.ask()
    desk.ledger.answered(question, level_ns, MARK, desk.now_ns)
    assert (desk.ledger.hostile, desk.missing) == (1, 5)


def test_refunds_are_told() -> None:
    """What was given back is taken from what is told, or from what was told."""
    desk = Desk()
    desk.spend(5)
    desk.buckets.tats[ALICE] = refund(LIMIT, desk.buckets.tat(ALICE), 1, desk.now_ns)
    assert desk.told() == [4]
    desk.buckets.tats[ALICE] = refund(LIMIT, desk.buckets.tat(ALICE), 3, desk.now_ns)
    assert desk.told() == [-3]


@pytest.mark.parametrize("left", [None, 1])
def test_an_eviction_gives_nothing_of_others_back(left: int | None) -> None:
    """A bucket that was turned out of its table takes no more out of the cluster than this node has put in."""
    desk = Desk()
    desk.spend(5)
    (question,) = desk.ask()
    desk.ledger.answered(question, 30 * TOKEN, MARK, desk.now_ns)
    if left is None:
        del desk.buckets.tats[ALICE]
    else:
        desk.buckets.tats[ALICE] = desk.now_ns + left * TOKEN
    told = sum(each.told_ns for each in desk.ask()) / TOKEN
    assert told == (0 if left is None else -5)


def test_idle_time_is_not_spent() -> None:
    """Of a bucket that was full for a while only whole tokens count, not the time before they were taken."""
    desk = Desk()
    desk.spend(2)
    assert desk.told() == [2]
    desk.now_ns += 2 * TOKEN + LINGER_NS // 2
    desk.ask()
    desk.now_ns += TOKEN // 2
    desk.buckets.charge(ALICE, 3 * TOKEN, desk.now_ns - TOKEN // 4)
    desk.ledger.note(ALICE, SIZE, desk.now_ns - TOKEN // 4, 3, desk.now_ns)
    assert desk.told() == [3]


QUICK = Size(SECOND // 100, 2 * SECOND)  # a hundred a second; 6.25 tokens are an eighth of the share of a node


def test_a_look_before_the_record_does_not_take_idle_time_for_tokens() -> None:
    """Where tokens come back between two looks, a client is told of by its requests, not by the time between them."""
    desk = Desk()
    for _ in range(20):
        began_ns = desk.now_ns
        desk.buckets.charge(ALICE, QUICK.token_ns, began_ns)
        for _ in range(4):
            desk.now_ns += SECOND // 200
            assert desk.told() == []
        desk.ledger.note(ALICE, QUICK, began_ns, 1, desk.now_ns)
        assert desk.ledger.account(ALICE).untold_ns == QUICK.token_ns
        desk.now_ns += SECOND


@pytest.mark.parametrize(
    ("missing", "later_ns", "expected"),
    [(7, 0, [32]), (5, 0, []), (5, WAIT_NS - 1, []), (5, WAIT_NS, [30])],
    ids=["much", "little", "soon", "late"],
)
def test_what_no_record_tells_of(missing: int, later_ns: int, expected: list[int]) -> None:
    """A change is left to its record, but not for long, and not if so much is missing that others must know.

    Then all the time since the last look counts, for nobody knows when it began.
    """
    desk = Desk()
    desk.ledger.note(ALICE, QUICK, desk.now_ns, 0, desk.now_ns)
    desk.now_ns += 25 * QUICK.token_ns
    desk.buckets.charge(ALICE, missing * QUICK.token_ns, desk.now_ns)
    found = desk.ask()
    desk.now_ns += later_ns
    if later_ns:
        found += desk.ask()
    assert [each.told_ns // QUICK.token_ns for each in found] == expected


def test_a_record_of_another_request_does_not_hide_what_waits() -> None:
    """A request that takes long is counted, though others begin and end after it."""
    desk = Desk()
    desk.ledger.note(ALICE, QUICK, desk.now_ns, 0, desk.now_ns)
    desk.buckets.charge(ALICE, 3 * QUICK.token_ns, desk.now_ns)
    assert desk.ask() == []
    desk.now_ns += 4 * QUICK.token_ns
    desk.buckets.charge(ALICE, QUICK.token_ns, desk.now_ns)
    desk.ledger.note(ALICE, QUICK, desk.now_ns, 1, desk.now_ns)
    assert desk.ledger.account(ALICE).untold_ns >= 4 * QUICK.token_ns


def test_the_fullest_go_first() -> None:
    """A turn that has no place for all takes those that are nearest to their limit; the others come next."""
    desk = Desk()
    desk.spend(3, ALICE)
    desk.spend(9, BOB)
    assert [each.place for each in desk.ask(1)] == [BOB]
    assert [(each.place, each.told_ns) for each in desk.ask(1)] == [(ALICE, 3 * TOKEN)]


def test_what_was_certainly_not_told_is_told_later() -> None:
    """A question that never left is asked again, with what was spent since."""
    desk = Desk()
    desk.spend(5)
    for each in desk.ask():
        desk.ledger.take_back(each)
    desk.spend(1)
    assert desk.told() == [6]


def test_alone_a_token_counts_for_one() -> None:
    """While limits are divided by the nodes a token moves the bucket four times as far, and is told as one."""
    desk = Desk()
    assert desk.ledger.stand(NODES, alone=True, now_ns=desk.now_ns) == NODES
    desk.spend(6, share=NODES)
    assert desk.ledger.stand(NODES, alone=False, now_ns=desk.now_ns) == 1
    assert desk.told() == [6]


def test_limits_are_divided_a_little_longer_than_the_store_is_away() -> None:
    """Workers need a moment to use whole limits again; what they took until then counts as it was."""
    desk = Desk()
    desk.spend(2)
    assert desk.told() == [2]
    desk.ledger.stand(NODES, alone=True, now_ns=desk.now_ns)
    desk.now_ns += SETTLE_NS // 2
    desk.ledger.stand(NODES, alone=False, now_ns=desk.now_ns)
    desk.spend(3, share=NODES)
    assert desk.told() == [3]
    desk.now_ns += SETTLE_NS
    desk.spend(3)
    assert desk.told() == [3]


def test_what_was_spent_alone_fades_at_the_rate_of_the_share() -> None:
    """Alone, tokens come back at this node's part of the rate, once the bucket of the cluster is full again."""
    desk = Desk()
    desk.spend(8)
    (question,) = desk.ask()
    desk.ledger.answered(question, 10 * TOKEN, MARK, desk.now_ns)
    desk.ledger.stand(NODES, alone=True, now_ns=desk.now_ns)
    desk.spend(4, share=NODES)
    desk.now_ns += 10 * TOKEN
    desk.ledger.note(ALICE, SIZE, desk.now_ns, 0, desk.now_ns)
    assert desk.ledger.account(ALICE).untold_ns == 4 * TOKEN
    desk.now_ns += 3 * NODES * TOKEN
    desk.ledger.note(ALICE, SIZE, desk.now_ns, 0, desk.now_ns)
    assert desk.ledger.account(ALICE).untold_ns == TOKEN


def test_a_successor_does_not_tell_what_was_told() -> None:
    """After a restart of the analyst only what records tell of is new; the rest of a bucket may be of others."""
    desk = Desk(successor=True)
    desk.buckets.charge(ALICE, 30 * TOKEN, desk.now_ns)
    desk.ledger.note(ALICE, SIZE, desk.now_ns, 2, desk.now_ns)
    assert desk.told() == [2]


def test_accounts_are_closed_and_bounded() -> None:
    """Nothing is kept of a bucket that is full again, and never more than there is room for."""
    desk = Desk(most=8)
    for key in range(1, 21):
        desk.spend(1, Place(key, 1))
    assert (len(desk.ledger), desk.ledger.dropped) == (8, 12)
    desk.now_ns += KEPT * NODES * 2 * TOKEN
    for _ in range(3):
        desk.ask()
    assert (len(desk.ledger), desk.ledger.active) == (0, 0)


def test_a_denied_request_spends_nothing() -> None:
    """Requests that are refused leave the bucket as it is, and nothing to tell."""
    desk = Desk()
    desk.spend(BURST)
    assert desk.told() == [BURST]
    decision = spend(LIMIT, desk.buckets.tat(ALICE), 1, desk.now_ns)
    assert not decision.allowed
    desk.ledger.note(ALICE, SIZE, desk.now_ns, 0, desk.now_ns)
    assert desk.told() == []
