"""Keeps the limits of this node in step with those of others. Part of the analyst; the theory is in `exchange.py`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import BUCKETS, Control, monotonic_ns
from models.steps import whole
from proxy.cluster.command import StoreDown
from proxy.cluster.exchange import Exchange, interval_ns, most_of_turn
from proxy.cluster.followed import alike, buckets_of
from proxy.cluster.ledger import Ledger, Place
from proxy.policy.budgets import Tables
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects
from proxy.shared_exits import SharedExits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from fastpath import Region
    from models.steps import Steps
    from proxy.cluster.command import Answer, Command
    from proxy.cluster.exchange import Call
    from proxy.cluster.store import Store
    from proxy.config import Config
    from proxy.courtesy import Courtesy

RUN_BYTES: Final = 6  # tell a run of a node from others
ALIKE_AT_ONCE: Final = 8  # groups of records in a step


class SharedLevels:
    """The buckets in the shared memory of a node."""

    def __init__(self, tables: Tables) -> None:
        """Of `tables`."""
        self._clients, self._buckets = tables.clients, tables.buckets

    def tat(self, place: Place) -> int:
        """Return the TAT of a bucket, ns; 0 if there is none."""
        if place.number >= BUCKETS:
            return self._buckets.peek(place.key) or 0
        tats = self._clients.peek(place.key)
        return tats[place.number] if tats else 0

    def add(self, place: Place, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """See `ClientTable.add`."""
        if place.number >= BUCKETS:
            self._buckets.add(place.key, delta_ns, most_ns, now_ns)
        else:
            self._clients.add(place.key, place.number, delta_ns, most_ns, now_ns)


class ClusterLimits(Collector):
    """The limits of a cluster, on one of its nodes."""

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        config: Config,
        region: Region,
        store: Store,
        nodes: Callable[[], int],
        *,
        courtesy: Courtesy,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Begin with what is in shared memory.

        Args:
            config: Has a store.
            region: Of the node; this process alone writes `Control.SHARE`.
            store: Which.
            nodes: How many nodes are alive, or were when the store was there.
            courtesy: Of this process.
            clock: Monotonic.

        """
        self._store = store
        self._nodes = nodes
        self._courtesy = courtesy
        self._clock = clock
        self._control = region.control
        self._tables = Tables.of(region)
        self._subjects = Subjects(region.secret)
        self._exits = SharedExits()
        successor = bool(self._control[Control.ANALYST_HEARTBEAT_NS])
        self._ledger = Ledger(SharedLevels(self._tables), clock(), successor=successor)
        self._exchange = Exchange(self._ledger, store.keys, f"{store.node}.{os.urandom(RUN_BYTES).hex()}")
        self._wake = asyncio.Event()
        self.reload(config)
        self._stand()

    def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        self._config = config
        self._least_ns, self._most_ns = config.cluster.least_interval_ns, config.cluster.most_interval_ns
        self._policy = Policy(config, self._tables, exits=self._exits.read(config))

    def feed(self, block: bytes) -> Steps[None]:
        """Look at the buckets that records tell of."""
        if self._policy.outdated:
            self.reload(self._config)
        for count, requests in enumerate(alike(block)):
            now_ns = self._clock()
            for place, size, since_ns, tokens in buckets_of(requests, self._policy, self._subjects):
                self._ledger.note(place, size, since_ns, tokens, now_ns)
            if count % ALIKE_AT_ONCE == 0:
                yield
        if self._ledger.active:
            self._wake.set()

    async def run(self) -> None:
        """Exchange, until cancelled."""
        while True:
            began_ns = self._clock()
            await self.turn()
            self._wake.clear()
            if self._ledger.active or self._exchange.waiting:
                await asyncio.sleep(max(0, began_ns + self.interval_ns - self._clock()) / 1e9)
            else:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._most_ns / 1e9)

    async def turn(self) -> None:
        """Tell what was spent, and fold what others have."""
        if not self._stand():
            return
        now_ns = self._clock()
        begun = self._exchange.begin(most_of_turn(self._nodes(), self._most_ns), now_ns)
        calls = (await self._courtesy.through(begun)).result
        if not calls:
            return
        commands = (await self._courtesy.through(self._commands(calls))).result
        try:
            answers = await self._store.pipeline(commands)
        except StoreDown as down:
            self._exchange.failed(calls, maybe_done=down.maybe_done)
            return
        await self._courtesy.through(self._answered(calls, answers))

    def _commands(self, calls: list[Call]) -> Steps[list[Command]]:
        commands = []
        for call in calls:
            commands.append(self._exchange.command(call, self._clock()))
            yield
        return commands

    def _answered(self, calls: list[Call], answers: list[Answer]) -> Steps[None]:
        for call, answer in zip(calls, answers, strict=True):
            self._exchange.answered(call, answer, self._clock())
            yield

    @property
    def interval_ns(self) -> int:
        """How long after one turn the next one is, at the moment."""
        return interval_ns(self._ledger.active, self._nodes(), self._least_ns, self._most_ns)

    def _stand(self) -> bool:
        """Say by what limits are divided; return whether the store may be asked."""
        up = self._store.up
        self._control[Control.SHARE] = self._ledger.stand(self._nodes(), alone=not up, now_ns=self._clock())
        if not up:
            whole(self._ledger.questions(0, self._clock()))  # what is spent alone is told later
        return up

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        share = self._control[Control.SHARE]
        return f"limits are divided by {share}, the nodes that were there last" if share > 1 else ""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        told = CounterMetricFamily("hkpguard_cluster_levels", "Levels of buckets exchanged with other nodes")
        told.add_metric((), self._exchange.told)
        hostile = CounterMetricFamily("hkpguard_cluster_levels_refused", "Levels in the store that cannot be")
        hostile.add_metric((), self._ledger.hostile)
        dropped = CounterMetricFamily("hkpguard_cluster_levels_dropped", "Levels forgotten for want of room")
        dropped.add_metric((), self._ledger.dropped)
        followed = GaugeMetricFamily("hkpguard_cluster_buckets", "Buckets of which this node keeps account")
        followed.add_metric((), len(self._ledger))
        share = GaugeMetricFamily(
            "hkpguard_cluster_share", "By what limits are divided while the store is away; 1: whole"
        )
        share.add_metric((), max(1, self._control[Control.SHARE]))
        yield from (told, hostile, dropped, followed, share)
