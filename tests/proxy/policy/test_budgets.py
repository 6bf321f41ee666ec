"""Budgets of networks and of mail domains: what counts is what was not asked for lately."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from fastpath import bucket_key, client_key, network_key
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.judge import Client, Facts, Verdict
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects

if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND
CERT, IDENTITY, WORDS = OperationClass.CERT, OperationClass.IDENTITY, OperationClass.WORDS
ALICE, NEIGHBOUR, BOB, MALLORY = "192.0.2.1", "192.0.2.77", "198.51.100.1", "203.0.113.1"
SUBJECTS = Subjects(bytes(range(16)))
FEW = {"BUDGETS__DISTINCT_CERTS__BURST": "3", "BUDGETS__DISTINCT_CERTS__MAX_DELAY": "0s"}
FEW_MAILS = {"BUDGETS__DISTINCT_IDENTITIES__BURST": "3"}
ONE_DOMAIN = {"BUDGETS__DOMAIN__BURST": "2", "BUDGETS__DOMAIN__MAX_DELAY": "0s"}


def fingerprint(number: int) -> str:
    """Return 40 digits."""
    return f"{number:040X}"


class World:
    """A policy, and clients who ask it."""

    def __init__(self, tables: Tables, settings: Mapping[str, str]) -> None:
        """Take settings without HKPGUARD_."""
        self.tables = tables
        self.policy = Policy(Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()}), tables)
        self.now_ns = NOW

    def ask(self, address: str, subject: str, kind: OperationClass = CERT) -> Verdict:
        """Judge one request."""
        packed = ip_address(address).packed
        client = Client(packed, client_key(packed), 0, self.policy.profile(packed))
        words = SUBJECTS.counted_as(kind, subject), SUBJECTS.domain_of(kind, subject)
        return self.policy.judge(Facts(client, kind, 1, subject=words[0], domain=words[1]), self.now_ns)

    def outcomes(self, address: str, *subjects: str, kind: OperationClass = CERT) -> list[Action]:
        """Judge one request after the other."""
        return [Action(self.ask(address, subject, kind).action) for subject in subjects]


@pytest.mark.parametrize(("settings", "kind"), [(FEW, CERT), (FEW_MAILS, IDENTITY)])
def test_distinct_subjects_count_once(tables: Tables, settings: dict[str, str], kind: OperationClass) -> None:
    """A network may ask for the same things as often as its clients' limits allow; a fourth new one is refused."""
    world = World(tables, settings)
    known = ["a@a.org", "b@b.org", "c@c.org"]
    assert world.outcomes(ALICE, *known, *known, *known, kind=kind) == [Action.ALLOW] * 9
    assert world.outcomes(ALICE, "d@d.org", "a@a.org", kind=kind) == [Action.LIMIT, Action.ALLOW]


def test_network_counts_together(tables: Tables) -> None:
    """The addresses of a /24 share what they are given; another network has its own."""
    world = World(tables, FEW)
    assert world.outcomes(ALICE, fingerprint(1), fingerprint(2), fingerprint(3)) == [Action.ALLOW] * 3
    assert world.outcomes(NEIGHBOUR, fingerprint(4), fingerprint(1)) == [Action.LIMIT, Action.ALLOW]
    assert world.outcomes(BOB, fingerprint(4)) == [Action.ALLOW]


def test_certificate_counts_once_by_all_its_names(tables: Tables) -> None:
    """Fingerprint and key id are the same certificate."""
    world = World(tables, FEW)
    v6 = "AB" * 32
    names = [fingerprint(0xABCDEF), f"{0xABCDEF:016X}", v6, v6[:16]]
    assert world.outcomes(ALICE, *names, fingerprint(2), fingerprint(3)) == [Action.ALLOW] * 5 + [Action.LIMIT]


def test_refusal_names_the_budget_and_costs_nothing(tables: Tables) -> None:
    """Neither the client's own limits nor the budget are charged, and the retry is no cheaper."""
    world = World(tables, FEW)
    world.outcomes(ALICE, *map(fingerprint, range(3)))
    before = tables.clients.peek(client_key(ip_address(ALICE).packed))
    for _ in range(3):
        verdict = world.ask(ALICE, fingerprint(9))
        assert verdict.spending is not None
        assert (verdict.action, verdict.status, verdict.reason) == (Action.LIMIT, 429, Reason.BUDGET)
        assert (verdict.spending.bucket, verdict.spending.retry_after_ns) == (BudgetKind.DISTINCT_CERTS, 5 * SECOND)
    assert tables.clients.peek(client_key(ip_address(ALICE).packed)) == before
    world.now_ns += 5 * SECOND
    assert world.outcomes(ALICE, fingerprint(9)) == [Action.ALLOW]


def test_sequential_client_is_delayed_and_never_refused(tables: Tables) -> None:
    """Beyond its burst a network gets a new certificate each 5 s: who asks for one after the other only waits."""
    world = World(tables, {"BUDGETS__DISTINCT_CERTS__BURST": "3"})
    waits = []
    for number in range(10):
        verdict = world.ask(ALICE, fingerprint(number))
        assert verdict.action in {Action.ALLOW, Action.DELAY}
        world.now_ns += verdict.wait_ns
        waits.append(verdict.wait_ns // SECOND)
    assert waits == [0, 0, 0, 5, 5, 5, 5, 5, 5, 5]


def test_scraper_leaves_something_to_its_neighbours(tables: Tables) -> None:
    """Who had 60 new certificates leaves an eighth of the burst to those who had less; they get it, and no more."""
    settings = {"BURST": "160", "MAX_DELAY": "0s"}
    budget = {f"BUDGETS__DISTINCT_CERTS__{name}": value for name, value in settings.items()}
    world = World(tables, {"LIMITS__CERT__MODE": "off", **budget})
    scraper = world.outcomes(ALICE, *map(fingerprint, range(200)))
    neighbour = world.outcomes(NEIGHBOUR, *map(fingerprint, range(300, 400)))
    assert scraper == [Action.ALLOW] * 140 + [Action.LIMIT] * 60
    assert neighbour == [Action.ALLOW] * 20 + [Action.LIMIT] * 80


def test_two_who_refresh_at_the_same_time_lose_nothing(tables: Tables) -> None:
    """Two of a network, a thousand keys each: each waits for the other's token and for its own, and no longer."""
    world = World(tables, {})
    asking = [(NOW, ALICE, iter(range(1000))), (NOW + 1, NEIGHBOUR, iter(range(1000, 2000)))]
    waits = []
    while asking:
        asking.sort(key=lambda each: each[0])
        world.now_ns, address, numbers = asking.pop(0)
        number = next(numbers, None)
        if number is None:
            continue
        verdict = world.ask(address, fingerprint(number))
        assert verdict.action in {Action.ALLOW, Action.DELAY}
        waits.append(verdict.wait_ns)
        asking.append((world.now_ns + verdict.wait_ns + SECOND // 100, address, numbers))
    assert len(waits) == 2000
    assert 9 * SECOND < max(waits) <= 10 * SECOND


def test_longer_wait_is_told(tables: Tables) -> None:
    """Where the client's own limit and the budget both make it wait, it waits for the later of the two."""
    world = World(
        tables, {"BUDGETS__DISTINCT_CERTS__BURST": "1", "LIMITS__CERT__BURST": "1", "LIMITS__CERT__COUNT": "1"}
    )
    world.ask(ALICE, fingerprint(1))
    assert world.ask(ALICE, fingerprint(2)).wait_ns == 5 * SECOND


def test_domain_is_searched_for_so_many_addresses(tables: Tables) -> None:
    """Whoever asks: new addresses of a domain meet its budget; known ones, and those of other domains, do not."""
    world = World(tables, ONE_DOMAIN)
    assert world.outcomes(ALICE, "a@a.org", "a@a.org", "b@a.org", kind=IDENTITY) == [Action.ALLOW] * 3
    refused = world.ask(BOB, "c@a.org", IDENTITY)
    assert refused.spending is not None
    assert (refused.action, refused.spending.bucket) == (Action.LIMIT, BudgetKind.DOMAIN)
    assert world.outcomes(BOB, "c@b.org", kind=IDENTITY) == [Action.ALLOW]


def test_refusal_by_the_domain_gives_back_what_the_network_paid(tables: Tables) -> None:
    """All or nothing: the network still has its other two new addresses."""
    world = World(tables, {**FEW_MAILS, "BUDGETS__DOMAIN__BURST": "1", "BUDGETS__DOMAIN__MAX_DELAY": "0s"})
    asked = ["a@a.org", "b@a.org", "c@a.org", "d@b.org", "e@c.org", "f@d.org"]
    allow, limit = Action.ALLOW, Action.LIMIT
    assert world.outcomes(ALICE, *asked, kind=IDENTITY) == [allow, limit, limit, allow, allow, limit]


def test_refusal_by_the_network_gives_back_what_the_domain_paid(tables: Tables) -> None:
    """However often a network that has used its budget up goes on, others get what the domain has left."""
    world = World(tables, {**ONE_DOMAIN, "BUDGETS__DISTINCT_IDENTITIES__BURST": "1"})
    asked = [f"{letter}@a.org" for letter in "abcde"]
    assert world.outcomes(ALICE, *asked, kind=IDENTITY) == [Action.ALLOW] + [Action.LIMIT] * 4
    assert world.outcomes(BOB, "f@a.org", kind=IDENTITY) == [Action.ALLOW]
    assert world.outcomes(MALLORY, "g@a.org", kind=IDENTITY) == [Action.LIMIT]


@pytest.mark.parametrize(
    ("shadow", "key"),
    [("DISTINCT_IDENTITIES", (IDENTITY, network_key(ip_address(ALICE).packed))),
     ("DOMAIN", (BudgetKind.DOMAIN, SUBJECTS.word_of("a.org")))],
)  # fmt: skip
def test_budget_in_shadow_mode_gets_back_what_it_gave(tables: Tables, shadow: str, key: tuple[int, int]) -> None:
    """It lets pass what it has no token for, so if the other one refuses there is nothing to give back."""
    one = {f"BUDGETS__{name}__BURST": "1" for name in ("DISTINCT_IDENTITIES", "DOMAIN")}
    world = World(tables, {**one, "BUDGETS__DOMAIN__MAX_DELAY": "0s", f"BUDGETS__{shadow}__MODE": "shadow"})
    assert world.outcomes(ALICE, "a@a.org", kind=IDENTITY) == [Action.ALLOW]
    before = tables.buckets.peek(bucket_key(*key))
    assert before is not None
    assert world.outcomes(ALICE, *[f"{letter}@a.org" for letter in "bcd"], kind=IDENTITY) == [Action.LIMIT] * 3
    assert tables.buckets.peek(bucket_key(*key)) == before


def test_refusal_by_the_domain_is_not_having_had_much(tables: Tables) -> None:
    """Who was refused a hundred addresses had none, and so may still use what others leave to their neighbours."""
    limits = {"LIMITS__IDENTITY__MODE": "off", "BUDGETS__DISTINCT_IDENTITIES__BURST": "160"}
    world = World(tables, {**limits, "BUDGETS__DOMAIN__BURST": "1", "BUDGETS__DOMAIN__MAX_DELAY": "0s"})
    world.outcomes(ALICE, *[f"a@{number}.org" for number in range(200)], kind=IDENTITY)
    world.outcomes(BOB, "a@a.org", kind=IDENTITY)
    refused = world.outcomes(NEIGHBOUR, *[f"{number}@a.org" for number in range(100)], kind=IDENTITY)
    assert refused == [Action.LIMIT] * 100
    asked = [f"b@{number}.net" for number in range(30)]
    assert world.outcomes(NEIGHBOUR, *asked, kind=IDENTITY) == [Action.ALLOW] * 20 + [Action.LIMIT] * 10


def test_words_and_pages_are_not_counted(tables: Tables) -> None:
    """A search by words names no subject."""
    world = World(tables, {**FEW, **FEW_MAILS})
    assert world.outcomes(ALICE, *"abcdefgh", kind=WORDS) == [Action.ALLOW] * 8


def test_identity_without_a_domain(tables: Tables) -> None:
    """The digest of a web key directory has none; it counts for the network all the same."""
    world = World(tables, {**ONE_DOMAIN, **FEW_MAILS})
    allow, limit = Action.ALLOW, Action.LIMIT
    assert world.outcomes(ALICE, "digest1", "digest2", "digest3", "digest4", kind=IDENTITY) == [allow] * 3 + [limit]


@pytest.mark.parametrize("settings", [{"MODE": "shadow"}, {"BUDGETS__DISTINCT_CERTS__MODE": "shadow"}])
def test_shadow(tables: Tables, settings: dict[str, str]) -> None:
    """What would be refused is told, and done."""
    world = World(tables, {**FEW, **settings})
    world.outcomes(ALICE, *map(fingerprint, range(3)))
    verdict = world.ask(ALICE, fingerprint(9))
    assert (verdict.action, verdict.shadow, verdict.reason) == (Action.ALLOW, Action.LIMIT, Reason.BUDGET)


@pytest.mark.parametrize("settings", [{"MODE": "off"}, {"BUDGETS__DISTINCT_CERTS__MODE": "off"}])
def test_off(tables: Tables, settings: dict[str, str]) -> None:
    """Without the budget nobody is counted against it."""
    world = World(tables, {**FEW, **settings})
    assert world.outcomes(ALICE, *map(fingerprint, range(9))) == [Action.ALLOW] * 9


def test_allowed_network(tables: Tables) -> None:
    """Nothing is counted of those whom no limit touches."""
    world = World(tables, {**FEW, "ALLOW": "192.0.2.0/24"})
    assert world.outcomes(ALICE, *map(fingerprint, range(9))) == [Action.ALLOW] * 9


def test_prefix_logs_of_a_network(tables: Tables) -> None:
    """All addresses of a network have ten lists a day together, the same one again as well; others have their own."""
    world = World(tables, {})
    kind, dates = OperationClass.PREFIXLOG, [f"2026-05-{day:02}" for day in range(1, 7)]
    assert world.outcomes(ALICE, *dates, kind=kind) == [Action.ALLOW] * 6
    assert world.outcomes(NEIGHBOUR, *dates, kind=kind) == [Action.ALLOW] * 4 + [Action.LIMIT] * 2
    verdict = world.ask(NEIGHBOUR, dates[0], kind)
    assert verdict.spending is not None
    assert verdict.spending.bucket == BudgetKind.NETWORK_PREFIXLOGS
    assert world.outcomes(BOB, *dates, kind=kind) == [Action.ALLOW] * 6
    world.now_ns += 86_400 * SECOND // 10
    assert world.outcomes(NEIGHBOUR, *dates[:2], kind=kind) == [Action.ALLOW, Action.LIMIT]


def test_prefix_logs_without_a_budget(tables: Tables) -> None:
    """Where it is off, each client has its own ten."""
    world = World(tables, {"BUDGETS__NETWORK_PREFIXLOGS__MODE": "off"})
    for address in (ALICE, NEIGHBOUR):
        assert world.outcomes(address, *["2026-05-01"] * 11, kind=OperationClass.PREFIXLOG) == [
            *[Action.ALLOW] * 10,
            Action.LIMIT,
        ]
