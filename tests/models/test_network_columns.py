"""Figures of networks, in a bounded number of rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.network_columns import MOST_ROWS, WAYS, NetworkColumns

Asks = list[tuple[int, bool]]
asks = st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=12)


def add(columns: NetworkColumns, asked: Asks, usual: float = 0.5) -> None:
    """Let networks ask, each in a set of its own if there are enough."""
    networks = np.array([network for network, _ in asked], np.uint64)
    cold = np.array([cold for _, cold in asked], np.bool_)
    columns.add(networks, networks << np.uint64(40), cold, usual)


def crowd(columns: NetworkColumns, networks: list[int]) -> None:
    """Let networks ask that share one set."""
    columns.add(
        np.array(networks, np.uint64), np.zeros(len(networks), np.uint64), np.ones(len(networks), np.bool_), 0.5
    )


@given(st.lists(asks, max_size=5))
def test_figures_are_sums(blocks: list[Asks]) -> None:
    """Of what each network asked for in all blocks, and however often in one."""
    columns = NetworkColumns(64)
    for block in blocks:
        add(columns, block)
    everything = [ask for block in blocks for ask in block]
    found = columns.all()
    assert sorted(found.networks.tolist()) == sorted({network for network, _ in everything})
    for network, asked, cold, usual in zip(*(column.tolist() for column in found), strict=True):
        mine = [was_cold for who, was_cold in everything if who == network]
        assert (asked, cold, usual) == (len(mine), sum(mine), len(mine) / 2)


def asked(columns: NetworkColumns, network: int) -> float:
    """Return how much a network of the one set asked for."""
    return float(columns.of(np.array([network], np.uint64), np.zeros(1, np.uint64)).asked[0])


def test_figures_fade_together() -> None:
    """And those who come later are not touched by it."""
    columns = NetworkColumns(64)
    add(columns, [(1, True), (1, False)])
    columns.fade(0.25)
    add(columns, [(2, True)])
    networks = np.array([1, 2, 3], np.uint64)
    found = columns.of(networks, networks << np.uint64(40))
    assert [column.tolist() for column in found] == [[1, 2, 3], [0.5, 1.0, 0.0], [0.25, 1.0, 0.0], [0.25, 0.5, 0.0]]


def test_who_asks_least_makes_room() -> None:
    """The new one begins with nothing."""
    columns = NetworkColumns(64)
    active = list(range(1, WAYS))
    for network in [*active, *active, WAYS, WAYS + 1]:
        crowd(columns, [network])
    assert sorted(columns.all().networks.tolist()) == [*active, WAYS + 1]
    assert [asked(columns, network) for network in (1, WAYS, WAYS + 1)] == [2.0, 0.0, 1.0]


def test_nobody_gets_the_figures_of_another() -> None:
    """Where several new ones come for one row at once, all but one go without."""
    columns = NetworkColumns(64)
    crowd(columns, [21, 22, 22, 23])
    found = columns.all()
    assert (found.networks.tolist(), found.asked.tolist()) == ([23], [1.0])


@pytest.mark.parametrize("rows", [0, 4, 24, MOST_ROWS * 2])
def test_sizes(rows: int) -> None:
    """A power of two within bounds."""
    with pytest.raises(ValueError, match=f"rows {rows} "):
        NetworkColumns(rows)
