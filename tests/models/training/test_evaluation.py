"""Figures: by client, with the first look that accuses, and nothing left out."""

from __future__ import annotations

import numpy as np
import pytest

from models.training.evaluation import NEVER, area, by_tool, fates, markdown, metrics, overall
from models.training.table import SHARED, joined
from tests.models.models_for_tests import ABUSIVE, clients, scorer, world


def test_found_at_the_first_look() -> None:
    """A client is found at the first look that accuses; one with too few requests never is."""
    table = joined([clients("a", ABUSIVE, count=2, looks=3), clients("b", ABUSIVE, count=1, looks=1)])
    table = table._replace(requests=np.array([8, 15, 30, 8, 15, 30, 5]))
    who = fates(table, np.array([0.0, 5.0, 9.0, 0.0, 1.0, 2.0, 9.0]), np.full(7, 5.0))
    assert who.found_at.tolist() == [15, NEVER, NEVER]
    assert who.highest.tolist() == [9.0, 2.0, -np.inf]


def test_by_tool() -> None:
    """There is a row for each tool, honest ones first, and the sorted walkers are found by trees that know order."""
    rows = {row.name: row for row in by_tool(scorer(), world())}
    assert [row.abusive for row in rows.values()] == [False, False, False, True, True, True]
    assert (rows["swarm"].clients, rows["swarm"].found, rows["swarm"].median) == (10, 10, 8)
    assert rows["old gpg refresh"].found == 0
    assert len(markdown(rows.values()).splitlines()) == 8
    totals = {row.name: row.clients for row in overall(scorer(), world())}
    assert totals == {"honest": 30, "abusive": 30}


def test_a_bound_for_each_look() -> None:
    """A look is held against the bound for so many requests."""
    table = clients("a", ABUSIVE, count=1, looks=3)
    assert fates(table, np.array([2.0, 2.0, 2.0]), np.array([3.0, 2.5, 2.0])).found_at.tolist() == [30]


def test_shared_addresses() -> None:
    """Several behind one address count for themselves, not among the honest clients of their tool."""
    shared = clients("mail", seed=7, order=0.1)._replace(mode=np.full(20, SHARED))
    table = joined([world(), shared])
    assert {row.name: row.clients for row in overall(scorer(), table)} == {"honest": 30, "abusive": 30, "shared": 10}
    assert {row.name: row.clients for row in by_tool(scorer(), table)}["mail"] == 10
    assert metrics(scorer(), table)["shared_clients"] == 10


def test_metrics() -> None:
    """A manifest gets the figures of both kinds of clients."""
    found = metrics(scorer(), world().at(world().split == "test"))
    assert (found["honest_accused"], found["abusive_accused"], found["auc"]) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("scores", "abusive", "expected"),
    [([1, 2, 3, 4], [0, 0, 1, 1], 1.0), ([4, 3, 2, 1], [0, 0, 1, 1], 0.0), ([1, 1, 1, 1], [0, 1, 0, 1], 0.5)],
)
def test_area(scores: list[float], abusive: list[int], expected: float) -> None:
    """The area is that of all pairs; equals count half."""
    assert area(np.array(scores, float), np.array(abusive, bool)) == expected
