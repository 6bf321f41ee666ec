"""Releases: in force on all nodes at one moment, or on none of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from proxy.cluster.command import StoreDown
from proxy.cluster.follower import AGAIN_MS, LEAD_MS
from proxy.cluster.keys import Family
from proxy.cluster.release import Content, Release, opened, sealed
from proxy.cluster.releases import Refused
from tests.proxy.cluster.fake_redis import EPOCH_MS, FakeRedis
from tests.proxy.cluster.release_nodes import events_of, held, make
from tests.proxy.cluster.virtual_time import run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.proxy.cluster.release_nodes import FakeNode

ONE, TWO, THREE = b"one", b"two", b"three" * 100_000
TOGETHER_S = 0.05
LOOKS_S = 3.0


def active(redis: FakeRedis, node: FakeNode) -> Release | None:
    """Return what is in force by the store."""
    key = node.store.keys.key(Family.RELEASE, "policy:active")
    return opened(node.store.seal, Release, redis.values.get(key))


def test_all_say_yes() -> None:
    """A content that all accept is in force on all within a twentieth of a second, and the push returns when it is."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        outcome = await nodes["a"].releases.push(ONE)
        assert (outcome.active, outcome.generation, outcome.reason) == (True, 1, "")
        assert [(each.node, each.answer) for each in outcome.ballots] == [("a", "yes"), ("b", "yes"), ("c", "yes")]
        assert outcome.ballots[0].overridden == ("HKPGUARD_MODE",)
        assert held(nodes) == {(1, ONE)}
        times = [each.keeper.history[0][0] for each in nodes.values()]
        assert max(times) - min(times) < TOGETHER_S
        assert (await nodes["b"].releases.push(THREE)).generation == 2
        assert held(nodes) == {(2, THREE)}
        [event, _] = events_of(nodes["c"], "release.active")
        assert event == {"what": "policy", "generation": 1, "content": Content.of(ONE).hash, "reason": ""}

    run(work())


def test_one_says_no() -> None:
    """One node that refuses keeps all others from it, and is named with its reason; at once, not after the deadline."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "abc")
        nodes["c"].keeper.refuses = {TWO}
        await nodes["a"].releases.push(ONE)
        before_s = asyncio.get_running_loop().time()
        outcome = await nodes["a"].releases.push(TWO)
        assert (outcome.active, outcome.reason) == (False, "c: not to my taste")
        assert asyncio.get_running_loop().time() - before_s < LOOKS_S
        await asyncio.sleep(60)
        assert held(nodes) == {(1, ONE)}
        assert (await nodes["b"].releases.push(THREE)).active  # nothing is left of it
        assert nodes["c"].generation == 2

    run(work())


def test_one_is_silent() -> None:
    """Who does not answer in time, or is lost on the way, has not agreed; who has left is not asked."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        nodes["c"].keeper.hangs = True
        outcome = await nodes["a"].releases.push(ONE)
        assert (outcome.active, outcome.reason) == (False, "c: silent")
        nodes["c"].keeper.hangs = False
        await nodes["c"].kill()
        nodes["c"].start()
        pushed = asyncio.create_task(nodes["a"].releases.push(ONE))
        await asyncio.sleep(0.1)
        nodes["c"].store.up = False
        assert (await pushed).reason == "c: silent"
        nodes.pop("c")
        assert (await nodes["a"].releases.push(ONE)).active

    run(work())


def test_a_life_votes_for_itself() -> None:
    """A node that is started anew while others vote is asked again: it may think otherwise now."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        nodes["b"].keeper.hangs = True  # so that it takes long enough
        pushed = asyncio.create_task(nodes["a"].releases.push(ONE))
        await asyncio.sleep(2)
        await nodes["c"].kill()
        nodes["c"].keeper.refuses = {ONE}
        nodes["c"].start()
        outcome = await pushed
        assert {each.node: each.answer for each in outcome.ballots}["c"] == "no"

    run(work())


def test_one_fails_to_put_it_in_force() -> None:
    """What a node accepts and cannot have after all is rolled back on all nodes, and the push says so."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "abc")
        await nodes["a"].releases.push(ONE)
        nodes["b"].keeper.fails = 1
        outcome = await nodes["a"].releases.push(TWO)
        assert (outcome.active, outcome.reason) == (False, "b: it does not fit")
        await asyncio.sleep(LOOKS_S)
        assert held(nodes) == {(3, ONE)}
        assert events_of(nodes["b"], "release.refused")[0]["reason"] == "it does not fit"
        with pytest.raises(Refused, match="nothing to go back to"):
            await nodes["a"].releases.roll_back()

    run(work())


def test_one_hangs_in_putting_it_in_force() -> None:
    """A node that is there, and does not have a release in force in time, makes the one who pushed roll back."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        await nodes["a"].releases.push(ONE)
        pushed = asyncio.create_task(nodes["a"].releases.push(TWO))
        await asyncio.sleep(1.0)
        really = nodes["b"].keeper.use
        nodes["b"].keeper.use = lambda kept: asyncio.sleep(1e9, str(kept))  # type: ignore[method-assign]
        outcome = await pushed
        assert (outcome.active, outcome.reason) == (False, "not in force in time on b")
        nodes["b"].keeper.use = really  # type: ignore[method-assign]
        await nodes["b"].kill()
        nodes["b"].start()
        await asyncio.sleep(LOOKS_S)
        assert held(nodes) == {(3, ONE)}

    run(work())


def test_roll_back() -> None:
    """What was in force before is released again by a word; before the first there was nothing."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        with pytest.raises(Refused):
            await nodes["a"].releases.roll_back()
        await nodes["a"].releases.push(ONE)
        assert (await nodes["b"].releases.roll_back()).active
        assert held(nodes) == {(2, b"")}
        assert (await nodes["b"].releases.roll_back()).active
        assert held(nodes) == {(3, ONE)}
        await nodes["c"].kill()
        nodes["c"].start()  # it does not have the content before
        await nodes["a"].releases.push(TWO)
        assert (await nodes["c"].releases.roll_back()).active
        assert held(nodes) == {(5, ONE)}

    run(work())


def test_who_was_away_catches_up() -> None:
    """A node that could not be told has the release within a look of coming back, and a new one of starting."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "abc")
        nodes["c"].store.up = False
        assert (await nodes["a"].releases.push(ONE)).active
        assert nodes["c"].generation == 0
        nodes["c"].store.up = True
        nodes |= make(redis, "d")
        await asyncio.sleep(LOOKS_S)
        assert held(nodes) == {(1, ONE)}

    run(work())


def test_who_cannot_have_it_goes_on_alone() -> None:
    """A node that joins later and refuses changes nothing for others; it says why, and tries again each minute."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "ab")
        await nodes["a"].releases.push(ONE)
        await asyncio.sleep(60)
        late = make(redis, "c")["c"]
        late.keeper.refuses = {ONE}
        await asyncio.sleep(LOOKS_S)
        assert held(nodes) == {(1, ONE)}
        assert (late.generation, late.data) == (0, b"")
        assert late.follower.degraded == "generation 1 of the cluster is refused here: not to my taste"
        late.keeper.refuses = set()
        await asyncio.sleep(AGAIN_MS / 1000)
        assert (late.generation, late.follower.degraded) == (1, "")
        assert len(events_of(late, "release.refused")) == 1

    run(work())


def test_the_store_forgets() -> None:
    """A store that comes back empty, or older than it was, is told what is in force by any node, content and all."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "abc")
        await nodes["a"].releases.push(ONE)
        older = dict(redis.values)
        await nodes["a"].releases.push(TWO)
        for values in ({}, older):
            redis.values = dict(values)
            await asyncio.sleep(LOOKS_S)
            release = active(redis, nodes["a"])
            assert release
            assert (release.generation, release.content) == (2, Content.of(TWO).hash)
            assert held(nodes) == {(2, TWO)}
        late = make(redis, "d")
        await asyncio.sleep(LOOKS_S)
        assert held(late) == {(2, TWO)}

    run(work())


def test_of_two_that_were_in_force_one_is() -> None:
    """If a failover lost a release, and another of its number was made meanwhile, all come to have one."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "ab")
        await nodes["a"].releases.push(ONE)
        older = dict(redis.values)
        await nodes["a"].releases.push(TWO)
        nodes["b"].store.up = False
        await nodes["a"].kill()
        nodes["a"].keeper.disk = None
        redis.values = older
        nodes["a"].start()
        await asyncio.sleep(LOOKS_S)
        lost = nodes.pop("b")
        assert (await nodes["a"].releases.push(THREE)).generation == 2
        nodes["b"] = lost
        lost.store.up = True
        await asyncio.sleep(LOOKS_S)
        assert held(nodes) == {(2, THREE)}

    run(work())


@pytest.mark.parametrize(
    "plant",
    [
        lambda _: b"\x00" * 500,
        lambda said: said.replace(b'"generation":1,', b'"generation":9,'),
        lambda _: b"x" * 100_000,
        lambda _: b"",
    ],
    ids=["forged", "changed under its seal", "long", "nothing"],
)
def test_what_others_write_is_no_release(plant: Callable[[bytes], bytes]) -> None:
    """Whatever somebody writes where the release is, nodes keep what they have, and put it back."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "ab")
        await nodes["a"].releases.push(ONE)
        key = nodes["a"].store.keys.key(Family.RELEASE, "policy:active")
        said = redis.values[key]
        redis.values[key] = plant(said)
        assert redis.values[key] != said
        await asyncio.sleep(LOOKS_S)
        assert held(nodes) == {(1, ONE)}
        release = active(redis, nodes["a"])
        assert release
        assert release.generation == 1

    run(work())


def test_what_is_put_back_is_no_release() -> None:
    """An old release, sealed as it was, takes nothing back: only a higher rank does."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "ab")
        key = nodes["a"].store.keys.key(Family.RELEASE, "policy:active")
        await nodes["a"].releases.push(ONE)
        old = redis.values[key]
        await nodes["a"].releases.push(TWO)
        for _ in range(5):
            redis.values[key] = old
            await asyncio.sleep(LOOKS_S)
            assert held(nodes) == {(2, TWO)}

    run(work())


def test_a_content_that_is_not_what_its_name_says() -> None:
    """A content that was changed in the store is not used; the node says that it cannot be had."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "ab")
        await nodes["a"].releases.push(THREE)
        key = nodes["a"].store.keys.key(Family.RELEASE, f"content:{Content.of(THREE).hash}")
        redis.values[key] = redis.values[key][:-1] + b"?"
        late = make(redis, "c")
        await asyncio.sleep(LOOKS_S)
        assert held(late) == {(0, b"")}
        assert "its content is not in the store" in late["c"].follower.degraded

    run(work())


def test_one_push_at_a_time() -> None:
    """While something is asked nothing else is, through whichever node; what is in force is not released again."""

    async def work() -> None:
        nodes = make(FakeRedis(), "ab")
        first = asyncio.create_task(nodes["a"].releases.push(ONE))
        await asyncio.sleep(0.2)
        with pytest.raises(Refused, match="at the moment"):
            await nodes["a"].releases.push(TWO)
        with pytest.raises(Refused, match="is asking about a release at the moment"):
            await nodes["b"].releases.push(TWO)
        assert (await first).active
        with pytest.raises(Refused, match="in force already, as generation 1"):
            await nodes["b"].releases.push(ONE)

    run(work())


def test_who_is_not_there_asks_nobody() -> None:
    """A push through a node that is out of reach fails, and so does one of what the node itself refuses."""

    async def work() -> None:
        nodes = make(FakeRedis(), "ab")
        nodes["a"].keeper.refuses = {ONE}
        with pytest.raises(Refused, match="not to my taste"):
            await nodes["a"].releases.push(ONE)
        nodes["a"].store.up = False
        with pytest.raises(StoreDown):
            await nodes["a"].releases.push(TWO)
        assert held(nodes) == {(0, b"")}

    run(work())


def test_who_asked_dies() -> None:
    """If the node that counts votes dies, the question ends by itself, and others can ask."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        nodes["c"].keeper.hangs = True
        pushed = asyncio.create_task(nodes["a"].releases.push(ONE))
        await asyncio.sleep(2)
        pushed.cancel()
        await nodes["a"].kill()
        nodes.pop("a")
        nodes.pop("c")
        await asyncio.sleep(20)
        assert held(nodes) == {(0, b"")}
        assert (await nodes["b"].releases.push(TWO)).active

    run(work())


def test_answers_that_are_lost() -> None:
    """A push whose answer was lost says that the store was; what it has made, all have, or nobody."""

    async def work(after_s: float) -> None:
        nodes = make(FakeRedis(), "abc")
        pushed = asyncio.create_task(nodes["a"].releases.push(ONE))
        await asyncio.sleep(after_s)
        nodes["a"].store.lose = 2
        try:
            outcome = await pushed
        except StoreDown:
            outcome = None
        await asyncio.sleep(60)
        [(generation, data)] = held(nodes)
        assert (generation, data) in {(0, b""), (1, ONE), (2, b"")}
        assert outcome is None or outcome.active == (generation == 1)

    for step in range(60):
        run(work(step / 20))


def test_another_protocol_is_not_asked() -> None:
    """A node of another protocol votes for nobody, and keeps nobody from anything."""

    async def work() -> None:
        nodes = make(FakeRedis(), "abc")
        nodes["c"].protocol += 1
        nodes["c"].keeper.hangs = True
        assert (await nodes["a"].releases.push(ONE)).active

    run(work())


def test_a_release_far_ahead_is_waited_for_a_moment_only() -> None:
    """A time to begin that makes no sense, as after a jump of the store's clock, delays nobody for long."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = make(redis, "a")
        release = Release(
            kind="policy",
            generation=1,
            content="",
            size=0,
            before="",
            before_size=0,
            at_ms=EPOCH_MS * 2,
            until_ms=0,
            by="x",
        )
        redis.values[nodes["a"].store.keys.key(Family.RELEASE, "policy:active")] = sealed(
            nodes["a"].store.seal, release
        )
        await asyncio.sleep(1.1 + LEAD_MS / 1000)
        assert nodes["a"].generation == 1

    run(work())
