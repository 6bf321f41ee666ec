"""A bounded memory of words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.word_memory import MOST_CELLS, WAYS, WordMemory, first_of_each

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOW = 1000
keyed = st.integers(0, 1000).map(lambda number: number * 0x9E3779B97F4A7C15 % 2**64) | st.just(2**64 - 1)


def words(*values: int) -> NDArray[np.uint64]:
    """Return an array."""
    return np.array(values, np.uint64)


def meet(memory: WordMemory, met: NDArray[np.uint64], now_s: int, for_s: int = 10) -> list[bool]:
    """Look for words, remember them, and return which were known."""
    found = memory.find(met, now_s)
    memory.keep(met, found, now_s + for_s)
    return found.known.tolist()


def in_one_set(count: int) -> NDArray[np.uint64]:
    """Return words that differ in their upper halves only."""
    return words(*(number << 32 | 5 for number in range(1, count + 1)))


@given(st.lists(st.lists(keyed, max_size=6), max_size=6))
def test_a_word_is_known_once_it_was_met(blocks: list[list[int]]) -> None:
    """While there is room, and nothing else is; the words 0 and 2**64-1 are like others."""
    memory, met = WordMemory(2**14), set[int]()
    for block in blocks:
        assert meet(memory, words(*block), NOW) == [word in met for word in block]
        met.update(block)


@pytest.mark.parametrize(("later_s", "known"), [(0, True), (9, True), (10, False), (11, False)])
def test_a_word_is_forgotten_when_its_time_is_over(later_s: int, *, known: bool) -> None:
    """Not a second later."""
    memory = WordMemory(64)
    meet(memory, words(7), NOW)
    assert meet(memory, words(7), NOW + later_s) == [known]


def test_nothing_shortens_the_time_of_a_word() -> None:
    """Whoever meets it with less in mind."""
    memory = WordMemory(64)
    meet(memory, words(7), NOW, for_s=100)
    meet(memory, words(7), NOW, for_s=10)
    assert meet(memory, words(7), NOW + 50) == [True]


def test_a_full_set_forgets_what_ends_first() -> None:
    """One word for each that is new, and none in other sets."""
    memory = WordMemory(64)
    old, new = in_one_set(WAYS + 1)[:WAYS], in_one_set(WAYS + 1)[WAYS:]
    for number, word in enumerate(old):
        meet(memory, words(int(word)), NOW, for_s=100 - number)
    meet(memory, words(6), NOW)
    meet(memory, new, NOW, for_s=200)
    assert memory.find(old, NOW).known.tolist() == [True] * (WAYS - 1) + [False]
    assert memory.find(words(6, int(new[0])), NOW).known.all()


def test_what_is_kept_longer_outlives_a_flood() -> None:
    """The words of a flood push out each other."""
    memory, random = WordMemory(1024), np.random.default_rng(1)
    wanted, flood = (random.integers(0, 2**64, size, np.uint64) for size in (200, 100_000))
    for block in np.split(wanted, 50):
        meet(memory, block, NOW, for_s=20)
    for block in np.split(flood, 100):
        meet(memory, block, NOW, for_s=10)
    assert memory.find(wanted, NOW).known.mean() > 0.95
    assert memory.find(flood, NOW).known.sum() <= 1024


@pytest.mark.parametrize("cells", [0, 4, 24, MOST_CELLS * 2])
def test_sizes(cells: int) -> None:
    """A power of two, and no more than words can tell apart; nothing is allocated for another."""
    with pytest.raises(ValueError, match=f"cells {cells} "):
        WordMemory(cells)


@given(st.lists(st.integers(0, 20).map(lambda number: number * 0x9E3779B97F4A7C15 % 2**64), max_size=100))
def test_first_of_each(values: list[int]) -> None:
    """Each different word has one place, its first."""
    first = first_of_each(words(*values))
    assert sorted(first.tolist()) == sorted(values.index(value) for value in set(values))
