"""What follows from where a client comes from: rules, lists, shared exits, and what hosting companies have together."""

from __future__ import annotations

import json
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any

import pytest

from fastpath import BUCKETS, Mode, NetworkKind, Origin, client_key, network_key
from fastpath.origin import LISTED_DENIED, LISTED_PRICED
from fastpath.prefix_build import Rows, build
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.judge import AllowedOrigin, Client, Facts, Verdict
from proxy.policy.origins import DENIED, NOTHING, PRICED, digest, holds_shared, sayings
from proxy.policy.policy import Policy
from tests.proxy.policy.tables_for_tests import tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.settings.origins import OriginRule

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_000_000 * SECOND
CERT, IDENTITY, UPLOAD = OperationClass.CERT, OperationClass.IDENTITY, OperationClass.UPLOAD
HOSTING, VPN, TOR, MOBILE = NetworkKind.HOSTING, NetworkKind.VPN, NetworkKind.TOR, NetworkKind.MOBILE
CLOUDS: list[dict[str, Any]] = [{"name": "clouds", "kinds": ["hosting"], "deny": ["upload"], "price": ["cert"]}]


def rules_of(tables: list[dict[str, Any]]) -> tuple[OriginRule, ...]:
    """Return rules as they are configured."""
    return Config.from_env({"HKPGUARD_ORIGIN_RULES": json.dumps(tables)}).origin_rules


def place(tables: Tables, prefixes: Mapping[str, Origin], rules: tuple[OriginRule, ...] = ()) -> None:
    """Put a set of origins in place, as the analyst does."""
    networks = {ip_network(text): origin for text, origin in prefixes.items()}
    rows = Rows.of((each.network_address.packed, each.prefixlen, origin.pack()) for each, origin in networks.items())
    for _ in tables.origins.publish(build(rows)):
        pass
    tables.origin_rules[0] = digest(rules)


class World:
    """A policy, and clients who ask it."""

    def __init__(self, prefixes: Mapping[str, Origin], **settings: str) -> None:
        """Take origins by network, and settings without HKPGUARD_."""
        config = Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()})
        self.tables = tables_of()
        self.now_ns = NOW
        place(self.tables, prefixes, config.origin_rules)
        self.policy = Policy(config, self.tables)

    def client(self, address: str) -> Client:
        """Return a client."""
        packed = ip_address(address).packed
        return Client(packed, client_key(packed), 0, self.policy.profile(packed))

    def facts(self, address: str, kind: OperationClass = CERT, subject: int = 0) -> Facts:
        """Return the facts of a request."""
        return Facts(self.client(address), kind, 1, subject=subject)

    def ask(self, address: str, kind: OperationClass = CERT, subject: int = 0) -> Verdict:
        """Judge a request."""
        return self.policy.judge(self.facts(address, kind, subject), self.now_ns)

    def outcomes(self, address: str, *subjects: int) -> list[Action]:
        """Judge one request after the other."""
        return [Action(self.ask(address, subject=subject).action) for subject in subjects]


# Rules.


def test_rule_denies(tables: Tables) -> None:
    """Who comes from where an operation is denied gets 403 with a text; other operations and places are not touched."""
    del tables
    world = World({"192.0.2.0/24": Origin(kind=HOSTING, rule=1)}, ORIGIN_RULES=json.dumps(CLOUDS))
    verdict = world.ask("192.0.2.1", UPLOAD)
    assert (verdict.action, verdict.status, verdict.reason) == (Action.DENY, 403, Reason.ORIGIN)
    assert verdict.text == "This server does not take such requests from this network."
    assert world.ask("192.0.2.1", IDENTITY).action == Action.ALLOW
    assert world.ask("198.51.100.1", UPLOAD).action == Action.ALLOW


def test_rule_prices() -> None:
    """What is priced costs four tokens of its class, and one of the total as ever."""
    world = World({"192.0.2.0/24": Origin(kind=HOSTING, rule=1)}, ORIGIN_RULES=json.dumps(CLOUDS))
    asked = world.facts("192.0.2.1")
    assert (world.policy.judge(asked, NOW).action, asked.times) == (Action.ALLOW, 4)
    tats = world.tables.clients.peek(asked.client.key)
    assert tats is not None
    assert tats[CERT] == NOW + 4 * SECOND // 5


@pytest.mark.parametrize(
    ("mode", "own", "kind", "shadow"),
    [
        ("shadow", "enforce", UPLOAD, Action.DENY),
        ("enforce", "shadow", UPLOAD, Action.DENY),
        ("enforce", "shadow", CERT, Action.DELAY),
        ("enforce", "off", UPLOAD, 0),
        ("off", "enforce", UPLOAD, 0),
    ],
)
def test_modes(mode: str, own: str, kind: OperationClass, shadow: int) -> None:
    """In shadow mode a rule touches nobody, and what it would have done is told; off it says nothing."""
    rules = [{**CLOUDS[0], "mode": own}]
    world = World({"192.0.2.0/24": Origin(rule=1)}, ORIGIN_RULES=json.dumps(rules), MODE=mode)
    asked = world.facts("192.0.2.1", kind)
    verdict = world.policy.judge(asked, NOW)
    assert (verdict.action, verdict.shadow, asked.times) == (Action.ALLOW, shadow, 1)
    assert verdict.reason == (Reason.ORIGIN if shadow else Reason.NONE)


@pytest.mark.parametrize("name", ["ALLOW", "PEERS"])
@pytest.mark.parametrize("rule", [1, LISTED_DENIED, LISTED_PRICED])
def test_never_of_allowed_networks_and_peers(name: str, rule: int) -> None:
    """No rule and no list touches whom the operator trusts; where they are is known all the same."""
    rules = [{"name": "all", "kinds": ["unknown"], "deny": ["total"]}]
    settings = {"ORIGIN_RULES": json.dumps(rules), name: "192.0.2.1/32"}
    world = World({"192.0.2.0/24": Origin(asn=64500, rule=rule)}, **settings)
    asked = world.facts("192.0.2.1")
    assert (world.policy.judge(asked, NOW).action, asked.times, asked.client.origin) == (Action.ALLOW, 1, 64500)
    assert world.ask("192.0.2.2").action == (Action.ALLOW if rule == LISTED_PRICED else Action.DENY)


def test_rules_of_another_set_are_not_obeyed() -> None:
    """A number means nothing among other rules: not before a set is composed by the new ones, nor while it changes."""
    world = World({"192.0.2.0/24": Origin(7, HOSTING, rule=1)}, ORIGIN_RULES=json.dumps(CLOUDS))
    assert world.client("192.0.2.1").origin >> 24 == 1
    for digest_of_another in (0, digest(())):
        world.tables.origin_rules[0] = digest_of_another
        assert world.client("192.0.2.1").origin == Origin(7, HOSTING).pack()


def test_rules_of_a_set_that_changes_under_the_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word that was found while the rules changed is not obeyed: it may be of either set."""
    world = World({"192.0.2.0/24": Origin(7, HOSTING, rule=1)}, ORIGIN_RULES=json.dumps(CLOUDS))

    class Changing:
        """A book that is exchanged during each look-up."""

        def look_up(self, address: bytes) -> int:
            """Find what another set says."""
            found = world.tables.origins.look_up(address)
            world.tables.origin_rules[0] = digest(rules_of(CLOUDS))
            return found

    world.tables.origin_rules[0] = 0
    monkeypatch.setattr(world.policy, "_origins", Changing())
    assert world.client("192.0.2.1").origin >> 24 == 0
    assert world.client("192.0.2.1").origin >> 24 == 1


@pytest.mark.parametrize(("rule", "action", "times"), [(LISTED_DENIED, Action.DENY, 1), (LISTED_PRICED, 0, 4)])
def test_what_lists_say_always_holds(rule: int, action: int, times: int) -> None:
    """The numbers of lists mean the same whatever rules there are."""
    world = World({"192.0.2.0/24": Origin(rule=rule)})
    world.tables.origin_rules[0] = 0
    asked = world.facts("192.0.2.1")
    assert (world.policy.judge(asked, NOW).action, asked.times) == (action, times)
    shadow = World({"192.0.2.0/24": Origin(rule=rule)}, INTEL__MODE="shadow")
    assert shadow.ask("192.0.2.1").action == Action.ALLOW


def test_sayings() -> None:
    """A class is told by its name, else by that of all; each rule has its row, and others say nothing."""
    rules = rules_of([
        {"name": "a", "asns": [1], "deny": ["total"], "price": ["cert"]},
        {"name": "b", "asns": [2], "price": ["upload"]},
    ])  # fmt: skip
    said = sayings(rules, [Mode.ENFORCE] * 2, Mode.OFF)
    rows = {number: said[number * BUCKETS : (number + 1) * BUCKETS] for number in range(256)}
    assert (rows[1][CERT], rows[1][UPLOAD], rows[2][UPLOAD], rows[2][CERT]) == (PRICED, DENIED, PRICED, NOTHING)
    assert all(not any(row) for number, row in rows.items() if number not in {1, 2})


def test_digest() -> None:
    """Only what decides where a rule holds makes other rules of them: what it says may change at once."""
    plain = digest(rules_of(CLOUDS))
    assert digest(rules_of([{**CLOUDS[0], "name": "b", "deny": [], "mode": "off"}])) == plain
    assert len({plain, digest(()), digest(rules_of([{**CLOUDS[0], "asns": [1]}])), 0}) == 4
    assert digest(rules_of([*CLOUDS, {"name": "b", "asns": [1]}])) != plain
    assert 0 < plain < 2**63


def test_a_table_of_another_size() -> None:
    """A check reads no byte beyond what it was given."""
    with pytest.raises(ValueError, match="3 bytes, not"):
        AllowedOrigin(bytes(3))


# Shared exits.


@pytest.mark.parametrize(
    ("kind", "shared", "anonymous"),
    [
        (NetworkKind.UNKNOWN, False, False),
        (NetworkKind.RESIDENTIAL, False, False),
        (HOSTING, False, False),
        (NetworkKind.EDUCATION, False, False),
        (MOBILE, True, False),
        (NetworkKind.SATELLITE, True, False),
        (NetworkKind.RELAY, True, False),
        (VPN, True, True),
        (TOR, True, True),
    ],
)
def test_shared_exits(kind: NetworkKind, *, shared: bool, anonymous: bool) -> None:
    """Where many people are behind an address none is punished for the others; where nobody can tell, uploads pool."""
    world = World({"192.0.2.0/24": Origin(kind=kind), "2001:db8::/48": Origin(kind=kind)})
    for address in ("192.0.2.1", "2001:db8::1"):
        client = world.client(address)
        assert (client.shared_exit, client.anonymous) == (shared, anonymous)
        for key in (client.key, network_key(client.address)):
            assert holds_shared(world.tables.origins, key) is shared


def test_network_with_one_shared_exit() -> None:
    """A /24 with one exit in it holds one."""
    book = World({"192.0.2.200/32": Origin(kind=TOR)}).tables.origins
    assert holds_shared(book, network_key(bytes([192, 0, 2, 1])))
    assert not holds_shared(book, client_key(bytes([192, 0, 2, 1])))
    assert not holds_shared(book, network_key(bytes([192, 0, 3, 1])))


def test_listed_exits_need_no_book() -> None:
    """Networks that the settings name are exits, whatever their origin says."""
    world = World({"192.0.2.0/24": Origin(kind=HOSTING)})
    policy = Policy(Config.from_env({}), world.tables, exits=[ip_network("192.0.2.0/24")])
    profile = policy.profile(bytes([192, 0, 2, 1]))
    assert (profile.shared_exit, profile.anonymous) == (True, True)


# Pools.

FEW = {
    "BUDGETS__HOSTING_CERTS__BURST": "8",
    "BUDGETS__HOSTING_CERTS__MAX_DELAY": "0s",
    "BUDGETS__TOR_CERTS__MODE": "enforce",
    "BUDGETS__TOR_CERTS__BURST": "4",
    "BUDGETS__TOR_CERTS__MAX_DELAY": "0s",
}
PLACES = {
    "192.0.2.0/24": Origin(1, HOSTING),
    "198.51.100.0/24": Origin(1, HOSTING),
    "198.51.101.0/24": Origin(2, HOSTING),
    "198.51.102.0/24": Origin(1, VPN),
    "198.51.103.0/24": Origin(0, HOSTING),
    "203.0.113.0/24": Origin(5, NetworkKind.RESIDENTIAL),
    "203.0.114.0/24": Origin(6, TOR),
    "203.0.115.0/24": Origin(7, TOR),
}
ONE, OTHER, OF_ANOTHER, NAMELESS, HOME = (
    f"{net}.1" for net in ("192.0.2", "198.51.100", "198.51.101", "198.51.103", "203.0.113")
)


def test_networks_of_a_company_pay_together() -> None:
    """What two networks of one ASN ask for comes from one bucket; another ASN has its own."""
    world = World(PLACES, **FEW)
    assert world.outcomes(ONE, *range(1, 6)) == [Action.ALLOW] * 5
    assert world.outcomes(OTHER, *range(6, 10)) == [Action.ALLOW] * 3 + [Action.LIMIT]
    assert world.outcomes("198.51.102.1", 10) == [Action.LIMIT]
    assert world.outcomes(OF_ANOTHER, 10) == [Action.ALLOW]
    verdict = world.ask(ONE, subject=11)
    assert verdict.spending is not None
    assert (verdict.reason, verdict.spending.bucket) == (Reason.BUDGET, BudgetKind.HOSTING_CERTS)
    assert verdict.text == "Rate limit reached for the provider of this network."


@pytest.mark.parametrize("address", [HOME, NAMELESS])
def test_who_has_no_pool(address: str) -> None:
    """People at home have none, nor has a host whose company is not known."""
    world = World(PLACES, **FEW)
    assert world.client(address).pool == 0
    assert set(world.outcomes(address, *range(1, 30))) == {Action.ALLOW}


def test_exits_of_tor_pay_together() -> None:
    """All exits are one pool, whoever runs them."""
    world = World(PLACES, **FEW)
    assert world.outcomes("203.0.114.1", 1, 2, 3) == [Action.ALLOW] * 3
    assert world.outcomes("203.0.115.1", 4, 5) == [Action.ALLOW, Action.LIMIT]


def test_what_anybody_asked_for_is_free() -> None:
    """A pool pays for cold certificates alone: what somebody, anywhere, asked for within 26 days costs it nothing."""
    world = World(PLACES, **FEW)
    assert set(world.outcomes(HOME, *range(1, 30))) == {Action.ALLOW}
    assert set(world.outcomes(ONE, *range(1, 30))) == {Action.ALLOW}
    world.now_ns += 25 * DAY
    assert set(world.outcomes(OTHER, *range(1, 30))) == {Action.ALLOW}
    world.now_ns += 27 * DAY
    assert world.outcomes(ONE, *range(1, 10)) == [Action.ALLOW] * 8 + [Action.LIMIT]


def test_searches_cost_no_pool_anything() -> None:
    """Only certificates count."""
    world = World(PLACES, **FEW)
    for subject in range(1, 20):
        assert world.ask(ONE, IDENTITY, subject).action == Action.ALLOW
    assert world.tables.buckets.peek(world.client(ONE).pool) is None


def test_refusal_of_a_network_costs_its_pool_nothing() -> None:
    """All or nothing: what the network's own budget refuses, the pool gets back."""
    own = {"BUDGETS__DISTINCT_CERTS__BURST": "2", "BUDGETS__DISTINCT_CERTS__MAX_DELAY": "0s"}
    world = World(PLACES, **FEW, **own)
    assert world.outcomes(ONE, *range(1, 8)) == [Action.ALLOW] * 2 + [Action.LIMIT] * 5
    tat = world.tables.buckets.peek(world.client(ONE).pool)
    assert tat == NOW + 2 * 5 * SECOND


def test_network_that_had_much_leaves_something_to_others() -> None:
    """Who had 10 cold ones in a day leaves an eighth of the burst to the company's other networks."""
    settings = {**FEW, "BUDGETS__HOSTING_CERTS__BURST": "80", "LIMITS__CERT__MODE": "off"}
    world = World(PLACES, **settings)
    assert world.outcomes(ONE, *range(1, 101)) == [Action.ALLOW] * 70 + [Action.LIMIT] * 30
    assert world.outcomes(OTHER, *range(201, 231)) == [Action.ALLOW] * 10 + [Action.LIMIT] * 20


def test_a_pool_in_shadow_mode_or_off() -> None:
    """Shadow tells what would have been refused; off there is no pool."""
    shadow = World(PLACES, **{**FEW, "BUDGETS__HOSTING_CERTS__MODE": "shadow"})
    verdicts = [shadow.ask(ONE, subject=subject) for subject in range(1, 11)]
    assert [verdict.shadow for verdict in verdicts] == [0] * 8 + [Action.LIMIT] * 2
    assert {verdict.action for verdict in verdicts} == {Action.ALLOW}
    assert World(PLACES, **{**FEW, "BUDGETS__HOSTING_CERTS__MODE": "off"}).client(ONE).pool == 0


def test_profiles_of_one_origin_are_one() -> None:
    """The same object serves all clients of an origin: a connection costs one look-up."""
    world = World(PLACES)
    policy = world.policy
    one, same, other = (policy.profile(ip_address(each).packed) for each in (ONE, OTHER, OF_ANOTHER))
    assert one is same
    assert one is not other
