"""How many subjects there were: what both twins say, how well the sketch counts, and the table in shared memory."""

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
from fastpath._distinct_py import MAX_RANK, estimate, rank_of
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

    def add(self, aggregate: int, subject_hash: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def estimate(self, aggregate: int, now_ns: int) -> float: ...  # noqa: D102 - a protocol of the twin
    def sketch(self, aggregate: int, now_ns: int) -> bytes: ...  # noqa: D102 - a protocol of the twin


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


def known(table: Table, subjects: Iterable[int], now_ns: int = NOW, aggregate: int = ALICE) -> bool:
    """Return whether all subjects are known: to add them then changes nothing."""
    before = table.estimate(aggregate, now_ns)
    add(table, subjects, now_ns, aggregate)
    return table.estimate(aggregate, now_ns) == before


# What is said: both twins.


def test_a_subject_counts_once(table: Table) -> None:
    """A subject that is added again changes nothing."""
    counts = []
    for subject in (1, 1, 2, 1, 2, 3):
        table.add(ALICE, subject, NOW)
        counts.append(table.estimate(ALICE, NOW))
    assert counts == [1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("subject", [0, 1, 2**64 - 1])
def test_any_word_is_a_subject(table: Table, subject: int) -> None:
    """Nothing is asked of a hash but that it is a word."""
    add(table, [subject])
    assert table.estimate(ALICE, NOW) == 1
    add(table, [subject, subject ^ 1])
    assert table.estimate(ALICE, NOW) == 2


def test_aggregates_are_apart(table: Table) -> None:
    """What one aggregate has seen does not count for another."""
    add(table, range(10))
    assert [table.estimate(aggregate, NOW) for aggregate in (ALICE, BOB)] == [10, 0]


@pytest.mark.parametrize(
    ("added_at", "asked_at", "known"),
    [(0.0, 0.999, True), (0.0, 1.0, True), (0.999, 1.999, True), (0.0, 1.999, True), (0.0, 2.0, False),
     (0.999, 2.0, False), (0.0, 3.0, False), (0.0, 4.0, False), (0.0, 1_000.0, False)],
)  # fmt: skip
def test_the_window(table: Table, added_at: float, asked_at: float, known: bool) -> None:  # noqa: FBT001 - a row
    """A subject counts in the generation in which it was added and in the next one."""
    add(table, range(40), NOW + int(added_at * WINDOW_NS))
    later = NOW + int(asked_at * WINDOW_NS)
    assert table.estimate(ALICE, later) == (40 if known else 0)


def test_who_is_asked_for_again_stays_known(table: Table) -> None:
    """A subject counts as long as it is asked for, so that only one that nobody wants is forgotten."""
    add(table, range(100))
    for generation in range(1, 10):
        add(table, range(50), NOW + generation * WINDOW_NS)
    assert table.estimate(ALICE, NOW + 9 * WINDOW_NS) == 50


@pytest.mark.parametrize("counts", [(0, 0), (3, 0), (40, 40), (70, 10), (0, 500), (900, 900)])
def test_sketches_are_those_of_the_twin(counts: tuple[int, int]) -> None:
    """The registers of both generations are the same in both twins, also of what is counted exactly."""
    twins = [make() for make in TWINS.values()]
    for twin in twins:
        add(twin, range(counts[0]), NOW - WINDOW_NS)
        add(twin, range(10, 10 + counts[1]), NOW)
    one, other = (twin.sketch(ALICE, NOW) for twin in twins)
    assert one == other
    assert len(one) == REGISTERS
    assert any(one) == any(counts)


def test_the_first_generation_of_all(table: Table) -> None:
    """Also in the first six hours of a machine a subject counts, and in the next six."""
    add(table, [1], 0)
    assert [table.estimate(ALICE, now_ns) for now_ns in (0, WINDOW_NS, 2 * WINDOW_NS)] == [1, 1, 0]


def test_64_are_exact_in_each_generation(table: Table) -> None:
    """As long as neither generation has more than 64 every count is exact."""
    later = NOW + WINDOW_NS
    for n in range(EXACT):
        add(table, [n])
        assert table.estimate(ALICE, NOW) == n + 1
    for n in range(32, 32 + EXACT):
        add(table, [n], later)
        assert table.estimate(ALICE, later) == max(EXACT, n + 1)


def test_what_is_known_changes_no_estimate(table: Table) -> None:
    """A known subject counts for nothing, however many are known, in both generations."""
    add(table, range(3_000))
    found = table.estimate(ALICE, NOW)
    for _ in range(2):
        add(table, range(3_000))
        assert table.estimate(ALICE, NOW) == found
    add(table, range(3_000), NOW + WINDOW_NS)
    assert table.estimate(ALICE, NOW + WINDOW_NS) == found


@pytest.mark.parametrize(
    ("aggregate", "now_ns", "message"),
    [
        (0, NOW, r"aggregate 0 not in 1\.\.2\*\*64-1"),
        (ALICE, -1, r"now_ns -1 not in 0\.\."),
        (ALICE, 2**61 + 1, r"now_ns \d+ not in 0\.\."),
    ],
)
def test_out_of_range(table: Table, aggregate: int, now_ns: int, message: str) -> None:
    """An argument out of range is the caller's bug, and named."""
    with pytest.raises(ValueError, match=message):
        table.add(aggregate, 1, now_ns)
    with pytest.raises(ValueError, match=message):
        table.estimate(aggregate, now_ns)


steps = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.integers(0, 400),
        st.integers(1, 150),
        st.sampled_from([0, 0, 0, 1, 2, 3, 5]),
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=50)
@given(steps)
def test_the_twins_agree(steps: list[tuple[int, int, int, int]]) -> None:
    """Whatever is added, over generations, the table says what its specification says."""
    theirs, ours = (make() for make in TWINS.values())
    now_ns = NOW
    for aggregate, first, length, halves in steps:
        now_ns += halves * WINDOW_NS // 2
        assert ours.estimate(aggregate, now_ns) == theirs.estimate(aggregate, now_ns)
        for table in (theirs, ours):
            add(table, range(first, first + length), now_ns, aggregate)
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
    """Over 200 random sets estimates have no bias, and errors as small as is promised: 1.04 / sqrt(512) = 4.6 %."""
    table, draw, estimates = empty(), Random(size), []  # noqa: S311 - the same draw in every run
    for aggregate in range(1, 201):
        add(table, (draw.getrandbits(64) for _ in range(size)), NOW, aggregate)
        estimates.append(table.estimate(aggregate, NOW))
    counted = errors(estimates, size)
    assert abs(counted.mean) < 0.01
    assert counted.rms < 1.1 * STANDARD_ERROR
    assert counted.worst < 4 * STANDARD_ERROR


@pytest.mark.parametrize("size", [100, 1_000, 5_000])
def test_errors_over_two_generations(size: int) -> None:
    """The union of both generations is counted, not their sum."""
    table, draw, estimates = empty(), Random(size), []  # noqa: S311 - the same draw in every run
    later = NOW + WINDOW_NS
    for aggregate in range(1, 101):
        subjects = [draw.getrandbits(64) for _ in range(2 * size)]
        add(table, subjects[: size + size // 2], NOW, aggregate)
        add(table, subjects[size // 2 :], later, aggregate)
        estimates.append(table.estimate(aggregate, later))
    counted = errors(estimates, 2 * size)
    assert abs(counted.mean) < 0.015
    assert counted.rms < 1.2 * STANDARD_ERROR


@pytest.mark.parametrize(
    ("mark", "rank"), [(1 << 9, 1), (0b10 << 9, 2), (0b1100 << 9, 3), (1 << 47, 39), (0, 40), (511, 40), (2**48 - 1, 1)]
)
def test_rank(mark: int, rank: int) -> None:
    """The rank counts the zeros below the lowest bit that chooses no register."""
    assert rank_of(mark) == rank


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
    """What one process adds, another counts."""
    theirs = DistinctTable(opened.memory, SECRET)
    add(opened.table, range(50))
    add(theirs, range(25, 60))
    assert opened.table.estimate(ALICE, NOW) == theirs.estimate(ALICE, NOW) == 60


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
    assert opened.table.estimate(NEIGHBOURS[8], NOW) == 1
    assert (opened.table.evictions, opened.table.untracked) == (1, 0)
    assert opened.table.estimate(NEIGHBOURS[way], NOW) == 0


@pytest.mark.parametrize("later", [WINDOW_NS, 2 * WINDOW_NS])
def test_what_is_forgotten_anyway_is_not_lost(opened: Opened, later: int) -> None:
    """An aggregate whose generations are over goes before one that knows little, and is not counted."""
    fill(opened, [100] * WAYS)
    for aggregate in NEIGHBOURS[: WAYS - 1]:
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
    before = [opened.table.estimate(aggregate, NOW) for aggregate in NEIGHBOURS[: WAYS - 1]]
    for turn in range(50):
        for aggregate in NEIGHBOURS[8:]:
            add(opened.table, [turn], NOW, aggregate)
    assert opened.owners(NEIGHBOURS[0])[: WAYS - 1] == NEIGHBOURS[: WAYS - 1]
    assert opened.table.evictions == 500
    assert [opened.table.estimate(aggregate, NOW) for aggregate in NEIGHBOURS[: WAYS - 1]] == before


def test_to_ask_makes_no_room(opened: Opened) -> None:
    """An aggregate that only asks gets no way, and changes no word."""
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
        add(opened.table, subjects, now_ns)
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


# A set that is becoming a sketch.


def mark_of(subject: int) -> int:
    """Return the mark of a subject of ALICE's."""
    return hash_key(subject ^ hash_key(ALICE, SECRET), SECRET) >> 16


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
    """Whatever a killed process left of a conversion, marks that still stand count, and the others come back."""
    opened, before, after = full_and_converted(shared)
    half, draw = opened.half(ALICE), Random(1)  # noqa: S311 - the same draw in every run
    twin = TWINS["python"]()
    add(twin, range(EXACT + 1))
    whole = twin.estimate(ALICE, NOW)
    for converted in range(EXACT + 1):
        for _ in range(5):
            done = {*draw.sample(range(EXACT), converted)}
            for at in range(EXACT):
                half[at] = after[at] if at in done else before[at]
            found = opened.table.estimate(ALICE, NOW)
            assert EXACT - converted <= 1.2 * found  # of each mark that was written over, the subject at most
            assert found < 1.2 * (EXACT + 1)
            add(opened.table, range(EXACT + 1))
            assert opened.table.estimate(ALICE, NOW) == whole


def test_late_writers_harm_one_word(opened: Opened) -> None:
    """Words of other epochs, written late into a sketch, cost their own subjects at most, and heal by requests."""
    add(opened.table, range(2_000))
    half, draw = opened.half(ALICE), Random(1)  # noqa: S311 - the same draw in every run
    whole, estimated = half.tolist(), opened.table.estimate(ALICE, NOW)
    for bad in combinations(range(0, EXACT, 7), 2):
        for at in bad:
            half[at] = (opened.epoch(ALICE) - 2) << 49 | draw.getrandbits(49)
        assert half.tolist() != whole
        assert opened.table.estimate(ALICE, NOW) == pytest.approx(estimated, rel=0.2)
        for _ in range(2):  # a mark in a sketch is converted by the next one who comes upon it
            add(opened.table, range(2_000))
        assert half.tolist() == whole


def test_a_late_converter_leaves_the_next_epoch_alone(shared: Shared) -> None:
    """Words that have got another epoch while a set is being converted are not written over."""
    opened, before, after = full_and_converted(shared)
    half, newer = opened.half(ALICE), (opened.epoch(ALICE) + 2) << 49
    late = [at for at in range(EXACT) if at % 5 == 3]
    subject = next(n for n in count(EXACT) if mark_of(n) % EXACT == 1)  # its word, and the next, are as they were
    for at in range(EXACT):
        half[at] = newer | at if at in late else before[at] if at % 2 else after[at]
    add(opened.table, [subject])
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
            assert opened.table.estimate(aggregate, now_ns) >= 0
            add(opened.table, range(200), now_ns, aggregate)
            assert opened.table.estimate(aggregate, now_ns) >= 0
    assert bytes(memory[DISTINCT_BYTES:]) == beyond


def test_registers_that_nobody_can_reach(opened: Opened) -> None:
    """Registers above every rank stay, and the estimate owns that it cannot tell."""
    add(opened.table, range(EXACT + 1))
    half, epoch = opened.half(ALICE), opened.epoch(ALICE)
    highest = [epoch << 49 | SKETCH | 2**48 - 1] * EXACT
    for at in range(EXACT):
        half[at] = highest[at]
    add(opened.table, range(1_000))
    assert half.tolist() == highest
    assert opened.table.estimate(ALICE, NOW) == math.inf


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
    assert all(known(opened.table, range(100), NOW, aggregate) for aggregate in aggregates)
    assert (opened.table.evictions, opened.table.untracked) == (0, 0)
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
    assert known(opened.table, range(4_900, 5_000), last)
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
    add(opened.table, range(100), now_ns)
    assert 0 < opened.table.estimate(ALICE, now_ns) == pytest.approx(100, rel=0.2)
    add(opened.table, range(1_000, 1_100), now_ns + 5 * WINDOW_NS)
    assert opened.table.estimate(ALICE, now_ns + 5 * WINDOW_NS) == pytest.approx(100, rel=0.2)


def test_the_module_is_compiled() -> None:
    """What the twin is compared with is the shared object."""
    assert str(distinct.__file__).endswith(".so")
