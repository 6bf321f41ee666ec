"""The memory of costs: what is fat is remembered for a day, and never for another subject."""

from collections.abc import Callable
from multiprocessing.process import BaseProcess
from os import sched_yield
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.costs import (
    CELLS,
    COST_MEMORY_BYTES,
    LEAST_SERVICE_US,
    LEAST_SIZE_BYTES,
    TTL_NS,
    Cost,
    CostMemory,
)

SECOND = 10**9
NOW = 10**15
ALICE, BOB = 0x1234_5678_9ABC_DEF0, 2**64 - 1
MOST = 2**32 - 1
WAYS = 8
SET = 2**64 // (CELLS // WAYS)  # subjects of a set lie next to each other

Shared = Callable[[int], memoryview]
Together = Callable[[Callable[[int], None], int], None]
Start = Callable[[Callable[[int], None], int], list[BaseProcess]]


@pytest.fixture
def memory(shared: Shared) -> memoryview:
    """Return memory in which nothing is remembered."""
    return shared(COST_MEMORY_BYTES)


@pytest.fixture
def costs(memory: memoryview) -> CostMemory:
    """Return an empty memory of costs."""
    return CostMemory(memory)


@pytest.mark.parametrize(
    ("service_us", "size_bytes", "kept"),
    [
        (LEAST_SERVICE_US, 0, (LEAST_SERVICE_US, 0)),
        (0, LEAST_SIZE_BYTES, (0, LEAST_SIZE_BYTES)),
        (LEAST_SERVICE_US - 1, LEAST_SIZE_BYTES - 1, None),
        (0, 0, None),
        (-1, -1, None),
        (-1, 2**40, (0, MOST)),
        (2**62, -1, (MOST, 0)),
        (74_000, 484_000, (74_000, 484_000)),
    ],
)
def test_only_what_is_fat(costs: CostMemory, service_us: int, size_bytes: int, kept: tuple[int, int] | None) -> None:
    """From 5 ms or 64 KiB on a cost is remembered, in its range."""
    costs.note(ALICE, service_us, size_bytes, NOW)
    wanted = Cost(*kept, 7) if kept else None
    assert costs.look_up(ALICE, NOW + 7) == wanted
    assert costs.entries(NOW + 7, 10) == ([(ALICE, wanted)] if wanted else [])


@pytest.mark.parametrize(
    ("later_ns", "age_ns"),
    [(0, 0), (1, 1), (TTL_NS - 1, TTL_NS - 1), (TTL_NS, None), (10 * TTL_NS, None), (-SECOND, 0), (-SECOND - 1, None)],
)
def test_a_day(costs: CostMemory, later_ns: int, age_ns: int | None) -> None:
    """A cost is forgotten after a day; on a clock that is a second behind at most it is new."""
    costs.note(ALICE, 6_000, 7, NOW)
    wanted = None if age_ns is None else Cost(6_000, 7, age_ns)
    assert costs.look_up(ALICE, NOW + later_ns) == wanted
    assert len(costs.entries(NOW + later_ns, 10)) == (wanted is not None)


@pytest.mark.parametrize("subject", [0, 1, ALICE, BOB])
def test_the_last_answer_counts(costs: CostMemory, subject: int) -> None:
    """A later cost replaces an earlier one, and a thin answer forgets it; other subjects are not touched."""
    costs.note(ALICE ^ 1, 8_000, 8, NOW)
    costs.note(subject, 6_000, 7, NOW)
    costs.note(subject, 5_000, 0, NOW + 1)
    assert costs.look_up(subject, NOW + 1) == (5_000, 0, 0)
    costs.note(subject, 4_999, 100, NOW + 2)
    assert costs.look_up(subject, NOW + 2) is None
    assert costs.look_up(ALICE ^ 1, NOW + 2) == (8_000, 8, 2)


def test_the_fattest_first(costs: CostMemory) -> None:
    """The operator sees as many as asked for, sorted by weight: 5 ms are as much as 64 KiB."""
    noted = [(6_000, 0), (0, 65_536), (0, 80_000), (5_000, 65_536), (60_000, 9)]
    for subject, cost in enumerate(noted):
        costs.note(subject << 52, *cost, NOW)
    order = [4, 3, 2, 0, 1]
    assert costs.entries(NOW, 10) == [(n << 52, (*noted[n], 0)) for n in order]
    assert [subject >> 52 for subject, _ in costs.entries(NOW, 2)] == order[:2]
    assert costs.entries(NOW, 0) == costs.entries(NOW, -1) == []


def test_the_fattest_stay(costs: CostMemory) -> None:
    """Of a full set the lightest makes room; the newest is always in, so a flood shares one cell of the set."""
    for n in range(WAYS):
        costs.note(n, 10_000 + n, 0, NOW)
    for n in range(WAYS, 100):
        costs.note(n, 5_000, 0, NOW)
        assert costs.look_up(n, NOW) == (5_000, 0, 0)
    assert {subject for subject, _ in costs.entries(NOW, 100)} == {*range(1, WAYS), 99}


def test_weight_fades(costs: CostMemory) -> None:
    """A cost of yesterday goes before one of today, though it is four times as fat."""
    costs.note(0, 40_000, 0, NOW)
    later = NOW + TTL_NS * 9 // 10
    for n in range(1, WAYS + 1):
        costs.note(n, 10_000, 0, later)
    assert {subject for subject, _ in costs.entries(later, 100)} == set(range(1, WAYS + 1))


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**32), ours=st.integers(1, 6))
def test_a_memory_is_a_dictionary(seed: int, ours: int) -> None:
    """While no set overflows the memory says what a dictionary says."""
    draw, costs = Random(seed), CostMemory(memoryview(bytearray(COST_MEMORY_BYTES)))  # noqa: S311 - not a secret
    subjects = [draw.randrange(4) * SET + draw.randrange(SET // 2) for _ in range(ours)]
    model: dict[int, tuple[int, int, int]] = {}
    now_ns = NOW
    for _ in range(100):
        now_ns += draw.choice([0, SECOND, TTL_NS // 5])
        subject, cost = draw.choice(subjects), (draw.choice([0, 9_000]), draw.choice([0, 70_000]))
        costs.note(subject, *cost, now_ns)
        model[subject] = (*cost, now_ns)
        model = {key: told for key, told in model.items() if any(told[:2]) and now_ns - told[2] < TTL_NS}
        wanted = {key: Cost(*told[:2], now_ns - told[2]) for key, told in model.items()}
        assert {key: found for key in subjects if (found := costs.look_up(key, now_ns))} == wanted
        assert dict(costs.entries(now_ns, 100)) == wanted


def test_a_twin_is_swept_away(costs: CostMemory, memory: memoryview) -> None:
    """If a race has written a subject twice the newer cost counts, and the next answer leaves one, or none."""
    words = memory.cast("Q")
    at = ALICE * (CELLS // WAYS) // 2**64 * WAYS * 3
    costs.note(ALICE, 9_000, 0, NOW)
    older = words[at : at + 3].tolist()
    costs.note(ALICE, 6_000, 0, NOW + 1)
    for twin in (1, 2):
        for i, word in enumerate(older):
            words[at + 3 * twin + i] = word
    assert costs.look_up(ALICE, NOW + 2) == (6_000, 0, 1)
    assert costs.entries(NOW + 2, 10)[1:] == []
    costs.note(ALICE, 7_000, 0, NOW + 2)
    assert [word for word in words[at : at + 24 : 3].tolist() if word] != []
    assert sum(word != 0 for word in words[at + 2 : at + 24 : 3].tolist()) == 1
    costs.note(ALICE, 0, 0, NOW + 2)
    assert costs.look_up(ALICE, NOW + 2) is None


@given(st.lists(st.integers(0, 2), min_size=3, max_size=3))
def test_words_of_two_writers_are_nobodys(mixture: list[int]) -> None:
    """However the words of cells are mixed, a subject has one of the costs that were noted of it, or none."""
    words = memoryview(bytearray(COST_MEMORY_BYTES)).cast("Q")
    costs = CostMemory(words.cast("B"))
    noted = [(ALICE, 6_000, 7, NOW), (ALICE ^ 1, 6_001, 7, NOW + 1), (ALICE, 9_000, 7, NOW + 5)]
    at = ALICE * (CELLS // WAYS) // 2**64 * WAYS * 3
    cells = []
    for subject, *cost in noted:
        costs.note(subject, *cost)
        cells.append(words[at : at + 3].tolist())
        words[at : at + 24] = memoryview(bytes(192)).cast("Q")
    for i, writer in enumerate(mixture):
        words[at + i] = cells[writer][i]
    whole = len({*mixture}) == 1
    for subject in (ALICE, ALICE ^ 1):
        wanted = noted[mixture[0]] if whole and noted[mixture[0]][0] == subject else None
        assert costs.look_up(subject, NOW + 5) == (wanted and (*wanted[1:3], NOW + 5 - wanted[3]))


@pytest.mark.parametrize("seed", range(5))
def test_any_content_is_survived(shared: Shared, seed: int) -> None:
    """Over random bytes everything ends and stays in its memory, and a note is found again."""
    memory = shared(COST_MEMORY_BYTES + 4_096)
    memory[:] = Random(seed).randbytes(len(memory))  # noqa: S311 - the same bytes in every run
    beyond = bytes(memory[COST_MEMORY_BYTES:])
    costs = CostMemory(memory[:COST_MEMORY_BYTES])
    assert costs.entries(NOW, 10**6) == []
    for subject in range(0, 2**64, SET // 3):
        assert costs.look_up(subject, NOW) is None
        costs.note(subject, 6_000, 7, NOW)
        assert costs.look_up(subject, NOW) == (6_000, 7, 0)
    assert bytes(memory[COST_MEMORY_BYTES:]) == beyond


@pytest.mark.parametrize("size", [0, COST_MEMORY_BYTES - 1])
def test_wrong_memory(size: int) -> None:
    """Too little memory is refused."""
    with pytest.raises(ValueError, match="memory of the costs"):
        CostMemory(memoryview(bytearray(size)))


def cost_of(subject: int, number: int) -> tuple[int, int]:
    """Return a fat cost that says whose it is."""
    return 5_000 + number % 1_000 * 1_000 + subject, (number % 1_000 << 10) + subject


def is_of(subject: int, cost: Cost | None) -> bool:
    """Say whether a cost is all of one piece, and this subject's, or there is none."""
    return cost is None or (cost.service_us, cost.size_bytes) == cost_of(subject, cost.size_bytes >> 10)


def test_a_crowd_never_mixes_costs(costs: CostMemory, memory: memoryview, together: Together) -> None:
    """Four processes that note and look up the subjects of one set, more than it has room for, never see a mixture."""

    def work(i: int) -> None:
        mine = CostMemory(memory)
        for n in range(20_000):
            subject = (n * (i + 1)) % 11
            mine.note(subject, *cost_of(subject, n), NOW)
            assert is_of((subject + 5) % 11, mine.look_up((subject + 5) % 11, NOW))

    together(work, 4)
    assert any(costs.look_up(subject, NOW) for subject in range(11))
    assert all(is_of(subject, costs.look_up(subject, NOW)) for subject in range(11))


def test_killed_while_it_writes(costs: CostMemory, memory: memoryview, shared: Shared, start: Start) -> None:
    """Whenever a writer is killed, what it noted is right or absent, and the next one finds room."""
    progress, draw = shared(8).cast("Q"), Random(1)  # noqa: S311 - the same draw in every run

    def work(_: int) -> None:
        mine = CostMemory(memory)
        while True:
            progress[0] += 1
            subject = progress[0] % 11
            mine.note(subject, *cost_of(subject, progress[0]), NOW)

    for _ in range(10):
        (victim,) = start(work, 1)
        end = progress[0] + draw.randrange(1_000, 5_000)
        while progress[0] < end:
            assert victim.is_alive()
            sched_yield()
        victim.kill()
        victim.join()
        assert all(is_of(subject, costs.look_up(subject, NOW)) for subject in range(11))
        costs.note(20, 6_000, 7, NOW)
        assert costs.look_up(20, NOW) == (6_000, 7, 0)
