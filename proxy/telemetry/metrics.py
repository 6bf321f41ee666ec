"""Prometheus metrics from the counters in shared memory; names as in the design, never an address as a label."""

from __future__ import annotations

import platform
from importlib.metadata import version
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from fastpath import (
    BOUNDS_SECONDS,
    KNOCK_RECORDS,
    Claimed,
    ClientTable,
    Control,
    Counters,
    Ring,
    monotonic_ns,
    total,
)
from fastpath.cache import used_bytes
from proxy.hkp.operation import OperationClass
from proxy.policy.actions import TurnedAway
from proxy.policy.offences import OffenceKind
from proxy.telemetry.log import action_text
from proxy.telemetry.numbers import CacheUse

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.registry import Collector

    from fastpath import Region
    from fastpath.snapshot import Histogram, Snapshot
    from models.coldness import Coldness
    from proxy.budget_watch import BudgetWatch
    from proxy.warden import Warden

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class NodeMetrics:
    """Collects the metrics of one node at each scrape."""

    def __init__(self, region: Region, warden: Warden, coldness: Coldness, budgets: BudgetWatch) -> None:
        """Read the shared memory of the node, and ask those that watch it; writes nothing."""
        self._warden = warden
        self._coldness = coldness
        self._budgets = budgets
        workers = range(region.counts.workers)
        self._control = region.control
        self._cache, self._cache_bytes = region.cache, region.counts.reply_bytes
        self._counters = [Counters(region.counters(worker)) for worker in workers]
        self._rings = [Ring(region.ring(worker)) for worker in workers]
        self._knocks = [Ring(region.knocks(worker), KNOCK_RECORDS) for worker in workers]
        self._table = ClientTable(region.table, region.secret)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def add(self, *others: Collector) -> None:
        """Tell of the figures of other parts of the node as well."""
        for each in others:
            self._registry.register(each)

    def text(self) -> bytes:
        """Return the exposition."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics (prometheus_client's collector interface)."""
        snapshot = total(counters.snapshot() for counters in self._counters)
        yield _requests(snapshot)
        yield _responses(snapshot)
        yield _histogram("decision_seconds", "Time to decide about a request", "decision", snapshot.decision)
        yield _histogram("added_seconds", "Time that the guard added to a proxied request", "added", snapshot.added)
        yield _upstream(snapshot)
        yield _histogram("delayed_seconds", "Time that delayed requests waited", "delayed", snapshot.delayed)
        yield _gauge("connections", "Open client connections", snapshot.connections)
        yield _gauge("parked", "Requests that wait for their time", snapshot.parked)
        yield _gauge("tarpit_held", "Connections held in the tarpit", snapshot.tarpit_held)
        yield _turned_away(snapshot)
        yield _cache(snapshot)
        yield _claims(snapshot)
        yield _histogram("cluster_claim_seconds", "Time that claims took", "claim", snapshot.claim)
        yield _gauge("cache_bytes", "Memory that kept answers have taken", used_bytes(self._cache, self._cache_bytes))
        yield _bans(self._warden)
        yield _offences(self._warden)
        yield from _cold(self._coldness)
        yield _budgets(self._budgets)
        yield _gauge("table_used", "Clients in the client table", self._table.used(monotonic_ns()))
        yield _gauge("table_capacity", "Clients that the client table has room for", self._table.capacity)
        yield _counter("table_evictions", "Clients that lost their state for want of room", self._table.evictions)
        yield _counter("records_lost", "Records that the analyst was too slow for", sum(r.lost for r in self._rings))
        yield _counter("knocks_lost", "The same, of connections turned away", sum(r.lost for r in self._knocks))
        yield _gauge("policy_generation", "Reloads since the start", self._control[Control.POLICY_GENERATION])
        yield _counter("reload_failures", "Configurations refused on reload", self._control[Control.RELOAD_FAILURES])
        yield _build_info()


def _requests(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "hkpguard_requests", "Requests by operation class and what was done", labels=("operation", "action")
    )
    for operation, actions in zip(OperationClass, snapshot.requests, strict=True):
        for action, count in enumerate(actions):
            if count:
                family.add_metric((operation.name.lower(), action_text(action)), count)
    return family


def _responses(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily("hkpguard_responses", "Responses by status code", labels=("code",))
    for code, count in enumerate(snapshot.responses):
        if count:
            family.add_metric((str(code),), count)
    return family


def _turned_away(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "hkpguard_connections_refused", "Connections that were not taken on", labels=("reason",)
    )
    for reason in TurnedAway:
        family.add_metric((reason.name.lower(),), snapshot.turned_away[reason])
    return family


def _cache(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "hkpguard_cache_requests", "Requests that may be answered from the cache", labels=("result",)
    )
    for use in (CacheUse.HIT, CacheUse.JOINED, CacheUse.MISS):
        family.add_metric((use.name.lower(),), snapshot.cache[use])
    return family


def _claims(snapshot: Snapshot) -> Metric:
    family = CounterMetricFamily(
        "hkpguard_cluster_claims", "Requests of strict classes, by what the cluster said to them", labels=("result",)
    )
    for outcome in Claimed:
        family.add_metric((outcome.name.lower(),), snapshot.claims[outcome])
    return family


def _bans(warden: Warden) -> Metric:
    family = GaugeMetricFamily("hkpguard_bans", "Bans in force", labels=("origin",))
    for origin, count in warden.in_force.items():
        family.add_metric((origin.value,), count)
    return family


def _offences(warden: Warden) -> Metric:
    family = CounterMetricFamily("hkpguard_offences", "Offences", labels=("kind",))
    for kind in OffenceKind:
        family.add_metric((kind.name.lower(),), warden.offences[kind])
    return family


def _cold(coldness: Coldness) -> Iterator[Metric]:
    climate = coldness.climate(monotonic_ns())
    yield _gauge("cold_share", "Cold certificates among those that networks newly asked for", climate.share)
    yield _gauge("cold_share_usual", "The share that is usual for a network here", climate.usual)
    yield _gauge("cold_networks", "Networks that seem to walk through a dump", climate.walking)


def _budgets(watch: BudgetWatch) -> Metric:
    family = GaugeMetricFamily(
        "hkpguard_budget_used_ratio", "Part of the burst of a budget of everybody that is used", labels=("budget",)
    )
    for name, part in watch.used(monotonic_ns()).items():
        family.add_metric((name,), part)
    return family


def _buckets(bounds: Sequence[float], histogram: Histogram) -> list[tuple[str, float]]:
    edges = [*map(str, bounds), "+Inf"]
    return list(zip(edges, map(float, accumulate(histogram.counts)), strict=True))


def _histogram(name: str, text: str, bounds: str, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(f"hkpguard_{name}", text)
    family.add_metric((), _buckets(BOUNDS_SECONDS[bounds], histogram), histogram.sum_ns / 1e9)
    return family


def _upstream(snapshot: Snapshot) -> Metric:
    family = HistogramMetricFamily("hkpguard_upstream_seconds", "Time of the upstream", labels=("operation",))
    for operation, histogram in zip(OperationClass, snapshot.upstream, strict=True):
        if any(histogram.counts):
            buckets = _buckets(BOUNDS_SECONDS["upstream"], histogram)
            family.add_metric((operation.name.lower(),), buckets, histogram.sum_ns / 1e9)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hkpguard_{name}", text, value=value)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"hkpguard_{name}", text, value=value)


def _build_info() -> Metric:
    family = GaugeMetricFamily("hkpguard_build_info", "Versions", labels=("version", "python"))
    family.add_metric((version("hkpguard"), platform.python_version()), 1)
    return family
