"""How new a subject is: what both twins say, how well the sketch counts, and the table in shared memory."""

import math
import mmap
import os
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import combinations, count
from multiprocessing.process import BaseProcess
from random import Random
from statistics import fmean
from typing import NamedTuple, Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import _distinct_py, distinct
from fastpath._distinct_py import MAX_PRICE, MAX_RANK, Generation, estimate, price, rank_of
from fastpath.distinct import DISTINCT_BYTES, EXACT, LAYOUT, REGISTERS, WINDOW_NS, DistinctTable
from fastpath.table import hash_key

SECRET = bytes(range(16))
NOW = 100 * WINDOW_NS
ALICE, BOB = 7, 2**64 - 1  # aggregates
WAYS = LAYOUT["ways"]
HEADER = LAYOUT["header_bytes"] // 8  # words
AGGREGATES = 16_384
STATES = HEADER + AGGREGATES
CELLS = STATES + AGGREGATES
CELL = LAYOUT["cell_bytes"] // 8
SKETCH = 1 << 48
STANDARD_ERROR = 1.04 / math.sqrt(REGISTERS)

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


class Table(Protocol):
    """The methods under test."""

    def novelty(self, aggregate: int, subject_hash: int, now_ns: int) -> int: ...  # noqa: D102 - a protocol of the twin
    def add(self, aggregate: int, subject_hash: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def estimate(self, aggregate: int, now_ns: int) -> float: ...  # noqa: D102 - a protocol of the twin


def empty() -> DistinctTable:
    """Return a table in memory of its own."""
    return DistinctTable(memoryview(mmap.mmap(-1, DISTINCT_BYTES)), SECRET)


TWINS: dict[str, Callable[[], Table]] = {"python": lambda: _distinct_py.DistinctTable(SECRET), "shared": empty}


@pytest.fixture(params=[*TWINS.values()], ids=[*TWINS])
def table(request: pytest.FixtureRequest) -> Table:
    """Return an empty table of the twin under test."""
    made: Table = request.param()
    return made


def add(table: Table, subjects: Iterable[int], now_ns: int = NOW, aggregate: int = ALICE) -> None:
    """Add some subjects."""
    for subject in subjects:
        table.add(aggregate, subject, now_ns)


def prices(table: Table, subjects: Iterable[int], now_ns: int = NOW, aggregate: int = ALICE) -> list[int]:
    """Return what subjects cost."""
    return [table.novelty(aggregate, subject, now_ns) for subject in subjects]


# What is said: both twins.


def test_new_then_known(table: Table) -> None:
    """A subject costs a token until it is added, and nothing from then on; to ask adds nothing."""
    assert prices(table, [1, 1, 2]) == [1, 1, 1]
    add(table, [1])
    assert prices(table, [1, 2, 1]) == [0, 1, 0]
    assert table.estimate(ALICE, NOW) == 1


@pytest.mark.parametrize("subject", [0, 1, 2**64 - 1])
def test_any_word_is_a_subject(table: Table, subject: int) -> None:
    """Nothing is asked of a hash but that it is a word."""
    add(table, [subject])
    assert prices(table, [subject, subject ^ 1]) == [0, 1]


def test_aggregates_are_apart(table: Table) -> None:
    """What one aggregate has seen is new to another."""
    add(table, range(10))
    assert prices(table, range(10), aggregate=BOB) == [1] * 10
    assert [table.estimate(aggregate, NOW) for aggregate in (ALICE, BOB)] == [10, 0]


@pytest.mark.parametrize(
    ("added_at", "asked_at", "known"),
    [(0.0, 0.999, True), (0.0, 1.0, True), (0.999, 1.999, True), (0.0, 1.999, True), (0.0, 2.0, False),
     (0.999, 2.0, False), (0.0, 3.0, False), (0.0, 4.0, False), (0.0, 1_000.0, False)],
)  # fmt: skip
def test_the_window(table: Table, added_at: float, asked_at: float, known: bool) -> None:  # noqa: FBT001 - a row
    """A subject is known in the generation in which it was added and in the next one."""
    add(table, range(40), NOW + int(added_at * WINDOW_NS))
    later = NOW + int(asked_at * WINDOW_NS)
    assert table.estimate(ALICE, later) == (40 if known else 0)
    assert set(prices(table, range(40), later)) == ({0} if known else {1})


def test_who_is_asked_for_again_stays_known(table: Table) -> None:
    """A known subject is seen again whenever it is asked for, so that only one that nobody wants is forgotten."""
    add(table, range(100))
    for generation in range(1, 10):
        assert prices(table, range(50), NOW + generation * WINDOW_NS) == [0] * 50
    assert sum(prices(table, range(50, 100), NOW + 9 * WINDOW_NS)) == 50
    assert table.estimate(ALICE, NOW + 9 * WINDOW_NS) == 50


def test_the_first_generation_of_all(table: Table) -> None:
    """Also in the first six hours of a machine a subject is new once, and known in the next six."""
    assert prices(table, [1], 0) == [1]
    add(table, [1], 0)
    assert [prices(table, [1, 2], now_ns) for now_ns in (0, WINDOW_NS)] == [[0, 1]] * 2


def test_64_are_exact_in_each_generation(table: Table) -> None:
    """As long as neither generation has more than 64 every count is exact, and every new subject costs one token."""
    later = NOW + WINDOW_NS
    for n in range(EXACT):
        assert prices(table, [n]) == [1]
        add(table, [n])
        assert table.estimate(ALICE, NOW) == n + 1
    for n in range(32, 32 + EXACT):
        assert prices(table, [n], later) == [0 if n < EXACT else 1]
        add(table, [n], later)
        assert table.estimate(ALICE, later) == max(EXACT, n + 1)
    assert prices(table, range(1_000, 2_000), later) == [1] * 1_000


def test_nobody_pays_twice(table: Table) -> None:
    """A known subject costs nothing, however many are known, in both generations."""
    for n in range(3_000):
        add(table, [n])
        assert prices(table, [n, n // 2, n // 50]) == [0, 0, 0]
    assert prices(table, range(3_000)) == prices(table, range(3_000), NOW + WINDOW_NS) == [0] * 3_000


@pytest.mark.parametrize(("known", "tolerance"), [(1_000, 0.1), (20_000, 0.3)])
def test_a_sketch_asks_more_of_fewer(table: Table, known: int, tolerance: float) -> None:
    """Beyond the exact set some new subjects cost nothing and the others as many tokens as they stand for."""
    add(table, range(known))
    found = prices(table, range(10**6, 10**6 + 5_000))
    assert len(set(found) - {0}) <= 2  # one price, rounded up or down
    assert max(found) - min(set(found) - {0}) <= 1
    assert max(found) > 1
    assert fmean(found) == pytest.approx(1, rel=tolerance)


@pytest.mark.parametrize("method", ["novelty", "add"])
@pytest.mark.parametrize(
    ("aggregate", "now_ns", "message"),
    [
        (0, NOW, r"aggregate 0 not in 1\.\.2\*\*64-1"),
        (ALICE, -1, r"now_ns -1 not in 0\.\."),
        (ALICE, 2**61 + 1, r"now_ns \d+ not in 0\.\."),
    ],
)
def test_out_of_range(table: Table, method: str, aggregate: int, now_ns: int, message: str) -> None:
    """An argument out of range is the caller's bug, and named."""
    with pytest.raises(ValueError, match=message):
        getattr(table, method)(aggregate, 1, now_ns)
    with pytest.raises(ValueError, match=message):
        table.estimate(aggregate, now_ns)


steps = st.lists(
    st.tuples(
        st.sampled_from(["novelty", "add", "visit"]),
        st.integers(1, 3),
        st.integers(0, 400),
        st.integers(1, 150),
        st.sampled_from([0, 0, 0, 1, 2, 3, 5]),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=50)
@given(steps)
def test_the_twins_agree(steps: list[tuple[str, int, int, int, int]]) -> None:
    """Whatever is asked and added, over generations, the table says what its specification says."""
    theirs, ours = (make() for make in TWINS.values())
    now_ns = NOW
    for method, aggregate, first, length, halves in steps:
        now_ns += halves * WINDOW_NS // 2
        run = range(first, first + length)
        if method != "add":
            assert prices(ours, run, now_ns, aggregate) == prices(theirs, run, now_ns, aggregate)
        if method != "novelty":
            add(theirs, run, now_ns, aggregate)
            add(ours, run, now_ns, aggregate)
        assert ours.estimate(aggregate, now_ns) == theirs.estimate(aggregate, now_ns)


# How well it counts.


class Errors(NamedTuple):
    """Relative errors over many sets."""

    mean: float
    rms: float
    worst: float


def errors(found: list[float], true: int) -> Errors:
    """Return how far off the numbers are."""
    off = [number / true - 1 for number in found]
    return Errors(fmean(off), math.sqrt(fmean(each**2 for each in off)), max(map(abs, off)))


@pytest.mark.parametrize("size", [65, 100, 200, 500, 1_000, 3_000, 10_000])
def test_errors(size: int) -> None:
    """Over 200 random sets estimates and sums of prices have no bias, and errors as small as is promised.

    Standard error of an estimate: 1.04 / sqrt(512) = 4.6 %; of what a set costs in all: 0.87 / sqrt(512) = 3.8 %.
    """
    table, draw, estimates, costs = empty(), Random(size), [], []  # noqa: S311 - the same draw in every run
    for aggregate in range(1, 201):
        total, subjects = 0.0, (draw.getrandbits(64) for _ in range(size))
        for subject in subjects:
            if cost := table.novelty(aggregate, subject, NOW):
                total += cost
                table.add(aggregate, subject, NOW)
        estimates.append(table.estimate(aggregate, NOW))
        costs.append(total)
    counted, paid = errors(estimates, size), errors(costs, size)
    assert abs(counted.mean) < 0.01
    assert counted.rms < 1.1 * STANDARD_ERROR
    assert counted.worst < 4 * STANDARD_ERROR
    assert abs(paid.mean) < 0.01
    assert paid.rms < 0.042
    assert paid.worst < 0.16


@pytest.mark.parametrize("size", [100, 1_000, 5_000])
def test_errors_over_two_generations(size: int) -> None:
    """The union of both generations is counted, not their sum, and its prices have no bias either."""
    table, draw, estimates, costs = empty(), Random(size), [], []  # noqa: S311 - the same draw in every run
    for aggregate in range(1, 101):
        subjects = [draw.getrandbits(64) for _ in range(2 * size)]
        add(table, subjects[:size], NOW, aggregate)
        later, total = NOW + WINDOW_NS, 0.0
        for subject in subjects:
            total += table.novelty(aggregate, subject, later)
            table.add(aggregate, subject, later)
        estimates.append(table.estimate(aggregate, later))
        costs.append(total)
    counted, paid = errors(estimates, 2 * size), errors(costs, size)
    assert abs(counted.mean) < 0.015
    assert counted.rms < 1.2 * STANDARD_ERROR
    assert abs(paid.mean) < 0.02
    assert paid.rms < 0.08


@pytest.mark.parametrize(
    ("mark", "rank"), [(1 << 9, 1), (0b10 << 9, 2), (0b1100 << 9, 3), (1 << 47, 39), (0, 40), (511, 40), (2**48 - 1, 1)]
)
def test_rank(mark: int, rank: int) -> None:
    """The rank counts the zeros below the lowest bit that chooses no register."""
    assert rank_of(mark) == rank


@given(st.lists(st.integers(0, MAX_RANK), min_size=8, max_size=8), st.booleans())
def test_prices_are_right_on_the_average(some: list[int], split: bool) -> None:  # noqa: FBT001 - drawn
    """Over all ways to round, a price is one over the share of the new subjects that the sketches see."""
    high = some * (REGISTERS // 8)
    low = [min(rank, 3) for rank in high]
    generations = [Generation(registers=low), Generation(registers=high)] if split else [Generation(registers=high)]
    found = [price(generations, dither) for dither in range(0, 1 << 16, 1 << 12)]
    expected = min(1 / fmean(2.0**-rank for rank in high), MAX_PRICE)
    assert abs(fmean(found) - expected) <= 1 / len(found)
    assert {*found} <= {math.floor(expected), math.ceil(expected)}


def test_the_ends_of_the_estimate() -> None:
    """A sketch that has seen nothing says 0, one that has seen everything does not pretend to know."""
    assert estimate([REGISTERS, *[0] * MAX_RANK]) == 0
    assert estimate([*[0] * MAX_RANK, REGISTERS]) == math.inf
    assert estimate([0] * (MAX_RANK + 1)) == math.inf


# The table in shared memory.


class Opened:
    """A table and the words of its memory."""

    def __init__(self, memory: memoryview) -> None:
        """Take memory of `DISTINCT_BYTES`."""
        self.memory = memory
        self.table = DistinctTable(memory, SECRET)
        self.words = memory.cast("Q")

    def way(self, aggregate: int) -> int:
        """Return the way of an aggregate."""
        first = self.table.place(aggregate)
        return first + self.owners(aggregate).index(aggregate)

    def owners(self, aggregate: int) -> list[int]:
        """Return the aggregates of the set of one."""
        first = HEADER + self.table.place(aggregate)
        return self.words[first : first + WAYS].tolist()

    def epoch(self, aggregate: int) -> int:
        """Return the epoch of an aggregate."""
        return self.words[STATES + self.way(aggregate)] >> 49

    def age(self, aggregates: Iterable[int], epoch: int) -> None:
        """Bring aggregates to an epoch; the words of all others are erased, as if they had been written over."""
        for aggregate in aggregates:
            state, cell = STATES + self.way(aggregate), CELLS + self.way(aggregate) * CELL
            self.words[state] = self.words[state] & (1 << 49) - 1 | epoch << 49
            self.words[cell : cell + CELL] = memoryview(bytes(8 * CELL)).cast("Q")

    def half(self, aggregate: int) -> memoryview:
        """Return the words of this generation."""
        first = CELLS + self.way(aggregate) * CELL + self.epoch(aggregate) % 2 * EXACT
        return self.words[first : first + EXACT]


@pytest.fixture
def opened(shared: Shared) -> Opened:
    """Return an empty table."""
    return Opened(shared(DISTINCT_BYTES))


def neighbours(count: int) -> list[int]:
    """Return aggregates that share a set; one secret, so always the same ones."""
    place, sets = empty().place, defaultdict[int, list[int]](list)
    for aggregate in range(1, 10_000_000):
        mine = sets[place(aggregate)]
        mine.append(aggregate)
        if len(mine) == count:
            return mine
    raise AssertionError("no set has so many aggregates")


NEIGHBOURS = neighbours(18)


def test_an_aggregate_takes_1040_bytes(opened: Opened) -> None:
    """The memory is what the budget says: 16.3 MiB for 16,384 aggregates."""
    assert (DISTINCT_BYTES, opened.table.capacity) == (64 + AGGREGATES * 1_040, AGGREGATES)


@pytest.mark.parametrize("size", [0, DISTINCT_BYTES - 8])
def test_wrong_memory(size: int) -> None:
    """Too little memory is no table."""
    with pytest.raises(ValueError, match=f"memory of the distinct subjects: {size} bytes, not {DISTINCT_BYTES}"):
        DistinctTable(memoryview(bytearray(size)), SECRET)


def test_short_secret(shared: Shared) -> None:
    """A secret of another length is refused."""
    with pytest.raises(ValueError, match="secret has 15 bytes, not 16"):
        DistinctTable(shared(DISTINCT_BYTES), bytes(15))


def test_two_tables_on_one_memory(opened: Opened) -> None:
    """What one process adds, another knows."""
    theirs = DistinctTable(opened.memory, SECRET)
    add(opened.table, range(100))
    assert prices(theirs, range(100)) == [0] * 100


def test_aggregates_spread_over_the_sets(opened: Opened) -> None:
    """Neighbouring aggregates fall into all sets alike (2,048 sets, 4 each on the average)."""
    sets = defaultdict[int, int](int)
    for aggregate in range(1, 8_193):
        sets[opened.table.place(aggregate)] += 1
    assert max(sets.values()) < 16
    assert all(first % WAYS == 0 and 0 <= first < AGGREGATES for first in sets)


def fill(opened: Opened, sizes: list[int], now_ns: int = NOW) -> None:
    """Fill a set with neighbours that know so many subjects."""
    for aggregate, size in zip(NEIGHBOURS[:WAYS], sizes, strict=True):
        add(opened.table, range(size), now_ns, aggregate)
    assert opened.owners(NEIGHBOURS[0]) == NEIGHBOURS[:WAYS]


@pytest.mark.parametrize("way", range(WAYS))
def test_who_knows_least_goes(opened: Opened, way: int) -> None:
    """A newcomer takes the way of the aggregate that loses least, and knows nothing of what that one knew."""
    fill(opened, [9 if i == way else 10 + 20 * i for i in range(WAYS)])
    add(opened.table, range(1), NOW, NEIGHBOURS[8])
    assert opened.owners(NEIGHBOURS[0])[way] == NEIGHBOURS[8]
    assert prices(opened.table, range(20), NOW, NEIGHBOURS[8]) == [0, *[1] * 19]
    assert (opened.table.evictions, opened.table.untracked) == (1, 0)
    assert opened.table.estimate(NEIGHBOURS[way], NOW) == 0


@pytest.mark.parametrize("later", [WINDOW_NS, 2 * WINDOW_NS])
def test_what_is_forgotten_anyway_is_not_lost(opened: Opened, later: int) -> None:
    """An aggregate whose generations are over goes before one that knows little, and is not counted."""
    fill(opened, [100] * WAYS)
    for aggregate in NEIGHBOURS[: WAYS - 1]:
        prices(opened.table, [1], NOW + later, aggregate)
        add(opened.table, [1], NOW + later, aggregate)
    add(opened.table, [1], NOW + 2 * WINDOW_NS, NEIGHBOURS[8])
    assert opened.owners(NEIGHBOURS[0]) == [*NEIGHBOURS[: WAYS - 1], NEIGHBOURS[8]]
    assert opened.table.evictions == 0


def test_what_was_known_long_ago_counts(opened: Opened) -> None:
    """The last generation counts when it is asked who knows least: a scraper does not become small at midnight."""
    fill(opened, [200, *[20] * (WAYS - 1)])
    for aggregate in NEIGHBOURS[:WAYS]:
        add(opened.table, range(10), NOW + WINDOW_NS, aggregate)
    for aggregate in NEIGHBOURS[WAYS:]:
        add(opened.table, [1], NOW + WINDOW_NS, aggregate)
    assert opened.owners(NEIGHBOURS[0])[0] == NEIGHBOURS[0]


def test_a_flood_drives_out_no_scraper(opened: Opened) -> None:
    """Newcomers that know little turn each other out, and leave alone those that know more."""
    fill(opened, [*[200] * (WAYS - 1), 2])
    for turn in range(50):
        for aggregate in NEIGHBOURS[8:]:
            add(opened.table, [turn], NOW, aggregate)
    assert opened.owners(NEIGHBOURS[0])[: WAYS - 1] == NEIGHBOURS[: WAYS - 1]
    assert opened.table.evictions == 500
    assert prices(opened.table, range(200), NOW, NEIGHBOURS[0]) == [0] * 200


def test_to_ask_makes_no_room(opened: Opened) -> None:
    """An aggregate that only asks gets no way, and changes no word."""
    assert prices(opened.table, range(10)) == [1] * 10
    assert opened.table.estimate(ALICE, NOW) == 0
    assert not any(opened.memory)


def test_a_clock_that_is_behind(opened: Opened) -> None:
    """A process that still sees the last generation adds to this one, and forgets nothing."""
    add(opened.table, range(50), NOW)
    add(opened.table, range(50, 60), NOW - 1)
    assert opened.table.estimate(ALICE, NOW - 1) == opened.table.estimate(ALICE, NOW) == 60


def test_a_long_pause_forgets(opened: Opened) -> None:
    """Two generations later nothing is left, whatever stands in the memory, also when it is written over."""
    add(opened.table, range(1_000), NOW)
    for generation in range(2, 12, 2):
        later = NOW + generation * WINDOW_NS
        assert opened.table.estimate(ALICE, later) == 0
        assert prices(opened.table, range(1_000), later) == [1] * 1_000
        add(opened.table, range(10), later)
        assert opened.table.estimate(ALICE, later) == 10
        add(opened.table, range(1_000), later)


@pytest.mark.parametrize("epoch", [32_764, 32_765, 32_766, 32_767])
def test_epochs_begin_anew(opened: Opened, epoch: int) -> None:
    """When the epochs of a way have come to their end it goes on as before; it may forget a last generation, once."""
    add(opened.table, [1])
    opened.age([ALICE], epoch)
    forgotten = 0
    for generation in range(6):
        now_ns = NOW + generation * WINDOW_NS
        subjects = range(1_000 * generation, 1_000 * generation + 50)
        assert prices(opened.table, subjects, now_ns) == [1] * 50
        add(opened.table, subjects, now_ns)
        assert prices(opened.table, subjects, now_ns) == [0] * 50
        forgotten += opened.table.estimate(ALICE, now_ns) != (100 if generation else 50)
    assert forgotten == 1
    assert opened.epoch(ALICE) < 10


def test_an_owner_at_the_end_of_the_epochs(opened: Opened) -> None:
    """A newcomer whose way comes to the end of its epochs knows nothing of its predecessors."""
    fill(opened, [1] * WAYS)
    opened.age(NEIGHBOURS[:WAYS], 32_767)
    fill(opened, [200] * WAYS)
    add(opened.table, [1], NOW, NEIGHBOURS[8])
    assert opened.table.estimate(NEIGHBOURS[8], NOW) == 1
    assert prices(opened.table, range(2, 200), NOW, NEIGHBOURS[8]) == [1] * 198


# A set that is becoming a sketch.


def full_and_converted(shared: Shared) -> tuple[Opened, list[int], list[int]]:
    """Return a table whose aggregate has a full set, its words, and the words which the next subject makes of them."""
    opened = Opened(shared(DISTINCT_BYTES))
    add(opened.table, range(EXACT))
    before = opened.half(ALICE).tolist()
    copy = Opened(shared(DISTINCT_BYTES))
    copy.memory[:] = opened.memory
    add(copy.table, [EXACT])
    after = copy.half(ALICE).tolist()
    assert not any(word & SKETCH for word in before)
    assert all(word & SKETCH for word in after)
    return opened, before, after


def test_any_number_of_words_may_be_converted(shared: Shared) -> None:
    """Whatever a killed process left of a conversion, marks that still stand are known, and nobody pays too much."""
    opened, before, after = full_and_converted(shared)
    half, draw = opened.half(ALICE), Random(1)  # noqa: S311 - the same draw in every run
    for converted in range(EXACT + 1):
        for _ in range(5):
            done = {*draw.sample(range(EXACT), converted)}
            for at in range(EXACT):
                half[at] = after[at] if at in done else before[at]
            found = prices(opened.table, range(EXACT))
            assert set(found) <= {0, 1, 2}
            assert sum(map(bool, found)) <= converted  # of each mark that was written over, the subject at most
            assert max(prices(opened.table, range(1_000, 1_100))) <= 2
            add(opened.table, range(EXACT + 1))
            assert half.tolist() == after
            assert opened.table.estimate(ALICE, NOW) == pytest.approx(EXACT + 1, rel=0.2)


def test_late_writers_harm_one_word(opened: Opened) -> None:
    """Words of other epochs, written late into a sketch, cost their own subjects at most, and heal by requests."""
    add(opened.table, range(2_000))
    half, draw = opened.half(ALICE), Random(1)  # noqa: S311 - the same draw in every run
    whole = half.tolist()
    for bad in combinations(range(0, EXACT, 7), 2):
        for at in bad:
            half[at] = (opened.epoch(ALICE) - 2) << 49 | draw.getrandbits(49)
        lost = sum(map(bool, prices(opened.table, range(2_000))))
        assert 0 < lost < 2_000 * 5 / EXACT
        for _ in range(2):  # a mark in a sketch is converted by the next one who comes upon it
            add(opened.table, range(2_000))
        assert prices(opened.table, range(2_000)) == [0] * 2_000
    assert sum(old != new for old, new in zip(whole, half, strict=True)) == 0


def test_a_late_converter_leaves_the_next_epoch_alone(shared: Shared) -> None:
    """Words that have got another epoch while a set is being converted are not written over."""
    opened, before, after = full_and_converted(shared)
    half, newer = opened.half(ALICE), (opened.epoch(ALICE) + 2) << 49
    late = [at for at in range(EXACT) if at % 5 == 3]
    for at in range(EXACT):
        half[at] = newer | at if at in late else before[at] if at % 2 else after[at]
    prices(opened.table, range(EXACT))
    assert [half[at] for at in late] == [newer | at for at in late]
    assert all(half[at] & SKETCH for at in range(EXACT) if at not in late)


@pytest.mark.parametrize("content", ["random", "ones", "epoch"])
def test_any_content_is_survived(shared: Shared, content: str) -> None:
    """Over bytes that no writer wrote everything ends, stays in its memory and answers in range."""
    memory = shared(DISTINCT_BYTES + 4_096)
    memory[:] = Random(1).randbytes(len(memory)) if content == "random" else b"\xff" * len(memory)  # noqa: S311
    opened = Opened(memory[:DISTINCT_BYTES])
    for aggregate in NEIGHBOURS[:4]:
        opened.words[HEADER + opened.table.place(aggregate) + 1] = aggregate
        if content == "epoch":
            half, epoch = opened.half(aggregate), opened.epoch(aggregate)
            for at in range(EXACT):
                half[at] = epoch << 49 | (SKETCH * (at % 3 > 0) | 2**48 - 1 - at)
    beyond = bytes(memory[DISTINCT_BYTES:])
    for now_ns in (0, NOW, 2**61):
        for aggregate in NEIGHBOURS:
            assert all(0 <= found <= MAX_PRICE for found in prices(opened.table, range(200), now_ns, aggregate))
            add(opened.table, range(200), now_ns, aggregate)
            assert opened.table.estimate(aggregate, now_ns) >= 0
    assert bytes(memory[DISTINCT_BYTES:]) == beyond


def test_registers_that_nobody_can_reach(opened: Opened) -> None:
    """Registers above every rank know everything: nothing is new, and the estimate owns that it cannot tell."""
    add(opened.table, range(EXACT + 1))
    half, epoch = opened.half(ALICE), opened.epoch(ALICE)
    for at in range(EXACT):
        half[at] = epoch << 49 | SKETCH | 2**48 - 1
    assert prices(opened.table, range(1_000)) == [0] * 1_000
    assert opened.table.estimate(ALICE, NOW) == math.inf
    half[3] = epoch << 49 | SKETCH
    assert {*prices(opened.table, range(1_000))} <= {0, 64, 65}


def test_a_price_has_an_end(opened: Opened) -> None:
    """No subject costs more than a budget can be asked for, though it stand for millions."""
    marks = ((subject, hash_key(subject ^ hash_key(ALICE, SECRET), SECRET) >> 16) for subject in count())
    subject, mark = next((subject, mark) for subject, mark in marks if rank_of(mark) > 15)
    add(opened.table, range(10**6, 10**6 + EXACT + 1))
    half, epoch = opened.half(ALICE), opened.epoch(ALICE)
    for at in range(EXACT):
        half[at] = epoch << 49 | SKETCH | sum(39 << 6 * lane for lane in range(8))
    half[mark % EXACT] -= (39 - 15) << 6 * (mark // EXACT % 8)
    assert opened.table.novelty(ALICE, subject, NOW) == MAX_PRICE


# Crowds.


def sequential(subjects: Iterable[int]) -> list[int]:
    """Return the words that one process makes of some subjects."""
    opened = Opened(memoryview(mmap.mmap(-1, DISTINCT_BYTES)))
    add(opened.table, subjects)
    return opened.half(ALICE).tolist()


@pytest.mark.parametrize("size", [EXACT, EXACT + 1, 200, 20_000])
def test_a_crowd_adds_as_one(opened: Opened, together: Together, size: int) -> None:
    """Four processes that add the same subjects in different orders make the words that one would make."""

    def work(i: int) -> None:
        subjects = [*range(size)]
        Random(i).shuffle(subjects)  # noqa: S311 - the same order in every run
        add(opened.table, subjects)

    together(work, 4)
    assert sorted(opened.half(ALICE)) == sorted(sequential(range(size)))
    assert opened.table.untracked == 0


def test_many_crowds_become_sketches(opened: Opened, shared: Shared, together: Together) -> None:
    """Of three thousand sets that two processes turn into sketches, side by side, none loses a subject."""
    aggregates, turns = range(1, 3_001), shared(16).cast("Q")

    def work(i: int) -> None:
        for aggregate in aggregates:
            turns[i] = aggregate
            while turns[1 - i] < aggregate:
                os.sched_yield()
            add(opened.table, range(50 * i, 50 * i + 50), NOW, aggregate)

    together(work, 2)
    lost = sum(sum(prices(opened.table, range(100), NOW, aggregate)) for aggregate in aggregates)
    assert (lost, opened.table.evictions, opened.table.untracked) == (0, 0, 0)
    assert sorted(owner for owner in opened.words[HEADER:STATES] if owner) == [*aggregates]


def test_generations_turn_in_a_crowd(opened: Opened, together: Together) -> None:
    """Processes that come to a new generation at different moments forget nothing that is younger than it."""

    def work(i: int) -> None:
        for generation in range(50):
            now_ns = NOW + generation * WINDOW_NS
            subjects = range(100 * generation + 25 * i, 100 * generation + 25 * i + 25)
            add(opened.table, subjects, now_ns)
            add(opened.table, subjects, now_ns + WINDOW_NS)

    together(work, 4)
    last = NOW + 50 * WINDOW_NS
    assert prices(opened.table, range(4_900, 5_000), last) == [0] * 100
    assert opened.table.estimate(ALICE, last + 2 * WINDOW_NS) == 0


def test_a_crowded_set_keeps_its_order(opened: Opened, together: Together) -> None:
    """Processes that turn each other's aggregates out of one set leave none twice and no subject without a place."""

    def work(i: int) -> None:
        draw = Random(i)  # noqa: S311 - the same draw in every run
        for n in range(20_000):
            opened.table.add(draw.choice(NEIGHBOURS), draw.randrange(1_000), NOW + n * WINDOW_NS // 2_000)

    together(work, 4)
    assert len({*opened.owners(NEIGHBOURS[0])} & {*NEIGHBOURS}) == WAYS
    assert opened.table.untracked == 0
    assert opened.table.evictions > 100


@pytest.mark.parametrize("turns", range(10, 110, 10))
def test_killed_in_the_middle(opened: Opened, shared: Shared, start: Start, turns: int) -> None:
    """A process killed at any instruction holds up nobody; what it took with it comes back when it is asked for."""
    progress = shared(8).cast("Q")

    def work(i: int) -> None:
        for turn in count():
            add(opened.table, range(100), NOW + turn * WINDOW_NS)  # a set that becomes a sketch, each time
            if i == 0:
                progress[0] = turn

    victims = start(work, 2)
    while progress[0] < turns:
        assert victims[0].is_alive()
    for victim in victims:
        victim.kill()
        victim.join()
    generation = opened.words[STATES + opened.way(ALICE)] >> 32 & 0x1FFFF
    now_ns = generation * WINDOW_NS
    assert set(prices(opened.table, range(100), now_ns)) <= {0, 1, 2}
    add(opened.table, range(100), now_ns)
    assert prices(opened.table, range(100), now_ns) == [0] * 100
    assert 0 < opened.table.estimate(ALICE, now_ns) == pytest.approx(100, rel=0.2)
    add(opened.table, range(1_000, 1_100), now_ns + 5 * WINDOW_NS)
    assert opened.table.estimate(ALICE, now_ns + 5 * WINDOW_NS) == pytest.approx(100, rel=0.2)


def test_the_module_is_compiled() -> None:
    """What the twin is compared with is the shared object."""
    assert str(distinct.__file__).endswith(".so")
