"""Keeps the limits of this node in step with those of others. Part of the analyst; the theory is in `exchange.py`."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import Control, Payments, monotonic_ns
from proxy.cluster.command import StoreDown
from proxy.cluster.exchange import Exchange, interval_ns, most_of_turn, portions
from proxy.cluster.followed import Following, size_of
from proxy.cluster.grants import Grants
from proxy.cluster.ledger import Ledger, Place, SharedLevels
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
PAYMENTS_AT_ONCE: Final = 32  # in a step
PIPELINES_AT_ONCE: Final = 4  # others want the connections too


class ClusterLimits(Collector):
    """The limits of a cluster, on one of its nodes.

    Attributes:
        grants: For claims to the same buckets.
        turned: Is called after each exchange.

    """

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
        self._exits = SharedExits()
        successor = bool(self._control[Control.ANALYST_HEARTBEAT_NS])
        levels = SharedLevels(self._tables.clients, self._tables.buckets)
        self._ledger = Ledger(levels, clock(), successor=successor)
        self._following = Following(self._ledger, Subjects(region.secret))
        self._payments = [Payments(region.payments(worker)) for worker in range(region.counts.workers)]
        name = f"{store.node}.{os.urandom(RUN_BYTES).hex()}"
        self._exchange = Exchange(self._ledger, store.keys, name, spread=store.spread)
        self.grants = Grants(self._exchange, store.keys, name)
        self.turned: Callable[[], None] = lambda: None
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
        yield from self._following.feed(block, self._policy, self._clock)
        for each in self._payments:
            yield from self._follow(each)
        if self._ledger.active:
            self._wake.set()

    def _follow(self, payments: Payments) -> Steps[None]:
        """Look at the buckets from which bodies were paid."""
        while paid := payments.take(PAYMENTS_AT_ONCE):
            for each in paid:
                limits = self._policy.profile(each.address).limits
                limit = limits[each.kind] if each.kind < len(limits) else None
                if limit is not None:
                    place, size = Place(each.key, each.kind), size_of(limit)
                    self._ledger.note(place, size, each.time_ns, each.tokens, self._clock())
            yield

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
            await self._courtesy.through(self._ledger.questions(0, self._clock()))  # what is spent alone is told later
            return
        now_ns = self._clock()
        begun = self._exchange.begin(most_of_turn(self._nodes(), self._most_ns), now_ns)
        calls = (await self._courtesy.through(begun)).result
        some = portions(calls)
        for first in range(0, len(some), PIPELINES_AT_ONCE):
            await asyncio.gather(*map(self._exchange_some, some[first : first + PIPELINES_AT_ONCE]))
        if calls:
            self.turned()

    async def _exchange_some(self, calls: list[Call]) -> None:
        """Make calls in one pipeline: no more than take some tenths of a millisecond."""
        commands = (await self._courtesy.through(self._commands(calls))).result
        try:
            answers = await self._store.pipeline(commands)
        except StoreDown as down:
            self._exchange.failed(calls, maybe_done=down.maybe_done)
        else:
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
