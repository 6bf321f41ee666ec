"""A node in virtual time; how it judges is tested with `bench.scenarios`, which judges by it too."""

import json
from collections.abc import Mapping

import pytest

from fastpath import Standing
from proxy.config import Config
from proxy.policy.actions import Action, Reason
from proxy.policy.judge import Verdict
from proxy.replay.node import START_NS, Node

HERE, EXIT = bytes([203, 0, 113, 7]), bytes([198, 51, 100, 7])
CANARY = "/pks/lookup?op=get&search=0x0123456789ABCDEF"
CANARIES = {"HKPGUARD_TRAPS__SUBJECTS": "0x0123456789ABCDEF"}


def _node(environ: Mapping[str, str] | None = None) -> Node:
    return Node(Config.from_env(environ or {}), lambda: 0.5, clients=1024)


def _judged(node: Node, target: str, turn: int = 0, address: bytes = HERE) -> Verdict:
    client, operation = node.client(address), node.classify("GET", target)
    verdict = node.judge(node.facts(client, operation), START_NS + turn)
    node.note(client, operation, verdict, START_NS + turn)
    return verdict


def test_a_canary_is_answered_and_noted() -> None:
    """Four times, and a ban follows."""
    node = _node(CANARIES)
    verdicts = [_judged(node, CANARY, turn) for turn in range(5)]
    assert [(each.action, each.reason) for each in verdicts[:4]] == [(Action.ALLOW, Reason.CANARY)] * 4
    assert verdicts[4].reason == Reason.BANNED
    assert _judged(_node(), CANARY).reason == Reason.NONE


@pytest.mark.parametrize(
    ("environ", "bans", "action"),
    [
        ({}, 1, Action.DENY),
        ({"HKPGUARD_BANS__MODE": "shadow"}, 1, Action.TARPIT),  # it would be banned
        ({"HKPGUARD_TRAPS__MODE": "shadow"}, 0, Action.DENY),  # an unknown path like others
        ({"HKPGUARD_BANS__MODE": "off"}, 0, Action.TARPIT),
        ({"HKPGUARD_ALLOW": "203.0.113.0/24"}, 0, Action.DENY),  # unknown paths are refused to everybody
    ],
)
def test_bans_obey_the_modes(environ: Mapping[str, str], bans: int, action: Action) -> None:
    """Of all, of bans and of traps."""
    node = _node(environ)
    actions = [_judged(node, "/.env", turn).action for turn in range(5)]
    assert (node.bans.placed, actions[-1]) == (bans, action)


def test_what_was_dear_costs_more_in_advance() -> None:
    """As many tokens as the caller says, at least."""
    limits = {"HKPGUARD_NETWORKS": json.dumps([{"cidr": "0.0.0.0/0", "limits": {"total": {"burst": 60}}}])}
    node = _node(limits)
    client, operation = node.client(HERE), node.classify("GET", CANARY)
    verdicts = [node.judge(node.facts(client, operation, price=20), START_NS).action for _ in range(4)]
    assert verdicts[:3] == [Action.ALLOW] * 3
    assert verdicts[3] != Action.ALLOW


def test_what_was_not_sent_is_given_back() -> None:
    """All of it: a suspect has paid more than one token of the class, and a dear answer more than its price."""
    node = _node()
    client, operation = node.client(HERE), node.classify("GET", CANARY)
    node.tables.verdicts.put(client.key, 2 * START_NS, Standing.PRICED)
    facts = node.facts(client, operation, price=3)
    node.judge(facts, START_NS)
    assert max(node.tables.clients.peek(client.key) or ()) > START_NS
    node.refund(facts, START_NS)
    assert max(node.tables.clients.peek(client.key) or ()) <= START_NS


def test_shared_exits_may_come_from_elsewhere() -> None:
    """Besides those of the settings: they are known by a list in a file."""
    config = Config.from_env({"HKPGUARD_SHARED_EXITS": "203.0.113.0/24"})
    elsewhere = Config.from_env({"HKPGUARD_SHARED_EXITS": "198.51.100.0/24"}).shared_exits
    node = Node(config, lambda: 0.5, clients=1024, exits=elsewhere)
    assert [node.client(address).shared_exit for address in (HERE, EXIT, bytes(4))] == [True, True, False]
