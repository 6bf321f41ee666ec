"""The analyst: everything of a node that is not the request path. One process beside the workers.

For now it drains the rings of records (access log, history, cold certificates), checks the upstreams, and serves the
admin API. If it dies the workers go on; it comes back and reads the rings where its predecessor stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import uvloop
from aiohttp import web

from fastpath import RECORD_BYTES, BanTable, BucketTable, Control, PeerBook, Ring, monotonic_ns, notable, records
from models.coldness import Coldness
from proxy import cold_watch
from proxy.admin.api import build_app
from proxy.admin.event_stream import EventStream
from proxy.admin.history import History
from proxy.admin.state import Known, NodeState
from proxy.budget_watch import BudgetWatch
from proxy.channel import Channel
from proxy.http.probe import answers
from proxy.load_watch import LoadWatch
from proxy.peers import PeerWatch
from proxy.plugins.bus import Bus
from proxy.plugins.events import ConfigReloaded, UpstreamDown, UpstreamUp
from proxy.plugins.manager import Manager
from proxy.plugins.sinks import Sinks
from proxy.telemetry import log
from proxy.telemetry.log import AccessLog
from proxy.telemetry.metrics import NodeMetrics
from proxy.verdicts import Verdicts
from proxy.warden import Warden
from proxy.worker import health_of, health_rules

if TYPE_CHECKING:
    import socket

    from fastpath import Region
    from proxy.config import Config
    from proxy.http.health import Health
    from proxy.settings.kinds import Address

DRAIN_SECONDS = 0.1
RECORDS_PER_TURN = 2048
# A process that works without rest is interrupted by the kernel's clock only, every 4 ms, and a worker on the same
# core waits so long. What costs more than a few us a record is done in pieces of half a ms, with rests between.
PIECE_BYTES = 32 * RECORD_BYTES
REST_SECONDS = 0.002


class Analyst:
    """The one analyst process of a node."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, region: Region) -> None:
        """Attach to the shared memory of the node."""
        self._loop = loop
        self._config = config
        self._region = region
        self._rings = [Ring(region.ring(worker)) for worker in range(region.counts.workers)]
        self._health = [health_of(config, region, index) for index in range(len(config.upstream))]
        self._history = History()
        self._bus = Bus(config.events.replay)
        self._sinks = Sinks(config, self._bus)
        self._warden = Warden(config, BanTable(region.bans, region.secret), publish=self._bus.publish)
        verdicts = BanTable(region.verdicts, region.secret)
        self._verdicts = Verdicts(verdicts, self._warden, publish=self._bus.publish)
        self._plugins = Manager(config, self._bus, self._verdicts)
        self._coldness = Coldness(region.secret)
        known = Known(self._history, self._warden, self._coldness, self._verdicts)
        self._state = NodeState(config, region, self._health, known)
        self._peers = PeerWatch(config, config.sync, PeerBook(region.peers))
        buckets = BucketTable(region.buckets, region.secret)
        self._budgets = BudgetWatch(config, buckets, publish=self._bus.publish)
        self._load = LoadWatch(config, region, publish=self._bus.publish)
        self._up = [True] * len(config.upstream)  # what was told of them
        self._state.watched += [self._peers, self._budgets, self._load, self._plugins, self._sinks]
        self._state.required.append(self._plugins)
        self._access_log = AccessLog(config.log, sys.stdout)
        self._log = structlog.get_logger().bind(process="analyst")

    async def run(self, sock: socket.socket, channel: socket.socket) -> None:
        """Work until SIGTERM, or until the supervisor is gone and nothing is left to do."""
        stop = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._channel = Channel(self._loop, channel, reload=self._reload, orphaned=stop.set)
        metrics = NodeMetrics(self._region, self._warden, self._coldness, self._budgets)
        self._events = EventStream(self._bus, self._config.events.listeners)
        metrics.add(self._verdicts, self._load, self._plugins, self._sinks, self._events)
        app = build_app(self._state, metrics, self._config, self._events, self._plugins)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        self._sinks.start()
        work = (self._drain_rings(), self._check_all(), self._peers.run(), self._plugins.run(), self._load.run())
        beside = [asyncio.create_task(each) for each in work]
        for task in beside:
            task.add_done_callback(lambda _task: stop.set())  # without it we are no use: the supervisor replaces us
        await stop.wait()
        for task in beside:
            task.cancel()
        self._bus.close()  # listeners leave
        await runner.cleanup()
        self._sinks.close()
        busy = True
        while busy:
            busy, unusual = self._drain()
            self._look_at(unusual)
        self._warden.close()
        self._load.close()
        await self._plugins.close()

    async def _drain_rings(self) -> None:
        while True:
            self._region.control[Control.ANALYST_HEARTBEAT_NS] = monotonic_ns()
            busy, unusual = self._drain()
            for start in range(0, len(unusual), PIECE_BYTES):
                self._look_at(unusual[start : start + PIECE_BYTES])
                await asyncio.sleep(REST_SECONDS)
            self._verdicts.turn(monotonic_ns())
            self._warden.turn(monotonic_ns())
            self._budgets.turn(monotonic_ns())
            self._load.turn(monotonic_ns())
            await asyncio.sleep(0 if busy else DRAIN_SECONDS)

    def _drain(self) -> tuple[bool, bytes]:
        """Take a turn of records from all rings; return whether there may be more, and those to look at closely."""
        blocks = [ring.take(RECORDS_PER_TURN) for ring in self._rings]
        block = b"".join(blocks)
        self._history.feed(block)
        self._plugins.feed(block)
        cold_watch.show(self._coldness, block)
        with contextlib.suppress(OSError):  # nobody reads the log any more: go on without
            self._access_log.write(block)
        return any(len(each) == RECORDS_PER_TURN * RECORD_BYTES for each in blocks), notable(block)

    def _look_at(self, unusual: bytes) -> None:
        """Hand over records that may be evidence against somebody."""
        self._warden.feed(unusual)
        self._history.captives.feed(records(unusual))

    async def _check_all(self) -> None:
        """Ask all upstreams, again and again."""
        while True:
            checks = zip(self._config.upstream, self._health, strict=True)
            await asyncio.gather(*(self._check(address, health) for address, health in checks))
            self._tell_of_upstreams()
            await asyncio.sleep(self._config.health.interval_ns / 1e9)

    async def _check(self, address: Address, health: Health) -> None:
        """Ask one upstream."""
        ok = await answers(
            address,
            self._config.health.path,
            seconds=self._config.health.timeout_ns / 1e9,
            introduce=self._config.upstream_proxy_protocol == "v2",
        )
        health.checked(ok=ok, now_ns=monotonic_ns())

    def _tell_of_upstreams(self) -> None:
        """Publish who went down or came back since the last time."""
        now_ns = monotonic_ns()
        for index, (address, health) in enumerate(zip(self._config.upstream, self._health, strict=True)):
            up = health.up(now_ns)
            if up != self._up[index]:
                self._up[index] = up
                event = UpstreamUp if up else UpstreamDown
                self._bus.publish(event(upstream=str(address)))

    def _reload(self, config: Config, generation: int) -> None:
        self._config = config
        log.configure(config.log)
        for health in self._health:
            health.rules = health_rules(config)
        self._warden.reload(config)
        self._peers.reload(config, config.sync)
        self._budgets.reload(config)
        self._load.reload(config)
        self._state.reload(config, generation)
        self._events.most = config.events.listeners
        self._sinks.reload(config)
        self._plugins.reload(config)
        self._bus.publish(ConfigReloaded(generation=generation))
        self._access_log = AccessLog(config.log, sys.stdout)


def run(config: Config, region: Region, sock: socket.socket, channel: socket.socket) -> int:
    """Be the analyst; return the exit status."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Analyst(loop, config, region).run(sock, channel))
    return 0
