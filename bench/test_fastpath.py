"""What one step of the shared memory costs, called from Python; `extra_info` has the ns of one."""

import mmap
import os
from collections.abc import Callable
from itertools import count, islice, repeat
from random import Random
from types import ModuleType

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastpath import _gcra_py, gcra
from fastpath.buckets import BUCKET_TABLE_BYTES, BucketTable, Budget, bucket_key, hash_text
from fastpath.counters import COUNTER_BYTES, Counters
from fastpath.distinct import DISTINCT_BYTES, DistinctTable
from fastpath.gcra import Limit
from fastpath.leases import LEASE_BYTES, Leases
from fastpath.ring import KNOCK_BYTES, KNOCK_RECORDS, RING_BYTES, Ring
from fastpath.sightings import SIGHTING_BYTES, Sightings
from fastpath.table import ClientTable, LimitSet, table_bytes

SECOND = 10**9
CLIENTS = 1_048_576
CALLS = 100_000  # in one round
RECORDS = 8_000
SIGHTINGS = SIGHTING_BYTES // 8
LIMIT = Limit(name="x", burst=1_000_000, count=SECOND, period_ns=SECOND)
SECRET = os.urandom(16)
ALICE = 0x02_000000_C0000201
ADDRESS = bytes(16)
SUBJECT = b"0x" + b"A" * 40


def memory(size: int) -> memoryview:
    """Return shared memory."""
    return memoryview(mmap.mmap(-1, size))


def measure(
    benchmark: BenchmarkFixture,
    calls: int,
    run: Callable[[], object],
    setup: Callable[[], None] | None = None,
) -> None:
    """Measure rounds of `run`, which makes so many calls; `extra_info`: the ns of each in the quickest."""
    rounds = 20 if calls <= CALLS else 5
    benchmark.pedantic(run, setup=setup, rounds=rounds, warmup_rounds=1)  # type: ignore[no-untyped-call]  # theirs
    assert benchmark.stats is not None
    benchmark.extra_info["ns_each"] = round(benchmark.stats.stats.min / calls * SECOND)


def test_spend_hot(benchmark: BenchmarkFixture) -> None:
    """One client, both limits on, no objection. Goal: under 100 ns."""
    table, limits = ClientTable(memory(table_bytes(CLIENTS)), SECRET), LimitSet([LIMIT] * 12)
    times = count(1_000 * SECOND, SECOND)

    def run() -> None:
        spend, now_ns = table.spend, next(times)
        for _ in repeat(None, CALLS):
            spend(limits, ALICE, 1, 1, now_ns)

    measure(benchmark, CALLS, run)


def test_spend_refused(benchmark: BenchmarkFixture) -> None:
    """One client that is refused: two limits read, a Spending made."""
    limit = Limit(name="x", burst=1, count=1, period_ns=SECOND)
    table, limits = ClientTable(memory(table_bytes(CLIENTS)), SECRET), LimitSet([limit] * 12)
    table.spend(limits, ALICE, 1, 1, 1_000 * SECOND)

    def run() -> None:
        spend, now_ns = table.spend, 1_000 * SECOND
        for _ in repeat(None, CALLS):
            spend(limits, ALICE, 1, 1, now_ns)

    measure(benchmark, CALLS, run)


@pytest.mark.parametrize("capacity", [CLIENTS, 2 * CLIENTS])
def test_spend_a_million_random(benchmark: BenchmarkFixture, capacity: int) -> None:
    """A million random clients; one in seven turns another out, or there is twice the room. Goal: 400 ns."""
    table = ClientTable(memory(table_bytes(capacity)), SECRET)
    limits, times = LimitSet([LIMIT] * 12), count(1_000 * SECOND, SECOND)
    draw = Random(1)  # noqa: S311 - the same draw in every run
    keys = [draw.randrange(0x2000 << 48, 0x4000 << 48) for _ in range(CLIENTS)]

    def run() -> None:
        spend, now_ns = table.spend, next(times)
        for key in keys:
            spend(limits, key, 1, 1, now_ns)

    measure(benchmark, CLIENTS, run)


def test_bucket_hot(benchmark: BenchmarkFixture) -> None:
    """One bucket of a budget, no objection."""
    table, budget = BucketTable(memory(BUCKET_TABLE_BYTES), SECRET), Budget(LIMIT, 12)
    key, times = bucket_key(12, ALICE), count(1_000 * SECOND, SECOND)

    def run() -> None:
        spend, now_ns = table.spend, next(times)
        for _ in repeat(None, CALLS):
            spend(budget, key, 1, now_ns)

    measure(benchmark, CALLS, run)


def test_bucket_a_million_random(benchmark: BenchmarkFixture) -> None:
    """A million random keys of buckets, as many as there are places; each round half an hour later."""
    table, budget = BucketTable(memory(BUCKET_TABLE_BYTES), SECRET), Budget(LIMIT, 12)
    keys, times = [bucket_key(12, n) for n in range(CLIENTS)], count(1_000 * SECOND, 1_800 * SECOND)

    def run() -> None:
        spend, now_ns = table.spend, next(times)
        for key in keys:
            spend(budget, key, 1, now_ns)

    measure(benchmark, CLIENTS, run)


def test_hash_text(benchmark: BenchmarkFixture) -> None:
    """The keyed hash of a fingerprint."""

    def run() -> None:
        for _ in repeat(None, CALLS):
            hash_text(SUBJECT, SECRET)

    measure(benchmark, CALLS, run)


def test_sighting_known(benchmark: BenchmarkFixture) -> None:
    """A pair that was seen, asked for again and again: each request for a known subject. Goal: 150 ns."""
    sightings = Sightings(memory(SIGHTING_BYTES), SECRET)
    sightings.add(ALICE, 5, 0)

    def run() -> None:
        seen = sightings.seen
        for _ in repeat(None, CALLS):
            seen(ALICE, 5, SECOND, 0)

    measure(benchmark, CALLS, run)


@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
def test_sightings_all_over(benchmark: BenchmarkFixture, known: bool) -> None:  # noqa: FBT001 - a row
    """A full memory, asked at random for what is there, or for what is not: hardly anything is in a cache."""
    sightings, draw = Sightings(memory(SIGHTING_BYTES), SECRET), Random(1)  # noqa: S311 - the same draw in every run
    for subject in range(SIGHTINGS):
        sightings.add(ALICE, subject, 0)
    asked = [draw.randrange(SIGHTINGS // 2, SIGHTINGS) + (0 if known else SIGHTINGS) for _ in range(CALLS)]

    def run() -> None:
        seen = sightings.seen
        for subject in asked:
            seen(ALICE, subject, SECOND, 0)

    measure(benchmark, CALLS, run)


def test_sighting_add(benchmark: BenchmarkFixture) -> None:
    """A new pair remembered, where another one makes room for it."""
    sightings, subjects = Sightings(memory(SIGHTING_BYTES), SECRET), count(SIGHTINGS)
    for subject in range(SIGHTINGS):
        sightings.add(ALICE, subject, 0)

    def run() -> None:
        add = sightings.add
        for subject in islice(subjects, CALLS):
            add(ALICE, subject, 0)

    measure(benchmark, CALLS, run)


def test_distinct_add(benchmark: BenchmarkFixture) -> None:
    """A new subject added, with what comes of a hundred thousand of them: a set, a sketch, a rare change."""
    table, aggregates = DistinctTable(memory(DISTINCT_BYTES), SECRET), count(1)

    def run() -> None:
        add, aggregate = table.add, next(aggregates)
        for subject in range(CALLS):
            add(aggregate, subject, 0)

    measure(benchmark, CALLS, run)


@pytest.mark.parametrize("twin", [_gcra_py, gcra], ids=["python", "c"])
def test_gcra(benchmark: BenchmarkFixture, twin: ModuleType) -> None:
    """The decision alone in both twins, for scale: reads a Limit, makes a Decision."""

    def run() -> None:
        spend = twin.spend
        for _ in repeat(None, CALLS):
            spend(LIMIT, 0, 1, 1_000 * SECOND)

    measure(benchmark, CALLS, run)


def test_lease(benchmark: BenchmarkFixture) -> None:
    """A place of a client and of the class, taken and given back."""
    leases = Leases(memory(LEASE_BYTES), memory(8).cast("Q"), 0, SECRET)

    def run() -> None:
        acquire, release = leases.acquire, leases.release
        for _ in repeat(None, CALLS):
            release(acquire(3, ALICE, 2, 16))

    measure(benchmark, CALLS, run)


def write_some(ring: Ring) -> None:
    """Write as many records as nearly fill the ring."""
    write = ring.write
    for n in range(RECORDS):
        write(n, ALICE, 2, 3, 400, 0, 500, 200, 2_000, 200, 1, 0, 0, 0, 0, 0, 0, ADDRESS, SUBJECT, b"")


def test_ring_write(benchmark: BenchmarkFixture) -> None:
    """A record written; the ring is emptied between the rounds, so that none is lost."""
    ring = Ring(memory(RING_BYTES))
    measure(benchmark, RECORDS, lambda: write_some(ring), lambda: ring.drain(RECORDS).clear())
    assert ring.lost == 0


def test_full_ring_write(benchmark: BenchmarkFixture) -> None:
    """A knock that finds no room: what a flood of connections that are turned away costs beside its counter."""
    ring = Ring(memory(KNOCK_BYTES), KNOCK_RECORDS)
    measure(benchmark, RECORDS, lambda: write_some(ring))
    assert len(ring.drain(RECORDS)) == KNOCK_RECORDS


def test_ring_drain(benchmark: BenchmarkFixture) -> None:
    """A record read by the analyst."""
    ring = Ring(memory(RING_BYTES))
    measure(benchmark, RECORDS, lambda: ring.drain(RECORDS), lambda: write_some(ring))


def test_counters_record(benchmark: BenchmarkFixture) -> None:
    """A request counted, with three of its times."""
    counters = Counters(memory(COUNTER_BYTES))

    def run() -> None:
        record = counters.record
        for _ in repeat(None, CALLS):
            record(1, 0, 200, 1_200, 90_000, 900_000, -1)

    measure(benchmark, CALLS, run)


def test_used(benchmark: BenchmarkFixture) -> None:
    """The count of clients that still owe something, in a full table; ns of each slot."""
    table, limits = ClientTable(memory(table_bytes(CLIENTS)), SECRET), LimitSet([LIMIT] * 12)
    for key in range(1, CLIENTS + 1):
        table.spend(limits, key, 1, 1, 1_000 * SECOND)
    measure(benchmark, CLIENTS, lambda: table.used(1_000 * SECOND))
