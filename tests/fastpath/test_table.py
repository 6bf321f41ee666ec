"""The table in shared memory: its claims, step by step and in a crowd. What it answers: tests/contract."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import cycle
from multiprocessing.process import BaseProcess
from pathlib import Path
from random import Random

import pytest

from fastpath.gcra import Limit
from fastpath.table import LAYOUT, ClientTable, LimitSet, hash_key, table_bytes

SECOND = 10**9
NOW = 1_000 * SECOND
SECRET = bytes(range(16))
FREE, CLAIMED, PROVISIONAL, CONFIRMED = range(4)
WAYS = LAYOUT["ways"]
HEADER = LAYOUT["header_bytes"] // 8  # words
SLOT = LAYOUT["slot_bytes"] // 8

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


def policy(burst: int, total: int = 1_000_000) -> LimitSet:
    """Return limits that give back a token a second."""
    limits = [Limit(name="x", burst=n, count=1, period_ns=SECOND) for n in (total, burst)]
    return LimitSet([*limits, *[None] * 10])


class Opened:
    """A table and the words of its memory."""

    def __init__(self, memory: memoryview) -> None:
        """Take memory of `table_bytes`."""
        self.table = ClientTable(memory, SECRET)
        self.words = memory.cast("Q")

    def key_at(self, way: int) -> int:
        """Return the key word of a way, valid or not."""
        return self.words[HEADER + way]

    def kind(self, way: int) -> int:
        """Return the kind of the state of a way."""
        return self.words[self.slot(way)] & 3

    def slot(self, way: int) -> int:
        """Return the index of the state word of a way."""
        return HEADER + self.table.capacity + way * SLOT

    def put(self, way: int, key: int, kind: int, at_ns: int) -> None:
        """Leave a slot as a worker does that is killed in the middle of a claim at `at_ns`."""
        self.words[HEADER + way] = key
        tag = self.table.place(key)[1]
        self.words[self.slot(way)] = 1 << 44 | (at_ns >> 24 & 0x3FFFFF) << 22 | tag << 2 | kind

    def owners(self) -> list[int]:
        """Return the keys of all confirmed ways."""
        return [self.key_at(way) for way in range(self.table.capacity) if self.kind(way) == CONFIRMED]


@pytest.fixture
def one_set(shared: Shared) -> Opened:
    """Return a table of a single set, where all keys meet."""
    return Opened(shared(table_bytes(WAYS)))


def test_hash_is_siphash_1_3() -> None:
    """The keyed hash is the one that CPython uses for bytes, which with seed 0 has a secret of zeros."""
    word = bytes(range(1, 9))
    code = f"import sys; assert sys.hash_info.algorithm == 'siphash13'; print(hash({word!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    command = [sys.executable, "-c", code]
    theirs = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert hash_key(int.from_bytes(word, "little"), bytes(16)) == int(theirs.stdout) % 2**64


def test_hash_depends_on_the_secret() -> None:
    """All of the 16 bytes count."""
    secrets = [bytes(16), b"\1" + bytes(15), bytes(15) + b"\1"]
    assert len({hash_key(1, secret) for secret in secrets}) == 3


@pytest.mark.parametrize(("clients", "capacity"), [(1, 8), (8, 8), (9, 16), (1_000, 1_000)])
def test_capacity_is_rounded_up(shared: Shared, clients: int, capacity: int) -> None:
    """A table has whole sets of eight."""
    assert ClientTable(shared(table_bytes(clients)), SECRET).capacity == capacity


def test_a_slot_takes_136_bytes() -> None:
    """The memory of a table is what the budget says, 136 bytes for each client and a line."""
    assert table_bytes(1_048_576) == 64 + 1_048_576 * 136


@pytest.mark.parametrize("size", [0, 63, table_bytes(8) - 8, table_bytes(8) + 8])
def test_wrong_memory(size: int) -> None:
    """Memory of another size is no table."""
    with pytest.raises(ValueError, match=f"memory of the client table: {size} bytes"):
        ClientTable(memoryview(bytearray(size)), SECRET)


def test_unaligned_memory(shared: Shared) -> None:
    """Words that straddle cache lines would not be atomic."""
    with pytest.raises(ValueError, match="does not begin at a multiple of 8"):
        ClientTable(shared(table_bytes(8) + 1)[1:], SECRET)


def test_read_only_memory() -> None:
    """A table that cannot be written is refused at once."""
    with pytest.raises(BufferError):
        ClientTable(memoryview(bytes(table_bytes(8))), SECRET)


def test_short_secret(shared: Shared) -> None:
    """A secret of another length is refused."""
    with pytest.raises(ValueError, match="secret has 15 bytes, not 16"):
        ClientTable(shared(table_bytes(8)), bytes(15))


def test_two_tables_on_one_memory(shared: Shared) -> None:
    """What one process spends, another sees."""
    memory = shared(table_bytes(8))
    mine, theirs = (ClientTable(memory, SECRET) for _ in range(2))
    mine.spend(policy(2), 7, 1, 1, NOW)
    assert theirs.peek(7) == mine.peek(7) != (0,) * 12


def test_keys_spread_over_the_sets(shared: Shared) -> None:
    """Neighbouring keys fall into all sets alike (1000 sets, 8 keys each on the average)."""
    table = ClientTable(shared(table_bytes(8_000)), SECRET)
    sets = Counter(table.place(key)[0] for key in range(8_000))
    assert max(sets.values()) < 25
    assert all(first % WAYS == 0 and 0 <= first < 8_000 for first in sets)


@pytest.mark.parametrize("kind", [CLAIMED, PROVISIONAL])
def test_a_dead_claim_of_my_key_holds_up_nobody(one_set: Opened, kind: int) -> None:
    """A worker killed while it inserts a client does not keep the client out, nor is its slot trusted."""
    one_set.put(0, 7, kind, NOW)
    one_set.words[one_set.slot(0) + 3] = 2**60  # a TAT that would deny
    assert one_set.table.spend(policy(1), 7, 1, 1, NOW) is None
    assert one_set.owners() == [7]
    assert one_set.kind(0) == (FREE if kind == PROVISIONAL else CLAIMED)


@pytest.mark.parametrize("kind", [CLAIMED, PROVISIONAL])
def test_fresh_claims_are_left_alone(one_set: Opened, kind: int) -> None:
    """What others claim at this moment is not taken from them; a confirmed slot is, though it owes."""
    for way in range(WAYS - 1):
        one_set.put(way, 100 + way, kind, NOW)
    for key in (7, 8):
        assert one_set.table.spend(policy(5), key, 1, 1, NOW) is None
    assert one_set.owners() == [8]
    assert one_set.table.evictions == 1


@pytest.mark.parametrize("kind", [CLAIMED, PROVISIONAL])
def test_a_set_full_of_claims_lets_through(one_set: Opened, kind: int) -> None:
    """If every way is being claimed the request goes on and is counted; a second later claims are void."""
    for way in range(WAYS):
        one_set.put(way, 100 + way, kind, NOW)
    assert one_set.table.spend(policy(1), 7, 1, 1, NOW) is None
    assert (one_set.table.untracked, one_set.table.peek(7)) == (1, None)
    one_set.table.spend(policy(1), 7, 1, 1, NOW + SECOND + SECOND // 10)
    assert (one_set.table.untracked, one_set.owners()) == (1, [7])


@pytest.mark.parametrize("way", [0, WAYS - 1])
def test_a_renamed_slot_is_not_trusted(one_set: Opened, way: int) -> None:
    """If a stopped claimant writes its key over a new owner's, neither is found there: the tag differs."""
    one_set.put(way, 8, CONFIRMED, NOW)
    one_set.words[one_set.slot(way) + 3] = 2**60
    one_set.words[HEADER + way] = 7
    assert one_set.table.peek(7) is None
    assert one_set.table.spend(policy(1), 7, 1, 1, NOW) is None
    assert one_set.table.peek(7) is not None


def test_a_reused_slot_owes_nothing(one_set: Opened) -> None:
    """The state of the client that is turned out is not the newcomer's, the room for the verdict neither."""
    for key in range(1, WAYS + 1):
        one_set.table.spend(policy(5), key, 1, 1, NOW)
    reserved = [one_set.slot(way) + word for way in range(WAYS) for word in (14, 15)]
    for word in reserved:
        one_set.words[word] = 1
    one_set.table.spend(policy(5), 99, 1, 0, NOW)
    assert one_set.table.peek(99) == (NOW, NOW + SECOND, *[0] * 10)
    assert sum(one_set.words[word] for word in reserved) == 2 * (WAYS - 1)


def test_a_changed_policy_spends_on(one_set: Opened) -> None:
    """A state under an old, larger limit is taken as it is: denied until it fits the new one."""
    for _ in range(5):
        one_set.table.spend(policy(5), 7, 1, 1, NOW)
    denied = one_set.table.spend(policy(2), 7, 1, 1, NOW)
    assert denied is not None
    assert (denied.remaining, denied.retry_after_ns) == (0, 4 * SECOND)


def test_memory_is_touched_only_where_used(shared: Shared) -> None:
    """A client in an empty table of a million makes a few pages resident, not the table."""
    table = ClientTable(shared(table_bytes(1_048_576)), SECRET)
    before = resident_pages()
    table.spend(policy(1), 7, 1, 1, NOW)
    assert resident_pages() - before < 50


def resident_pages() -> int:
    """Return the resident shared pages of this process."""
    return int(Path("/proc/self/statm").read_text().split()[2])


def test_a_flood_leaves_the_memory_as_it_is(shared: Shared) -> None:
    """Ten times the capacity of new clients stays within the memory given, to the byte."""
    size = table_bytes(512)
    memory = shared(size + 4096)
    table, limits = ClientTable(memory[:size], SECRET), policy(5)
    for key in range(1, 5_121):
        table.spend(limits, key, 1, 1, NOW)
    assert table.used(NOW) == 512
    assert bytes(memory[size:]) == bytes(4096)


# Crowds. Children share the table and a row of counters, one each.


def tries(table: ClientTable, limits: LimitSet, key: int, count: int) -> int:
    """Return how many of `count` requests at one moment are admitted."""
    return sum(table.spend(limits, key, 1, 1, NOW) is None for _ in range(count))


@pytest.mark.parametrize(("burst", "total"), [(1_000, 1_000_000), (1_000_000, 1_000), (1_000, 1_000)])
def test_a_crowd_is_admitted_exactly(shared: Shared, together: Together, burst: int, total: int) -> None:
    """Four processes that hammer one bucket at one moment get its burst, not one more nor less."""
    table, limits, admitted = (
        ClientTable(shared(table_bytes(8)), SECRET),
        policy(burst, total),
        shared(32).cast("Q"),
    )

    def work(i: int) -> None:
        admitted[i] = tries(table, limits, 7, 2_000)

    together(work, 4)
    assert sum(admitted) == 1_000


def test_first_requests_race(shared: Shared, together: Together) -> None:
    """Four processes that bring the same new clients at once admit each its burst, and give it one slot."""
    opened, limits, admitted = Opened(shared(table_bytes(8_192))), policy(2), shared(32).cast("Q")
    keys = range(1, 1_001)

    def work(i: int) -> None:
        admitted[i] = sum(tries(opened.table, limits, key, 1) for key in keys)

    together(work, 4)
    assert sum(admitted) == 2 * len(keys)
    assert sorted(opened.owners()) == list(keys)
    assert opened.table.untracked == 0


def test_adders_race(shared: Shared, together: Together) -> None:
    """What several processes add to new clients at once is all there, in one slot for each."""
    opened, keys = Opened(shared(table_bytes(1_024))), range(1, 101)

    def work(_number: int) -> None:
        for _ in range(50):
            for key in keys:
                opened.table.add(key, 1, 3, 2**61, NOW)
                opened.table.add(key, 1, -1, 2**61, NOW)

    together(work, 3)
    assert {opened.table.peek(key)[1] for key in keys} == {NOW + 3 * 50 * 2}  # type: ignore[index]
    assert sorted(opened.owners()) == list(keys)


def test_a_crowded_set_keeps_its_order(shared: Shared, together: Together) -> None:
    """Processes that turn each other's clients out of two sets leave no client twice and no claim behind."""
    opened, limits = Opened(shared(table_bytes(2 * WAYS))), policy(50)

    def work(i: int) -> None:
        draw = Random(i)  # noqa: S311 - the same draw in every run
        for n in range(20_000):
            opened.table.spend(limits, draw.randrange(1, 40), 1, 1, NOW + n * 1_000)

    together(work, 4)
    owners = opened.owners()
    assert len(owners) == len(set(owners)) == 2 * WAYS
    assert opened.table.untracked == 0


@pytest.mark.parametrize("turns", range(100, 1_100, 100))
def test_killed_in_the_middle(shared: Shared, start: Start, turns: int) -> None:
    """A process killed at any instruction costs its clients one request at most and holds up nobody."""
    opened, limits, keys = Opened(shared(table_bytes(4_096))), policy(3), range(1, 401)
    admitted, progress = shared(32).cast("Q"), shared(8).cast("Q")

    def work(i: int) -> None:
        for turn, key in enumerate(cycle(keys) if i == 0 else [*keys] * 3):
            admitted[i] += tries(opened.table, limits, key, 1)
            if i == 0:
                progress[0] = turn

    victim, *others = start(work, 3)
    while progress[0] < turns:
        assert victim.is_alive()
    victim.kill()
    for child in others:
        child.join(60)
        assert child.exitcode == 0
    assert 3 * len(keys) - 1 <= sum(admitted) <= 3 * len(keys)
    assert sorted(opened.owners()) == list(keys)


def test_counts_of_all_processes(shared: Shared, together: Together) -> None:
    """Evictions are counted in the shared memory, once each; who lost its slot before it paid owed nothing."""
    table, limits = ClientTable(shared(table_bytes(8)), SECRET), policy(5)

    def work(i: int) -> None:
        for key in range(1 + i * 1_000, 501 + i * 1_000):
            table.spend(limits, key, 1, 1, NOW)

    together(work, 2)
    assert 500 < table.evictions <= 2 * 500 - WAYS


def test_time_passes_between_processes(shared: Shared, together: Together) -> None:
    """Whatever the order in which processes come with their times, a window holds burst and rate."""
    table, limits = ClientTable(shared(table_bytes(8)), SECRET), policy(5)
    times = shared(4 * 400 * 8).cast("Q")

    def work(i: int) -> None:
        for n in range(400):
            now_ns = NOW + n * SECOND // 10
            times[400 * i + n] = now_ns if table.spend(limits, 7, 1, 1, now_ns) is None else 0

    together(work, 4)
    spent = sorted(time for time in times if time)
    assert len(spent) >= 5
    assert all(late - early >= SECOND for early, late in zip(spent, spent[5:], strict=False))


def test_what_a_request_takes(shared: Shared) -> None:
    """The cost that is told is the one that is paid: at most the burst, or what comes back within the longest delay."""
    prompt = Limit(name="x", burst=3, count=1, period_ns=SECOND)
    patient = Limit(name="y", burst=9, count=1, period_ns=SECOND, max_delay_ns=2 * SECOND)
    limits = LimitSet([None, prompt, patient, *[None] * 9])
    assert [limits.cost_ns(bucket, times) // SECOND for bucket in (1, 2, 3) for times in (1, 2, 16)] == [
        *(1, 2, 3),
        *(1, 2, 2),
        *(0, 0, 0),
    ]
    table = ClientTable(shared(table_bytes(8)), SECRET)
    for bucket in (1, 2):
        table.spend(limits, 7, bucket, 0, NOW, 2)
        tats = table.peek(7)
        assert tats is not None
        assert tats[bucket] - NOW == limits.cost_ns(bucket, 2)
    with pytest.raises(ValueError, match="bucket"):
        limits.cost_ns(12, 1)
