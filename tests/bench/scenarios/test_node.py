"""The node of the simulator is judged by the real policy."""

import json
from collections.abc import Mapping

import pytest

from bench.scenarios.certificates import Certificate, gpg_get, mail_search
from bench.scenarios.clock import HOUR, MINUTE, SECOND, START_NS
from bench.scenarios.node import Node
from bench.scenarios.upstream import COSTS, FAT
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason

HERE, THERE = bytes([203, 0, 113, 7]), bytes([198, 51, 100, 7])
KEY = "0123456789ABCDEF0123456789ABCDEF01234567"
ME = Certificate(KEY, "Somebody <p@example.org>")
GENEROUS = {"HKPGUARD_NETWORKS": json.dumps([{"cidr": "203.0.113.7/32", "limits": {"cert": {"burst": 600}}}])}


def _node(environ: Mapping[str, str] | None = None) -> Node:
    return Node(environ or {}, lambda: 0.5)


def _actions(node: Node, target: str, count: int) -> list[Action]:
    return [Action(node.ask(HERE, target, START_NS).action) for _ in range(count)]


def test_sixty_gets_pass_then_each_waits_a_fifth_of_a_second_longer() -> None:
    """The default limit of certificates: a burst of 60, five per second, ten seconds of delay, then 429."""
    node = _node()
    assert set(_actions(node, gpg_get(KEY), 60)) == {Action.ALLOW}
    waits = [node.ask(HERE, gpg_get(KEY), START_NS).wait_ns for _ in range(50)]
    assert waits == [SECOND // 5 * turn for turn in range(1, 51)]
    refused = node.ask(HERE, gpg_get(KEY), START_NS)
    assert (refused.action, refused.status) == (Action.LIMIT, 429)


def test_clients_are_told_apart_and_networks_have_their_own_limits() -> None:
    """The profile is that of the address."""
    node = _node(GENEROUS)
    assert set(_actions(node, gpg_get(KEY), 600)) == {Action.ALLOW}
    assert node.ask(THERE, gpg_get(KEY), START_NS).action == Action.ALLOW


@pytest.mark.parametrize(
    ("target", "action", "status"),
    [
        ("/.env", Action.TARPIT, 404),
        ("/nothing", Action.DENY, 404),
        ("/pks/lookup?op=index&search=ab", Action.DENY, 501),
        ("/pks/lookup?op=hget&search=" + "0" * 32, Action.DENY, 403),
        ("/pks/lookup?op=stats", Action.ALLOW, 0),
    ],
)
def test_facts_are_those_of_a_worker(target: str, action: Action, status: int) -> None:
    """Traps, unknown paths, words that are too short and the traffic of peers meet what they meet there."""
    verdict = _node().ask(HERE, target, START_NS)
    assert (verdict.action, verdict.status) == (action, status)


def test_the_keyserver_spends_time_on_what_goes_on_only() -> None:
    """Refused requests cost it nothing."""
    node = _node()
    verdicts = _actions(node, mail_search("p@example.org"), 60)
    served = verdicts.count(Action.ALLOW)
    assert 0 < served < 60
    assert node.upstream.requests == served
    assert node.upstream.spent_us == served * COSTS[OperationClass.IDENTITY].service_us


def test_a_poisoned_certificate_costs_more() -> None:
    """Until it is poisoned it is like any other."""
    node = _node()
    node.ask(HERE, gpg_get(KEY), START_NS)
    node.upstream.fatten(KEY)
    node.ask(HERE, gpg_get(KEY), START_NS)
    assert node.upstream.spent_us == COSTS[OperationClass.CERT].service_us + FAT.service_us


def test_who_goes_on_over_his_limit_is_banned_and_let_in_again() -> None:
    """As by the analyst: twenty episodes of refusals earn a ban, which ends."""
    node = _node()
    target = mail_search("p@example.org")
    reasons = {node.ask(HERE, target, START_NS + turn * SECOND // 5).reason for turn in range(3000)}
    assert Reason.BANNED in reasons
    assert node.bans.placed == 1
    end_ns = START_NS + 10 * MINUTE
    assert node.ask(HERE, gpg_get(KEY), end_ns).reason == Reason.BANNED
    assert node.ask(THERE, gpg_get(KEY), end_ns).action == Action.ALLOW
    assert node.ask(HERE, gpg_get(KEY), end_ns + HOUR).action == Action.ALLOW


def test_bans_can_be_left_out() -> None:
    """Then nothing but limits refuses anybody."""
    node = _node({"HKPGUARD_BANS__MODE": "off"})
    target = mail_search("p@example.org")
    reasons = {node.ask(HERE, target, START_NS + turn * SECOND // 5).reason for turn in range(3000)}
    assert reasons == {Reason.NONE, Reason.LIMIT}


def test_uploads_have_their_limit() -> None:
    """A burst of ten, then a delay of ten seconds, then 429."""
    node = _node()
    verdicts = [node.upload(HERE, ME, START_NS) for _ in range(12)]
    assert [verdict.action for verdict in verdicts] == [Action.ALLOW] * 10 + [Action.DELAY, Action.LIMIT]
