"""Buckets by any key: what is paid, on both twins; then the table in shared memory, step by step and in a crowd."""

import mmap
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from itertools import combinations, count, cycle
from multiprocessing.process import BaseProcess
from random import Random
from typing import Any, NamedTuple, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import _buckets_py, buckets
from fastpath._gcra_py import MAX_OFFSET_NS, Limit, Mode
from fastpath.buckets import BUCKET_TABLE_BYTES, LAYOUT, BucketTable, Budget, bucket_key, hash_text

SECOND = 10**9
NOW = 1_000 * SECOND
SECRET = bytes(range(16))
KIND = 12
ALICE, BOB = 7, 2**64 - 1
WAYS = LAYOUT["ways"]
HEADER = LAYOUT["header_bytes"] // 8  # words
SET = LAYOUT["set_bytes"] // 8
EVICTED, UNTRACKED = 0, 1

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


class Table(Protocol):
    """The methods under test; the budgets are those of the same twin, which the types cannot say."""

    def spend(self, budget: Any, key: int, cost: int, now_ns: int) -> Any: ...  # noqa: D102 - a protocol of the twin
    def refund(self, budget: Any, key: int, cost: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def charge(self, budget: Any, key: int, cost: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def add(self, key: int, delta_ns: int, most_ns: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def peek(self, key: int) -> int | None: ...  # noqa: D102 - a protocol of the twin


class Kit(NamedTuple):
    """One twin: how to make an empty table, and its budgets."""

    table: Callable[[], Table]
    budget: Callable[[Limit, int], Any]


def empty() -> BucketTable:
    """Return a table in memory of its own."""
    return BucketTable(memoryview(mmap.mmap(-1, BUCKET_TABLE_BYTES)), SECRET)


TWINS = {
    "python": Kit(lambda: _buckets_py.BucketTable(1_000), _buckets_py.Budget),
    "shared": Kit(empty, Budget),
}


@pytest.fixture(params=[*TWINS.values()], ids=[*TWINS])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Return the twin under test."""
    assert isinstance(request.param, Kit)
    return request.param


def limit(burst: int, delay_s: int = 0, mode: Mode = Mode.ENFORCE) -> Limit:
    """Return a limit of one token a second."""
    return Limit(name="x", burst=burst, count=1, period_ns=SECOND, max_delay_ns=delay_s * SECOND, mode=mode)


def told(spending: Any) -> tuple[bool, int, int, int, int] | None:
    """Return what a spending says: allowed, tokens left, and in seconds the wait, the retry, the reset."""
    if spending is None:
        return None
    times = (spending.wait_ns, spending.retry_after_ns, spending.reset_after_ns)
    assert all(time % SECOND == 0 for time in times)
    return (spending.allowed, spending.remaining, *(time // SECOND for time in times))


# What is paid: both twins.


@pytest.mark.parametrize(
    ("burst", "delay_s", "costs", "at_s", "expected"),
    [
        (3, 0, [3], [0], [None]),
        (3, 0, [2, 1], [0, 0], [None, None]),
        (3, 0, [2, 2], [0, 0], [None, (False, 1, 0, 1, 2)]),
        (3, 0, [2, 2, 1], [0, 0, 0], [None, (False, 1, 0, 1, 2), None]),
        (3, 0, [3, 2], [0, 2], [None, None]),
        (3, 0, [3, 2], [0, 1], [None, (False, 1, 0, 1, 2)]),
        (3, 1, [3, 1], [0, 0], [None, (True, 0, 1, 0, 4)]),
        (3, 1, [3, 2], [0, 0], [None, (False, 0, 0, 1, 3)]),
        (3, 0, [99], [0], [None]),
        (3, 0, [1, 99], [0, 0], [None, (False, 2, 0, 1, 1)]),
        (3, 0, [3, 0], [0, 0], [None, None]),
    ],
)
def test_spend(
    kit: Kit,
    burst: int,
    delay_s: int,
    costs: list[int],
    at_s: list[int],
    expected: list[tuple[bool, int, int, int, int] | None],
) -> None:
    """Tokens are taken if they are there or soon will be, else none; a cost above the burst is the burst."""
    table, budget = kit.table(), kit.budget(limit(burst, delay_s), KIND)
    found = [table.spend(budget, ALICE, cost, NOW + at * SECOND) for cost, at in zip(costs, at_s, strict=True)]
    assert [told(spending) for spending in found] == expected


def test_a_spending_says_whose_it_is(kit: Kit) -> None:
    """The kind of the budget stands where a client's spending has its bucket."""
    table, budget = kit.table(), kit.budget(limit(1), 255)
    assert table.spend(budget, ALICE, 1, NOW) is None
    spending = table.spend(budget, ALICE, 1, NOW)
    assert (spending.bucket, spending.shadow, budget.kind) == (255, False, 255)


def test_shadow_refuses_nobody(kit: Kit) -> None:
    """A limit in shadow mode says what it would have done, and takes what it would have taken."""
    table, budget = kit.table(), kit.budget(limit(1, mode=Mode.SHADOW), KIND)
    assert table.spend(budget, ALICE, 1, NOW) is None
    spending = table.spend(budget, ALICE, 1, NOW)
    assert (spending.shadow, told(spending)) == (True, (True, 0, 0, 1, 1))
    assert table.peek(ALICE) == NOW + SECOND


def test_off_accounts_nothing(kit: Kit) -> None:
    """A limit that is off takes nothing, gives nothing back and makes no bucket."""
    table, off = kit.table(), kit.budget(limit(1, mode=Mode.OFF), KIND)
    table.spend(kit.budget(limit(1), KIND), BOB, 1, NOW)
    for key in (ALICE, BOB):
        assert table.spend(off, key, 9, NOW) is None
        table.charge(off, key, 9, NOW)
        table.refund(off, key, 9, NOW)
    assert (table.peek(ALICE), table.peek(BOB)) == (None, NOW + SECOND)


@pytest.mark.parametrize(
    ("spent", "back", "after_s", "left_s"),
    [(3, 1, 0, 2), (3, 3, 0, 0), (1, 3, 0, 0), (3, 99, 0, 0), (3, 1, 2, 0), (3, 2, 2, 0), (3, 0, 0, 3)],
)
def test_refund(kit: Kit, spent: int, back: int, after_s: int, left_s: int) -> None:
    """What is given back was there before, and what has flowed back meanwhile is not given twice."""
    table, budget = kit.table(), kit.budget(limit(3), KIND)
    table.spend(budget, ALICE, spent, NOW)
    now_ns = NOW + after_s * SECOND
    table.refund(budget, ALICE, back, now_ns)
    assert table.peek(ALICE) == now_ns + left_s * SECOND


def test_refund_makes_no_bucket(kit: Kit) -> None:
    """Who has no bucket has nothing to get back."""
    table = kit.table()
    table.refund(kit.budget(limit(3), KIND), ALICE, 1, NOW)
    assert table.peek(ALICE) is None


@pytest.mark.parametrize(
    ("costs", "owed_s"),
    [([1], 1), ([3], 3), ([4], 4), ([6], 6), ([7], 6), ([1_000_000], 6), ([3, 3], 6), ([3, 3, 3], 6), ([0], 0)],
)
def test_charge(kit: Kit, costs: list[int], owed_s: int) -> None:
    """What is charged is never refused and may leave a debt, of one more burst at most."""
    table, budget = kit.table(), kit.budget(limit(3), KIND)
    for cost in costs:
        table.charge(budget, ALICE, cost, NOW)
    assert table.peek(ALICE) == NOW + owed_s * SECOND
    expected = None if owed_s < 3 else (False, 0, 0, owed_s - 2, owed_s)
    assert told(table.spend(budget, ALICE, 1, NOW)) == expected


def test_a_smaller_limit_forgives_no_debt(kit: Kit) -> None:
    """A charge under a limit that was lowered leaves a debt deeper than its own as it is."""
    table = kit.table()
    table.charge(kit.budget(limit(100), KIND), ALICE, 100, NOW)
    table.charge(kit.budget(limit(3), KIND), ALICE, 1, NOW)
    assert table.peek(ALICE) == NOW + 100 * SECOND


@pytest.mark.parametrize(
    ("before_s", "delta_s", "expected_s"),
    [(None, 3, 3), (2, 3, 5), (-5, 3, 3), (2, 99, 10), (20, 3, 20), (5, -2, 3), (5, -9, 0), (-5, -1, -5), (0, 0, 0)],
)
def test_add(kit: Kit, before_s: int | None, delta_s: int, expected_s: int) -> None:
    """What was spent elsewhere moves the bucket, up to a bound; what was given back never makes it more than full."""
    table = kit.table()
    if before_s is not None:
        table.add(ALICE, 6 * SECOND + before_s * SECOND, 100 * SECOND, NOW - 6 * SECOND)
    table.add(ALICE, delta_s * SECOND, 10 * SECOND, NOW)
    assert table.peek(ALICE) == NOW + expected_s * SECOND


@pytest.mark.parametrize("delta_ns", [0, -SECOND])
def test_adding_nothing_makes_no_bucket(kit: Kit, delta_ns: int) -> None:
    """Who has no bucket has nothing to get back."""
    table = kit.table()
    table.add(ALICE, delta_ns, SECOND, NOW)
    assert table.peek(ALICE) is None


@pytest.mark.parametrize(
    ("key", "delta_ns", "most_ns", "now_ns"),
    [(0, 1, 1, 1), (1, 2**61 + 1, 1, 1), (1, -(2**61) - 1, 1, 1), (1, 1, -1, 1), (1, 1, 2**61 + 1, 1), (1, 1, 1, -1)],
)
def test_adding_out_of_range(kit: Kit, key: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
    """An argument out of range is the caller's bug, and named."""
    with pytest.raises(ValueError, match=r"not in"):
        kit.table().add(key, delta_ns, most_ns, now_ns)


def test_keys_are_apart(kit: Kit) -> None:
    """What one key pays is not another's."""
    table, budget = kit.table(), kit.budget(limit(1), KIND)
    assert [table.spend(budget, key, 1, NOW) for key in range(1, 101)] == [None] * 100
    assert all(table.spend(budget, key, 1, NOW) for key in range(1, 101))


@pytest.mark.parametrize("method", ["spend", "refund", "charge"])
@pytest.mark.parametrize(
    ("key", "cost", "now_ns", "message"),
    [
        (0, 1, NOW, r"key 0 not in 1\.\.2\*\*64-1"),
        (ALICE, -1, NOW, r"cost -1 not in 0\.\.1000000"),
        (ALICE, 1_000_001, NOW, r"cost 1000001 not in 0\.\.1000000"),
        (ALICE, 1, -1, r"now_ns -1 not in 0\.\."),
        (ALICE, 1, 2**61 + 1, r"now_ns \d+ not in 0\.\."),
    ],
)
def test_out_of_range(kit: Kit, method: str, key: int, cost: int, now_ns: int, message: str) -> None:
    """An argument out of range is the caller's bug, and named."""
    table, budget = kit.table(), kit.budget(limit(1), KIND)
    with pytest.raises(ValueError, match=message):
        getattr(table, method)(budget, key, cost, now_ns)


@pytest.mark.parametrize("kind", [-1, 0, 11, 256])
def test_kinds_of_clients_are_taken(kit: Kit, kind: int) -> None:
    """The buckets of a client have the numbers below; a byte holds the others."""
    with pytest.raises(ValueError, match=rf"kind {kind} not in 12\.\.255"):
        kit.budget(limit(1), kind)


def test_budgets_that_fill_too_slowly(kit: Kit) -> None:
    """A limit of which a debt would leave its word is refused; the slowest that is not can be charged to the end."""
    year_ns = 365 * 86_400 * SECOND
    slow, slower = (Limit(name="x", burst=years, count=1, period_ns=year_ns) for years in (18, 19))
    with pytest.raises(ValueError, match=r"burst_offset_ns \d+ above \d+ of limit 'x'"):
        kit.budget(slower, KIND)
    table, budget = kit.table(), kit.budget(slow, KIND)
    for _ in range(3):
        table.charge(budget, ALICE, 1_000_000, MAX_OFFSET_NS)
    assert table.peek(ALICE) == MAX_OFFSET_NS + 36 * year_ns
    spending = table.spend(budget, ALICE, 1_000_000, MAX_OFFSET_NS)
    assert (spending.allowed, spending.retry_after_ns) == (False, 36 * year_ns)


limits = st.builds(
    Limit,
    name=st.just("x"),
    burst=st.integers(1, 50),
    count=st.integers(1, 1_000),
    period_ns=st.sampled_from([1_000, SECOND, 3_600 * SECOND]),
    max_delay_ns=st.sampled_from([0, 1, SECOND]),
    mode=st.sampled_from(Mode),
)
steps = st.lists(
    st.tuples(
        st.sampled_from(["spend", "refund", "charge"]),
        st.integers(1, 3),
        st.one_of(st.integers(0, 120), st.just(1_000_000)),
        st.sampled_from([0, 1, 1_000, SECOND, 100 * SECOND]),
        st.integers(0, 1),
    )
)


@given(st.tuples(limits, limits), steps)
def test_the_twins_agree(both: tuple[Limit, Limit], steps: list[tuple[str, int, int, int, int]]) -> None:
    """Whatever is spent, charged and given back under changing limits, the table says what its specification says."""
    (theirs, budgets_py), (ours, budgets) = (
        (kit.table(), [kit.budget(each, KIND) for each in both]) for kit in TWINS.values()
    )
    now_ns = NOW
    for method, key, cost, step_ns, which in steps:
        now_ns += step_ns
        expected = getattr(theirs, method)(budgets_py[which], key, cost, now_ns)
        found = getattr(ours, method)(budgets[which], key, cost, now_ns)
        assert (found and tuple(getattr(found, name) for name in expected._fields)) == expected
        assert ours.peek(key) == theirs.peek(key)


# Keys and hashes.


def test_hash_is_siphash_1_3() -> None:
    """Texts of any length are hashed as CPython hashes bytes, which with seed 0 has a secret of zeros."""
    texts = [bytes(range(1, size + 1)) for size in range(1, 70)]
    code = f"import sys; assert sys.hash_info.algorithm == 'siphash13'; print(*map(hash, {texts!r}))"
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    theirs = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True)
    assert [hash_text(text, bytes(16)) for text in texts] == [int(word) % 2**64 for word in theirs.stdout.split()]


def test_the_secret_counts() -> None:
    """All of the 16 bytes count, and there must be 16; an empty text has a hash too."""
    secrets = [bytes(16), b"\1" + bytes(15), bytes(15) + b"\1"]
    for text in (b"", b"a", bytes(40)):
        assert len({hash_text(text, secret) for secret in secrets} - {0}) == 3
    for size in (0, 15, 17):
        with pytest.raises(ValueError, match=f"secret has {size} bytes, not 16"):
            hash_text(b"a", bytes(size))


def test_keys_of_buckets() -> None:
    """Kinds, and each of the words, make different keys; none is 0."""
    small = range(40)
    keys = {bucket_key(kind, a, b) for kind in small for a in small for b in small}
    assert (len(keys), 0 in keys) == (40**3, False)
    assert bucket_key(0, 0, 0) == 1  # which would be 0
    assert bucket_key(12, 5) == bucket_key(12, 5, 0) != bucket_key(12, 0, 5)


def test_a_bit_of_a_word_changes_half_of_the_key() -> None:
    """No bit of the words can be told from the key: on the average 32 of its bits change with it."""
    draw = Random(1)  # noqa: S311 - the same draw in every run
    for which in range(2):
        for bit in range(64):
            changed = 0
            for _ in range(64):
                words = [draw.getrandbits(64), draw.getrandbits(64)]
                before = bucket_key(KIND, *words)
                words[which] ^= 1 << bit
                changed += (before ^ bucket_key(KIND, *words)).bit_count()
            assert 28 * 64 < changed < 36 * 64


# The table in shared memory.


class Opened:
    """A table and the words of its memory."""

    def __init__(self, memory: memoryview) -> None:
        """Take memory of `BUCKET_TABLE_BYTES`."""
        self.table = BucketTable(memory, SECRET)
        self.words = memory.cast("Q")

    def key_word(self, key: int, way: int = 0) -> int:
        """Return the index of the key of a way of the set of a key; its TAT stands WAYS further."""
        return HEADER + self.table.place(key) * SET + way

    def owners(self, key: int) -> list[int]:
        """Return the keys of the set of a key, 0 for a free way."""
        first = self.key_word(key)
        return self.words[first : first + WAYS].tolist()

    def put(self, key: int, way: int, tat_ns: int, *, home: int | None = None) -> None:
        """Write a bucket into a way (of the set of another key)."""
        word = self.key_word(key if home is None else home, way)
        self.words[word], self.words[word + WAYS] = key, tat_ns


@pytest.fixture
def opened(shared: Shared) -> Opened:
    """Return an empty table."""
    return Opened(shared(BUCKET_TABLE_BYTES))


def neighbours(count: int) -> list[int]:
    """Return keys that share a set; one secret, so always the same ones."""
    place, sets = empty().place, defaultdict[int, list[int]](list)
    for key in range(1, 10_000_000):
        mine = sets[place(key)]
        mine.append(key)
        if len(mine) == count:
            return mine
    raise AssertionError("no set has so many keys")


NEIGHBOURS = neighbours(18)
BUDGET = Budget(limit(5), KIND)


def test_a_bucket_takes_16_bytes(opened: Opened) -> None:
    """The memory is what the budget says: 16 MiB for a million buckets, and a line."""
    assert (BUCKET_TABLE_BYTES, opened.table.capacity) == (64 + (16 << 20), 1 << 20)


@pytest.mark.parametrize("size", [0, BUCKET_TABLE_BYTES - 8])
def test_wrong_memory(size: int) -> None:
    """Too little memory is no table."""
    with pytest.raises(ValueError, match=f"memory of the buckets: {size} bytes, not {BUCKET_TABLE_BYTES}"):
        BucketTable(memoryview(bytearray(size)), SECRET)


def test_short_secret(shared: Shared) -> None:
    """A secret of another length is refused."""
    with pytest.raises(ValueError, match="secret has 15 bytes, not 16"):
        BucketTable(shared(BUCKET_TABLE_BYTES), bytes(15))


@pytest.mark.parametrize("method", ["spend", "refund", "charge"])
def test_no_budget(opened: Opened, method: str) -> None:
    """None is no budget, and what is no word no key."""
    with pytest.raises(TypeError, match="budget is None"):
        getattr(opened.table, method)(None, ALICE, 1, NOW)
    with pytest.raises(OverflowError):
        getattr(opened.table, method)(BUDGET, 2**64, 1, NOW)


def test_two_tables_on_one_memory(shared: Shared) -> None:
    """What one process spends, another sees."""
    memory = shared(BUCKET_TABLE_BYTES)
    mine, theirs = (BucketTable(memory, SECRET) for _ in range(2))
    mine.spend(BUDGET, ALICE, 2, NOW)
    assert theirs.peek(ALICE) == NOW + 2 * SECOND


def test_keys_spread_over_the_sets(opened: Opened) -> None:
    """Neighbouring keys fall into all sets alike: of 131_072 in as many sets, hardly ever nine meet."""
    sets = defaultdict[int, int](int)
    for key in range(1 << 17):
        sets[opened.table.place(key)] += 1
    assert max(sets.values()) < 14
    assert 0.62 < len(sets) / (1 << 17) < 0.65  # 1 - 1/e


def fill(opened: Opened, owed_s: list[int]) -> None:
    """Fill a set with neighbours that owe so many seconds."""
    for key, owed in zip(NEIGHBOURS[:WAYS], owed_s, strict=True):
        opened.table.charge(BUDGET, key, owed, NOW)
    assert opened.owners(NEIGHBOURS[0]) == NEIGHBOURS[:WAYS]


@pytest.mark.parametrize("way", range(WAYS))
def test_who_owes_nothing_goes_first(opened: Opened, way: int) -> None:
    """A newcomer takes the way of a bucket that is full again; nobody loses anything, so nothing is counted."""
    fill(opened, [1 if i == way else 5 for i in range(WAYS)])
    later = NOW + SECOND
    assert opened.table.spend(BUDGET, NEIGHBOURS[8], 5, later) is None
    assert opened.owners(NEIGHBOURS[0])[way] == NEIGHBOURS[8]
    assert opened.table.peek(NEIGHBOURS[8]) == later + 5 * SECOND
    assert opened.table.evictions == 0
    assert [opened.table.peek(key) for key in NEIGHBOURS[:WAYS] if key != NEIGHBOURS[way]] == [NOW + 5 * SECOND] * 7


@pytest.mark.parametrize("way", range(WAYS))
def test_else_who_owes_least(opened: Opened, way: int) -> None:
    """If all owe, the one that owes least is turned out and counted; the newcomer does not inherit its debt."""
    fill(opened, [2 if i == way else 3 for i in range(WAYS)])
    assert opened.table.spend(BUDGET, NEIGHBOURS[8], 5, NOW) is None
    assert opened.owners(NEIGHBOURS[0])[way] == NEIGHBOURS[8]
    assert opened.table.evictions == 1
    assert opened.table.peek(NEIGHBOURS[way]) is None
    assert opened.table.untracked == 0


def test_a_free_way_goes_before_all(opened: Opened) -> None:
    """A way that nobody has is taken before one that owes nothing, also if somebody left a debt in it."""
    fill(opened, [1] * WAYS)
    opened.put(0, 3, NOW + 9 * SECOND, home=NEIGHBOURS[0])
    opened.table.charge(BUDGET, NEIGHBOURS[8], 1, NOW + 2 * SECOND)
    assert opened.owners(NEIGHBOURS[0])[3] == NEIGHBOURS[8]
    assert opened.table.peek(NEIGHBOURS[8]) == NOW + 3 * SECOND
    assert opened.table.evictions == 0


def test_a_refused_newcomer_turns_out_nobody_twice(opened: Opened) -> None:
    """A flood of new keys leaves those alone that owe more than it does, and stays within its memory."""
    fill(opened, [5, 5, 5, 5, 5, 5, 5, 1])
    for _ in range(100):
        for key in NEIGHBOURS[8:]:
            assert opened.table.spend(BUDGET, key, 2, NOW) is None
    assert opened.owners(NEIGHBOURS[0])[:7] == NEIGHBOURS[:7]
    assert opened.table.evictions == 1_000


def test_a_flood_leaves_the_memory_as_it_is(shared: Shared) -> None:
    """Keys of all sets stay within the memory given, to the byte."""
    memory = shared(BUCKET_TABLE_BYTES + 4_096)
    table = BucketTable(memory[:BUCKET_TABLE_BYTES], SECRET)
    for key in range(1, 400_000):
        table.spend(BUDGET, key, 1, NOW)
    assert bytes(memory[BUCKET_TABLE_BYTES:]) == bytes(4_096)
    assert sum(table.peek(key) is not None for key in range(1, 400_000)) == 399_999 - table.evictions


@pytest.mark.parametrize("content", ["random", "ones", "keys"])
def test_any_content_is_survived(shared: Shared, content: str) -> None:
    """Over bytes that no writer wrote everything ends and stays in its memory."""
    memory = shared(BUCKET_TABLE_BYTES + 4_096)
    memory[:] = Random(1).randbytes(len(memory)) if content == "random" else b"\xff" * len(memory)  # noqa: S311
    opened = Opened(memory[:BUCKET_TABLE_BYTES])
    if content == "keys":
        for way in range(WAYS):
            opened.put(NEIGHBOURS[0], way, 2**63 - 1)
    beyond = bytes(memory[BUCKET_TABLE_BYTES:])
    for key in [*NEIGHBOURS, *range(1, 2_000), 2**64 - 1]:
        opened.table.spend(BUDGET, key, 1, NOW)
        opened.table.charge(BUDGET, key, 1, NOW)
        opened.table.refund(BUDGET, key, 1, NOW)
        opened.table.peek(key)
    assert bytes(memory[BUCKET_TABLE_BYTES:]) == beyond


# Killed writers: what stands between the steps of an eviction (theory in `ways.pxd`).


def test_killed_between_forgiving_and_renaming(opened: Opened) -> None:
    """A bucket that was forgiven for a newcomer who never came owes nothing, and is used on."""
    fill(opened, [3] * WAYS)
    opened.put(NEIGHBOURS[2], 2, 0)
    assert opened.table.spend(BUDGET, NEIGHBOURS[2], 5, NOW) is None
    assert opened.table.peek(NEIGHBOURS[2]) == NOW + 5 * SECOND
    assert opened.owners(NEIGHBOURS[0]) == NEIGHBOURS[:WAYS]


@pytest.mark.parametrize("ways", [*combinations(range(WAYS), 2)])
def test_killed_with_a_key_in_two_ways(opened: Opened, ways: tuple[int, int]) -> None:
    """The first way of a key counts; the other one goes when it owes nothing, and is nobody's debt."""
    fill(opened, [5] * WAYS)
    first, second = ways
    for way, tat_ns in ((first, 0), (second, NOW + SECOND)):
        opened.put(NEIGHBOURS[8], way, tat_ns, home=NEIGHBOURS[0])
    assert opened.table.spend(BUDGET, NEIGHBOURS[8], 5, NOW) is None
    assert opened.table.spend(BUDGET, NEIGHBOURS[8], 1, NOW) is not None
    opened.table.spend(BUDGET, NEIGHBOURS[9], 1, NOW + SECOND)
    owners = opened.owners(NEIGHBOURS[0])
    assert (owners[first], owners[second]) == (NEIGHBOURS[8], NEIGHBOURS[9])


# Crowds.


def tries(table: BucketTable, budget: Budget, key: int, count: int) -> int:
    """Return how many of `count` payments at one moment are taken."""
    return sum(table.spend(budget, key, 1, NOW) is None for _ in range(count))


def test_a_crowd_pays_exactly(opened: Opened, shared: Shared, together: Together) -> None:
    """Four processes that hammer one bucket at one moment get its burst, not one more nor less."""
    admitted, budget = shared(32).cast("Q"), Budget(limit(400_000), KIND)

    def work(i: int) -> None:
        admitted[i] = tries(opened.table, budget, ALICE, 150_000)  # longer than a turn of the scheduler

    together(work, 4)
    assert sum(admitted) == 400_000


def test_a_crowd_charges_and_gives_back_exactly(opened: Opened, together: Together) -> None:
    """What four processes charge and give back at once adds up."""
    budget = Budget(limit(1_000_000), KIND)

    def work(_: int) -> None:
        for _ in range(200_000):
            opened.table.charge(budget, ALICE, 2, NOW)
            opened.table.refund(budget, ALICE, 1, NOW)

    together(work, 4)
    assert opened.table.peek(ALICE) == NOW + 4 * 200_000 * SECOND


def test_first_payments_race(opened: Opened, shared: Shared, together: Together) -> None:
    """Four processes that bring the same new keys at once give each one way, and take each its burst."""
    admitted, budget, keys = shared(32).cast("Q"), Budget(limit(2), KIND), range(1, 100_001)

    def work(i: int) -> None:
        admitted[i] = sum(tries(opened.table, budget, key, 1) for key in keys)

    together(work, 4)
    assert 0 <= sum(admitted) - 2 * len(keys) <= 3  # a payment into a way that is being given back is lost
    words = opened.words[HEADER:].tolist()
    assert sorted(filter(None, (key for way in range(WAYS) for key in words[way::SET]))) == [*keys]


def test_a_crowded_set_keeps_its_order(opened: Opened, together: Together) -> None:
    """Processes that turn each other's keys out of one set leave no key twice and none without a place."""

    def work(i: int) -> None:
        draw = Random(i)  # noqa: S311 - the same draw in every run
        for n in range(60_000):
            opened.table.spend(BUDGET, draw.choice(NEIGHBOURS), 1, NOW + n * 1_000_000)

    together(work, 4)
    owners = opened.owners(NEIGHBOURS[0])
    assert len({*owners} & {*NEIGHBOURS}) == WAYS
    assert opened.table.untracked == 0
    assert opened.table.evictions > 1_000


@pytest.mark.parametrize("turns", range(100, 2_100, 200))
def test_killed_in_the_middle(opened: Opened, shared: Shared, start: Start, turns: int) -> None:
    """A process killed at any instruction costs its keys one payment at most and holds up nobody."""
    admitted, progress = shared(32).cast("Q"), shared(8).cast("Q")
    budget, keys = Budget(limit(3), KIND), range(1, 401)

    def work(i: int) -> None:
        for turn, key in enumerate(cycle(keys) if i == 0 else [*keys] * 3):
            admitted[i] += tries(opened.table, budget, key, 1)
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


@pytest.mark.parametrize("turns", range(1_000, 11_000, 2_000))
def test_killed_while_it_turns_others_out(opened: Opened, shared: Shared, start: Start, turns: int) -> None:
    """A process killed while it moves keys in and out of one set leaves all of its ways usable."""
    progress = shared(8).cast("Q")

    def work(i: int) -> None:
        draw = Random(i)  # noqa: S311 - the same draw in every run
        for turn in count():
            opened.table.spend(BUDGET, draw.choice(NEIGHBOURS), 1, NOW)
            if i == 0:
                progress[0] = turn

    victims = start(work, 2)
    while progress[0] < turns:
        assert victims[0].is_alive()
    for victim in victims:
        victim.kill()
        victim.join()
    later = NOW + 100 * SECOND
    for key in NEIGHBOURS[:WAYS]:
        opened.table.charge(BUDGET, key, 5, later)
    assert sorted(opened.owners(NEIGHBOURS[0])) == NEIGHBOURS[:WAYS]
    assert [opened.table.peek(key) for key in NEIGHBOURS[:WAYS]] == [later + 5 * SECOND] * WAYS
    assert opened.table.untracked == 0


def test_the_module_is_compiled() -> None:
    """What the twin is compared with is the shared object."""
    assert str(buckets.__file__).endswith(".so")


def test_adders_race(shared: Shared, together: Together) -> None:
    """What several processes add at once is all there."""
    memory = shared(BUCKET_TABLE_BYTES)

    def work(_number: int) -> None:
        table = BucketTable(memory, SECRET)
        for _ in range(2_000):
            table.add(ALICE, 3, 2**61, NOW)
            table.add(ALICE, -1, 2**61, NOW)

    together(work, 3)
    assert BucketTable(memory, SECRET).peek(ALICE) == NOW + 3 * 2_000 * 2


@pytest.mark.parametrize(("mode", "enforced"), [(Mode.OFF, False), (Mode.SHADOW, False), (Mode.ENFORCE, True)])
def test_what_a_budget_says_of_itself(mode: Mode, enforced: bool) -> None:  # noqa: FBT001 - a value
    """How far it may be emptied, for a request to go on at once and at all, and whether it refuses anybody."""
    budget = Budget(Limit(name="x", burst=3, count=2, period_ns=SECOND, max_delay_ns=7, mode=mode), KIND)
    assert (budget.burst_ns, budget.room_ns, budget.enforced) == (3 * SECOND // 2, 3 * SECOND // 2 + 7, enforced)
