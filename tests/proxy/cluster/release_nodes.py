"""Nodes that have nothing but releases, on virtual time: what each accepts is the test's to say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from proxy.cluster.beat import PROTOCOL, Beat
from proxy.cluster.follower import Follower, Opinion
from proxy.cluster.release import Content
from proxy.cluster.releases import Releases
from proxy.cluster.roster import Member
from tests.proxy.cluster.fake_redis import FakeRedis, FakeStore

if TYPE_CHECKING:
    from proxy.cluster.kept import Kept
    from proxy.cluster.release import KindName, Release
    from proxy.plugins.events import Event

VERDICT_S = 0.05


class FakeKeeper:
    """Accepts what it was not told to refuse.

    Attributes:
        refuses: Contents that it never takes.
        fails: How often it fails to use what it has accepted.
        disk: What is kept.
        history: When what was put in force, seconds.

    """

    kind: KindName = "policy"
    patience_ms = 15_000

    def __init__(self) -> None:
        """Accept everything."""
        self.refuses: set[bytes] = set()
        self.fails = 0
        self.hangs = False
        self.disk: Kept | None = None
        self.history: list[tuple[float, Release]] = []

    def kept(self) -> Kept | None:
        """See `Keeper`."""
        return self.disk

    async def opinion(self, data: bytes) -> Opinion:
        """See `Keeper`."""
        await asyncio.sleep(1e9 if self.hangs else VERDICT_S)
        return Opinion("not to my taste" if data in self.refuses else "", ("HKPGUARD_MODE",))

    async def use(self, kept: Kept) -> str:
        """See `Keeper`."""
        if self.fails:
            self.fails -= 1
            return "it does not fit"
        if kept.data in self.refuses:
            return "not to my taste"
        assert Content.of(kept.data) == kept.release.named
        assert self.disk is None or kept.release.rank > self.disk.release.rank
        self.disk = kept
        self.history.append((asyncio.get_running_loop().time(), kept.release))
        return ""


class FakeNode:
    """A node, and what it sees of the others: those that run, and reach the store."""

    problem = ""

    def __init__(self, name: str, redis: FakeRedis, all_nodes: dict[str, FakeNode]) -> None:
        """Begin to follow."""
        self.node = name
        self.store = FakeStore(redis, name)
        self.keeper = FakeKeeper()
        self.events: list[Event] = []
        self.protocol = PROTOCOL
        self._all = all_nodes
        self._lives = 0
        self.start()

    def start(self) -> None:
        """Begin a life."""
        self._lives += 1
        self.life = f"{self._lives:016x}"
        self.follower = Follower(self.keeper, self.store, self, publish=self.events.append)
        self.releases = Releases(self.follower)
        self._task: asyncio.Task[None] | None = asyncio.create_task(self.follower.run())

    async def kill(self) -> None:
        """End it without a word."""
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._task = None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._task is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself: it must not."""
        return self._task is not None and self._task.done()

    @property
    def joined(self) -> bool:
        """See `Members`."""
        return self.running and self.store.up

    def beat_soon(self) -> None:
        """See `Members`."""

    @property
    def others(self) -> tuple[Member, ...]:
        """See `Members`."""
        return tuple(Member(each.beat(), each.joined, 0) for each in self._all.values() if each is not self)

    def beat(self) -> Beat:
        """Return what it says of itself."""
        return Beat(
            node=self.node,
            life=self.life,
            number=1,
            at_ms=1,
            since_ms=1,
            version="1",
            protocol=self.protocol,
            policy=self.follower.held,
        )

    @property
    def data(self) -> bytes:
        """What it has in force."""
        return self.keeper.disk.data if self.keeper.disk else b""

    @property
    def generation(self) -> int:
        """Of that."""
        return self.follower.held.generation


def make(redis: FakeRedis, names: str) -> dict[str, FakeNode]:
    """Return nodes that run."""
    nodes: dict[str, FakeNode] = {}
    for name in names:
        nodes[name] = FakeNode(name, redis, nodes)
    return nodes


def held(nodes: dict[str, FakeNode]) -> set[tuple[int, bytes]]:
    """Return what nodes have in force: one thing, if all is well."""
    return {(each.generation, each.data) for each in nodes.values()}


def events_of(node: FakeNode, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind."""
    return [each.values(addresses=True) for each in node.events if each.kind == kind]
