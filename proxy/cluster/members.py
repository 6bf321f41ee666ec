"""The cluster, as this node is part of it: it beats once a second, and looks who else does.

Two lives of one name at a time are two guards that somebody gave the same name. The one that was there first goes on;
the other stays out, says so, and asks again with each beat. Nodes of another protocol are listed, and neither counted
nor asked (`proxy.cluster.releases`): what they would say is not known here. Other versions of the same protocol work
together.

A table of a thousand nodes is some 300 KB, so it is not read by each of them each second: see `_look_ns`.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, Protocol

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import monotonic_ns
from proxy.cluster.beat import BEAT, MOST_MEMBERS, PROTOCOL, Beat, arguments, opened, sealed
from proxy.cluster.command import Command, Refusal, StoreDown
from proxy.cluster.keys import Family
from proxy.cluster.roster import Roster
from proxy.plugins.events import NodeJoined, NodeLeft
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from prometheus_client.core import Metric

    from proxy.cluster.beat import Capacity, Held
    from proxy.cluster.command import Answer
    from proxy.cluster.keys import Keys
    from proxy.cluster.roster import Member, Moved
    from proxy.cluster.seal import Seal
    from proxy.plugins.events import Event

VERSION: Final = version("hkpguard")  # reading it takes 2 ms
BEAT_S: Final = 1.0
MEMBERS_A_SECOND: Final = 50  # whose beats one node reads
KEPT: Final = "nodes"  # how many were seen last
MOST_SHOWN: Final = 200  # characters of what the store says


class Asked(Protocol):
    """What is needed of the store."""

    @property
    def node(self) -> str:
        """The name of this node."""

    @property
    def keys(self) -> Keys:
        """Names of keys."""

    @property
    def seal(self) -> Seal:
        """For what is written, and read."""

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
        """See `Store.pipeline`."""


class Members(Collector):
    """The nodes of the cluster, this one among them.

    Attributes:
        life: Of this node: chance, 16 hex digits, another with each start of the guard.
        capacity: What this node can do.
        problem: Why this node is not one of them; empty if it is, or if the store is down.

    """

    def __init__(  # noqa: PLR0913 - each is something that tests replace
        self,
        store: Asked,
        *,
        life: str,
        capacity: Capacity,
        folder: Path,
        held: Callable[[], tuple[Held, Held]],
        draining: Callable[[], bool],
        publish: Callable[[Event], None],
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Know nobody yet, but how many there were when this node was running last.

        Args:
            store: Where all meet.
            life: See above.
            capacity: Of this node.
            folder: Where the number of nodes is kept over a restart.
            held: Returns which policy and which models are in force here.
            draining: Whether this node is about to stop.
            publish: Hears of NodeJoined and NodeLeft.
            clock: Nanoseconds, monotonic.

        """
        self.life = life
        self.problem = ""
        self._store = store
        self._key = store.keys.key(Family.MEMBER, "beats")
        self.capacity = capacity
        self._kept = folder / KEPT
        self._held = held
        self._draining = draining
        self._publish = publish
        self._clock = clock
        self._roster = Roster()
        self._number = 0
        self._since_ms = 0
        self._offset_ns: int | None = None  # of Redis's clock from ours
        self._joined = self._leaves = False
        self._looked_ns = 0
        self._last_seen = self._read_last_seen()
        self._soon = asyncio.Event()
        self._log = structlog.get_logger().bind(process="analyst")

    # What others ask.

    @property
    def node(self) -> str:
        """The name of this node."""
        return self._store.node

    @property
    def live(self) -> int:
        """How many nodes there are, this one included; while the store is down, as many as were seen last."""
        return 1 + self._roster.counted if self._roster.looks else self._last_seen

    @property
    def joined(self) -> bool:
        """Whether this node is one of them."""
        return self._joined

    @property
    def others(self) -> tuple[Member, ...]:
        """The others that are known, also those that are lost."""
        return self._roster.members

    @property
    def now_ms(self) -> int | None:
        """The time of Redis, as well as it is known; None: not at all."""
        return None if self._offset_ns is None else (self._clock() + self._offset_ns) // 1_000_000

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        strangers = sorted(each.beat.node for each in self.others if each.live and not each.counted)
        skew = f"{len(strangers)} nodes of the cluster speak another protocol: {', '.join(strangers[:3])}"
        return "; ".join(filter(None, (self.problem, skew if strangers else "")))

    def beat_soon(self) -> None:
        """Tell the others now of what has changed here, not only in a second."""
        self._soon.set()

    # What is done.

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                await self.turn()
            except StoreDown:
                self._roster.outage()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._soon.wait(), BEAT_S)
            self._soon.clear()

    async def turn(self) -> None:
        """Beat once, and look at the others if it is time for that.

        Raises:
            StoreDown: That failed; who was seen last still counts.

        """
        if self._draining():
            await self.leave()
            return
        if self._offset_ns is None:  # what is the time?
            await self._ask(None, looks=False)
        looks = not self._roster.looks or self._clock() - self._looked_ns >= self._look_ns
        beats = await self._ask(self._beat(), looks=looks)
        if looks and beats is not None:
            self._looked_ns = self._clock()
            ours = (self.node, self.life)
            others = (each for each in opened(self._store.seal, beats) if (each.node, each.life) != ours)
            for move in self._roster.look(others, self._looked_ns, self.now_ms or 0):
                self._tell(move)
            self._write_last_seen()

    async def leave(self) -> None:
        """Say that this node goes; StoreDown as in `turn`."""
        if self._joined:
            self._leaves = True
            await self._ask(self._beat(), looks=False)

    @property
    def _look_ns(self) -> int:
        """How long between two looks: a second up to MEMBERS_A_SECOND nodes, of a thousand 20 s."""
        return int(max(0.9 * BEAT_S, len(self.others) / MEMBERS_A_SECOND) * SECOND)

    def _beat(self) -> Beat:
        now_ms = self.now_ms or 0
        # By the clock, so that an analyst that takes the place of another goes on where that one was.
        self._number = max(self._number + 1, self._clock() // 1_000_000)
        self._since_ms = self._since_ms or now_ms
        policy, models = self._held()
        return Beat(
            node=self.node,
            life=self.life,
            number=self._number,
            at_ms=now_ms,
            since_ms=self._since_ms,
            left=self._leaves,
            version=VERSION,
            protocol=PROTOCOL,
            capacity=self.capacity,
            policy=policy,
            models=models,
        )

    async def _ask(self, beat: Beat | None, *, looks: bool) -> list[object] | None:
        """Beat, or only ask for the time; return all beats, None if the store has none that can be read."""
        data = sealed(self._store.seal, beat) if beat else b""
        asked_ns = self._clock()
        command = Command(BEAT, (self._key,), arguments(self.node, beat, data, looks=looks))
        [answer] = await self._store.pipeline([command])
        match answer:
            case [int() as now_ms, bytes() as word, list() as beats]:
                self._offset_ns = now_ms * 1_000_000 - (asked_ns + self._clock()) // 2
                if beat:
                    self._answered(word)
                return beats[:MOST_MEMBERS]
            case Refusal(text):
                self._say(f"the members of the cluster cannot be read: {text[:MOST_SHOWN]}")
            case _:
                self._say("the members of the cluster cannot be read: they are not what they should be")
        self._joined = False
        return None

    def _answered(self, word: bytes) -> None:
        """Take note of whether this node is one of them."""
        self._joined = word == b"ok" and not self._leaves
        if word == b"taken":
            self._say(
                f"another guard is running under the name of this one, {self.node} (HKPGUARD_CLUSTER__NODE), and was "
                "there first: this one stays out of the cluster"
            )
        elif word == b"full":
            self._say(f"the cluster has {MOST_MEMBERS} nodes, which is the most: this one stays out of it")
        else:
            self._say("")

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            self._log.error("not in the cluster", node=self.node, reason=problem)
        elif self.problem and not problem:
            self._log.info("in the cluster", node=self.node)
        self.problem = problem

    def _tell(self, move: Moved) -> None:
        node, nodes = move.beat.node, 1 + self._roster.counted
        if move.how == "joined":
            self._log.info("a node has joined the cluster", node=node, version=move.beat.version, nodes=nodes)
            self._publish(NodeJoined(node=node, version=move.beat.version, nodes=nodes))
        else:
            self._log.info("a node has left the cluster", node=node, why=move.how, nodes=nodes)
            self._publish(NodeLeft(node=node, why=move.how, nodes=nodes))

    def _read_last_seen(self) -> int:
        try:
            text = self._kept.read_text(encoding="ascii")[:8].strip()
        except (OSError, UnicodeDecodeError):
            return 1
        return min(max(1, int(text)), MOST_MEMBERS) if text.isdecimal() else 1

    def _write_last_seen(self) -> None:
        """Keep how many there are: a node that starts without the store takes no more than its share."""
        if self.live == self._last_seen:
            return
        self._last_seen = self.live
        with suppress(OSError):  # then it begins as if it were alone
            self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._kept.write_text(f"{self._last_seen}\n", encoding="ascii")

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        yield GaugeMetricFamily("hkpguard_cluster_members", "Nodes that count, this one included", value=self.live)
        joined = "1 if this node is one of the cluster, else 0"
        yield GaugeMetricFamily("hkpguard_cluster_joined", joined, value=int(self.joined))
