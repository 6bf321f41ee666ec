"""What is decided about a request, by whom, and what it has paid."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from fastpath import Standing, client_key, network_key
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.judge import ALLOW, EXEMPT, Check, Client, Facts, Verdict, decide
from proxy.policy.policy import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.policy.budgets import Tables

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND
ALICE = ip_address("192.0.2.1").packed
BOB = ip_address("198.51.100.1").packed
CERT, SYNC = OperationClass.CERT, OperationClass.SYNC


def policy(tables: Tables, settings: Mapping[str, str] | None = None) -> Policy:
    """Return the policy of a configuration."""
    environ = {f"HKPGUARD_{name}": value for name, value in (settings or {}).items()}
    return Policy(Config.from_env(environ), tables)


def facts(
    subject: Policy,
    address: bytes = ALICE,
    kind: OperationClass = CERT,
    price: int = 1,
    refusal: int = 0,
    allow: str = "",
    trap: int = 0,
) -> Facts:
    """Return the facts of a request."""
    client = Client(address, client_key(address), 0, subject.profile(address))
    return Facts(client, kind, price, refusal, allow, trap)


class Says(Check):
    """A check that always says the same, and counts how often it was asked."""

    def __init__(self, verdict: Verdict | None) -> None:
        """Say `verdict`."""
        self.verdict = verdict
        self.asked: list[int] = []

    def judge(self, facts: Facts, now_ns: int) -> Verdict | None:
        """Say it."""
        del facts
        self.asked.append(now_ns)
        return self.verdict


def test_first_objection_wins(tables: Tables) -> None:
    """The checks behind the first one that objects are not asked, so they take nothing."""
    first, second = Verdict(Action.DENY, Reason.METHOD, 405), Verdict(Action.LIMIT, Reason.LIMIT, 429)
    checks = (Says(None), Says(first), Says(second))
    assert decide(facts(policy(tables)), checks, NOW) is first
    assert [check.asked for check in checks] == [[NOW], [NOW], []]


@pytest.mark.parametrize("checks", [(), (Says(None),), (Check(), Says(None))])
def test_no_objection_allows(tables: Tables, checks: tuple[Check, ...]) -> None:
    """Nobody objects: the request goes on, and has no reason to show."""
    verdict = decide(facts(policy(tables)), checks, NOW)
    assert verdict is ALLOW
    assert (verdict.action, verdict.reason, verdict.status, verdict.wait_ns) == (Action.ALLOW, Reason.NONE, 0, 0)


def test_checks_are_cheap_to_costly(tables: Tables) -> None:
    """What needs no memory is asked before what does; what takes tokens comes last."""
    names = [type(check).__name__ for check in policy(tables).checks]
    assert names == [
        "NotBanned",
        "NotTrapped",
        "NotSuspected",
        "OperationOffered",
        "AllowedNetwork",
        "PeersOnly",
        "AllowedOrigin",
        "WithinLimits",
    ]


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        (400, Reason.MALFORMED),
        (404, Reason.UNKNOWN),
        (405, Reason.METHOD),
        (501, Reason.NOT_OFFERED),
    ],
)
def test_operation_that_is_not_offered(tables: Tables, refusal: int, reason: Reason) -> None:
    """It is refused with its own status, even to those whom no limit touches, and costs nothing."""
    judged = policy(tables, {"ALLOW": "192.0.2.0/24"})
    verdict = judged.judge(facts(judged, refusal=refusal, allow="GET"), NOW)
    assert (verdict.action, verdict.reason, verdict.status, verdict.allow) == (Action.DENY, reason, refusal, "GET")
    assert tables.clients.peek(client_key(ALICE)) is None


def test_status_without_a_reason_of_its_own(tables: Tables) -> None:
    """A refusal that the policy has no word for is still a refusal."""
    judged = policy(tables)
    verdict = judged.judge(facts(judged, refusal=410), NOW)
    assert (verdict.action, verdict.status) == (Action.DENY, 410)


def test_allowed_network(tables: Tables) -> None:
    """Its clients pay nothing and meet no limit; others do."""
    judged = policy(tables, {"ALLOW": "192.0.2.0/24", "LIMITS__CERT__BURST": "1", "LIMITS__CERT__MAX_DELAY": "0"})
    for _ in range(3):
        assert judged.judge(facts(judged), NOW) is EXEMPT
    assert tables.clients.peek(client_key(ALICE)) is None
    assert judged.judge(facts(judged, BOB), NOW) is ALLOW
    assert judged.judge(facts(judged, BOB), NOW).action == Action.LIMIT


def test_reconciliation_is_for_peers(tables: Tables) -> None:
    """A peer may reconcile without a limit, nobody else at all; for other requests a peer is a client."""
    settings = {"PEERS": "192.0.2.0/24", "LIMITS__CERT__BURST": "1", "LIMITS__CERT__MAX_DELAY": "0"}
    judged = policy(tables, settings)
    for _ in range(100):
        assert judged.judge(facts(judged, kind=SYNC), NOW) is EXEMPT
    refused = judged.judge(facts(judged, BOB, SYNC), NOW)
    assert (refused.action, refused.reason, refused.status) == (Action.DENY, Reason.PEERS_ONLY, 403)
    assert judged.judge(facts(judged), NOW) is ALLOW
    assert judged.judge(facts(judged), NOW).action == Action.LIMIT


# One get in ten seconds after the first; who comes up to twenty seconds too early waits.
SLOW = {
    "LIMITS__CERT__BURST": "1",
    "LIMITS__CERT__COUNT": "1",
    "LIMITS__CERT__PERIOD": "10s",
    "LIMITS__CERT__MAX_DELAY": "20s",
}


def test_delay_then_limit(tables: Tables) -> None:
    """Tokens, then places in the queue, then a refusal that tells when to come back; rows of (now, verdict)."""
    judged = policy(tables, SLOW)
    rows = [
        (0, Action.ALLOW, 0, 0),
        (0, Action.DELAY, 10, 0),
        (0, Action.DELAY, 20, 0),
        (0, Action.LIMIT, 0, 10),
        (4, Action.LIMIT, 0, 6),
        (10, Action.DELAY, 20, 0),
        (60, Action.ALLOW, 0, 0),
    ]
    for seconds, action, wait_seconds, retry_seconds in rows:
        verdict = judged.judge(facts(judged), NOW + seconds * SECOND)
        assert (verdict.action, verdict.wait_ns) == (action, wait_seconds * SECOND)
        assert verdict.status == (429 if action == Action.LIMIT else 0)
        assert verdict.reason == (Reason.NONE if action == Action.ALLOW else Reason.LIMIT)
        if retry_seconds:
            assert verdict.spending is not None
            assert verdict.spending.retry_after_ns == retry_seconds * SECOND


def test_refused_request_has_paid_nothing(tables: Tables) -> None:
    """Neither to the limit that refused it nor to the other one."""
    judged = policy(tables, {**SLOW, "LIMITS__CERT__MAX_DELAY": "0"})
    judged.judge(facts(judged), NOW)
    before = tables.clients.peek(client_key(ALICE))
    for _ in range(5):
        assert judged.judge(facts(judged), NOW).action == Action.LIMIT
    assert tables.clients.peek(client_key(ALICE)) == before


def test_price_is_paid_to_the_total(tables: Tables) -> None:
    """A request costs one token of its class, and its price of the total."""
    judged = policy(tables, {"LIMITS__TOTAL__BURST": "100"})
    words = facts(judged, kind=OperationClass.WORDS, price=60)
    assert judged.judge(words, NOW) is ALLOW
    refused = judged.judge(words, NOW)
    assert refused.action == Action.LIMIT
    assert refused.spending is not None
    assert (refused.spending.bucket, refused.spending.remaining) == (OperationClass.TOTAL, 40)
    assert judged.judge(facts(judged, price=40), NOW) is ALLOW


@pytest.mark.parametrize("settings", [{"MODE": "shadow"}, {"LIMITS__CERT__MODE": "shadow"}])
def test_shadow(tables: Tables, settings: Mapping[str, str]) -> None:
    """Nobody waits or is refused; the verdict says what would have been."""
    judged = policy(tables, {**SLOW, **settings})
    verdicts = [judged.judge(facts(judged), NOW) for _ in range(4)]
    assert [verdict.action for verdict in verdicts] == [Action.ALLOW] * 4
    assert [verdict.wait_ns for verdict in verdicts] == [0] * 4
    assert [verdict.shadow for verdict in verdicts] == [0, Action.DELAY, Action.DELAY, Action.LIMIT]


@pytest.mark.parametrize("settings", [{"MODE": "off"}, {"LIMITS__CERT__MODE": "off"}])
def test_off(tables: Tables, settings: Mapping[str, str]) -> None:
    """A limit that is off counts nothing."""
    judged = policy(tables, {**SLOW, **settings})
    assert {judged.judge(facts(judged), NOW).action for _ in range(10)} == {Action.ALLOW}


def test_verdict_with_another_reason() -> None:
    """What came to nothing keeps its action and its wait."""
    delayed = Verdict(Action.DELAY, Reason.LIMIT, 0, 5 * SECOND)
    gone = delayed.because(Reason.GONE)
    lost = delayed.because(Reason.UPSTREAM, 503)
    assert (gone.action, gone.reason, gone.status, gone.wait_ns) == (Action.DELAY, Reason.GONE, 0, 5 * SECOND)
    assert (lost.action, lost.reason, lost.status, lost.wait_ns) == (Action.DELAY, Reason.UPSTREAM, 503, 5 * SECOND)
    assert delayed.reason == Reason.LIMIT


def test_verdict_for_people() -> None:
    """Words, not numbers, in logs and test failures."""
    assert repr(Verdict(Action.LIMIT, Reason.BUSY, 429)) == "Verdict(LIMIT, BUSY, 429, 0 ns)"


def test_two_generations_share_what_was_spent(tables: Tables) -> None:
    """A reload forgives nobody: the new policy sees what was spent under the old one."""
    old, new = policy(tables, {**SLOW, "LIMITS__CERT__MAX_DELAY": "0"}), policy(tables, SLOW)
    assert old.judge(facts(old), NOW) is ALLOW
    assert new.judge(facts(new), NOW).wait_ns == 10 * SECOND


BANNED = (Action.DENY, Reason.BANNED, 403)
TRAPPED = (Action.TARPIT, Reason.TRAP, 404)
PASSED = (Action.ALLOW, Reason.NONE, 0)


@pytest.mark.parametrize(
    ("settings", "expected", "shadow"),
    [
        ({}, BANNED, 0),
        ({"ALLOW": "192.0.2.0/24"}, (Action.ALLOW, Reason.ALLOWED_NETWORK, 0), 0),
        ({"PEERS": "192.0.2.1"}, PASSED, 0),
        ({"BANS__MODE": "shadow"}, (Action.ALLOW, Reason.BANNED, 0), Action.DENY),
        ({"MODE": "shadow"}, (Action.ALLOW, Reason.BANNED, 0), Action.DENY),
        ({"BANS__MODE": "off"}, PASSED, 0),
    ],
)
@pytest.mark.parametrize("banned", [client_key(ALICE), network_key(ALICE)])
def test_banned_clients_are_refused(
    tables: Tables, banned: int, settings: Mapping[str, str], expected: tuple[int, int, int], shadow: int
) -> None:
    """A ban of a client or of its network binds, but for allowed networks and peers, and as the mode says."""
    tables.bans.put(banned, NOW + SECOND)
    subject = policy(tables, settings)
    verdict = subject.judge(facts(subject), NOW)
    assert (verdict.action, verdict.reason, verdict.status) == expected
    assert verdict.shadow == shadow
    assert subject.judge(facts(subject, BOB), NOW).reason == Reason.NONE
    assert subject.judge(facts(subject), NOW + SECOND).reason != Reason.BANNED  # it is over


def test_banned_peer_that_was_learnt_may_still_reconcile(tables: Tables) -> None:
    """A ban binds who is a peer only for the keyserver in all but reconciling; a peer of the operator not at all."""
    tables.peers.publish([ALICE])
    tables.bans.put(client_key(ALICE), NOW + SECOND)
    for settings, expected in (({}, BANNED), ({"PEERS": "192.0.2.1"}, PASSED)):
        judged = policy(tables, settings)
        assert judged.judge(facts(judged, kind=SYNC), NOW) is EXEMPT
        verdict = judged.judge(facts(judged), NOW)
        assert (verdict.action, verdict.reason, verdict.status) == expected


def test_banned_clients_pay_nothing(tables: Tables) -> None:
    """Who is refused because of a ban spends no token."""
    tables.bans.put(client_key(ALICE), NOW + SECOND)
    subject = policy(tables, {})
    subject.judge(facts(subject), NOW)
    assert tables.clients.peek(client_key(ALICE)) is None


def test_limits_hold_for_whom_a_shadow_ban_lets_pass(tables: Tables) -> None:
    """A ban that is only in shadow mode does not take the place of the limits."""
    tables.bans.put(client_key(ALICE), NOW + SECOND)
    subject = policy(tables, {"BANS__MODE": "shadow", "LIMITS__IDENTITY__BURST": "1"})
    asked = facts(subject, kind=OperationClass.IDENTITY)
    assert subject.judge(asked, NOW).reason == Reason.BANNED
    assert subject.judge(asked, NOW).reason == Reason.LIMIT


@pytest.mark.parametrize(
    ("settings", "expected", "shadow"),
    [
        ({}, TRAPPED, 0),
        ({"ALLOW": "192.0.2.0/24"}, (Action.DENY, Reason.UNKNOWN, 404), 0),
        ({"PEERS": "192.0.2.1"}, (Action.DENY, Reason.UNKNOWN, 404), 0),
        ({"TRAPS__MODE": "shadow"}, (Action.DENY, Reason.TRAP, 404), Action.TARPIT),
        ({"MODE": "shadow"}, (Action.DENY, Reason.TRAP, 404), Action.TARPIT),
    ],
)
def test_traps_lead_to_the_tarpit(
    tables: Tables, settings: Mapping[str, str], expected: tuple[int, int, int], shadow: int
) -> None:
    """Who asks for a trap goes to the tarpit; allowed networks, peers, and in shadow mode all, get the usual 404."""
    subject = policy(tables, settings)
    asked = facts(subject, kind=OperationClass.UNKNOWN, refusal=404, trap=Reason.TRAP)
    verdict = subject.judge(asked, NOW)
    assert (verdict.action, verdict.reason, verdict.status) == expected
    assert verdict.shadow == shadow


def test_trap_in_shadow_mode_is_noted_where_it_would_be_answered(tables: Tables) -> None:
    """With unknown paths passed on, a trap in shadow mode goes on as well, and its record says what it is."""
    subject = policy(tables, {"TRAPS__MODE": "shadow"})
    verdict = subject.judge(facts(subject, kind=OperationClass.UNKNOWN, trap=Reason.TRAP), NOW)
    assert (verdict.action, verdict.reason, verdict.shadow) == (Action.ALLOW, Reason.TRAP, Action.TARPIT)


def test_canaries_are_answered_and_noted(tables: Tables) -> None:
    """A search for a canary is delayed and refused by the same limits as any other; only its reason differs."""
    subject = policy(tables, {"LIMITS__CERT__BURST": "1", "LIMITS__CERT__COUNT": "1", "LIMITS__CERT__MAX_DELAY": "1s"})
    baited, plain = facts(subject, trap=Reason.CANARY), facts(subject, BOB)
    verdicts = [(subject.judge(baited, NOW), subject.judge(plain, NOW)) for _ in range(3)]
    assert [(canary.action, canary.wait_ns) for canary, _ in verdicts] == [
        (other.action, other.wait_ns) for _, other in verdicts
    ]
    assert [canary.reason for canary, _ in verdicts] == [Reason.CANARY, Reason.CANARY, Reason.LIMIT]


def test_canaries_say_nothing_of_allowed_networks(tables: Tables) -> None:
    """The operator's own machines may look at the canaries."""
    subject = policy(tables, {"ALLOW": "192.0.2.0/24"})
    assert subject.judge(facts(subject, trap=Reason.CANARY), NOW) is EXEMPT


def test_first_shadow_verdict_is_told(tables: Tables) -> None:
    """In shadow mode a banned client that is over its limit is recorded as banned: that would have come first."""
    tables.bans.put(client_key(ALICE), NOW + SECOND)
    subject = policy(tables, {"MODE": "shadow", "LIMITS__IDENTITY__BURST": "1"})
    asked = facts(subject, kind=OperationClass.IDENTITY)
    assert [subject.judge(asked, NOW).reason for _ in range(3)] == [Reason.BANNED] * 3


@pytest.mark.parametrize(
    ("standing", "expected"),
    [
        (Standing.PRICED, (Action.ALLOW, Reason.NONE, 4, 0)),
        (Standing.DELAYED, (Action.DELAY, Reason.VERDICT, 4, 2 * SECOND)),
        (Standing.LIMITED, (Action.LIMIT, Reason.VERDICT, 1, 0)),
        (Standing.TARPIT, (Action.LIMIT, Reason.VERDICT, 1, 0)),
        (Standing.BANNED, (Action.LIMIT, Reason.VERDICT, 1, 0)),
    ],
)
def test_a_suspect(tables: Tables, standing: Standing, expected: tuple[int, ...]) -> None:
    """What the analyst thinks of a client makes its requests dear, slow, or refused."""
    subject = policy(tables)
    tables.verdicts.put(client_key(ALICE), NOW + SECOND, standing)
    asked = facts(subject)
    verdict = subject.judge(asked, NOW)
    assert (verdict.action, verdict.reason, asked.times, verdict.wait_ns) == expected
    assert subject.judge(facts(subject, BOB), NOW) is ALLOW
    assert subject.judge(facts(subject), NOW + SECOND).reason == Reason.NONE


def test_a_suspect_who_probes_is_held(tables: Tables) -> None:
    """The tarpit is for what no client of a keyserver sends."""
    subject = policy(tables)
    tables.verdicts.put(client_key(ALICE), NOW + SECOND, Standing.TARPIT)
    verdict = subject.judge(facts(subject, kind=OperationClass.UNKNOWN, refusal=404), NOW)
    assert (verdict.action, verdict.reason, verdict.status) == (Action.TARPIT, Reason.VERDICT, 404)


@pytest.mark.parametrize(
    ("settings", "action"),
    [
        ({"ALLOW": "192.0.2.0/24"}, Action.ALLOW),
        ({"PEERS": "192.0.2.0/24"}, Action.ALLOW),
        ({"SHARED_EXITS": "192.0.2.0/24"}, Action.DELAY),
        ({"VERDICTS__MODE": "off"}, Action.ALLOW),
        ({"MODE": "shadow"}, Action.ALLOW),
    ],
)
def test_who_is_spared_a_verdict(tables: Tables, settings: Mapping[str, str], action: Action) -> None:
    """Allowed networks and peers are above suspicion, and nobody is refused for what others behind an exit did."""
    config = Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()})
    subject = Policy(config, tables, exits=config.shared_exits)
    tables.verdicts.put(client_key(ALICE), NOW + SECOND, Standing.TARPIT)
    assert subject.judge(facts(subject), NOW).action == action


@pytest.mark.parametrize(
    ("standing", "exits", "shadow"),
    [
        (Standing.PRICED, "", Action.DELAY),
        (Standing.DELAYED, "", Action.DELAY),
        (Standing.LIMITED, "", Action.LIMIT),
        (Standing.LIMITED, "192.0.2.0/24", Action.DELAY),
    ],
)
def test_a_verdict_in_shadow_mode(tables: Tables, standing: Standing, exits: str, shadow: Action) -> None:
    """In shadow mode a request of a suspect costs what it always does, and what would have been done is told."""
    config = Config.from_env({"HKPGUARD_VERDICTS__MODE": "shadow", "HKPGUARD_SHARED_EXITS": exits})
    subject = Policy(config, tables, exits=config.shared_exits)
    tables.verdicts.put(client_key(ALICE), NOW + SECOND, standing)
    asked = facts(subject)
    verdict = subject.judge(asked, NOW)
    assert (verdict.action, verdict.reason, verdict.shadow, asked.times) == (Action.ALLOW, Reason.VERDICT, shadow, 1)


def test_price_of_an_attack(tables: Tables) -> None:
    """While a class is under attack its requests cost more of its limit, and others what they did."""
    judged = policy(tables, {"LIMITS__CERT__BURST": "8", "LIMITS__CERT__MAX_DELAY": "0s"})
    tables.tariff.set(CERT, 4, NOW + SECOND)
    asked = [facts(judged) for _ in range(3)]
    assert [judged.judge(each, NOW).action for each in asked] == [Action.ALLOW, Action.ALLOW, Action.LIMIT]
    assert [each.times for each in asked] == [4, 4, 4]
    other = facts(judged, kind=OperationClass.IDENTITY)
    assert (judged.judge(other, NOW).action, other.times) == (Action.ALLOW, 1)
    assert judged.judge(facts(judged, BOB), NOW + SECOND).action == Action.ALLOW
    tats = tables.clients.peek(client_key(BOB))
    assert tats is not None
    assert tats[CERT] == NOW + SECOND + SECOND // 5


def test_allowed_networks_pay_no_price(tables: Tables) -> None:
    """Whom no limit touches no attack makes pay."""
    judged = policy(tables, {"ALLOW": "192.0.2.0/24"})
    tables.tariff.set(CERT, 4, NOW + SECOND)
    asked = facts(judged)
    assert judged.judge(asked, NOW) is EXEMPT
    assert asked.times == 1


def test_a_delayed_suspect_in_a_trap_that_is_only_watched(tables: Tables) -> None:
    """What shadow mode would have done is told, although the request waits."""
    subject = policy(tables, {"TRAPS__MODE": "shadow"})
    tables.verdicts.put(client_key(ALICE), NOW + SECOND, Standing.DELAYED)
    verdict = subject.judge(facts(subject, trap=Reason.TRAP), NOW)
    assert (verdict.action, verdict.shadow) == (Action.DELAY, Action.TARPIT)
