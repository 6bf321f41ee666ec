"""Points that fade."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import parse_network
from proxy.intel.reputation import HALVES_SECONDS, MOST_POINTS, WEIGHTS, Reputation, Standing
from proxy.policy.fusion import HYSTERESIS, PRIOR, THRESHOLDS
from tests.proxy.intel.feeds_for_tests import NOW_S

CLIENT, NEIGHBOUR, STRANGER = (parse_network(text) for text in ("1.2.3.4", "1.2.3.5", "9.9.9.9"))
SIX, SIX_NEIGHBOUR = (parse_network(text) for text in ("2a00:1:2:3::", "2a00:1:2:4::"))
DAY = HALVES_SECONDS


@pytest.mark.parametrize(
    ("blamed", "asked", "asn", "standing"),
    [
        (CLIENT, CLIENT, 7, (1.0, 0.25, 0.0625)),
        (CLIENT, NEIGHBOUR, 7, (0.0, 0.25, 0.0625)),
        (CLIENT, STRANGER, 7, (0.0, 0.0, 0.0625)),
        (CLIENT, STRANGER, 8, (0.0, 0.0, 0.0)),
        (CLIENT, CLIENT, 0, (1.0, 0.25, 0.0)),
        (SIX, SIX_NEIGHBOUR, 7, (0.0, 0.25, 0.0625)),
        (parse_network("1.2.3.0/24"), CLIENT, 7, (0.0, 0.25, 0.0625)),
        (parse_network("2a00:1:2::/48"), SIX, 7, (0.0, 0.25, 0.0625)),
    ],
)
def test_who_is_blamed(blamed: int, asked: int, asn: int, standing: tuple[float, ...]) -> None:
    """Points are for the client, a part of them for its network and its ASN, and none for anybody else."""
    reputation = Reputation()
    reputation.blame(blamed, 1.0, NOW_S, 7)
    assert reputation.standing(asked, NOW_S, asn) == pytest.approx(standing)


def test_nobody_begins_bad() -> None:
    """Who is not known has nothing against him, also after he behaved."""
    reputation = Reputation()
    assert reputation.standing(CLIENT, NOW_S, 7) == Standing()
    assert Standing().weight == 0
    reputation.credit([CLIENT], NOW_S)
    assert len(reputation) == 0


@pytest.mark.parametrize(("days", "points"), [(0, 1.0), (1, 0.5), (2, 0.25), (10, 0.0), (-1, 1.0)])
def test_time(days: float, points: float) -> None:
    """Points halve in a day, and end; a clock that is set back adds none."""
    reputation = Reputation()
    reputation.blame(CLIENT, 1.0, NOW_S)
    assert reputation.standing(CLIENT, NOW_S + days * DAY).client == pytest.approx(points)


def test_behaving() -> None:
    """An hour of requests that are answered halves the points; a thousand of them in a minute count as one."""
    patient, hasty = Reputation(), Reputation()
    for reputation in (patient, hasty):
        reputation.blame(CLIENT, 1.0, NOW_S)
    for minute in range(60):
        patient.credit([CLIENT], NOW_S + 60 * minute)
    for second in range(59):
        hasty.credit([CLIENT] * 100, NOW_S + second)
    after_s = NOW_S + 3600
    assert patient.standing(CLIENT, after_s).client == pytest.approx(0.5, abs=0.02)
    assert hasty.standing(CLIENT, after_s).client > 0.95
    assert patient.standing(CLIENT, after_s).network == hasty.standing(CLIENT, after_s).network


def test_recovery_forgets() -> None:
    """Who has behaved for long is not known any more."""
    reputation = Reputation()
    reputation.blame(CLIENT, 0.1, NOW_S)
    for minute in range(300):
        reputation.credit([CLIENT], NOW_S + 60 * minute)
    assert reputation.known(np.array([CLIENT], np.uint64)) == []


@given(
    st.lists(st.tuples(st.sampled_from([CLIENT, NEIGHBOUR, SIX]), st.floats(0.01, 10), st.integers(0, 5)), max_size=40)
)
def test_bounds(blames: list[tuple[int, float, int]]) -> None:
    """However bad, points have a most, and together weigh too little for a standing, with hysteresis and all."""
    reputation = Reputation()
    for subject, points, days in blames:
        reputation.blame(subject, points, NOW_S + days * DAY, 7)
    standing = reputation.standing(CLIENT, NOW_S, 7)
    assert all(0 <= points <= MOST_POINTS for points in standing)
    assert PRIOR + sum(WEIGHTS) + HYSTERESIS < min(THRESHOLDS.values())
    assert standing.weight <= sum(WEIGHTS)


def test_memory_is_bounded() -> None:
    """Of too many those with the fewest points go."""
    reputation = Reputation(most=64)
    reputation.blame(CLIENT, 4.0, NOW_S)
    for number in range(1000):
        reputation.blame(parse_network(f"5.{number // 256}.{number % 256}.1"), 0.1, NOW_S + number)
    assert len(reputation) <= 64
    assert reputation.standing(CLIENT, NOW_S + 1000).client == pytest.approx(4.0, rel=0.01)


def test_written_down() -> None:
    """What is known can be written down and taken up, and goes on fading meanwhile."""
    before, after = Reputation(), Reputation()
    before.blame(CLIENT, 1.0, NOW_S, 7)
    after.take_up(before.columns(), NOW_S + DAY)
    assert after.standing(CLIENT, NOW_S + DAY, 7) == pytest.approx((0.5, 0.125, 0.03125))
    assert len(after) == 3


@pytest.mark.parametrize(
    ("points", "since_s", "known"),
    [(1.0, NOW_S, 1), (5.0, NOW_S, 0), (-1.0, NOW_S, 0), (np.nan, NOW_S, 0), (1.0, NOW_S + 1, 0), (1.0, np.nan, 0)],
)
def test_nonsense_on_disk(points: float, since_s: float, known: int) -> None:
    """What makes no sense is left out."""
    reputation = Reputation()
    reputation.take_up(
        {
            "asns": np.array([False]),
            "keys": np.array([CLIENT], np.uint64),
            "points": np.array([points], np.float32),
            "since_s": np.array([since_s]),
        },
        NOW_S,
    )
    assert len(reputation) == known


def test_more_on_disk_than_there_is_room_for() -> None:
    """A file of a larger table fills this one, and no more."""
    before, after = Reputation(), Reputation(most=8)
    for number in range(100):
        before.blame(parse_network(f"5.0.{number}.1"), 1.0, NOW_S)
    after.take_up(before.columns(), NOW_S)
    assert len(after) == 8
