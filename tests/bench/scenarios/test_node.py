"""The node of the simulator is judged by the real policy."""

import json
from collections.abc import Mapping
from random import Random

import pytest

from bench.scenarios import addresses
from bench.scenarios.certificates import Certificate, gpg_get, mail_search, thunderbird_get
from bench.scenarios.clock import HOUR, MINUTE, SECOND, START_NS
from bench.scenarios.node import Node
from bench.scenarios.plan import TOR
from bench.scenarios.upstream import COSTS, FAT
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Classifier, ClassifierOptions
from proxy.policy.actions import Action, Reason

HERE, THERE = bytes([203, 0, 113, 7]), bytes([198, 51, 100, 7])
CLASSIFY = Classifier(ClassifierOptions())
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
    targets = [mail_search(f"p{number}@example.org") for number in range(60)]
    served = [node.ask(HERE, target, START_NS).action for target in targets].count(Action.ALLOW)
    assert 0 < served < 60
    assert node.upstream.requests == served
    assert node.upstream.spent_us == served * COSTS[OperationClass.IDENTITY].service_us


def test_misses_raise_the_price() -> None:
    """Of fifty tokens twenty misses take one each, and the next ten three."""
    node = _node()
    for number in range(60):
        node.upstream.lose(f"p{number}@example.org")
        node.ask(HERE, mail_search(f"p{number}@example.org"), START_NS)
    assert node.upstream.requests == 20 + 10


def test_a_poisoned_certificate_costs_more() -> None:
    """Until it is poisoned it is like any other."""
    node = _node()
    node.ask(HERE, gpg_get(KEY), START_NS)
    node.upstream.fatten(KEY)
    node.ask(HERE, gpg_get(KEY), START_NS + MINUTE)
    assert node.upstream.spent_us == COSTS[OperationClass.CERT].service_us + FAT.service_us


def test_what_is_kept_costs_nothing() -> None:
    """Whoever asks, and in whatever words if they are the same in canonical form."""
    node = _node()
    targets = (gpg_get(KEY), thunderbird_get(KEY))
    for turn in range(45):
        answers = [node.ask((HERE, THERE)[turn % 2], each, START_NS + turn * SECOND) for each in targets]
        assert {answer.action for answer in answers} == {Action.ALLOW}
    assert node.upstream.requests == len({CLASSIFY("GET", each).target for each in targets})


def test_an_upload_ends_what_is_kept() -> None:
    """Of its certificate only; one that is refused ends nothing."""
    node = _node()
    node.ask(HERE, gpg_get(KEY), START_NS)
    node.ask(HERE, gpg_get(KEY[::-1]), START_NS)
    assert node.upload(HERE, ME, START_NS).action == Action.ALLOW
    assert node.upstream.requests == 3
    node.ask(HERE, gpg_get(KEY[::-1]), START_NS + SECOND)
    assert node.upstream.requests == 3
    node.ask(HERE, gpg_get(KEY), START_NS + SECOND)
    assert node.upstream.requests == 4


def test_of_many_who_ask_for_a_poisoned_certificate_two_are_let_in_and_sixteen_wait() -> None:
    """Once its first answer has come, if it is too large to be kept; the others are refused, and have paid nothing."""
    node = _node({"HKPGUARD_CACHE__BYTES": "1MiB"})
    node.upstream.fatten(KEY)
    verdicts = [node.ask(addresses.home(number), gpg_get(KEY), START_NS) for number in range(3)]
    assert {verdict.action for verdict in verdicts} == {Action.ALLOW}
    later_ns = START_NS + MINUTE
    verdicts = [node.ask(addresses.home(number), gpg_get(KEY), later_ns) for number in range(30)]
    actions = [verdict.action for verdict in verdicts]
    assert actions == [Action.ALLOW] * 2 + [Action.DELAY] * 16 + [Action.LIMIT] * 12
    assert verdicts[17].wait_ns == 8 * FAT.service_us * 1000
    assert {(verdict.reason, verdict.status) for verdict in verdicts[18:]} == {(Reason.BUSY, 429)}
    assert node.upstream.requests == 3 + 18


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
    verdicts = [node.upload(HERE, each, START_NS) for each in _new(12)]
    assert [verdict.action for verdict in verdicts] == [Action.ALLOW] * 10 + [Action.DELAY, Action.LIMIT]


def test_what_is_in_an_upload_is_judged() -> None:
    """The sixth new certificate with the same user ID, from wherever; the client has not paid for what is refused."""
    node = _node()
    alike = [Certificate(each.fingerprint, ME.user_id) for each in _new(30)]
    verdicts = [node.upload(HERE, each, START_NS) for each in alike]
    assert [verdict.action for verdict in verdicts[:6]] == [Action.ALLOW] * 5 + [Action.LIMIT]
    assert {verdict.reason for verdict in verdicts[5:]} == {Reason.BUDGET}
    assert [node.upload(HERE, each, START_NS).action for each in _new(5, first=100)] == [Action.ALLOW] * 5
    assert node.upstream.requests == 10


def test_shared_exits_share_what_they_may_upload() -> None:
    """Four new ones at once, one of each exit; then each waits for its part, at most 48 s. Others do not notice."""
    node = _node(TOR)
    draw = Random(1)  # noqa: S311 - the same in every run
    verdicts = [node.upload(addresses.tor_exit(draw), each, START_NS) for each in _new(30)]
    actions = [verdict.action for verdict in verdicts]
    assert actions[:5] == [Action.ALLOW] * 4 + [Action.DELAY]
    assert actions.count(Action.DELAY) == 4
    assert max(verdict.wait_ns for verdict in verdicts) == 40 * SECOND
    assert node.upload(HERE, ME, START_NS).action == Action.ALLOW


def _new(count: int, first: int = 0) -> list[Certificate]:
    return [Certificate(f"{number:040X}", f"p{number}@example.org") for number in range(first, first + count)]
