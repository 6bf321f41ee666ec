"""Nodes that beat, join, leave and take each other's names."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from proxy.cluster.beat import MOST_MEMBERS, PROTOCOL, SEALED_AS, Beat, Capacity, Held
from proxy.cluster.command import StoreDown
from proxy.cluster.keys import Family
from proxy.cluster.members import Members
from proxy.cluster.seal import MAC_BYTES
from tests.proxy.cluster.fake_redis import FakeRedis, FakeStore
from tests.proxy.cluster.virtual_time import VirtualLoop, run

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.plugins.events import Event

HELD = Held(generation=3, content="a" * 64)
SECONDS = 12  # enough for all to know it


class Node:
    """A node that runs."""

    def __init__(self, redis: FakeRedis, folder: Path, name: str, life: str = "") -> None:
        """Begin to beat."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self.store = FakeStore(redis, name)
        self.draining = False
        self.events: list[Event] = []
        self.members = Members(
            self.store,
            life=life or f"{abs(hash(name)):016x}"[:16],
            capacity=Capacity(workers=2, clients=4096),
            folder=folder / name,
            held=lambda: (HELD, Held()),
            draining=lambda: self.draining,
            publish=self.events.append,
            clock=loop.clock,
        )
        self._task = asyncio.create_task(self.members.run())

    async def kill(self) -> None:
        """End it without a word."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    @property
    def told(self) -> list[tuple[str, Any]]:
        """What was published, and about whom."""
        return [(each.kind, each.values(addresses=True)["node"]) for each in self.events]


def test_nodes_know_each_other(tmp_path: Path) -> None:
    """Each node counts all, knows what they have in force, and hears of who comes and goes; who drains goes at once."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = [Node(redis, tmp_path, name) for name in "abc"]
        await asyncio.sleep(2.5)
        assert [each.members.live for each in nodes] == [3, 3, 3]
        assert all(each.members.joined for each in nodes)
        assert {each.beat.policy for each in nodes[0].members.others} == {HELD}
        assert nodes[0].members.others[0].beat.capacity.workers == 2
        nodes[1].draining = True
        await asyncio.sleep(2.2)
        assert (nodes[0].members.live, nodes[1].members.joined) == (2, False)
        await nodes[2].kill()
        await asyncio.sleep(5.0)
        assert nodes[0].members.live == 1
        assert nodes[0].told[-2:] == [("node.left", "b"), ("node.left", "c")]

    run(work())


def test_a_name_belongs_to_who_has_it(tmp_path: Path) -> None:
    """Of two guards of one name the later one stays out and says so, until the name is free."""

    async def work() -> None:
        redis = FakeRedis()
        first = Node(redis, tmp_path, "a", "1" * 16)
        await asyncio.sleep(2)
        second = Node(redis, tmp_path, "a", "2" * 16)
        await asyncio.sleep(SECONDS)
        assert (first.members.joined, first.members.problem) == (True, "")
        assert not second.members.joined
        assert "another guard is running under the name of this one, a" in second.members.degraded
        assert second.members.live == 2  # it is one more that takes its share
        await first.kill()
        await asyncio.sleep(SECONDS)
        assert (second.members.joined, second.members.problem) == (True, "")

    run(work())


def test_an_analyst_is_replaced(tmp_path: Path) -> None:
    """An analyst that takes the place of another of the same guard is the same node, and nobody hears of it."""

    async def work() -> None:
        redis = FakeRedis()
        watcher, node = Node(redis, tmp_path, "a"), Node(redis, tmp_path, "b", "1" * 16)
        await asyncio.sleep(SECONDS)
        before = [*watcher.events]
        await node.kill()
        node = Node(redis, tmp_path, "b", "1" * 16)
        await asyncio.sleep(SECONDS)
        assert node.members.joined
        assert watcher.events == before
        assert watcher.members.live == 2

    run(work())


def test_the_number_that_was_seen_last_counts(tmp_path: Path) -> None:
    """While the store is out of reach a node counts as many as it saw last, also if it is started again meanwhile."""

    async def work() -> None:
        redis = FakeRedis()
        nodes = [Node(redis, tmp_path, name) for name in "abc"]
        await asyncio.sleep(SECONDS)
        for each in nodes:
            each.store.up = False
        await asyncio.sleep(600)
        assert [each.members.live for each in nodes] == [3, 3, 3]
        again = Node(redis, tmp_path, "a", "3" * 16)
        again.store.up = False
        await asyncio.sleep(SECONDS)
        assert again.members.live == 3
        await again.kill()
        redis.values.clear()
        for each in nodes:
            each.store.up = True
            await asyncio.sleep(2)  # one after the other
        assert [each.members.live for each in nodes] == [3, 3, 3]
        assert all(each.told == [] or "node.left" not in dict(each.told) for each in nodes)

    run(work())


def _sealed(writer: Node, **fields: Any) -> bytes:
    values: dict[str, Any] = {
        "node": "x",
        "life": "f" * 16,
        "number": 1,
        "at_ms": 0,
        "since_ms": 0,
        "version": "9",
        "protocol": PROTOCOL,
    }
    return writer.store.seal.seal(SEALED_AS, Beat.model_construct(None, **(values | fields)).model_dump_json().encode())


@pytest.mark.parametrize(
    "plant",
    [
        lambda _: b"\x00" * 200,
        lambda node: node.store.seal.seal("ban", b"{}"),
        lambda node: node.store.seal.seal(SEALED_AS, b"[]"),
        lambda node: _sealed(node, node="a b"),
        lambda node: _sealed(node, version="9" * 65),
        _sealed,
        lambda node: bytes(MAC_BYTES) + _sealed(node, at_ms=node.members.now_ms)[MAC_BYTES:],
    ],
    ids=["forged", "another kind", "no beat", "bad name", "long version", "of long ago", "sealed by nobody"],
)
def test_what_others_write_is_no_node(tmp_path: Path, plant: Any) -> None:
    """Whatever somebody puts into the table, it is counted as nobody, and disturbs nobody."""

    async def work() -> None:
        redis = FakeRedis()
        node = Node(redis, tmp_path, "a")
        await asyncio.sleep(3)
        key = node.store.keys.key(Family.MEMBER, "beats")
        redis.values[key]["x"] = (redis.now_ms, "f" * 16, 0, plant(node))
        await asyncio.sleep(3)
        assert (node.members.live, node.members.joined) == (1, True)

    run(work())


def test_another_protocol_is_listed(tmp_path: Path) -> None:
    """A node that speaks another protocol is shown and told of, and does not count."""

    async def work() -> None:
        redis = FakeRedis()
        node = Node(redis, tmp_path, "a")
        await asyncio.sleep(3)
        key = node.store.keys.key(Family.MEMBER, "beats")
        beat = _sealed(node, at_ms=redis.now_ms, protocol=PROTOCOL + 1, a_field_of_tomorrow=1)
        redis.values[key]["x"] = (redis.now_ms, "f" * 16, 0, beat)
        await asyncio.sleep(1.5)
        assert [each.state for each in node.members.others] == ["other protocol"]
        assert node.members.live == 1
        assert "1 nodes of the cluster speak another protocol: x" in node.members.degraded

    run(work())


def test_there_is_room_for_so_many(tmp_path: Path) -> None:
    """A node that is one too many stays out, and says so; those that are in stay in."""

    async def work() -> None:
        redis = FakeRedis()
        node = Node(redis, tmp_path, "a")
        await asyncio.sleep(3)
        table = redis.values[node.store.keys.key(Family.MEMBER, "beats")]
        table |= {f"n{number}": (redis.now_ms, "f" * 16, 0, b"") for number in range(MOST_MEMBERS - 1)}
        late = Node(redis, tmp_path, "b")
        await asyncio.sleep(3)
        assert node.members.joined
        assert not late.members.joined
        assert "which is the most" in late.members.problem

    run(work())


def test_a_store_that_refuses(tmp_path: Path) -> None:
    """A table that cannot be read is told of, and is no reason to stop; when it can be, the node joins."""

    async def work() -> None:
        node = Node(FakeRedis(), tmp_path, "a")
        node.store.refuses = "WRONGTYPE"
        await asyncio.sleep(3)
        assert "cannot be read: WRONGTYPE" in node.members.degraded
        node.store.refuses = ""
        await asyncio.sleep(3)
        assert (node.members.joined, node.members.degraded) == (True, "")

    run(work())


def test_a_farewell_that_is_lost_is_said_again(tmp_path: Path) -> None:
    """A node that could not say that it leaves tries again as long as it drains."""

    async def work() -> None:
        redis = FakeRedis()
        watcher, node = Node(redis, tmp_path, "a"), Node(redis, tmp_path, "b")
        await asyncio.sleep(SECONDS)
        node.store.up, node.draining = False, True
        with pytest.raises(StoreDown):
            await node.members.leave()
        node.store.up = True
        await asyncio.sleep(2.5)
        assert watcher.told[-1] == ("node.left", "b")
        assert watcher.members.live == 1

    run(work())
