"""The analyst: everything of a node that is not the request path. One process beside the workers.

It takes records out of the rings and shows them to all who look at them:

    rings -> history -> warden (bans), captives -> access log -+-> coldness -> windows, detectors, other plugins
                                                               `- half a second of records at a time

It checks the upstreams as well, and serves the admin API. All that takes long is done in steps, after each of which
workers may go first (`proxy.courtesy`). If it dies the workers go on; it comes back and reads the rings where its
predecessor stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import os
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import uvloop
from aiohttp import web

from fastpath import (
    RECORD_BYTES,
    BanTable,
    BucketTable,
    Control,
    PeerBook,
    PrefixBook,
    Ring,
    monotonic_ns,
    notable,
    records,
)
from fastpath.record_array import record_array
from models.coldness import Coldness
from models.steps import whole
from models.watch import Watch
from proxy import cold_watch
from proxy.admin.api import build_app
from proxy.admin.event_stream import EventStream
from proxy.admin.history import History
from proxy.admin.state import Known, NodeState
from proxy.budget_watch import BudgetWatch
from proxy.channel import Channel
from proxy.courtesy import Courtesy
from proxy.intel.composer import Composer
from proxy.intel.desk import IntelDesk
from proxy.intel.watch import IntelWatch
from proxy.load_watch import LoadWatch
from proxy.locations import Locations
from proxy.peers import PeerWatch
from proxy.plugins.bus import Bus
from proxy.plugins.contract import Common
from proxy.plugins.events import ConfigReloaded
from proxy.plugins.manager import Manager
from proxy.plugins.sinks import Sinks
from proxy.policy.origins import holds_shared
from proxy.settings.kinds import SECOND
from proxy.telemetry import log
from proxy.telemetry.log import AccessLog
from proxy.telemetry.metrics import NodeMetrics
from proxy.upstream_watch import UpstreamWatch
from proxy.verdicts import Verdicts
from proxy.warden import Warden

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from fastpath import Region
    from models.steps import Steps
    from proxy.cluster.cluster import Cluster
    from proxy.config import Config
    from proxy.supervisor import Parent

DRAIN_SECONDS = 0.1
END_SECONDS = 1.5  # for those who say good-bye
RECORDS_PER_TURN = 4096  # of each ring: a half of it
# Records in a step of some 0.2 ms.
NOTABLE_AT_ONCE = 16
LINES_AT_ONCE = 24
COLD_AT_ONCE = 256
# An array operation costs more than what it does to ten records. So plugins see records by the half second.
LOOK_NS = SECOND // 2
LOOK_BYTES = 2048 * RECORD_BYTES
NICENESS = 0  # 0..19: how far the analyst stands back behind workers on the same core


class Analyst:
    """The one analyst process of a node."""

    def __init__(self, loop: asyncio.AbstractEventLoop, config: Config, region: Region, parent: Parent) -> None:
        """Attach to the shared memory of the node that `parent` runs."""
        self._loop = loop
        self._config = config
        self._region = region
        self._rings = [Ring(region.ring(worker)) for worker in range(region.counts.workers)]
        self._history = History()
        self._bus = Bus(config.events.replay)
        self._sinks = Sinks(config, self._bus)
        book = PrefixBook(region.origins, region.counts.prefixes)
        is_shared = functools.partial(holds_shared, book)
        bans = BanTable(region.bans, region.secret)
        self._warden = Warden(config, bans, publish=self._bus.publish, is_shared=is_shared)
        verdicts = BanTable(region.verdicts, region.secret)
        self._verdicts = Verdicts(verdicts, self._warden, publish=self._bus.publish)
        self._coldness = Coldness(region.secret)
        self._courtesy = Courtesy()
        self._turn: Steps[None] | None = None  # what is being done
        self._unseen = bytearray()  # records that were not shown to plugins yet
        self._next_look_ns = 0
        self._locations = Locations(config)
        common = Common(self._coldness, Watch(), self._locations.atlas, book)
        self._plugins = Manager(config, self._bus, self._verdicts, common=common, courtesy=self._courtesy)
        known = Known(self._history, self._warden, self._coldness, self._verdicts, self._locations)
        self._upstreams = UpstreamWatch(config, region, publish=self._bus.publish)
        self._state = NodeState(config, region, self._upstreams.health, known)
        self._peers = PeerWatch(config, config.sync, PeerBook(region.peers))
        buckets = BucketTable(region.buckets, region.secret)
        self._budgets = BudgetWatch(config, buckets, publish=self._bus.publish)
        self._load = LoadWatch(config, region, publish=self._bus.publish)
        self._composer = Composer(config, region)
        self._intel = IntelWatch(config)
        self._desk = IntelDesk(config, self._warden, self._verdicts, courtesy=self._courtesy)
        self._cluster = self._join(parent) if config.redis_url else None
        asking = (self._load, self._composer, self._intel, self._locations)
        self._tasks = (self._upstreams, self._peers, *asking)
        self._reloaded = (*asking, self._budgets, self._desk, self._sinks, self._plugins)
        self._state.watched += (self._peers, *self._reloaded)
        self._state.required.append(self._plugins)
        if self._cluster:
            self._state.watched += self._cluster.watched
            self._state.required += self._cluster.required
            self._state.distinct = self._cluster.distinct
        self._access_log = AccessLog(config.log, sys.stdout)
        self._log = structlog.get_logger().bind(process="analyst")

    def _join(self, parent: Parent) -> Cluster:
        """Become one of a cluster; a node that stands alone does not even load the client of the store."""
        from proxy.cluster.cluster import Cluster  # noqa: PLC0415

        return Cluster(
            lambda: self._config,
            self._region,
            parent,
            warden=self._warden,
            verdicts=self._verdicts,
            courtesy=self._courtesy,
            publish=self._bus.publish,
        )

    async def run(self, sock: socket.socket, channel: socket.socket) -> None:
        """Work until SIGTERM, or until the supervisor is gone and nothing is left to do."""
        stop = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._channel = Channel(self._loop, channel, reload=self._reload, orphaned=stop.set)
        metrics = NodeMetrics(self._region, self._warden, self._coldness, self._budgets)
        self._events = EventStream(self._bus, self._config.events.listeners)
        metrics.add(self._verdicts, self._load, self._composer, self._intel, self._desk, self._locations)
        metrics.add(self._plugins, self._sinks, self._events, *(self._cluster.collectors if self._cluster else ()))
        app = build_app(
            self._state,
            metrics,
            self._config,
            events=self._events,
            plugins=self._plugins,
            desk=self._desk,
            joint=self._cluster.joint if self._cluster else None,
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.SockSite(runner, sock).start()
        self._sinks.start()
        work = (self._drain_rings(), self._run_plugins(), *(each.run() for each in self._tasks))
        beside = [asyncio.create_task(each) for each in work]
        beside += [asyncio.create_task(self._cluster.run())] if self._cluster else []
        for task in beside:
            task.add_done_callback(lambda _task: stop.set())  # without it we are no use: the supervisor replaces us
        await stop.wait()
        for task in beside:
            task.cancel()
        await asyncio.wait(beside, timeout=END_SECONDS)
        self._bus.close()  # listeners leave
        await runner.cleanup()
        self._sinks.close()
        self._drain()
        self._warden.close()
        self._load.close()
        await self._plugins.close()

    async def _drain_rings(self) -> None:
        while True:
            self._region.control[Control.ANALYST_HEARTBEAT_NS] = monotonic_ns()
            blocks = self._take()
            self._courtesy.behind = any(len(each) == RECORDS_PER_TURN * RECORD_BYTES for each in blocks)
            self._turn = self._steps(b"".join(blocks))
            await self._courtesy.through(self._turn)
            await asyncio.sleep(0 if self._courtesy.behind else DRAIN_SECONDS)

    def _drain(self) -> None:
        """Finish the turn that was interrupted, and do all that is left in the rings."""
        if self._turn is not None:
            whole(self._turn)
        while any(blocks := self._take()):
            whole(self._steps(b"".join(blocks)))

    def _take(self) -> list[bytes]:
        """Take a turn of records from each ring."""
        return [ring.take(RECORDS_PER_TURN) for ring in self._rings]

    def _steps(self, block: bytes) -> Steps[None]:
        """Do a turn, step by step: the records of `block`, and what is due."""
        self._history.feed(block)
        for unusual in _parts(notable(block), NOTABLE_AT_ONCE):
            self._warden.feed(unusual)
            self._history.captives.feed(records(unusual))
            yield
        for part in _parts(block, LINES_AT_ONCE):
            with contextlib.suppress(OSError):  # nobody reads the log any more: go on without
                self._access_log.write(part)
            yield
        if self._cluster:
            yield from self._cluster.feed(block)
        yield from self._show(block)
        yield from self._verdicts.turn(monotonic_ns())
        self._warden.turn(monotonic_ns())
        self._budgets.turn(monotonic_ns())
        yield
        self._load.turn(monotonic_ns())

    def _show(self, block: bytes) -> Steps[None]:
        """Show records to those who look at many at a time, if it is time for that."""
        self._unseen += block
        now_ns = monotonic_ns()
        if not self._unseen or (len(self._unseen) < LOOK_BYTES and now_ns < self._next_look_ns):
            return
        self._next_look_ns = now_ns + LOOK_NS
        made, self._unseen = record_array(self._unseen), bytearray()
        yield
        for start in range(0, len(made), COLD_AT_ONCE):
            cold_watch.show(self._coldness, made[start : start + COLD_AT_ONCE])
            yield
        if self._cluster:
            yield from self._cluster.show(made)
        yield from self._plugins.feed(made)

    async def _run_plugins(self) -> None:
        await self._plugins.start()
        gc.collect()
        gc.freeze()  # what start-up made lives on: else the collector would look at it all again, for 50 ms
        await asyncio.Event().wait()

    def _reload(self, config: Config, generation: int) -> None:
        self._config = config
        log.configure(config.log)
        self._warden.reload(config)
        if self._cluster:
            self._cluster.reload(config)
        self._upstreams.reload(config)
        self._peers.reload(config, config.sync)
        for each in self._reloaded:
            each.reload(config)
        self._state.reload(config, generation)
        self._events.most = config.events.listeners
        self._bus.publish(ConfigReloaded(generation=generation))
        self._access_log = AccessLog(config.log, sys.stdout)


def _parts(block: bytes, count: int) -> Iterator[bytes]:
    """Yield so many records of a block after the other."""
    size = count * RECORD_BYTES
    return (block[start : start + size] for start in range(0, len(block), size))


def run(config: Config, region: Region, sock: socket.socket, channel: socket.socket, parent: Parent) -> int:
    """Be the analyst; return the exit status."""
    os.nice(NICENESS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Analyst(loop, config, region, parent).run(sock, channel))
    return 0
