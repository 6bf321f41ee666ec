"""A worker: the data plane of one core. It never waits for Redis, a model, a feed or a look-up.

Requests of strict classes are an exception (`proxy.http.claims`): they wait for a moment, and others do not notice.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
import uvloop

from fastpath import (
    KNOCK_RECORDS,
    Control,
    CostMemory,
    Counters,
    Crowd,
    Epochs,
    Excerpts,
    Leases,
    Payments,
    ReplyCache,
    Ring,
    Tarpit,
    TarpitMode,
    monotonic_ns,
)
from fastpath.slices import shorten_slice
from proxy.channel import Channel
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import STATIC_PREFIXES, Classifier, ClassifierOptions
from proxy.hkp.readers import Readers
from proxy.hkp.traps import trap_prefixes
from proxy.http.admission import Admission
from proxy.http.claims import Claims
from proxy.http.entrance import Entrance
from proxy.http.guard import SWEEP_SECONDS, Guard
from proxy.http.health import Health, HealthRules
from proxy.http.micro_cache import MicroCache
from proxy.http.pool import Endpoint, Upstreams
from proxy.http.stream import Listener
from proxy.http.tls import Tls
from proxy.policy.budgets import Tables
from proxy.policy.contents import Contents
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects
from proxy.shared_exits import SharedExits
from proxy.telemetry import log
from proxy.telemetry.recorder import Recorder

if TYPE_CHECKING:
    import ssl

    from fastpath import Region
    from proxy.config import Config
    from proxy.settings.addresses import Address
    from proxy.settings.listen import Listen

RESOLVE_SECONDS = 30.0
DRAINED_SECONDS = 0.02
TARPIT_TURNS = 5  # in the time of a sweep: each takes a millisecond at most
# Nothing on the request path leaves cycles behind, so the collector has little to find: let it look more rarely.
GC_THRESHOLDS = (20_000, 50, 100)
# 0.5 ms: so a worker that wakes up goes before the analyst, and before all else that has the usual slices.
SLICE_NS = 500_000


def classifier(config: Config) -> Classifier:
    """Return the classifier that the configuration asks for."""
    prefixes = STATIC_PREFIXES if config.static_paths is None else config.static_paths
    options = ClassifierOptions(
        pass_unknown=config.unknown == "pass",
        word_search=config.word_search,
        word_min_chars=config.word_min_chars,
        static_prefixes=prefixes,
        trap_prefixes=trap_prefixes(config.traps),
    )
    return Classifier(options)


def readers(config: Config) -> Readers:
    """Return what reads the bodies of requests."""
    looks = "off" not in (config.mode, config.uploads.mode)
    return Readers(most_digests=config.sync.most_digests, uploads=config.uploads.bounds() if looks else None)


def tarpit_settings(config: Config) -> dict[str, int]:
    """Return the arguments of a worker's tarpit."""
    mode = TarpitMode.STICKY if config.tarpit.mode == "off" else TarpitMode[config.tarpit.mode.upper()]
    return {
        "mode": mode,
        "most": config.tarpit.connections,
        "most_kernel_bytes": config.tarpit.kernel_bytes,
        "interval_ns": config.tarpit.interval_ns,
        "hold_ns": config.tarpit.hold_ns,
    }


def entrance(config: Config, listen: Listen) -> Entrance:
    """Return what is expected of the connections to one of the addresses to listen on."""
    required = config.proxy_protocol == "require" if listen.proxy_protocol is None else listen.proxy_protocol
    return Entrance(listen.scheme, proxy_header=required, direct=listen.direct)


def resolve(address: Address) -> tuple[Endpoint, ...]:
    """Look up the endpoints of an upstream; none if its name is not known just now."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple((family, (sockaddr[0], sockaddr[1])) for family, _, _, _, sockaddr in found)  # type: ignore[misc]


class Worker:
    """One worker process: wires the request path together, and ends it in order."""

    def __init__(  # noqa: PLR0913 - what a process inherits
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        region: Region,
        index: int,
        context: ssl.SSLContext | None = None,
        *,
        claims: socket.socket | None = None,
    ) -> None:
        """`index`: the worker's place in the region; `context`: for TLS; `claims`: to the analyst, if there are any."""
        self._loop = loop
        self._config = config
        self._control = region.control
        self._tables = Tables.of(region)
        self._exits = SharedExits()
        crowd = Crowd(region.crowd, region.counts.workers, index, region.secret)
        crowd.start()
        leases = Leases(region.leases, region.generations, index, region.secret)
        counters = Counters(region.counters(index))
        counters.start()
        knocks = Ring(region.knocks(index), KNOCK_RECORDS)
        subjects = Subjects(region.secret)
        replies = ReplyCache(region.cache, region.counts.reply_bytes, region.generations, index, region.secret)
        self.guard = Guard(
            loop,
            config,
            policy=self._policy(config, 0),
            classify=classifier(config),
            readers=readers(config),
            contents=Contents(self._tables, subjects, Payments(region.payments(index)) if config.redis_url else None),
            costs=CostMemory(region.costs),
            cache=MicroCache(loop, replies, Epochs(region.epochs), subjects, config),
            table=self._tables.clients,
            subjects=subjects,
            leases=leases,
            upstreams=self._upstreams(region),
            recorder=Recorder(Ring(region.ring(index)), knocks, Excerpts(region.excerpts(index)), counters),
            admission=Admission(self._tables.bans, crowd),
            tarpit=Tarpit(**tarpit_settings(config), seed=int.from_bytes(os.urandom(7))),
            tls=Tls(context, most_handshakes=config.handshakes) if context else None,
            claims=self._claims(claims, counters) if claims else None,
        )
        self._listeners: list[Listener[Entrance]] = []
        self._log = structlog.get_logger().bind(process=f"worker-{index}")
        loop.set_exception_handler(self._crashed)

    def _claims(self, sock: socket.socket, counters: Counters) -> Claims:
        cluster = self._config.cluster
        kinds = sum(1 << OperationClass[name.upper()] for name in set(cluster.strict))
        return Claims(self._loop, sock, self._control, counters, kinds=kinds, deadline_ns=cluster.strict_deadline_ns)

    def _upstreams(self, region: Region) -> Upstreams:
        upstreams, rules = Upstreams(self._loop, self._config), HealthRules.of(self._config.health)
        for index, address in enumerate(self._config.upstream):
            upstreams.add(address, Health(region.upstream(index), rules)).endpoints = resolve(address)
        return upstreams

    async def run(self, sockets: list[socket.socket], channel: socket.socket) -> None:
        """Serve until SIGTERM, then until the last exchange is finished."""
        stop = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._channel = Channel(self._loop, channel, reload=self._reload, orphaned=stop.set)
        self._listeners = [
            Listener(self._loop, sock, self.guard.admit, entrance(self._config, listen))
            for sock, listen in zip(sockets, self._config.listen, strict=True)
        ]
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
            await self._until_next_sweep()
            self.guard.sweep()
            if self.guard.policy.outdated or self.guard.policy.share != max(1, self._control[Control.SHARE]):
                self._use(self._config, self.guard.policy.generation)
            if self._control[Control.DRAINING]:  # the grace has begun
                self.guard.say_goodbye()

    async def _until_next_sweep(self) -> None:
        """Wait; whoever is in the tarpit is looked at meanwhile, a few at a time."""
        for _ in range(TARPIT_TURNS):
            await asyncio.sleep(SWEEP_SECONDS / TARPIT_TURNS)
            self.guard.tarpit.turn(monotonic_ns())

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
            upstream.health.rules = HealthRules.of(config.health)
        self._use(config, generation)
        self.guard.tarpit.configure(**tarpit_settings(config))
        if self.guard.tls is not None and config.tls_cert and config.tls_key:
            self.guard.tls.most_handshakes = config.handshakes
            self._renew(self.guard.tls, config.tls_cert, config.tls_key)

    def _policy(self, config: Config, generation: int) -> Policy:
        """Compile a policy for the present."""
        share = self._control[Control.SHARE]
        return Policy(config, self._tables, generation, self._exits.read(config), share=share)

    def _use(self, config: Config, generation: int) -> None:
        """Judge by a new policy."""
        policy = self._policy(config, generation)
        self.guard.reload(config, policy, classifier(config), readers(config))

    def _renew(self, tls: Tls, cert: str, key: str) -> None:
        """Use a new certificate for new connections; the supervisor has tried it, but files change."""
        try:
            tls.reload(cert, key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            self._log.error("certificate refused, the old one stays", reason=str(error))


class Place(NamedTuple):
    """What the supervisor gives a worker.

    Args:
        number: Its index in the region.
        sockets: Its listening sockets, in the order of `config.listen`.
        context: For TLS, the same in all workers; None: there is no certificate.
        claims: To the analyst, for claims to the cluster; None: no class is strict.

    """

    number: int
    sockets: list[socket.socket]
    context: ssl.SSLContext | None = None
    claims: socket.socket | None = None


def run(config: Config, region: Region, place: Place, channel: socket.socket) -> int:
    """Be the worker of `place`; return the exit status."""
    gc.collect()
    gc.freeze()  # what start-up made lives on: the collector need not look at it again
    gc.set_threshold(*GC_THRESHOLDS)
    region.touch_sightings()
    shorten_slice(SLICE_NS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    made = Worker(loop, config, region, place.number, place.context, claims=place.claims)
    loop.run_until_complete(made.run(place.sockets, channel))
    return 0
