"""Groups by place and by network: only where it is unusual, and only networks count."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from geo.grouping import NETWORK, PLACE, Found, Terms, answer, by_network, by_place, pack, read_answer
from tests.geo.spots_for_tests import DATE_LINE, FRANKFURT, MAINZ, POLE, client, elsewhere, spots

if TYPE_CHECKING:
    from collections.abc import Iterable

    from geo.place import Location

pytest.importorskip("sklearn")

TERMS = Terms(least=8, times=5.0)
OTHERS = [(client(1000 + number), elsewhere(number)) for number in range(199)]


def at(*places: Location, many: int = 8, since: int = 0) -> list[tuple[int, Location]]:
    """Return clients of different networks, in turn at these places."""
    return [(client(since + number), places[number % len(places)]) for number in range(many)]


def groups(
    suspicious: Iterable[tuple[int, Location]], others: Iterable[tuple[int, Location]] = OTHERS
) -> list[tuple[str, int, int]]:
    """Return what is found: by what, of how many clients, of how many networks."""
    found = read_answer(answer(pack(spots(*suspicious), spots(*others), TERMS)))
    return [(each.about, len(each.clients), each.networks) for each in found]


BOTH = [(NETWORK, 8, 8), (PLACE, 8, 8)]


def test_one_place_and_one_network() -> None:
    """Eight networks in one town, which all have one holder, are a group twice."""
    assert groups(at(FRANKFURT)) == BOTH


@pytest.mark.parametrize(
    ("suspicious", "expected"),
    [
        (at(FRANKFURT, many=7), []),
        (at(FRANKFURT, MAINZ), [(PLACE, 8, 8)]),
        (at(*DATE_LINE), [(PLACE, 8, 8)]),
        (at(*POLE, many=9), [(PLACE, 9, 9)]),
        ([(client(number), elsewhere(number)) for number in range(50)], []),
        ([*at(FRANKFURT), *((client(500 + each), elsewhere(each)) for each in range(10))], BOTH),
        ([(client(1, host), FRANKFURT) for host in range(200)], []),
        ([*at(FRANKFURT), (client(3, 77), FRANKFURT)], [(NETWORK, 9, 8), (PLACE, 9, 8)]),
    ],
    ids=["few", "two towns", "date line", "pole", "everywhere", "among others", "one network", "twice in a network"],
)
def test_groups(suspicious: list[tuple[int, Location]], expected: list[tuple[str, int, int]]) -> None:
    """What is near to each other, wherever that is on a sphere; a network counts once, its clients all belong to it."""
    assert groups(suspicious) == expected


@pytest.mark.parametrize(("neighbours", "found"), [(0, True), (20, True), (60, False), (150, False)])
def test_where_everybody_is_nothing_is_found(neighbours: int, found: bool) -> None:  # noqa: FBT001 - a row
    """Eight of ten that are suspicious come from a town: much where a tenth of the others is, little where half are."""
    suspicious = [*at(FRANKFURT), *((client(500 + each), elsewhere(each)) for each in range(2))]
    others = [*at(FRANKFURT, many=neighbours, since=2000), *OTHERS]
    assert groups(suspicious, others) == (BOTH if found else [])


def test_several_groups_have_their_own_neighbours() -> None:
    """Those who live in one place say nothing of another."""
    suspicious = [*at(FRANKFURT), *at(*DATE_LINE, since=100)]
    others = [*at(FRANKFURT, many=100, since=2000), *OTHERS]
    [found] = by_place(spots(*suspicious), spots(*others), TERMS)
    assert {*found.clients} == {key for key, _ in at(*DATE_LINE, since=100)}
    assert (found.share, found.usual) == (0.5, pytest.approx(1 / 300))


def test_shares_are_of_networks() -> None:
    """A quarter of the suspicious, and one more of the others than there are."""
    suspicious = [*at(FRANKFURT), *((client(500 + each), elsewhere(each)) for each in range(24))]
    [found] = by_network(spots(*suspicious), spots(*at(FRANKFURT, many=3, since=2000), *OTHERS), TERMS)
    assert found[2:] == (8, 0.25, pytest.approx(4 / 203))


def test_nobody_known() -> None:
    """Without others everything is usual; without anybody there is nothing."""
    assert groups(at(FRANKFURT), []) == []
    assert groups([], []) == []


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups by network are found all the same."""
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    assert groups(at(FRANKFURT)) == BOTH[:1]


def test_answer_that_broke_off() -> None:
    """It is not taken for a shorter one."""
    given = answer(pack(spots(*at(FRANKFURT)), spots(*OTHERS), TERMS))
    assert isinstance(read_answer(given)[0], Found)
    with pytest.raises(ValueError, match="line 1"):
        read_answer(given[:-1])
