"""The last words of nodes, and the bytes that they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.cluster.hearsay import Hearsay
from proxy.cluster.word import MOST_BODY, MOST_BYTES, MOST_NODE, MOST_THING, Word, unpack

WORDS = st.builds(
    Word,
    st.binary(min_size=1, max_size=MOST_THING),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=MOST_NODE),
    st.integers(1, 2**62),
    st.integers(1, 2**62),
    st.binary(max_size=MOST_BODY),
)


def word(thing: str, node: str, stamp_us: int, until_us: int = 100) -> Word:
    """Return a word."""
    return Word(thing.encode(), node, stamp_us, until_us)


@given(WORDS)
def test_words_come_back(said: Word) -> None:
    """A word is read as it was written, and never longer than what readers take."""
    assert unpack(said.pack()) == said
    assert len(said.pack()) <= MOST_BYTES


@given(st.binary(max_size=64))
def test_any_bytes(data: bytes) -> None:
    """Bytes are a word or a ValueError."""
    try:
        said = unpack(data)
    except ValueError:
        return
    assert said.pack() == data


@given(st.permutations([word("x", node, stamp) for node in "ab" for stamp in (1, 2, 3)] * 2))
def test_the_order_does_not_matter(words: list[Word]) -> None:
    """Of each node the latest word counts, however often and in which order words come."""
    hearsay = Hearsay(10)
    for each in words:
        hearsay.take(each)
    assert sorted(hearsay) == [word("x", "a", 3), word("x", "b", 3)]
    assert (len(hearsay), hearsay.latest_us) == (2, 3)


def test_one_for_all() -> None:
    """Where nodes do not speak for themselves, the latest word on a thing counts."""
    hearsay = Hearsay(10, of_nodes=False)
    assert hearsay.take(word("x", "a", 2))
    assert not hearsay.take(word("x", "b", 1))
    assert hearsay.take(word("x", "b", 3))
    assert hearsay.of(b"x") == [word("x", "b", 3)]
    assert hearsay.field(word("x", "b", 3)) == b"x"


def test_words_end() -> None:
    """A word is let go when it is over; one that was said again for longer is not."""
    hearsay = Hearsay(10)
    hearsay.take(word("x", "a", 1, 10))
    hearsay.take(word("y", "a", 1, 10))
    hearsay.take(word("x", "a", 2, 20))
    assert [each for each in hearsay.expire(10) if each] == [word("y", "a", 1, 10)]
    assert [*hearsay] == [word("x", "a", 2, 20)]
    assert [each for each in hearsay.expire(20) if each] == [word("x", "a", 2, 20)]
    assert [*hearsay] == []


def test_it_is_bounded() -> None:
    """Of too many those go that are over first, and what was said again and again takes no room."""
    hearsay = Hearsay(3)
    for number in range(1, 200):
        hearsay.take(word("x", "a", number, 1000 + number))
    for number in range(5):
        hearsay.take(word(str(number), "a", 1, 10 + number))
    assert {each.thing for each in hearsay} == {b"3", b"4", b"x"}
    assert len(hearsay._ends) <= 2 * 3 + 64 + 1


@pytest.mark.parametrize("most", [0, 1])
def test_no_room(most: int) -> None:
    """A word that ends before all others of a full one is not kept."""
    hearsay = Hearsay(most)
    hearsay.take(word("x", "a", 1, 50))
    hearsay.take(word("y", "a", 1, 40))
    assert [each.thing for each in hearsay] == [b"x"] * most
