"""A worker: the data plane of one core. It never waits for Redis, a model, a feed or a look-up."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from typing import TYPE_CHECKING, Any

import structlog
import uvloop

from fastpath import ClientTable, Control, Counters, Leases, Ring
from proxy.channel import Channel
from proxy.hkp.operation import STATIC_PREFIXES, Classifier, ClassifierOptions
from proxy.http.guard import SWEEP_SECONDS, Guard
from proxy.http.health import Health, HealthRules
from proxy.http.pool import Endpoint, Upstreams
from proxy.http.stream import Listener
from proxy.policy.policy import Policy
from proxy.telemetry import log
from proxy.telemetry.recorder import Recorder

if TYPE_CHECKING:
    from fastpath import Region
    from proxy.config import Config
    from proxy.settings.kinds import Address

RESOLVE_SECONDS = 30.0
DRAINED_SECONDS = 0.02
# Nothing on the request path leaves cycles behind, so the collector has little to find: let it look more rarely.
GC_THRESHOLDS = (20_000, 50, 100)


def classifier(config: Config) -> Classifier:
    """Return the classifier that the configuration asks for."""
    prefixes = STATIC_PREFIXES if config.static_paths is None else config.static_paths
    options = ClassifierOptions(
        pass_unknown=config.unknown == "pass",
        word_search=config.word_search,
        word_min_chars=config.word_min_chars,
        static_prefixes=prefixes,
    )
    return Classifier(options)


def health_of(config: Config, region: Region, index: int) -> Health:
    """Return the shared health of upstream number `index`."""
    return Health(region.upstream(index), health_rules(config))


def health_rules(config: Config) -> HealthRules:
    """Return when an upstream counts as down."""
    return HealthRules(config.health.failures, config.health.down_ns, config.health.interval_ns)


def resolve(address: Address) -> tuple[Endpoint, ...]:
    """Look up the endpoints of an upstream; none if its name is not known just now."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple((family, (sockaddr[0], sockaddr[1])) for family, _, _, _, sockaddr in found)  # type: ignore[misc]


class Worker:
    """One worker process: wires the request path together, and ends it in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, region: Region, index: int) -> None:
        """`index` is the worker's place in the region."""
        self._loop = loop
        self._config = config
        self._control = region.control
        self._table = ClientTable(region.table, region.secret)
        leases = Leases(region.leases, region.generations, index, region.secret)
        counters = Counters(region.counters(index))
        counters.start()
        self.guard = Guard(
            loop,
            config,
            policy=Policy(config, self._table),
            classify=classifier(config),
            table=self._table,
            leases=leases,
            upstreams=self._upstreams(region),
            recorder=Recorder(Ring(region.ring(index)), counters),
        )
        self._listeners: list[Listener] = []
        self._log = structlog.get_logger().bind(process=f"worker-{index}")
        loop.set_exception_handler(self._crashed)

    def _upstreams(self, region: Region) -> Upstreams:
        upstreams = Upstreams(self._loop, self._config)
        for index, address in enumerate(self._config.upstream):
            upstreams.add(address, health_of(self._config, region, index)).endpoints = resolve(address)
        return upstreams

    async def run(self, sockets: list[socket.socket], channel: socket.socket) -> None:
        """Serve until SIGTERM, then until the last exchange is finished."""
        stop = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._channel = Channel(self._loop, channel, reload=self._reload, orphaned=stop.set)
        self._listeners = [Listener(self._loop, sock, self.guard.admit) for sock in sockets]
        beside = [asyncio.create_task(self._sweep()), asyncio.create_task(self._resolve_again())]
        for task in beside:
            task.add_done_callback(lambda _task: stop.set())  # without it we are no use: the supervisor replaces us
        await stop.wait()
        for listener in self._listeners:
            listener.close()
        self.guard.drain()
        await self._drained()
        for task in beside:
            task.cancel()

    async def _drained(self) -> None:
        """Wait for the last connection, at most `hard_stop_after`."""
        end = self._loop.time() + self._config.hard_stop_after_ns / 1e9
        while self.guard.connections and self._loop.time() < end:  # noqa: ASYNC110 - nobody signals the last one
            await asyncio.sleep(DRAINED_SECONDS)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.guard.sweep()
            if self._control[Control.DRAINING]:  # the grace has begun
                self.guard.say_goodbye()

    async def _resolve_again(self) -> None:
        """Follow the names of upstreams to new addresses; the last known ones stay while the resolver is away."""
        while True:
            await asyncio.sleep(RESOLVE_SECONDS)
            for upstream in self.guard.upstreams.all:
                found = await self._loop.run_in_executor(None, resolve, upstream.address)
                upstream.endpoints = found or upstream.endpoints

    def _crashed(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Report what a callback raised."""
        self._log.error(context["message"], exc_info=context.get("exception"))

    def _reload(self, config: Config, generation: int) -> None:
        self._config = config
        log.configure(config.log)
        self.guard.upstreams.reload(config)
        for upstream in self.guard.upstreams.all:
            upstream.health.rules = health_rules(config)
        self.guard.reload(config, Policy(config, self._table, generation), classifier(config))


def run(config: Config, region: Region, index: int, sockets: list[socket.socket], channel: socket.socket) -> int:
    """Be worker number `index`; return the exit status."""
    gc.collect()
    gc.freeze()  # what start-up made lives on: the collector need not look at it again
    gc.set_threshold(*GC_THRESHOLDS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Worker(loop, config, region, index).run(sockets, channel))
    return 0
