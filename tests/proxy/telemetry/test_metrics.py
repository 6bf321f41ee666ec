"""The metrics of a node: the promised names, right sums, and no address anywhere."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar, cast

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastpath import KNOCK_RECORDS, ClientTable, Control, Counters, Region, client_key, monotonic_ns
from fastpath.ring import RING_RECORDS, Ring
from models.coldness import Coldness
from proxy.budget_watch import BudgetWatch
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, TurnedAway
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.offences import OffenceKind
from proxy.policy.offender import Origin
from proxy.policy.policy import Policy, budget_limit
from proxy.policy.sharing import Share, Sharing
from proxy.telemetry.metrics import NodeMetrics
from proxy.telemetry.numbers import SHADOW, CacheUse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from proxy.warden import Warden

# Names and labels that DESIGN.md promises, with their kind; counters lose `_total` when they are parsed.
PROMISED = {
    "hkpguard_requests": ("counter", {"operation", "action"}),
    "hkpguard_responses": ("counter", {"code"}),
    "hkpguard_decision_seconds": ("histogram", {"le"}),
    "hkpguard_added_seconds": ("histogram", {"le"}),
    "hkpguard_upstream_seconds": ("histogram", {"operation", "le"}),
    "hkpguard_delayed_seconds": ("histogram", {"le"}),
    "hkpguard_connections": ("gauge", set()),
    "hkpguard_tarpit_held": ("gauge", set()),
    "hkpguard_table_used": ("gauge", set()),
    "hkpguard_table_evictions": ("counter", set()),
    "hkpguard_records_lost": ("counter", set()),
    "hkpguard_connections_refused": ("counter", {"reason"}),
    "hkpguard_cache_requests": ("counter", {"result"}),
    "hkpguard_cache_bytes": ("gauge", set()),
    "hkpguard_bans": ("gauge", {"origin"}),
    "hkpguard_offences": ("counter", {"kind"}),
    "hkpguard_budget_used_ratio": ("gauge", {"budget"}),
    "hkpguard_cold_share": ("gauge", set()),
    "hkpguard_cold_share_usual": ("gauge", set()),
    "hkpguard_cold_networks": ("gauge", set()),
    "hkpguard_build_info": ("gauge", {"version", "python"}),
}
LABELS = frozenset(
    {"budget", "result", "operation", "action", "code", "reason", "origin", "kind", "le", "version", "python"}
)
MS = 1_000_000


@pytest.fixture
def region() -> Iterator[Region]:
    """Return the memory of a node of two workers."""
    region = Region.create(clients=1024, workers=2, upstreams=1)
    yield region
    region.close()


class Bans:
    """The part of a warden that is counted."""

    in_force: ClassVar = Counter({Origin.LADDER: 3, Origin.WIDENED: 1, Origin.MANUAL: 0})
    offences: ClassVar = Counter({OffenceKind.TRAP: 7})


def exposition(region: Region, coldness: Coldness | None = None) -> str:
    """Return what Prometheus gets."""
    watch = BudgetWatch(Config.from_env({}), Tables.of(region).buckets)
    return NodeMetrics(region, cast("Warden", Bans()), coldness or Coldness(region.secret), watch).text().decode()


def families(region: Region, coldness: Coldness | None = None) -> dict[str, Metric]:
    """Return the metrics of a node as Prometheus would read them."""
    return {family.name: family for family in text_string_to_metric_families(exposition(region, coldness))}


def value(metric: Metric, name: str = "", **labels: str) -> float:
    """Return the value of the only sample with these labels."""
    (found,) = [
        sample.value
        for sample in metric.samples
        if sample.labels == labels and sample.name in {name, name or sample.name}
    ]
    return found


def busy(region: Region) -> None:
    """Let both workers count something of everything."""
    for worker in range(2):
        counters = Counters(region.counters(worker))
        counters.start()
        counters.record(OperationClass.CERT, Action.ALLOW, 200, 2000, 50_000, 3 * MS, -1)
        counters.record(OperationClass.CERT, Action.DELAY, 200, 2000, 50_000, 3 * MS, 200 * MS, CacheUse.MISS)
        counters.record(OperationClass.WORDS, Action.LIMIT, 429, 2000, -1, -1, -1)
        counters.record(OperationClass.WORDS, SHADOW + Action.LIMIT, 200, 2000, 50_000, 40 * MS, -1)
        for use in (CacheUse.HIT, CacheUse.HIT, CacheUse.JOINED):
            counters.record(OperationClass.STATS, Action.ALLOW, 200, -1, -1, -1, -1, use)
        counters.turned_away(TurnedAway.BANNED)
        counters.set_connections(10)
        counters.set_parked(2)
    table = ClientTable(region.table, region.secret)
    profile = Policy(Config.from_env({}), Tables.of(region)).profile(bytes(4))
    for number in range(5):
        client = client_key(bytes([192, 0, 2, number]))
        table.spend(profile.compiled, client, OperationClass.CERT, 50, monotonic_ns())  # forgotten in 2.5 s, not sooner


@pytest.mark.parametrize("begun", [False, True])
def test_promised_names(region: Region, *, begun: bool) -> None:
    """Each metric of the design is there from the start, under its name and of its kind."""
    if begun:
        busy(region)
    found = families(region)
    for name, (kind, labels) in PROMISED.items():
        assert found[name].type == kind
        for sample in found[name].samples:
            assert set(sample.labels) <= labels
    totals = ["hkpguard_requests", "hkpguard_responses", "hkpguard_table_evictions", "hkpguard_records_lost"]
    text = exposition(region)
    assert all(f"# TYPE {name}_total counter" in text for name in totals)


def test_no_address_is_a_label(region: Region) -> None:
    """Labels are words from short lists; of clients there are numbers only."""
    busy(region)
    for family in families(region).values():
        for sample in family.samples:
            assert set(sample.labels) <= LABELS
            assert not any("192.0.2" in text for text in sample.labels.values())


def test_lost_records(region: Region) -> None:
    """Those that found the ring of their worker full, of all workers; of connections turned away they are apart."""
    rest = (*range(1, 17), bytes(4), b"", b"")
    for worker in range(2):
        ring, knocks = Ring(region.ring(worker)), Ring(region.knocks(worker), KNOCK_RECORDS)
        for number in range(RING_RECORDS + 1 + worker):
            ring.write(number, *rest)
        for number in range(KNOCK_RECORDS + 2):
            knocks.write(number, *rest)
    found = families(region)
    assert (value(found["hkpguard_records_lost"]), value(found["hkpguard_knocks_lost"])) == (3, 4)


def test_sums_over_the_workers(region: Region) -> None:
    """A metric is that of the node."""
    busy(region)
    found = families(region)
    requests, responses = found["hkpguard_requests"], found["hkpguard_responses"]
    assert value(requests, operation="cert", action="allow") == 2
    assert value(requests, operation="cert", action="delay") == 2
    assert value(requests, operation="words", action="limit") == 2
    assert value(requests, operation="words", action="limit_shadow") == 2
    assert value(responses, code="200") == 12
    assert value(responses, code="429") == 2
    assert value(found["hkpguard_connections_refused"], reason="banned") == 2
    assert value(found["hkpguard_connections_refused"], reason="crowded") == 0
    cache = found["hkpguard_cache_requests"]
    assert [value(cache, result=result) for result in ("hit", "joined", "miss")] == [4, 2, 2]
    assert value(found["hkpguard_bans"], origin="ladder") == 3
    assert value(found["hkpguard_offences"], kind="trap") == 7
    assert value(found["hkpguard_connections"]) == 20
    assert value(found["hkpguard_parked"]) == 4
    assert value(found["hkpguard_table_used"]) == 5
    assert value(found["hkpguard_table_capacity"]) >= 1024


@pytest.mark.parametrize(
    ("name", "labels", "count", "total_seconds", "edge", "at_edge"),
    [
        ("decision", {}, 8, 8 * 2e-6, "2.5e-06", 8),
        ("added", {}, 6, 6 * 5e-5, "5e-05", 6),
        ("upstream", {"operation": "cert"}, 4, 4 * 3e-3, "0.0025", 0),
        ("upstream", {"operation": "words"}, 2, 2 * 4e-2, "0.05", 2),
        ("delayed", {}, 2, 2 * 0.2, "0.1", 0),
    ],
)
def test_histograms(
    region: Region, name: str, labels: dict[str, str], count: int, total_seconds: float, edge: str, at_edge: int
) -> None:
    """Buckets add up, end with +Inf, and agree with count and sum; units are seconds."""
    busy(region)
    full = f"hkpguard_{name}_seconds"
    metric = families(region)[full]
    buckets = [
        (sample.labels["le"], sample.value)
        for sample in metric.samples
        if sample.name.endswith("_bucket") and labels.items() <= sample.labels.items()
    ]
    counts = [each for _, each in buckets]
    assert counts == sorted(counts)
    assert buckets[-1] == ("+Inf", count)
    assert dict(buckets)[edge] == at_edge
    assert value(metric, f"{full}_count", **labels) == count
    assert value(metric, f"{full}_sum", **labels) == pytest.approx(total_seconds)


def test_budgets_of_everybody(region: Region) -> None:
    """How much of each is used; what flows back meanwhile is less than a hundredth."""
    limit = budget_limit(Config.from_env({}), "new_certs")
    assert limit is not None
    buckets = Tables.of(region).buckets
    for bill in Sharing(buckets).bills(limit, Share(BudgetKind.NEW_CERTS, 1, 120), monotonic_ns()):
        buckets.spend(bill.budget, bill.key, bill.cost, monotonic_ns())
    metric = families(region)["hkpguard_budget_used_ratio"]
    assert value(metric, budget="new_certs") == pytest.approx(0.2, abs=0.01)
    assert value(metric, budget="exit_uploads") == 0


def test_cold_certificates(region: Region) -> None:
    """How much is cold, what is usual, and how many networks walk: from what the analyst knows."""
    coldness, now_ns = Coldness(bytes(range(16))), monotonic_ns()
    words = np.arange(1, 201, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for network in (1, 2, 3):
        coldness.feed(np.full(100, network, np.uint64), words[:100], now_ns - 7200 * 10**9)
    coldness.feed(np.full(100, 4, np.uint64), words[100:], now_ns)
    found = families(region, coldness)
    assert value(found["hkpguard_cold_share"]) == pytest.approx((100 / 4 + 100) / (300 / 4 + 100), rel=0.01)
    assert value(found["hkpguard_cold_share_usual"]) == 0
    assert value(found["hkpguard_cold_networks"]) == 1


def test_control_words(region: Region) -> None:
    """Reloads and their failures are told."""
    region.control[Control.POLICY_GENERATION] = 3
    region.control[Control.RELOAD_FAILURES] = 2
    found = families(region)
    assert value(found["hkpguard_policy_generation"]) == 3
    assert value(found["hkpguard_reload_failures"]) == 2


def test_build_info(region: Region) -> None:
    """One sample of value 1 tells the versions."""
    (sample,) = families(region)["hkpguard_build_info"].samples
    assert sample.value == 1
    assert sample.labels["version"][0].isdigit()
    assert sample.labels["python"].startswith("3.")
