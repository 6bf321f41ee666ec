"""Scores for cold certificates in the simulator."""

import pytest

from bench.scenarios import addresses
from bench.scenarios.clock import HOUR, START_NS
from bench.scenarios.cold import BLOCK, Cold
from bench.scenarios.plan import SCENARIOS, play
from fastpath import network_key
from proxy.policy.actions import Reason
from proxy.replay.node import SECRET


@pytest.mark.parametrize(("found", "reason", "known"), [(True, 0, 1), (False, 0, 0), (True, Reason.ALLOWED_NETWORK, 0)])
def test_what_was_found_is_noted(*, found: bool, reason: int, known: int) -> None:
    """By the rules of the analyst."""
    cold = Cold(SECRET)
    cold.note(addresses.home(0), 7, reason, START_NS, found=found)
    cold.look(START_NS)
    assert len(cold.highest) == known


def test_the_highest_score_of_a_network_stays() -> None:
    """Blocks are shown when they are full, and looked at each hour."""
    cold = Cold(SECRET)
    for hour in range(4):
        for number in range(BLOCK):
            now_ns = START_NS + hour * HOUR + number
            cold.note(addresses.home(number % 5 * 40), _word(hour * BLOCK + number // 5), 0, now_ns, found=True)
    end_ns, walker = START_NS + 4 * HOUR, addresses.home(400)
    for number in range(BLOCK):
        cold.note(walker, _word(10**6 + number), 0, end_ns, found=True)
    cold.look(end_ns)
    highest = cold.highest[network_key(walker)]
    cold.look(end_ns + 200 * HOUR)
    assert cold.highest[network_key(walker)] == highest > 0.9


def _word(number: int) -> int:
    return number * 0x9E3779B97F4A7C15 % 2**64


def test_walkers_stand_out_among_people() -> None:
    """A thousand networks, one certificate each 100 s: two hours of it are enough, and no person looks like that."""
    outcome = play(SCENARIOS["walk-slow"], {}, hours=14)
    *people, one, many = (group.tally.cold_scores for group in outcome.groups)
    assert min(one[0], many[0]) > 0.7
    assert len(many) == 1000
    assert max(scores[-1] for scores in people) < 0.65
