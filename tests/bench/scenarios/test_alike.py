"""Who is found in cohorts in a world in virtual time, and what honest people notice while prices are high."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from bench.scenarios import clients, vandals
from bench.scenarios.alike import Alike
from bench.scenarios.clock import HOUR, MINUTE, SECOND, START_NS
from bench.scenarios.world import World
from proxy.hkp.classes import OperationClass
from proxy.replay.node import SECRET

if TYPE_CHECKING:
    from collections.abc import Callable


def play(hours: float, *people: Callable[[World], None]) -> tuple[World, Alike]:
    """Let people live for some hours, and return who was named."""
    world, alike = World({}, int(hours * HOUR)), Alike(SECRET)
    for populate in people:
        populate(world)
    world.node.witness = alike
    world.run()
    return world, alike


def test_walk_from_many_networks_among_people() -> None:
    """Nearly all walkers are named, and nobody else."""
    walk = partial(vandals.scrape_networks, networks=60, rate=0.05, after_ns=90 * MINUTE)
    people = (partial(clients.one_refresh, keys=30, rtt_ms=8, home=40 * each) for each in range(60))
    again = (partial(clients.one_refresh, keys=30, rtt_ms=8, home=40 * each, after_ns=HOUR) for each in range(60))
    world, alike = play(2.5, *people, *again, walk)
    *honest, walkers = alike.shares(world.groups)
    assert [share.members for share in honest] == [0] * 120
    assert walkers.clients == 60
    assert walkers.members >= 57
    assert walkers.requests <= 240


@pytest.mark.parametrize("times", [1, 4, 16])
@pytest.mark.parametrize("keys", [30, 300])
def test_refresh_at_a_high_price_is_slowed_and_loses_nothing(times: int, keys: int) -> None:
    """Gpg asks for one key after the other: it waits for its tokens, and gets each key."""
    world = World({}, HOUR)
    world.node.tables.tariff.set(OperationClass.CERT, times, START_NS + 2 * HOUR)
    clients.one_refresh(world, keys, 8)
    world.run()
    [group] = world.groups
    assert (group.tally.requests, group.tally.denied) == (keys, 0)
    due_s = max(0, keys * times - 60) / 5  # beyond the burst, at five tokens a second
    assert group.tally.longest_ns / SECOND == pytest.approx(due_s, abs=keys * 0.008 + times / 5 + 1)
    assert group.tally.worst_wait_ns <= times * SECOND // 5
