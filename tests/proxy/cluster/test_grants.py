"""Claims to the buckets of a cluster: nobody gets more than there is, and whatever happens counts once."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath._gcra_py import Limit, refund, spend
from models.steps import whole
from proxy.cluster.command import Refusal
from proxy.cluster.exchange import Exchange
from proxy.cluster.grants import LOOK_BACK_NS, MOST_WAITING, Grants
from proxy.cluster.keys import Keys
from proxy.cluster.ledger import MOST_MARK, Ledger, Place, Size
from proxy.cluster.secret import ClusterSecret
from proxy.policy.claim import Answer, Claim, Decision, Take, take_of
from tests.proxy.cluster.buckets_for_tests import Buckets
from tests.proxy.cluster.simulation import ScriptedStore, say_hello

if TYPE_CHECKING:
    from collections.abc import Iterable

    from proxy.cluster.grants import Batch

SECOND = 10**9
MS = 10**6
NOW = 1_000 * SECOND
TOKEN = 10 * SECOND
BURST = 5
DEADLINE = 50 * MS
LOOK_BACK = LOOK_BACK_NS / TOKEN  # by so much of a token a refusal may weigh, until that time is over
LIMIT = Limit(name="x", burst=BURST, count=1, period_ns=TOKEN)
PATIENT = Limit(name="x", burst=BURST, count=1, period_ns=TOKEN, max_delay_ns=2 * TOKEN)
SIZE = Size(TOKEN, BURST * TOKEN)
ALICE, BOB = Place(7, 4), Place(8, 4)
KEYS = Keys("t", ClusterSecret(64 * "s"))
GRANTED, REFUSED, NONE = Decision.GRANTED, Decision.REFUSED, Decision.NONE


@dataclass
class World:
    """What nodes have in common: a store, and for once a clock."""

    now_ns: int = NOW
    data: ScriptedStore = field(default_factory=ScriptedStore)

    def tokens(self, place: Place = ALICE) -> float:
        """Return how many tokens are missing in the bucket of the cluster."""
        return self.data.level_ns(place, self.now_ns) / TOKEN


class Node(Buckets):
    """One node: its buckets, its ledger, and a worker who takes, claims and gives back."""

    def __init__(self, world: World, name: str, nodes: int = 2) -> None:
        """Begin with full buckets."""
        super().__init__()
        self.world = world
        self.answers: dict[int, Answer] = {}
        self.ledger = Ledger(self, world.now_ns)
        self.ledger.stand(nodes, alone=False, now_ns=world.now_ns)
        self.exchange = Exchange(self.ledger, KEYS, name)
        self.grants = Grants(self.exchange, KEYS, name)
        self._number = 0
        say_hello(self.exchange, world.data)
        self.decide()  # which tells nothing: a node begins with that

    def take(self, place: Place = ALICE, limit: Limit = LIMIT) -> Take | None:
        """Let a request take a token here; None if it is refused."""
        decision = spend(limit, self.tat(place), 1, self.world.now_ns)
        self.tats[place] = max(self.tat(place), decision.tat_ns) if decision.allowed else self.tat(place)
        return take_of(limit, place.number, place.key, TOKEN) if decision.allowed else None

    def give_back(self, place: Place = ALICE) -> None:
        """Give a token back, as a worker does that was refused."""
        self.tats[place] = refund(LIMIT, self.tat(place), 1, self.world.now_ns)

    def file(self, *takes: Take | None, since_ns: int | None = None) -> int:
        """Claim what was taken; return the number of the claim."""
        self._number += 1
        since_ns = self.world.now_ns if since_ns is None else since_ns
        takes = tuple(take for take in takes if take is not None)
        claim = Claim(self._number, since_ns, self.world.now_ns + DEADLINE, takes)  # type: ignore[arg-type]
        self.grants.file(claim, lambda answer: self.answers.__setitem__(answer.number, answer))
        return self._number

    def ask(self, *, again: bool = False) -> list[Batch]:
        """Make the calls that can be made; return them without their answers."""
        return self.grants.begin(self.world.now_ns, again=again)

    def answer(self, batches: Iterable[Batch]) -> None:
        """Let the store do what is asked, and answer."""
        for batch in batches:
            done = self.world.data.run(self.grants.command(batch, self.world.now_ns), self.world.now_ns // 1_000)
            self.grants.answered(batch, done, self.world.now_ns)

    def decide(self) -> None:
        """Ask, and be answered."""
        self.answer(self.ask())

    def upload(self, place: Place = ALICE) -> str:
        """Let a request through if the node and then the cluster say so; return who refused it, if anybody did."""
        take = self.take(place)
        if take is None:
            return "here"
        number = self.file(take)
        self.decide()
        if self.answers[number].decision == REFUSED:
            self.give_back(place)
            return "there"
        return ""

    def exchanged(self) -> list[float]:
        """Do a turn of the exchange; return the tokens that it told."""
        calls = whole(self.exchange.begin(100, self.world.now_ns))
        commands = [self.exchange.command(call, self.world.now_ns) for call in calls]
        told = [question.told_ns / TOKEN for call in calls for question in call.questions]
        for call, command in zip(calls, commands, strict=True):
            done = self.world.data.run(command, self.world.now_ns // 1_000)
            self.exchange.answered(call, done, self.world.now_ns)
        return told


@pytest.fixture
def world() -> World:
    """Return one."""
    return World()


@pytest.fixture
def one(world: World) -> Node:
    """Return a node."""
    return Node(world, "one")


@pytest.fixture
def other(world: World) -> Node:
    """Return another one."""
    return Node(world, "two")


def test_all_nodes_together_grant_the_burst(world: World, one: Node, other: Node) -> None:
    """However a client divides its requests, it gets the burst, and then a token each time that one has come back."""
    said = [(one, other)[number % 2].upload() for number in range(8)]
    assert said == ["", "", "", "", "", "there", "here", "here"]
    world.now_ns += TOKEN
    assert [node.upload() for node in (one, other, one)] == ["", "there", "here"]


def test_who_is_refused_hears_when_to_come_back(world: World, one: Node, other: Node) -> None:
    """The time is that of the bucket of the cluster, on whichever node; obeying works, a moment earlier does not."""
    for _ in range(BURST):
        assert one.upload() == ""
    world.now_ns += 4 * SECOND
    number = other.file(other.take())
    other.decide()
    assert other.answers[number] == Answer(number, REFUSED, ALICE.number, 6 * SECOND, 46 * SECOND)
    other.give_back()
    world.now_ns += 6 * SECOND - MS
    assert other.upload() == "here"
    world.now_ns += MS
    assert other.upload() == ""


def test_what_was_granted_is_not_told_again(one: Node, world: World) -> None:
    """An exchange has nothing to tell of what was claimed, granted or refused."""
    assert [one.upload() for _ in range(3)] == [""] * 3
    assert (one.exchanged(), world.tokens()) == ([], 3)


def test_what_was_refused_and_given_back_is_told_to_nobody(one: Node, other: Node, world: World) -> None:
    """A refused request leaves no trace, whether the exchange comes soon or late."""
    for _ in range(BURST):
        assert one.upload() == ""
    assert other.upload() == "there"
    other.exchanged()
    assert world.tokens() == pytest.approx(BURST, abs=LOOK_BACK)


@pytest.mark.parametrize("when", ["before it is asked", "while it is asked"])
def test_who_goes_on_without_an_answer_is_told_of(one: Node, other: Node, world: World, when: str) -> None:
    """A request that waited in vain was let through: the next exchange tells of it, once, though there is no room."""
    for _ in range(BURST):
        assert one.upload() == ""
    other.file(other.take())
    batches = [] if when == "before it is asked" else other.ask()
    world.now_ns += DEADLINE
    other.answer(batches)
    other.decide()
    other.ledger.note(ALICE, SIZE, NOW, 1, world.now_ns)  # its record
    other.tats[ALICE] += TOKEN  # another one, of which nobody is asked
    other.exchanged()
    assert round(world.tokens(), 2) == pytest.approx(BURST + 2, abs=0.01)
    assert other.exchanged() == []


def test_what_an_exchange_has_told_is_not_added(one: Node, world: World) -> None:
    """A claim that comes after an exchange which saw its token is granted while there is room, and adds nothing."""
    assert [one.upload() for _ in range(2)] == [""] * 2
    takes = [one.take() for _ in range(3)]
    assert (one.exchanged(), world.tokens()) == ([3], 5)
    numbers = [one.file(take) for take in takes]
    one.decide()
    assert [one.answers[number].decision for number in numbers] == [GRANTED] * 3
    assert world.tokens() == 5


def test_told_too_early_and_refused(one: Node, other: Node, world: World) -> None:
    """What an exchange told of a request that is refused then is taken back by the next one."""
    for _ in range(BURST - 1):
        assert one.upload() == ""
    other.upload()
    take = other.take(limit=Limit(name="x", burst=9, count=1, period_ns=TOKEN))
    assert (other.exchanged(), world.tokens()) == ([1], BURST + 1)
    number = other.file(take and take_of(LIMIT, ALICE.number, ALICE.key, TOKEN))
    other.decide()
    assert other.answers[number].decision == REFUSED
    other.give_back()
    assert (other.exchanged(), world.tokens()) == ([-1], BURST)


def test_who_took_first_may_claim_later(one: Node, world: World) -> None:
    """Two workers take, and the second one claims first: both tokens count."""
    first = one.take()
    world.now_ns += MS
    second = one.take()
    for take, since_ns in ((second, world.now_ns), (first, NOW)):
        one.file(take, since_ns=since_ns)
        one.decide()
    assert world.tokens() == pytest.approx(2, abs=0.001)


def test_those_that_come_together_are_asked_about_together(one: Node, other: Node) -> None:
    """One call has many claims, and decides about them in their order."""
    for _ in range(3):
        other.upload()
    numbers = [one.file(one.take()) for _ in range(4)]
    (batch,) = one.ask()
    more = one.file(one.take())
    assert one.ask() == []  # a bucket is asked about by one call at a time
    one.answer([batch])
    one.decide()
    assert [one.answers[number].decision for number in (*numbers, more)] == [GRANTED] * 2 + [REFUSED] * 3


@pytest.mark.parametrize("done", [False, True])
def test_an_answer_that_never_comes(one: Node, other: Node, world: World, done: bool) -> None:  # noqa: FBT001 - a value
    """Nobody waits for it, it is asked again with the same number, and all that was let through counts once."""
    for _ in range(3):
        other.upload()
    numbers = [one.file(one.take()) for _ in range(3)]
    (batch,) = one.ask()
    command = one.grants.command(batch, world.now_ns)
    if done:
        world.data.run(command, world.now_ns // 1_000)
    one.grants.failed(batch, maybe_done=True)
    assert [one.answers[number].decision for number in numbers] == [NONE] * 3
    late = one.file(one.take())
    assert one.ask() == []  # not before that is known
    assert one.ask(again=True) == [batch]
    assert one.ask(again=True) == []
    one.answer([batch])
    assert (world.tokens(), one.answers[numbers[0]].decision) == (5, NONE)
    one.decide()
    assert one.answers[late].decision == REFUSED
    one.give_back()
    assert one.exchanged() == [1]  # what was not granted, and went on
    assert world.tokens() == 6


def test_what_certainly_was_not_done_is_not_repeated(one: Node, world: World) -> None:
    """It stays untold, and the next exchange tells it."""
    number = one.file(one.take())
    one.grants.failed(*one.ask(), maybe_done=False)
    assert one.answers[number].decision == NONE
    assert one.ask(again=True) == []
    assert (one.exchanged(), world.tokens()) == ([1], 1)


def test_an_exchange_and_claims_wait_for_each_other(one: Node, world: World) -> None:
    """One bucket is asked about by one of them at a time, and nothing is lost."""
    one.upload()
    one.take()
    (call,) = whole(one.exchange.begin(100, world.now_ns))
    command = one.exchange.command(call, world.now_ns)
    number = one.file(one.take())
    assert one.ask() == []
    one.exchange.answered(call, world.data.run(command, world.now_ns // 1_000), world.now_ns)
    batches = one.ask()
    one.take()
    assert one.exchanged() == []
    one.answer(batches)
    assert one.answers[number].decision == GRANTED
    assert (one.exchanged(), world.tokens()) == ([1], 4)


def test_all_buckets_have_to_agree(one: Node, other: Node, world: World) -> None:
    """One that refuses decides, with the longest time of those that do; what others granted comes back."""
    for _ in range(BURST):
        other.upload(ALICE)
    number = one.file(one.take(ALICE), one.take(BOB))
    one.decide()
    assert one.answers[number][:4] == (number, REFUSED, ALICE.number, TOKEN)
    one.give_back(ALICE)
    one.give_back(BOB)
    one.exchanged()
    assert [world.tokens(ALICE), world.tokens(BOB)] == pytest.approx([BURST, 0], abs=LOOK_BACK)


def test_waits_are_those_of_the_cluster(one: Node, other: Node) -> None:
    """A limit that lets requests wait lets them wait for the tokens that other nodes have left."""
    said = []
    for number in range(8):
        node = (one, other)[number % 2]
        filed = node.file(node.take(limit=PATIENT))
        node.decide()
        said.append(node.answers[filed])
    assert [answer.decision for answer in said] == [GRANTED] * 7 + [REFUSED]
    assert [answer.after_ns / TOKEN for answer in said] == [0] * 5 + [1, 2, 1]


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"OK",
        [],
        [0],
        [1, 0, 7, 0, 0],
        [1, b"0", 7, 0],
        [1, 0, 7, None],
        [2, 10_000_000, 7, 10_000_000],
        [1, -1, 7, 10_000_000],
        [1, 2**63, 7, 10_000_000],
        [1, 10_000_000, 0, 10_000_000],
        [1, 10_000_000, b"7", 10_000_000],
        [1, 10_000_000, MOST_MARK + 1, 10_000_000],
        [1, 10_000_000, 7, 2**63],
        [1, 10_000_000, 7, BURST * 10_000_000 + 1],
        [1, 10_000_000, 7, -(2**63)],
    ],
)
def test_nonsense_is_no_answer(one: Node, answer: Any) -> None:
    """What cannot be is counted, decides nothing, and leaves the bucket as it is."""
    number = one.file(one.take())
    (batch,) = one.ask()
    one.grants.command(batch, NOW)
    one.grants.answered(batch, answer, NOW)
    assert (one.answers[number].decision, one.ledger.hostile) == (NONE, 1)
    assert one.tats[ALICE] == NOW + TOKEN


def test_a_call_that_redis_refuses_is_asked_again(one: Node, world: World) -> None:
    """Those who wait go on, and nothing is lost."""
    number = one.file(one.take())
    (batch,) = one.ask()
    one.grants.command(batch, NOW)
    one.grants.answered(batch, Refusal("no"), NOW)
    assert one.answers[number].decision == NONE
    one.answer(one.ask(again=True))
    assert world.tokens() == 1


def test_no_store_and_no_room(one: Node) -> None:
    """Who waits is told at once that there is no store; beyond a bound nobody waits."""
    numbers = [one.file(take_of(LIMIT, 4, key + 1, TOKEN)) for key in range(MOST_WAITING)]
    assert not one.answers
    beyond = one.file(one.take())
    assert set(one.answers) == {beyond}
    one.grants.give_up(NOW)
    assert {answer.decision for answer in one.answers.values()} == {NONE}
    assert len(one.answers) == len(numbers) + 1
    again = one.file(one.take())
    one.decide()
    assert one.answers[again].decision == GRANTED


class Play:
    """Three nodes and what happens to them.

    Attributes:
        granted_ns: When requests were let through by the cluster.
        in_vain: How many were let through without it.

    """

    def __init__(self) -> None:
        """Begin with full buckets."""
        self.world = World()
        self.nodes = [Node(self.world, str(number), 3) for number in range(3)]
        self.granted_ns: list[int] = []
        self.in_vain = 0
        self._waiting: list[tuple[Node, int]] = []

    def do(self, step: str, node: Node) -> None:
        """Do one step, and then what workers do with the answers that there are."""
        getattr(self, f"_{step}")(node)
        waiting, self._waiting = self._waiting, []
        for each, number in waiting:
            if number in each.answers:
                self._settle(each, each.answers[number].decision)
            else:
                self._waiting.append((each, number))

    def _settle(self, node: Node, decision: int) -> None:
        if decision == GRANTED:
            self.granted_ns.append(self.world.now_ns)
        elif decision == REFUSED:
            node.give_back()
        else:
            self.in_vain += 1

    def _claim(self, node: Node) -> None:
        take = node.take()
        if take is not None:
            self._waiting.append((node, node.file(take)))

    def _decide(self, node: Node) -> None:
        node.answer(node.ask(again=True))

    def _exchange(self, node: Node) -> None:
        node.exchanged()

    def _lose(self, node: Node, *, done: bool = False) -> None:
        for batch in node.ask(again=True):
            command = node.grants.command(batch, self.world.now_ns)
            if done:
                self.world.data.run(command, self.world.now_ns // 1_000)
            node.grants.failed(batch, maybe_done=True)

    def _lose_the_answer(self, node: Node) -> None:
        self._lose(node, done=True)

    def _wait(self, _: Node, ns: int = SECOND) -> None:
        self.world.now_ns += ns
        self.in_vain += len(self._waiting)
        self._waiting.clear()

    def _be_late(self, node: Node) -> None:
        self._wait(node, DEADLINE)


STEPS = st.sampled_from(["claim", "claim", "decide", "lose", "lose_the_answer", "be_late", "exchange", "wait"])


@given(st.lists(st.tuples(st.integers(0, 2), STEPS), max_size=60))
@settings(max_examples=150, deadline=None)
def test_whatever_happens_counts_once(steps: list[tuple[int, str]]) -> None:
    """Never is more granted than there is, and when all has been told the cluster knows what was let through."""
    play = Play()
    for index, step in steps:
        play.do(step, play.nodes[index])
    for node in play.nodes:
        for step in ("decide", "decide", "decide"):
            play.do(step, node)
        node.ledger.note(ALICE, SIZE, NOW, 0, play.world.now_ns)  # as the records of requests have it done
        for step in ("exchange", "exchange"):
            play.do(step, node)
    granted_ns = play.granted_ns
    for start, end in combinations(range(len(granted_ns)), 2):
        assert end - start + 1 <= BURST + (granted_ns[end] - granted_ns[start]) / TOKEN + 1e-6
    let_through = len(granted_ns) + play.in_vain
    come_back = (play.world.now_ns - NOW) / TOKEN
    assert let_through - come_back - 0.01 <= play.world.tokens() <= let_through + LOOK_BACK * len(steps) + 0.01


def test_the_first_call_of_a_node_tells_nothing(world: World, one: Node, other: Node) -> None:
    """If its answer is lost nobody could tell whether it was done: what it was about is told later, once."""
    for node, tokens in ((one, 3), (other, 4)):
        for _ in range(tokens):
            node.take()
        node.ledger.note(ALICE, SIZE, NOW, tokens, world.now_ns)
    one.exchange._heard.clear()
    calls = whole(one.exchange.begin(100, world.now_ns))
    one.exchange.command(*calls, world.now_ns)
    one.exchange.failed(calls, maybe_done=True)
    assert (other.exchanged(), world.tokens()) == ([4], 4)
    one.exchanged()
    assert (one.exchanged(), world.tokens()) == ([3], 7)
