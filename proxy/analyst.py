"""The analyst: everything of a node that is not the request path. One process beside the workers.

It takes records out of the rings and shows them to all who look at them:

    rings -> history -> warden (bans), captives -> access log -+-> coldness, totals -> windows, detectors, other plugins
                                                               `- half a second of records at a time
    knocks (connections not taken on) -> door

It watches the keyserver, its peers and the load, and serves the admin API. All that takes long is done in steps, after
each of which workers may go first (`proxy.courtesy`). If it dies the workers go on; it comes back and reads the rings
where its predecessor stopped.
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

import uvloop
from aiohttp import web

from fastpath import KNOCK_RECORDS, RECORD_BYTES, BanTable, Excerpts, PrefixBook, Ring, monotonic_ns, notable, records
from models.coldness import Coldness
from models.watch import Watch
from proxy import cold_watch
from proxy.admin.api import build_app
from proxy.admin.event_stream import EventStream
from proxy.admin.history import History
from proxy.admin.state import Known, NodeState
from proxy.batch import Batch
from proxy.channel import Channel
from proxy.courtesy import Courtesy
from proxy.drain import Drain
from proxy.intel.desk import IntelDesk
from proxy.plugins.bus import Bus
from proxy.plugins.contract import Common
from proxy.plugins.events import ConfigReloaded
from proxy.plugins.manager import Manager
from proxy.plugins.sinks import Sinks
from proxy.policy.origins import holds_shared
from proxy.telemetry import log
from proxy.telemetry.log import AccessLog
from proxy.telemetry.metrics import NodeMetrics
from proxy.verdicts import Verdicts
from proxy.warden import Warden
from proxy.watches import Watches

if TYPE_CHECKING:
    import socket
    from collections.abc import Coroutine, Iterator, Sequence

    from fastpath import Region
    from models.steps import Steps
    from proxy.cluster.cluster import Cluster
    from proxy.config import Config
    from proxy.supervisor import Parent

END_SECONDS = 1.5  # for those who say good-bye
# Records in a step of some 0.2 ms.
NOTABLE_AT_ONCE = 16
LINES_AT_ONCE = 24
COLD_AT_ONCE = 256
NICENESS = 0  # 0..19: how far the analyst stands back behind workers on the same core


class Analyst:
    """The one analyst process of a node."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        config: Config,
        region: Region,
        parent: Parent,
        *,
        claims: Sequence[socket.socket] = (),
    ) -> None:
        """Attach to the shared memory of the node that `parent` runs; `claims`: ends of what its workers claim over."""
        self._loop = loop
        self._config = config
        self._region = region
        self._bus = Bus(config.events.replay)
        publish = self._bus.publish
        self._events = EventStream(self._bus, config.events.listeners)
        self._sinks = Sinks(config, self._bus)
        self._watches = Watches(config, region, publish=publish)
        book = PrefixBook(region.origins, region.counts.prefixes)
        is_shared = functools.partial(holds_shared, book)
        self._warden = Warden(config, BanTable(region.bans, region.secret), publish=publish, is_shared=is_shared)
        self._verdicts = Verdicts(BanTable(region.verdicts, region.secret), self._warden, publish=publish)
        self._courtesy = Courtesy()
        self._desk = IntelDesk(config, self._warden, self._verdicts, courtesy=self._courtesy)
        self._history = History()
        self._coldness = Coldness(region.secret)
        workers = range(region.counts.workers)
        self._excerpts = [Excerpts(region.excerpts(worker)) for worker in workers]
        self._knocks = [Ring(region.knocks(worker), KNOCK_RECORDS) for worker in workers]
        self._watch = Watch()
        common = Common(self._coldness, self._watch, self._watches.locations.atlas, book)
        self._plugins = Manager(config, self._bus, self._verdicts, common=common, courtesy=self._courtesy)
        self._cluster = self._join(parent, claims) if config.redis_url else None
        known = Known(self._history, self._warden, self._coldness, self._verdicts, self._watches.locations)
        self._state = NodeState(config, region, self._watches.upstreams.health, known)
        self._state.watched += (*self._watches.watched, self._desk, self._sinks, self._plugins)
        self._state.required.append(self._plugins)
        if self._cluster:
            self._state.watched += self._cluster.watched
            self._state.required += self._cluster.required
            self._state.distinct = self._cluster.distinct
        self._access_log = AccessLog(config.log, sys.stdout)
        self._batch = Batch()
        self._drain = Drain(region, self._courtesy, self._look)

    def _join(self, parent: Parent, claims: Sequence[socket.socket]) -> Cluster:
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
            claims=claims,
        )

    async def run(self, sock: socket.socket, channel: socket.socket) -> None:
        """Work until SIGTERM, or until the supervisor is gone and nothing is left to do."""
        stop = asyncio.Event()
        self._loop.add_signal_handler(signal.SIGTERM, stop.set)
        self._channel = Channel(self._loop, channel, reload=self._reload, orphaned=stop.set)
        admin = web.AppRunner(self._admin(), access_log=None)
        await admin.setup()
        await web.SockSite(admin, sock).start()
        self._sinks.start()
        beside = [asyncio.create_task(each) for each in self._work()]
        for task in beside:
            task.add_done_callback(lambda _task: stop.set())  # without it we are no use: the supervisor replaces us
        await stop.wait()
        for task in beside:
            task.cancel()
        await asyncio.wait(beside, timeout=END_SECONDS)
        self._bus.close()  # listeners leave
        await admin.cleanup()
        self._sinks.close()
        self._drain.finish()
        self._warden.close()
        self._watches.close()
        await self._plugins.close()

    def _admin(self) -> web.Application:
        """Return the admin API; all who have metrics are among those that it tells of."""
        metrics = NodeMetrics(self._region, self._warden, self._coldness, self._watches.budgets)
        metrics.add(self._verdicts, *self._watches.collectors, self._desk, self._plugins, self._sinks, self._events)
        metrics.add(*(self._cluster.collectors if self._cluster else ()))
        return build_app(
            self._state,
            metrics,
            self._config,
            events=self._events,
            plugins=self._plugins,
            desk=self._desk,
            joint=self._cluster.joint if self._cluster else None,
        )

    def _work(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield all that goes on at the same time."""
        yield self._drain.run()
        yield self._run_plugins()
        yield from self._watches.runs()
        if self._cluster:
            yield self._cluster.run()

    def _look(self, block: bytes) -> Steps[None]:
        """Do a turn, step by step: the records of `block`, and what is due."""
        for ring in self._knocks:
            self._history.door.feed(ring.drain(KNOCK_RECORDS))
            yield
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
        yield from self._watches.turn(monotonic_ns())

    def _show(self, block: bytes) -> Steps[None]:
        """Show records to those who look at many at a time, if it is time for that."""
        made = self._batch.add(block, monotonic_ns())
        if made is None:
            return
        yield
        for start in range(0, len(made), COLD_AT_ONCE):
            cold_watch.show(self._coldness, made[start : start + COLD_AT_ONCE])
            yield
        yield from self._history.show(made)
        if self._cluster:
            yield from self._cluster.show(made)
        self._watch.show([excerpt for each in self._excerpts for excerpt in each.take()])
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
        for each in (self._watches, self._desk, self._sinks, self._plugins):
            each.reload(config)
        self._state.reload(config, generation)
        self._events.most = config.events.listeners
        self._bus.publish(ConfigReloaded(generation=generation))
        self._access_log = AccessLog(config.log, sys.stdout)


def _parts(block: bytes, count: int) -> Iterator[bytes]:
    """Yield so many records of a block after the other."""
    size = count * RECORD_BYTES
    return (block[start : start + size] for start in range(0, len(block), size))


def run(  # noqa: PLR0913 - what a process inherits
    config: Config,
    region: Region,
    sock: socket.socket,
    channel: socket.socket,
    parent: Parent,
    *,
    claims: Sequence[socket.socket] = (),
) -> int:
    """Be the analyst; return the exit status."""
    os.nice(NICENESS)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(Analyst(loop, config, region, parent, claims=claims).run(sock, channel))
    return 0
