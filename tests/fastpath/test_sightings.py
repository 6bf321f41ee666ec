"""What was seen lately, in shared memory."""

from __future__ import annotations

import mmap
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath.sightings import LONGEST_NS, SIGHTING_BYTES, UNIT_NS, Sightings

SECRET = bytes(range(16))
NOW = 1_000_000_000_000_000
HOUR = 3_600_000_000_000
words = st.integers(0, 2**64 - 1)


@pytest.fixture
def memory() -> memoryview:
    """Return memory that processes can share."""
    return memoryview(mmap.mmap(-1, SIGHTING_BYTES))


@pytest.fixture
def sightings(memory: memoryview) -> Sightings:
    """Return an empty memory."""
    return Sightings(memory, SECRET)


def test_memory_that_does_not_fit() -> None:
    """Too little memory, or no secret, is the caller's error and is named."""
    with pytest.raises(ValueError, match="sightings"):
        Sightings(memoryview(bytearray(SIGHTING_BYTES - 8)), SECRET)
    with pytest.raises(ValueError, match="16"):
        Sightings(memoryview(bytearray(SIGHTING_BYTES)), b"short")


@settings(max_examples=200)
@given(where=words, what=words, other=words)
def test_what_was_added_was_seen_and_nothing_else(where: int, what: int, other: int) -> None:
    """A pair is its two words in their order."""
    memory = Sightings(memoryview(mmap.mmap(-1, SIGHTING_BYTES)), SECRET)
    assert not memory.seen(where, what, HOUR, NOW)
    memory.add(where, what, NOW)
    assert memory.seen(where, what, HOUR, NOW)
    assert memory.seen(other, what, HOUR, NOW) is (other == where)
    assert memory.seen(where, other, HOUR, NOW) is (other == what)


@pytest.mark.parametrize("window_ns", [10 * UNIT_NS, HOUR, 12 * HOUR, 24 * 24 * HOUR])
def test_window(sightings: Sightings, window_ns: int) -> None:
    """It is known at least for the window, and no longer than one unit more."""
    sightings.add(1, 2, NOW)
    assert sightings.seen(1, 2, window_ns, NOW + window_ns)
    assert not sightings.seen(1, 2, window_ns, NOW + window_ns + 2 * UNIT_NS)


def test_longest_window() -> None:
    """It lasts for weeks."""
    assert LONGEST_NS > 26 * 24 * HOUR


def test_sighting_is_renewed(sightings: Sightings) -> None:
    """Who is seen again is known from then on."""
    sightings.add(1, 2, NOW)
    sightings.add(1, 2, NOW + HOUR)
    assert sightings.seen(1, 2, HOUR, NOW + 2 * HOUR)


@given(known=st.lists(words, max_size=20), asked=st.lists(words, max_size=20), where=words)
def test_many_at_once(known: list[int], asked: list[int], where: int) -> None:
    """Many pairs are remembered, and those that are not known counted, as one by one."""
    memory = Sightings(memoryview(mmap.mmap(-1, SIGHTING_BYTES)), SECRET)
    memory.add_all(where, tuple(known), NOW)
    assert all(memory.seen(where, what, HOUR, NOW) for what in known)
    assert memory.unseen(where, tuple(asked), HOUR, NOW) == sum(what not in known for what in asked)
    assert memory.unseen(where, tuple(asked), HOUR, NOW + HOUR + 2 * UNIT_NS) == len(asked)


def test_all_are_known_while_there_is_room(sightings: Sightings) -> None:
    """A hundred thousand pairs in a memory for two million: next to nothing is forgotten."""
    for what in range(100_000):
        sightings.add(7, what, NOW)
    assert sum(sightings.seen(7, what, HOUR, NOW) for what in range(100_000)) > 99_990


def test_old_ones_make_room_first(sightings: Sightings) -> None:
    """When it overflows the young survive: a flood of old sightings does not drive out what comes after it."""
    for what in range(3_000_000):
        sightings.add(1, what, NOW)
    for what in range(50_000):
        sightings.add(2, what, NOW + HOUR)
    assert sum(sightings.seen(2, what, HOUR, NOW + HOUR) for what in range(50_000)) > 49_990


def test_processes_share_it(memory: memoryview, sightings: Sightings) -> None:
    """What one worker has seen another knows; they write at once and nothing is lost but in a race for one cell."""
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            mine = Sightings(memory, SECRET)
            for what in range(20_000):
                mine.add(child, what, NOW)
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    known = sum(sightings.seen(child, what, HOUR, NOW) for child in range(4) for what in range(20_000))
    assert known > 79_900


def test_any_content_is_a_memory(memory: memoryview, sightings: Sightings) -> None:
    """Whatever stands in the memory, looking and adding go on."""
    memory[:4096] = os.urandom(4096)
    memory[4096:8192] = b"\xff" * 4096
    for what in range(10_000):
        sightings.add(1, what, NOW)
    assert sightings.seen(1, 9_999, HOUR, NOW)
