"""Nodes that gossip over a store in memory, each with its own clocks; what goes over the wire is the test's to lose."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from fastpath import BAN_TABLE_BYTES, BanTable, Epochs, Standing, parse_address, parse_network
from fastpath.epochs import EPOCH_BYTES
from models.steps import whole
from proxy.cluster.blackboard import SAY
from proxy.cluster.command import StoreDown
from proxy.cluster.gossip import Gossip
from proxy.cluster.invalidations import Invalidations
from proxy.cluster.keys import Family, Keys
from proxy.cluster.listener import Message
from proxy.cluster.outbox import Outbox
from proxy.cluster.seal import Seal
from proxy.cluster.secret import ClusterSecret
from proxy.cluster.shared_bans import SharedBans
from proxy.cluster.shared_offences import SharedOffences
from proxy.cluster.shared_standings import SharedStandings
from proxy.cluster.store_clock import StoreClock
from proxy.courtesy import Courtesy
from proxy.policy.fusion import Evidence
from proxy.settings.kinds import SECOND
from proxy.verdicts import Verdicts
from tests.proxy.wardens_for_tests import FakeNode, seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from proxy.cluster.command import Command
    from proxy.cluster.listener import Gap
    from proxy.cluster.store import Store

SECRET = ClusterSecret("s" * 32)
PREFIX = "test"


class FakeServer:
    """What Redis does with the scripts of the blackboard.

    Attributes:
        now_us: Its clock.
        hashes: Sealed words by key and field.
        published: All that ever was, in order.
        down: Whether it answers nobody.
        asked: How often it was asked anything.

    """

    def __init__(self) -> None:
        """Begin empty."""
        self.now_us = 1_700_000_000 * 10**6
        self.hashes: dict[bytes, dict[bytes, bytes]] = {}
        self.published: list[Message] = []
        self.down = False
        self.asked = 0

    def publish(self, channel: bytes, data: bytes) -> None:
        """Publish."""
        self.asked += 1
        self.published.append(Message(Family(channel.decode().rpartition(":")[2]), data))

    def do(self, command: Command) -> Any:
        """Answer a command."""
        self.asked += 1
        if self.down:
            raise StoreDown("it is down")
        time = [b"%d" % (self.now_us // 10**6), b"%d" % (self.now_us % 10**6)]
        if command.what == "PEXPIRE":
            return 1
        words = self.hashes.setdefault(command.keys[0], {})
        if command.what is SAY:
            _, _, channel, *rest = command.args
            for field, _, data in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
                words[field] = data  # type: ignore[index,assignment]
                self.publish(channel, data)  # type: ignore[arg-type]
            return time
        return [*time, b"0", [*words.values()]]


class FakeStore:
    """The way of one node to it."""

    def __init__(self, server: FakeServer, node: str) -> None:
        """Begin."""
        self.node = node
        self.keys = Keys(PREFIX, SECRET)
        self.seal = Seal(SECRET, PREFIX)
        self._server = server

    @property
    def up(self) -> bool:
        """Whether it answers."""
        return not self._server.down

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Any]:  # noqa: ARG002
        """Do commands."""
        return [self._server.do(command) for command in commands]

    async def publish(self, family: Family, data: bytes) -> None:
        """Publish."""
        if self._server.down:
            raise StoreDown("it is down")
        self._server.publish(self.keys.channel(family), data)

    async def listen(self, *_families: Family) -> AsyncIterator[Message | Gap]:
        """Hear nothing: tests hand over what a node is to hear."""
        nothing: tuple[Message | Gap, ...] = ()
        for each in nothing:
            yield each
        await asyncio.Event().wait()


class GossipNode(FakeNode):
    """A node that gossips.

    Attributes:
        heard: How many of the messages it has been given.

    """

    def __init__(self, server: FakeServer, name: str, folder: Path, **settings: str) -> None:
        """Start it; `settings` without HKPGUARD_."""
        self.name = name
        self.server = server
        self.heard = 0
        super().__init__(folder / name, **settings)

    def _start(self) -> None:
        super()._start()
        config, self.clock = self.config(), StoreClock()
        self.warden.outbox = Outbox()
        self.standing_table = BanTable(memoryview(bytearray(BAN_TABLE_BYTES)), bytes(16))
        now = lambda: self.now_ns  # noqa: E731
        self.verdicts = Verdicts(self.standing_table, self.warden, publish=self.told.append, clock=now)
        self.bans = SharedBans(
            config, self.name, self.clock, self.warden, self.warden.outbox, forget=self.verdicts.forget
        )
        self.offences = SharedOffences(
            config, self.name, self.clock, self.warden, self.warden.outbox, lifted_us=self.bans.lifted_us
        )
        self.standings = SharedStandings(config, self.name, self.clock, self.verdicts, now=now)
        self.memory = memoryview(bytearray(EPOCH_BYTES)).cast("Q")
        self.epochs = Epochs(self.memory.cast("B"))
        self.store = cast("Store", FakeStore(self.server, self.name))
        self.gossip = Gossip(
            self.store,
            self.clock,
            (self.bans, self.offences, self.standings),
            Invalidations(self.name, self.memory.cast("B"), self.epochs),
            courtesy=Courtesy(lambda: None),
            now=now,
        )
        self.warden.outbox.changed = self.standings.changed = self.gossip.wake

    def reload(self, **settings: str) -> None:
        """Reload with other settings."""
        super().reload(**settings)
        for each in (self.bans, self.offences, self.standings):
            each.reload(self.config())

    def accuse(self, weight: float, address: str, kind: str = "pace") -> None:
        """Bring evidence forward that counts for a minute."""
        found = [Evidence(parse_network(address), kind, weight, "too fast", self.now_ns + 60 * SECOND)]
        whole(self.verdicts.hear(found))

    def standing(self, address: str) -> Standing:
        """Return what workers see."""
        return Standing(self.standing_table.standing(parse_address(address), self.now_ns))

    async def speak(self) -> None:
        """Say what there is to say."""
        whole(self.gossip.turn())
        if self.store.up:
            await self.gossip.say()

    def listen(self) -> None:
        """Hear all messages that were not heard yet."""
        for message in self.server.published[self.heard :]:
            whole(self.gossip.take(message))
        self.heard = len(self.server.published)

    async def read(self, *, missed: bool = True) -> None:
        """Read the whole state, as after a gap."""
        await self.gossip.read_all(missed=missed)


class Nodes:
    """Some nodes, and one store."""

    def __init__(self, folder: Path, *names: str, **settings: str) -> None:
        """Start them; none has read anything yet."""
        self.server = FakeServer()
        self._folder, self._settings = folder, settings
        self.nodes = {name: GossipNode(self.server, name, folder, **settings) for name in names}
        for number, node in enumerate(self.nodes.values()):  # machines that started at different times
            node.now_ns += number * 12_345 * SECOND
            node.set_clock(f"{number * 137}s")
            node.restart()

    def __getitem__(self, name: str) -> GossipNode:
        """Return a node."""
        return self.nodes[name]

    async def meet(self) -> None:
        """Let all read the whole state."""
        for node in self.nodes.values():
            await node.read()

    async def talk(self, rounds: int = 2) -> None:
        """Let all say and hear what there is, in order."""
        for _ in range(rounds):
            for node in self.nodes.values():
                await node.speak()
            for node in self.nodes.values():
                node.listen()

    def wait(self, text: str) -> None:
        """Let time pass for all."""
        self.server.now_us += seconds(text) * 10**6
        for node in self.nodes.values():
            node.wait(text)
