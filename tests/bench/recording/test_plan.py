"""From the catalogue to runs."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_network
from pathlib import Path

from bench.recording.catalogue import TOOLS, Family
from bench.recording.plan import ENFORCE, PEERS, SHADOW, missing, runs

EVERYTHING = list(Family)
PLANNED = runs(EVERYTHING, 1)


def networks_of(addresses: list[str]) -> set[str]:
    """Return the /24 around each."""
    return {address.rpartition(".")[0] for address in addresses}


def test_the_same_seed_makes_the_same_plan() -> None:
    """And another one another."""
    assert runs(EVERYTHING, 1) == PLANNED
    assert runs(EVERYTHING, 2) != PLANNED


def test_no_two_runs_share_a_network() -> None:
    """Neither limits nor windows of one can be touched by another."""
    networks = [network for run in PLANNED for network in networks_of([*run.addresses])]
    assert len(networks) == len(set(networks))


def test_a_run_has_the_addresses_that_its_case_says() -> None:
    """All different, in so many networks."""
    for run in PLANNED:
        assert len(set(run.addresses)) == run.case.addresses
        assert len(networks_of([*run.addresses])) == run.case.networks


def test_names_are_unique() -> None:
    """A line of runs.jsonl can be called by its name."""
    names = [run.name for run in PLANNED]
    assert len(names) == len(set(names))


def test_peers_alone_come_from_the_network_of_peers() -> None:
    """The guard exempts it."""
    for run in PLANNED:
        inside = {IPv4Address(address) in ip_network(PEERS) for address in run.addresses}
        assert inside == {run.tool.family is Family.PEER}


def test_a_part_of_the_plan_is_as_in_the_whole() -> None:
    """What is recorded of one family does not depend on which others are recorded."""
    assert runs([Family.SCRAPER], 1) == [run for run in PLANNED if run.tool.family is Family.SCRAPER]


def test_tools_without_their_programs_are_left_out() -> None:
    """All of their runs, and nothing else."""
    left = runs(EVERYTHING, 1, {"gpg1", "curl"})
    lost = {tool.name for tool in TOOLS if {"gpg1", "curl"} & {*tool.needs}}
    assert [run for run in PLANNED if run.tool.name not in lost] == left


def test_every_tool_is_recorded_in_shadow_mode_and_some_cases_under_limits() -> None:
    """Behaviour as it is, and what limits make of it."""
    assert {run.tool.name for run in PLANNED if run.mode == SHADOW} == {tool.name for tool in TOOLS}
    assert sum(run.mode == ENFORCE for run in PLANNED) == sum(min(tool.enforced, len(tool.cases)) for tool in TOOLS)


def test_runs_begin_early_enough() -> None:
    """The last ones have two fifths of the time; those that need all of it begin at once."""
    assert all(run.after <= (0.05 if run.case.patient else 0.6) for run in PLANNED)


def test_missing_programs_are_found_out() -> None:
    """By their names in PATH."""
    assert missing([]) == set()
    assert missing(TOOLS) <= {need for tool in TOOLS for need in tool.needs}


def test_all_programs_can_be_installed() -> None:
    """`deploy/packages record` looks for each that a tool needs."""
    script = (Path(__file__).parents[3] / "deploy" / "packages").read_text()
    commands = script.partition("record)\n")[2].partition('commands="')[2].partition('"')[0].split()
    assert {need for tool in TOOLS for need in tool.needs} <= {*commands}
