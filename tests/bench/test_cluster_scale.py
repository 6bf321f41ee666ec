"""The formula for what a cluster asks of Redis, against a run of the exchange with a Redis that is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.cluster_scale import BUCKETS, Load, exchanged, row, simulated, standing, table
from bench.redis_wire import Flow, MadeUpWire, packed, request
from proxy.cluster.command import Command
from proxy.cluster.exchange import LEVELS, STORE_PER_SECOND
from proxy.cluster.ledger import MOST_MARK

DOCUMENT = Path(__file__).parents[2] / "docs" / "cluster.md"
SIZES = r"\| ([\d,]+) \| ([\d,]+) \| (\d+) ms \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| ([\d.]+) \| ([\d.]+) \|"
FIGURES = ("calls", "levels", "commands", "in_bytes", "out_bytes")


@pytest.mark.parametrize("load", [Load(2, 20), Load(10, 100), Load(40, 60)], ids=str)
def test_formula_tells_what_a_run_asks(load: Load) -> None:
    """Each figure of a run is the formula's, or up to a fifth less: of buckets that are nearly full nobody tells."""
    formula, run = exchanged(load), simulated(load, 2)
    for name in FIGURES:
        assert 0.8 < getattr(run, name) / getattr(formula, name) < 1.05, name


@pytest.mark.parametrize("told", re.findall(SIZES, DOCUMENT.read_text(encoding="utf-8")), ids=str)
def test_documentation_tells_what_the_formula_says(told: tuple[str, ...]) -> None:
    """Each row of the table in docs/cluster.md is that of the bench, rounded."""
    nodes, clients, *figures = (float(each.replace(",", "")) for each in told)
    load = Load(round(nodes), round(clients))
    flow = exchanged(load).plus(standing(load.nodes))
    counts = (1000 * load.interval_s, flow.calls, flow.levels, flow.commands)
    assert figures[:4] == pytest.approx(counts, rel=0.03)
    assert figures[4:] == pytest.approx((flow.in_bytes / 1e6, flow.out_bytes / 1e6), abs=0.1)


def test_documentation_tells_of_many_nodes() -> None:
    """There are rows for ten, a hundred and a thousand."""
    assert {row[0] for row in re.findall(SIZES, DOCUMENT.read_text(encoding="utf-8"))} == {"10", "100", "1,000"}


@pytest.mark.parametrize("nodes", [1, 10, 100, 1000])
def test_nobody_tells_of_more_than_there_was(nodes: int) -> None:
    """There are no more levels than requests, and no more than all nodes allow themselves, whoever is busy."""
    for clients in (1, 100, 10_000, 1_000_000):
        load = Load(nodes, clients)
        assert exchanged(load).levels <= 1.001 * min(BUCKETS * clients * load.rate, STORE_PER_SECOND)


def test_more_nodes_tell_of_no_more() -> None:
    """A client costs what it asks for, however many nodes it asks: more calls, but not more levels."""
    few, many = exchanged(Load(10, 100)), exchanged(Load(1000, 100))
    assert many.levels == pytest.approx(few.levels, rel=0.01)
    assert many.calls > few.calls


def test_beats_of_many_are_not_read_each_second() -> None:
    """What nodes read of each other grows with their number, not with its square, once there are many."""
    assert standing(50).out_bytes > 4 * standing(20).out_bytes
    assert standing(1000).out_bytes < 11 * standing(100).out_bytes


def test_bytes_are_those_of_the_wire() -> None:
    """A command is packed as Redis wants it, a script by its name."""
    assert packed("SET", b"k", 7) == b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n7\r\n"
    assert request(Command(LEVELS, (b"k",), (1,))) == packed("EVALSHA", LEVELS.sha, 1, b"k", 1)


def test_made_up_redis_adds_and_forgets() -> None:
    """A level grows by what is told, falls with time, and is no higher than it may be."""
    now = [1_000]
    wire = MadeUpWire(lambda: now[0])

    def told(us: int) -> object:
        return wire.ask(Command(LEVELS, (b"caller", b"bucket"), (1, 1000, 0, us, 0, 500, 7)))

    assert told(300) == [1, 300, MOST_MARK]
    now[0] += 100
    assert told(100) == [1, 300, MOST_MARK]
    assert told(400) == [1, 500, MOST_MARK]
    assert wire.count().calls == 3
    assert wire.count().commands == 3 * (4 + 2)


def test_table_has_all_loads() -> None:
    """Each load is a row, with a run or without one."""
    rows = [row(Load(2, 10), 1), row(Load(1000, 10))]
    assert rows[0].run is not None
    assert rows[1].run is None
    assert table(rows).row_count == 2


def test_flows_add_up() -> None:
    """Each figure is added by itself."""
    assert Flow(calls=1, levels=2).plus(Flow(levels=3, in_bytes=4)).times(2) == Flow(calls=2, levels=10, in_bytes=8)
