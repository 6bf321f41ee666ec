"""Whatever is lost, nodes come to have one release in force, within a bound, and none has one that it refuses."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proxy.cluster.command import StoreDown
from proxy.cluster.follower import AGAIN_MS
from proxy.cluster.release import Question, Release, Vote, opened
from proxy.cluster.releases import SETTLE_MS, Outcome, Refused
from tests.proxy.cluster.fake_redis import FakeRedis
from tests.proxy.cluster.release_nodes import FakeKeeper, FakeNode, make
from tests.proxy.cluster.virtual_time import VirtualLoop

if TYPE_CHECKING:
    from collections.abc import Coroutine

NAMES = st.sampled_from("abc")
BAD = b"three"
CONTENTS = st.sampled_from([b"one", b"two", BAD])
# A question, its release, a roll back, and a node that has to try once more.
BOUND_S = (FakeKeeper.patience_ms + SETTLE_MS + AGAIN_MS) / 1000 + 15


class Nodes(RuleBasedStateMachine):
    """Three nodes and a store. Time goes on only where a rule says so."""

    def __init__(self) -> None:
        """All is well, and nothing in force."""
        super().__init__()
        self.loop = VirtualLoop()
        self.redis = FakeRedis()
        self.nodes: dict[str, FakeNode] = self.do(self._made())
        self.older: list[dict[bytes, Any]] = [{}]
        self.pushes: list[asyncio.Task[Outcome]] = []
        self.disturbed_s = 0.0

    async def _made(self) -> dict[str, FakeNode]:
        return make(self.redis, "abc")

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something on the loop."""
        return self.loop.run_until_complete(work)

    def disturb(self) -> None:
        """Take note of when something happened last."""
        self.disturbed_s = self.loop.now

    @rule(name=NAMES, data=CONTENTS)
    def push(self, name: str, data: bytes) -> None:
        """Push a content through a node; what follows happens meanwhile."""
        self.disturb()
        if self.nodes[name].running:
            self.do(self._push(self.nodes[name], data))

    async def _push(self, node: FakeNode, data: bytes) -> None:
        self.pushes.append(asyncio.create_task(node.releases.push(data)))

    @rule(name=NAMES, data=CONTENTS)
    def release(self, name: str, data: bytes) -> None:
        """Let all reach the store, push a content, and wait until it is in force or refused."""
        self.settle()
        self.remember()
        self.push(name, data)
        self.do(asyncio.wait(self.pushes))

    @rule(name=NAMES)
    def roll_back(self, name: str) -> None:
        """Go back."""
        self.disturb()
        if self.nodes[name].running:
            self.do(self._roll_back(self.nodes[name]))

    async def _roll_back(self, node: FakeNode) -> None:
        self.pushes.append(asyncio.create_task(node.releases.roll_back()))

    @rule(name=NAMES, up=st.booleans())
    def reach(self, name: str, *, up: bool) -> None:
        """Lose the store, or find it again."""
        self.disturb()
        self.nodes[name].store.up = up

    @rule(name=NAMES, count=st.integers(1, 3))
    def lose_answers(self, name: str, count: int) -> None:
        """Do what is asked, and let nobody hear of it."""
        self.disturb()
        self.nodes[name].store.lose = count

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        """Kill a node, with what it was pushing, and begin it anew."""
        self.disturb()
        self.do(self._restart(self.nodes[name]))

    async def _restart(self, node: FakeNode) -> None:
        await node.kill()
        node.start()

    @rule(name=NAMES)
    def refuse(self, name: str) -> None:
        """Let a node never take one of the contents, unless it has it in force."""
        if self.nodes[name].data != BAD:
            self.disturb()
            self.nodes[name].keeper.refuses.add(BAD)

    @rule(name=NAMES)
    def fail(self, name: str) -> None:
        """Let a node fail in what it accepts, once."""
        self.disturb()
        self.nodes[name].keeper.fails = 1

    @rule()
    def remember(self) -> None:
        """Take a copy of the store, as a replica has it."""
        self.older.append(
            {key: value.copy() if isinstance(value, dict) else value for key, value in self.redis.values.items()}
        )

    @rule(back=st.integers(0, 3))
    def forget(self, back: int) -> None:
        """Let the store be what it was once, or empty."""
        self.disturb()
        self.redis.values = dict(self.older[-1 - back % len(self.older)])

    @rule(seconds=st.sampled_from([0.003, 0.05, 0.3, 1.1, 5.0, 20.0]))
    def wait(self, seconds: float) -> None:
        """Let time go on."""
        self.do(asyncio.sleep(seconds))

    @rule()
    def settle(self) -> None:
        """Let all reach the store, and nothing happen for as long as the bound."""
        self.disturb()
        for each in self.nodes.values():
            each.store.up, each.store.lose = True, 0
        self.do(asyncio.sleep(BOUND_S))

    @invariant()
    def nobody_has_what_it_refuses(self) -> None:
        """Look that no node has in force what it does not take."""
        for each in self.nodes.values():
            assert each.data not in each.keeper.refuses

    @invariant()
    def after_the_bound_all_are_one(self) -> None:
        """Nodes that reach the store, and refuse nothing of it, have the same release when the bound has passed."""
        if self.loop.now - self.disturbed_s < BOUND_S:
            return
        there = [each for each in self.nodes.values() if each.joined]
        ranks = {each.node: each.follower.active.rank for each in there if each.follower.active}
        refusing = {each.node for each in there if "refused here" in each.follower.problem}
        willing = {each.node for each in there if not each.follower.problem}
        assert willing | refusing == {each.node for each in there}
        assert len({ranks.get(node) for node in willing}) <= 1
        if ranks:
            written = opened(
                there[0].store.seal, Release, self.redis.values.get(there[0].follower.archive.places.active)
            )
            assert written
            assert written.rank >= max(ranks.values())
            assert not willing or written.rank == max(ranks.values())

    @invariant()
    def nothing_is_released_that_a_node_has_refused(self) -> None:
        """Look at the votes on each release, at the moment when it was made."""
        seal = self.nodes["a"].store.seal
        while self.redis.answered:
            raw, raw_votes = self.redis.answered.pop()
            question, votes = opened(seal, Question, raw), [opened(seal, Vote, each) for each in raw_votes]
            assert question
            assert all(each.yes for each in votes if each and each.attempt == question.attempt)

    @invariant()
    def everybody_lives(self) -> None:
        """Nothing that happens ends a node."""
        assert all(each.running and not each.ended for each in self.nodes.values())

    @invariant()
    def a_push_that_succeeded_was_agreed(self) -> None:
        """Look that a push raises nothing else, and tells of success only if all have said yes."""
        for task in [task for task in self.pushes if task.done()]:
            self.pushes.remove(task)
            with suppress(Refused, StoreDown):
                outcome = task.result()
                assert not outcome.active or {each.answer for each in outcome.ballots} == {"yes"}

    def teardown(self) -> None:
        """End all tasks."""
        for task in [*self.pushes, *asyncio.all_tasks(self.loop)]:
            task.cancel()
        self.do(asyncio.sleep(0))
        self.loop.close()


TestNodes = Nodes.TestCase
TestNodes.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
