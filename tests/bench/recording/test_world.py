"""What there is to ask for."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bench.recording import world as worlds
from bench.recording.world import Person, World, made_address, make_people, words

if TYPE_CHECKING:
    from pathlib import Path

WORLD = World(
    known=[Person(f"A{number:039}", (f"{number}@example.org",), b"") for number in range(20)],
    unknown=[Person(f"B{number:039}", (), b"") for number in range(6)],
)


def dice() -> random.Random:
    """Return the same draws for each test."""
    return random.Random(7)  # noqa: S311 - no secret


@pytest.mark.parametrize(
    ("count", "share", "known", "unknown"), [(9, 1 / 3, 6, 3), (5, 0, 5, 0), (24, 0.5, 18, 6), (100, 0.1, 20, 6)]
)
def test_a_keyring_has_its_share_of_strangers(count: int, share: float, known: int, unknown: int) -> None:
    """No one is in it twice; known people stand in for strangers that there are not, and at the end it is smaller."""
    drawn = WORLD.keyring(dice(), count, share)
    assert len({person.fingerprint for person in drawn}) == len(drawn)
    assert sum(person in WORLD.known for person in drawn) == known
    assert sum(person in WORLD.unknown for person in drawn) == unknown


@pytest.mark.parametrize(("missing", "found"), [(0.0, 50), (1.0, 0)])
def test_addresses_are_found_as_often_as_asked_for(missing: float, found: int) -> None:
    """All or none."""
    drawn = dice()
    addresses = [WORLD.address(drawn, missing) for _ in range(50)]
    assert sum(address in WORLD.addresses for address in addresses) == found


def test_made_certificates_are_whole() -> None:
    """With an address each, and no fingerprint twice."""
    people = make_people(dice(), 3)
    assert [person.addresses for person in people] == [(address,) for address in _addresses(3)]
    assert len({person.fingerprint for person in people}) == 3


def _addresses(count: int) -> list[str]:
    drawn = dice()
    return [made_address(drawn) for _ in range(count)]


def test_words_keep_the_order_of_their_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a scanner reads it; no more than there are."""
    monkeypatch.setattr(worlds, "_WORD_LISTS", tmp_path)
    (tmp_path / "list.txt").write_text("a\nb\nc\nd\n")
    drawn = words(dice(), "list", 3)
    assert drawn == sorted(drawn)
    assert len(drawn) == 3
    assert words(dice(), "list", 99) == ["a", "b", "c", "d"]


def test_words_where_no_list_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few of our own."""
    monkeypatch.setattr(worlds, "_WORD_LISTS", tmp_path)
    assert len(words(dice(), "list", 10)) == 10
