"""The store: the one way from this node to Redis. It never raises anything but `StoreDown`, and never takes long.

    pipeline -> is the circuit closed? -> a place among those under way -> Link (redis-py) -> answers, or StoreDown
                `-------------------- all of it within a deadline ---------------------'

    run      -> a probe each second, and at once after a failure: a write, as a replica and a full database read well

What fails, and what answers, opens and closes the circuit (`circuit.py`). While it is open everybody is told so at
once, and the probes go on, later each time. Each change is one line of the log, an event, and a metric. What was being
shared when the store was lost is the caller's to share again: nothing is queued in here.
"""

from __future__ import annotations

import asyncio
import contextlib
from itertools import cycle
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import monotonic_ns
from proxy.cluster.circuit import Cause, Circuit, Trouble
from proxy.cluster.command import MOST_BYTES, MOST_COMMANDS, Command, Refusal, StoreDown
from proxy.cluster.keys import SHARDS, Family, Keys, ttl_ms
from proxy.cluster.link import Link
from proxy.cluster.listener import MOST_WAITING, Gap, Listener, Message
from proxy.cluster.node_name import node_name
from proxy.cluster.seal import Seal
from proxy.cluster.secret import ClusterSecret
from proxy.cluster.tally import Tally
from proxy.plugins.events import StoreBack, StoreLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.cluster.circuit import Change
    from proxy.cluster.command import Answer, Argument, Script
    from proxy.config import Config
    from proxy.plugins.events import Event

__all__ = ["Gap", "Listener", "Message", "State", "Store"]

PROBE_SECONDS: Final = 1.0
DOUBT_SECONDS: Final = 0.1
CONNECT_SECONDS: Final = 2.0  # of a probe that has to find its way first
CLOSE_SECONDS: Final = 0.2
MOST_CALLERS: Final = 256  # that wait for a place
PROBE_TTL_MS: Final = 10_000


class State(NamedTuple):
    """How the store is.

    Args:
        up: Whether it may be asked.
        since_ns: Since when it is so, monotonic.
        reason: Why it is not up; empty if it is.

    """

    up: bool
    since_ns: int
    reason: str


class Store(Collector):
    """Redis, as a node sees it.

    Attributes:
        node: The name of this node, the same after a restart.
        keys: Names of keys and channels.
        seal: For what is written, and read.

    """

    def __init__(
        self,
        config: Config,
        *,
        publish: Callable[[Event], None],
        clock: Callable[[], int] = monotonic_ns,
        link: Link | None = None,
    ) -> None:
        """Connect from `run` on; down until then.

        Args:
            config: Has a `redis_url` and a secret.
            publish: Hears of StoreLost and StoreBack.
            clock: Nanoseconds, monotonic.
            link: The way to the store; None: redis-py.

        Raises:
            OSError, ValueError: A file of a secret or password cannot be used any more.

        """
        secret = ClusterSecret.of(config.cluster)
        self.node = node_name(config)
        self.keys = Keys(config.cluster.prefix, secret)
        self.seal = Seal(secret, config.cluster.prefix)
        self._link = link or Link(config)
        self._timeout = config.cluster.timeout_ns / 1e9
        self._publish = publish
        self._clock = clock
        self._circuit = Circuit(clock())
        self._reason = Cause.UNASKED.value
        self._places = asyncio.Semaphore(self._link.most_at_once)
        self._callers = 0
        self._doubt = asyncio.Event()  # something failed
        self._upped = asyncio.Event()
        self._shards = range(SHARDS) if self._link.spread else range(1)
        self._next_shard = cycle(self._shards)
        self._listeners: list[Listener] = []
        self._tally = Tally()
        self._log = structlog.get_logger().bind(process="analyst")

    @property
    def state(self) -> State:
        """How the store is at the moment; never waits."""
        return State(self._circuit.up, self._circuit.since_ns, "" if self._circuit.up else self._reason)

    @property
    def up(self) -> bool:
        """Whether it may be asked: `state.up`."""
        return self._circuit.up

    @property
    def spread(self) -> bool:
        """Whether shards may be on different servers."""
        return self._link.spread

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        if not self.up:
            seconds = (self._clock() - self._circuit.since_ns) // 10**9
            return f"the store has been out of reach for {seconds} s: {self._reason}"
        deaf = next((each.problem for each in self._listeners if each.problem), "")
        return f"this node does not hear the others: {deaf}" if deaf else ""

    async def run(self) -> None:
        """Connect, and again whenever the store is lost, until cancelled; then close all connections."""
        try:
            while True:
                self._doubt.clear()
                await self._probe()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds_to_probe()):
                        await self._doubt.wait()
        finally:
            await asyncio.gather(*(each.close() for each in self._listeners))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._link.close()

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
        """Send commands at once, and return their answers in order.

        They are not a transaction, only a script is atomic, and one may be done before another that stands before it.
        Answers are those of Redis as they come (RESP2): bytes, int, None, lists; a command that was refused for its own
        sake has a `Refusal`. They are hostile, and as large as the database makes them: ask in a way that bounds them
        (HSCAN, GETRANGE, a script that looks at the length first).

        Args:
            commands: At most MOST_COMMANDS, MOST_BYTES in all; more is a ValueError.
            seconds: The deadline, waiting for a place included; None: HKPGUARD_CLUSTER__TIMEOUT. There is one
                place in a Redis Cluster: what takes long keeps others waiting, so large values go in parts.

        Raises:
            StoreDown: At once if the store is known to be down, else at the deadline at the latest. Nothing is tried
                again; see `StoreDown.maybe_done`.

        """
        return await self._ask(commands, self._timeout if seconds is None else seconds) if commands else []

    async def call(self, what: str | Script, *keys: bytes, args: Sequence[Argument] = ()) -> Answer:
        """Send one command; see `pipeline`. A `Refusal` is returned, not raised."""
        [answer] = await self.pipeline([Command(what, keys, tuple(args))])
        return answer

    async def publish(self, family: Family, data: bytes) -> None:
        """Send a sealed message to all nodes that listen, this one included; StoreDown as in `pipeline`."""
        await self.call("PUBLISH", args=(self.keys.channel(family), data))

    def listen(self, *families: Family, most: int = MOST_WAITING) -> Listener:
        """Hear what is published on the channels of `families`, until the listener is closed or `run` ends.

        It begins with a `Gap` as soon as the subscription holds; after that nothing is missed without another one: the
        connection was lost and is back, or the listener was so slow that more than `most` messages waited, which are
        dropped. While the store is down nothing comes. Needs a running event loop.
        """
        channels = {self.keys.channel(family): family for family in families}
        listener = Listener(channels, self._link, up=self._upped.wait, most=most)
        self._listeners.append(listener)
        return listener

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        yield GaugeMetricFamily(
            "hkpguard_store_partitioned", "1 while the store is out of reach of this node", value=int(not self.up)
        )
        yield from self._tally.collect()
        heard = CounterMetricFamily("hkpguard_store_messages", "Of nodes to nodes, and gaps in them", labels=("what",))
        for what in ("heard", "dropped", "gaps"):
            heard.add_metric((what,), sum(each.counts[what] for each in self._listeners))
        forged = CounterMetricFamily("hkpguard_store_forged", "What was read and not believed", labels=("kind",))
        for kind, number in self.seal.forged.items():
            forged.add_metric((kind,), number)
        yield from (heard, forged)

    async def _ask(self, commands: Sequence[Command], seconds: float, *, probes: bool = False) -> list[Answer]:
        """Send commands, and take note of how that went; of a store that is down only if it `probes`."""
        size = sum(command.size for command in commands)
        if len(commands) > MOST_COMMANDS or size > MOST_BYTES:
            raise ValueError(f"{len(commands)} commands of {size} bytes are too much for one pipeline")
        if not self.up and not probes:
            raise StoreDown(self._reason)
        if self._callers >= MOST_CALLERS:
            raise StoreDown("too much is asked at once")
        began_ns = 0  # there is no place yet
        self._callers += 1
        try:
            async with asyncio.timeout(seconds), self._places:
                if not self.up and not probes:
                    raise StoreDown(self._reason)
                began_ns = self._clock()
                answers = await self._link.send(commands)
                _require(answers if probes else ())
        except (TimeoutError, Trouble) as error:
            if not began_ns:
                raise StoreDown("no place became free in time") from None
            trouble = error if isinstance(error, Trouble) else Trouble(Cause.SLOW, f"{1000 * seconds:.0f} ms")
            self._tally.failed(len(commands), size)
            self._failed(trouble, began_ns, probes=probes)
            raise StoreDown(str(trouble), maybe_done=trouble.maybe_done) from None
        finally:
            self._callers -= 1
        now_ns = self._clock()
        self._tally.answered(answers, size, now_ns - began_ns)
        if self.up or probes:
            self._tell(self._circuit.succeeded(now_ns))
        return answers

    async def _probe(self) -> None:
        """Ask whether the store can be written."""
        with contextlib.suppress(StoreDown):  # that is noted where it was seen
            if not self.up:
                await self._connect()
            shards = self._shards if self._circuit.doubtful or not self.up else (next(self._next_shard),)
            await self._ask(self._writes(shards), self._timeout, probes=True)

    async def _connect(self) -> None:
        """Make new connections, which may take longer than an answer may."""
        began_ns = self._clock()
        try:
            async with asyncio.timeout(CONNECT_SECONDS), self._places:
                await self._link.drop()
                _require(await self._link.send(self._writes(self._shards)))
        except (TimeoutError, Trouble) as error:
            trouble = error if isinstance(error, Trouble) else Trouble(Cause.SLOW, f"{CONNECT_SECONDS:.0f} s")
            self._failed(trouble, began_ns, probes=True)
            raise StoreDown(str(trouble), maybe_done=True) from None

    def _writes(self, shards: Iterable[int]) -> list[Command]:
        """Return what a probe does in each shard."""
        lasts_ms = ttl_ms(Family.PROBE, PROBE_TTL_MS)
        return [Command("SET", (self.keys.key(Family.PROBE, "", shard),), (b"", "PX", lasts_ms)) for shard in shards]

    def _seconds_to_probe(self) -> float:
        if not self.up:
            return max(DOUBT_SECONDS, (self._circuit.due_ns - self._clock()) / 1e9)
        return DOUBT_SECONDS if self._circuit.doubtful else PROBE_SECONDS

    def _failed(self, trouble: Trouble, began_ns: int, *, probes: bool) -> None:
        """Take note of a failure; what was asked before the store was down, and fails after that, is none."""
        if not self.up and not probes:
            return
        change = self._circuit.failed(trouble.cause, began_ns, self._clock())
        if not self.up:
            self._reason = str(trouble)
        elif not probes:
            self._doubt.set()
        self._tell(change)

    def _tell(self, change: Change | None) -> None:
        """Tell operators and listeners of a change."""
        if change is None:
            return
        seconds = round(change.lasted_ns / 1e9, 1)
        if not change.up:
            self._upped.clear()
            self._log.error("the store is out of reach, this node goes on alone", reason=self._reason)
            self._publish(StoreLost(reason=self._reason))
            return
        self._upped.set()
        self._log.info("the store is connected", after_seconds=seconds)
        if change.cause is not Cause.UNASKED:
            self._publish(StoreBack(seconds=seconds))


def _require(answers: Iterable[Answer]) -> None:
    """Raise what it means for the store if a probe was refused."""
    if refused := next((answer for answer in answers if isinstance(answer, Refusal)), None):
        raise Trouble(Cause.SETTINGS, refused.text)
