"""The attacks."""

import pytest

from bench.attackers import Force, slowhttptest
from bench.sieges import CONNECTIONS, IDLE_BYTES, SCENARIOS, SLACK_BYTES, TABLE_BYTES, Origin, Scenario

ALL = list(SCENARIOS.values())


@pytest.mark.parametrize("scenario", ALL, ids=lambda each: each.key)
def test_either_a_script_or_slowhttptest(scenario: Scenario) -> None:
    """One of both runs it; only scripts have many addresses."""
    assert (scenario.script is None) == bool(scenario.slowhttptest)
    assert scenario.uncapped == (scenario.script is None)


def test_many_addresses_are_no_neighbours() -> None:
    """No cap adds them up: each has a /24 of its own. The honest clients live elsewhere."""
    sources = {SCENARIOS["idle"].source(number, Origin.MANY) for number in range(CONNECTIONS)}
    networks = {source.rpartition(".")[0] for source in sources}
    assert len(networks) == CONNECTIONS
    assert "127.1.0" not in networks


def test_few_addresses_are_shared_out_evenly() -> None:
    """10,000 connections of 250 addresses are 40 each, below the cap."""
    sources = [SCENARIOS["pipelining"].source(number, Origin.MANY) for number in range(CONNECTIONS)]
    assert {sources.count(each) for each in set(sources)} == {40}


def test_one_address_is_one() -> None:
    """For each scenario the same one."""
    assert len({each.source(number, Origin.ONE) for each in ALL for number in (0, 77)}) == 1


def test_the_bound_of_memory_is_the_sum_of_what_is_allowed() -> None:
    """Each connection, all together, and the slack."""
    scenario = Scenario(key="k", title="t", each_bytes=10, all_bytes=7)
    assert scenario.bound_bytes(3) == 3 * (IDLE_BYTES + TABLE_BYTES + 10) + 7 + SLACK_BYTES


def test_slowhttptest_is_told_all_it_needs() -> None:
    """Target, number and time; its options are those of the scenario."""
    command = slowhttptest(SCENARIOS["slowhttptest-read"], 1234, Force(500, 30.0, None))
    assert command[:3] == ["slowhttptest", "-c", "500"]
    assert command[-2] == "-u"
    assert command[-1].startswith("http://127.0.0.1:1234/pks/lookup?op=get")
    assert {"-X", "-l", "30"} <= set(command)
