"""What the node's cache of replies and its memory of costs take, called from Python; `extra_info`: ns of one."""

import mmap
import os
from itertools import count, repeat

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from fastpath.cache import Hit, ReplyCache, Ticket, cache_bytes
from fastpath.costs import COST_MEMORY_BYTES, CostMemory

SECOND = 10**9
MIB = 1 << 20
NOW = 1_000 * SECOND
LATER = 10**18
CALLS = 20_000  # in one round
DATA = 64 << 20
SECRET = os.urandom(16)
CERTIFICATE = os.urandom(2_048)
SPREAD = 0x9E3779B97F4A7C15


def new_cache() -> ReplyCache:
    """Return an empty cache of 64 MiB in shared memory."""
    memory = memoryview(mmap.mmap(-1, cache_bytes(DATA)))
    return ReplyCache(memory, DATA, memoryview(mmap.mmap(-1, 8)).cast("Q"), 0, SECRET)


def keep(cache: ReplyCache, key: int, data: bytes, now_ns: int = NOW) -> None:
    """Fetch a reply and put it."""
    ticket = cache.look_up(key, key, now_ns)
    assert isinstance(ticket, Ticket)
    assert cache.put(ticket, data, LATER, now_ns)


def measure(benchmark: BenchmarkFixture, calls: int, run: object) -> None:
    """Measure rounds of `run`, which makes so many calls; `extra_info`: the ns of each in the quickest."""
    benchmark.pedantic(run, rounds=20, warmup_rounds=1)  # type: ignore[no-untyped-call]  # theirs
    assert benchmark.stats is not None
    benchmark.extra_info["ns_each"] = round(benchmark.stats.stats.min / calls * SECOND)


@pytest.mark.parametrize("size", [10, 2_048, 65_536, MIB // 2, MIB])
def test_hit(benchmark: BenchmarkFixture, size: int) -> None:
    """One reply again and again. Goals: 1 µs for 2 KB; 1 ms for the largest, for all others wait meanwhile."""
    cache, calls = new_cache(), CALLS if size < MIB // 16 else 50
    keep(cache, 1, os.urandom(size))

    def run() -> None:
        look_up = cache.look_up
        for _ in repeat(None, calls):
            look_up(1, 1, NOW)

    measure(benchmark, calls, run)
    assert isinstance(cache.look_up(1, 1, NOW), Hit)


def test_hit_cold(benchmark: BenchmarkFixture) -> None:
    """Replies of 2 KB, 10,000 of them by turns: from memory, not from the processor's caches."""
    cache = new_cache()
    for key in range(10_000):
        keep(cache, key, CERTIFICATE)

    def run() -> None:
        look_up = cache.look_up
        for key in range(10_000):
            look_up(key, key, NOW)

    measure(benchmark, 10_000, run)


def test_miss(benchmark: BenchmarkFixture) -> None:
    """A key that nobody has: the caller becomes the leader and gives up."""
    cache, times = new_cache(), count(NOW, 2 * SECOND)

    def run() -> None:
        look_up, give_up, now_ns = cache.look_up, cache.give_up, next(times)
        for key in range(CALLS):
            give_up(look_up(key, key, now_ns))  # type: ignore[arg-type]  # a Ticket: nothing is kept

    measure(benchmark, CALLS, run)


def test_in_flight(benchmark: BenchmarkFixture) -> None:
    """A key that somebody fetches."""
    cache = new_cache()
    ticket = cache.look_up(1, 1, NOW)

    def run() -> None:
        look_up = cache.look_up
        for _ in repeat(None, CALLS):
            look_up(1, 1, NOW)

    measure(benchmark, CALLS, run)
    assert isinstance(ticket, Ticket)


def test_put(benchmark: BenchmarkFixture) -> None:
    """A reply of 2 KB put, with the miss before it; the log goes round."""
    cache, times, keys = new_cache(), count(NOW, 2 * SECOND), count()

    def run() -> None:
        look_up, put, now_ns = cache.look_up, cache.put, next(times)
        for key in keys:
            put(look_up(key, key, now_ns), CERTIFICATE, LATER, now_ns)  # type: ignore[arg-type]  # a Ticket
            if key % CALLS == CALLS - 1:
                break

    measure(benchmark, CALLS, run)


@pytest.mark.parametrize("fat", [0, 32_768], ids=["empty", "full"])
def test_look_up_of_costs(benchmark: BenchmarkFixture, fat: int) -> None:
    """A subject that is not fat, in an empty and in a full memory."""
    costs = CostMemory(memoryview(mmap.mmap(-1, COST_MEMORY_BYTES)))
    for number in range(4 * fat):
        costs.note(number * SPREAD % 2**64, 6_000, 7, NOW)

    def run() -> None:
        look_up = costs.look_up
        for number in range(CALLS):
            look_up(number << 48, NOW)

    measure(benchmark, CALLS, run)


def test_look_up_of_a_fat_one(benchmark: BenchmarkFixture) -> None:
    """A subject that is fat."""
    costs = CostMemory(memoryview(mmap.mmap(-1, COST_MEMORY_BYTES)))
    costs.note(SPREAD, 6_000, 7, NOW)

    def run() -> None:
        look_up = costs.look_up
        for _ in repeat(None, CALLS):
            look_up(SPREAD, NOW)

    measure(benchmark, CALLS, run)


def test_note_of_a_thin_one(benchmark: BenchmarkFixture) -> None:
    """What nearly every answer costs: noted, and nothing to remember."""
    costs = CostMemory(memoryview(mmap.mmap(-1, COST_MEMORY_BYTES)))

    def run() -> None:
        note = costs.note
        for number in range(CALLS):
            note(number << 48, 900, 2_000, NOW)

    measure(benchmark, CALLS, run)
