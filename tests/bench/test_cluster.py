"""The comparison of guards with Redis and without: what it says of rounds that were measured."""

from __future__ import annotations

import pytest

from bench import cluster, seclusion
from bench.cluster import GUARD, PEER, ClusterError, Round, State
from bench.processes import Cores
from bench.targets import BUSY, keepalive_heads

FINE = {State.WITHOUT: (20.0, 800.0), State.WITH: (20.9, 830.0), State.LOST: (19.0, 700.0)}


def rounds(limiter: str = GUARD, **others: tuple[float, float]) -> list[Round]:
    """Return a round for each state: CPU and p99, us."""
    states = FINE | {State(name): figures for name, figures in others.items()}
    return [
        Round(limiter=limiter, state=state, cpu_us=cpu, redis_us=1.0, p50_us=100.0, p99_us=p99)
        for state, (cpu, p99) in states.items()
    ]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({}, []),
        ({"with": (21.1, 800.0)}, ["with: CPU"]),
        ({"lost": (20.0, 841.0)}, ["lost: p99"]),
        ({"with": (30.0, 900.0)}, ["with: CPU", "with: p99"]),
    ],
)
def test_more_than_a_twentieth_is_missed(others: dict[str, tuple[float, float]], words: list[str]) -> None:
    """What grows by more than 5 % is named, and what shrinks is not."""
    assert [each[: len(word)] for each, word in zip(cluster.missed(rounds(**others)), words, strict=True)] == words


def test_peer_is_only_shown() -> None:
    """How the one does that asks Redis about each request is no goal of ours."""
    bad = rounds(PEER, **{"with": (90.0, 9000.0)})
    assert cluster.missed(rounds() + bad) == []
    assert cluster.table(rounds() + bad).row_count == 2 * len(State)


def test_a_state_that_was_not_measured_is_missed() -> None:
    """Half a measurement does not pass."""
    assert cluster.missed(rounds()[:2])


def test_nothing_is_measured_in_the_network_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Packets are dropped in a network of its own, or not at all."""
    monkeypatch.delenv(seclusion.ENTERED, raising=False)
    with pytest.raises(ClusterError, match="network"):
        next(cluster.measure(Cores(None, None), 1, 1.0))


def test_a_crowd_has_busy_clients_and_calm_ones() -> None:
    """Each tenth request is of one of a few, and nobody else is as busy."""
    heads = keepalive_heads(crowd=True)
    counts: dict[bytes, int] = {}
    for head in heads:
        (field,) = [line for line in head.split(b"\r\n") if line.startswith(b"X-Forwarded-For: ")]
        counts[field] = counts.get(field, 0) + 1
    busy = sorted(counts.values(), reverse=True)
    assert sum(busy[:BUSY]) == len(heads) / 10
    assert busy[BUSY - 1] >= 4 * busy[BUSY]
    assert not any(b"X-Forwarded-For" in head for head in keepalive_heads())
