"""Who is suspicious, who are the others, and what a cluster is called."""

from __future__ import annotations

import numpy as np
import pytest

from fastpath.origin import NetworkKind
from geo import clusters
from geo.clusters import LEAST_OTHERS, QUARTER_S, Clusters, Spots
from geo.grouping import HEAD, NETWORK, PLACE, SPOT, answer
from geo.place import Location, Place
from tests.geo.spots_for_tests import FRANKFURT, MAINZ, client, elsewhere

NOW = 10_000


def watching(suspicious: int = 8, others: int = LEAST_OTHERS, *, where: Location = FRANKFURT) -> Clusters:
    """Return one that knows so many."""
    known = Clusters()
    for number in range(others):
        known.meet(client(1000 + number), elsewhere(number), NOW)
    for number in range(suspicious):
        known.suspect(client(number), where, NOW)
    return known


def test_cluster_is_found_and_named() -> None:
    """From those who are suspicious, to who belongs together and what is said of each."""
    pytest.importorskip("sklearn")
    known = watching()
    batch = known.batch(NOW)
    assert batch is not None
    network, place = known.read(answer(batch))
    assert (network.about, place.about) == (NETWORK, PLACE)
    assert {*network.clients} == {*place.clients} == {client(number) for number in range(8)}
    assert network.reason == (
        "one of 8 suspicious clients of 8 networks of Some Hosting (AS64500): "
        "100% of all that are suspicious, 1.5% of the others"
    )
    assert place.where == "near Frankfurt (DE)"


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (MAINZ, {"of a network (AS64501)", "near Mainz (DE)"}),
        (MAINZ._replace(place=None), {"of a network (AS64501)"}),
        (MAINZ._replace(holder=None), {"near Mainz (DE)"}),
    ],
)
def test_names(where: Location, expected: set[str]) -> None:
    """What is known of it."""
    pytest.importorskip("sklearn")
    known = watching(where=where)
    assert {each.where for each in known.read(answer(known.batch(NOW) or b""))} == expected


def test_name_of_who_is_gone() -> None:
    """The answer may come when nobody is known any more."""
    pytest.importorskip("sklearn")
    known = watching()
    given = answer(known.batch(NOW) or b"")
    known.batch(NOW + QUARTER_S + 1)
    assert [each.where for each in known.read(given)] == ["of one network", "in one place"]


@pytest.mark.parametrize(
    ("suspicious", "others", "after_s", "there_is"),
    [
        (8, LEAST_OTHERS, 0, True),
        (7, LEAST_OTHERS, 0, False),
        (8, LEAST_OTHERS - 1, 0, False),
        (8, LEAST_OTHERS, QUARTER_S, True),
        (8, LEAST_OTHERS, QUARTER_S + 1, False),
    ],
)
def test_when_there_is_something_to_look_at(
    suspicious: int,
    others: int,
    after_s: int,
    there_is: bool,  # noqa: FBT001 - a row
) -> None:
    """Enough who were suspicious within a quarter of an hour, and enough others to tell what is usual."""
    assert (watching(suspicious, others).batch(NOW + after_s) is not None) is there_is


def test_nobody_is_both() -> None:
    """Who becomes suspicious leaves the others, and does not come back as long as that lasts."""
    known = watching(0, 1)
    known.suspect(client(1000), FRANKFURT, NOW)
    known.meet(client(1000), FRANKFURT, NOW)
    assert (len(known.suspicious), len(known.others)) == (1, 0)


@pytest.mark.parametrize(
    ("where", "located"),
    [
        (FRANKFURT, True),
        (FRANKFURT._replace(kind=NetworkKind.HOSTING), True),
        (FRANKFURT._replace(kind=NetworkKind.TOR), False),
        (FRANKFURT._replace(kind=NetworkKind.VPN), False),
        (Location(Place("US", "", 37.75, -97.82, 1000)), False),
        (Location(Place("NO", "", 62.0, 10.0, 100)), False),
        (Location(Place("US")), False),
        (Location(), False),
    ],
)
def test_what_is_a_place(where: Location, located: bool) -> None:  # noqa: FBT001 - a row
    """Not the middle of a country, and not where a relay stands."""
    spots = Spots(4)
    spots.put(client(1), where, NOW)
    assert (not np.isnan(spots.all()["latitude"][0])) is located


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than there is room for, those that were noted longest ago go; to be noted again is not to be two."""
    monkeypatch.setattr(clusters, "SUSPICIOUS", 3)
    known = watching(5)
    assert len(known.suspicious) == 3
    known.suspect(client(2), MAINZ, NOW)
    known.suspect(client(7), MAINZ, NOW)
    assert known.suspicious.all()["client"].tolist() == [client(4), client(2), client(7)]
    assert known.suspicious.location(client(2)) == MAINZ
    assert known.suspicious.location(client(3)) == Location()
    known.suspicious.drop(client(3))
    assert client(3) not in known.suspicious


def test_a_batch_of_the_most_there_can_be() -> None:
    """It is a quarter of a megabyte at most."""
    assert HEAD.size + (clusters.SUSPICIOUS + clusters.OTHERS) * SPOT.itemsize < 256 << 10
