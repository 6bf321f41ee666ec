"""What bodies cost: certificates, user IDs, mails; all or nothing, and shared fairly."""

from __future__ import annotations

import json
import mmap
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import Payments, bucket_key, client_key, network_key
from fastpath.payments import PAYMENT_BYTES
from proxy.config import Config
from proxy.hkp.certs import Cert, Upload, UploadBounds
from proxy.hkp.classes import OperationClass
from proxy.hkp.mail import MailRequest
from proxy.hkp.uploads import UploadKind, UploadReader
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import TEXTS, BudgetKind, Tables
from proxy.policy.contents import SEEN_NS, Contents, Ruling
from proxy.policy.judge import Client, Verdict
from proxy.policy.policy import Policy
from proxy.policy.sharing import everybody
from proxy.policy.subjects import Subjects
from tests.certs_for_tests import NOW_S, certificate, key, packet, revocation
from tests.certs_for_tests import user_id as user_id_packet
from tests.proxy.policy.tables_for_tests import tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = 1_000_000 * SECOND
ALICE, NEIGHBOUR, BOB, CAROL = "192.0.2.1", "192.0.2.77", "198.51.100.1", "203.0.113.1"
TOR, TOR_TOO = "185.220.101.1", "185.220.101.2"
EXITS = ip_network("185.220.101.0/24")
SUBJECTS = Subjects(bytes(range(16)))
ALLOW, DELAY, LIMIT = Action.ALLOW, Action.DELAY, Action.LIMIT


def no_delay(name: str, burst: int) -> dict[str, str]:
    """Return the settings of a budget that refuses where it would delay."""
    return {f"BUDGETS__{name}__BURST": str(burst), f"BUDGETS__{name}__MAX_DELAY": "0s"}


def upload(*parts: bytes) -> Upload:
    """Return what the reader finds in certificates."""
    reader = UploadReader(UploadKind.BINARY, UploadBounds(), NOW_S)
    reader.feed(b"".join(parts))
    return reader.finish()


def new(*numbers: int) -> Upload:
    """Return an upload of some certificates, whose user IDs are all different."""
    return upload(*map(certificate, numbers))


def named(number: int, *names: str) -> Upload:
    """Return an upload of a certificate with these user IDs."""
    return upload(packet(6, key(number).body), *map(user_id_packet, names))


def forged(number: int) -> Upload:
    """Return an upload of one certificate as a reader would have found it: many are made quicker so."""
    return Upload((Cert(f"{number:040X}", (f"{number}".encode(),), 3, 1, 0, 500, revocation_only=False),))


def mail(*addresses: str) -> MailRequest:
    """Return a request for mail."""
    return MailRequest(addresses)


class World:
    """A policy, and clients whose bodies are judged."""

    def __init__(self, tables: Tables, settings: Mapping[str, str] | None = None) -> None:
        """Take settings without HKPGUARD_."""
        environ = {f"HKPGUARD_{name}": value for name, value in (settings or {}).items()}
        self.tables = tables
        self.policy = Policy(Config.from_env(environ), tables, exits=[EXITS])
        self.payments = Payments(memoryview(mmap.mmap(-1, PAYMENT_BYTES)))
        self.contents = Contents(tables, SUBJECTS, self.payments)
        self.now_ns = NOW

    def client(self, address: str) -> Client:
        """Return a client."""
        packed = ip_address(address).packed
        return Client(packed, client_key(packed), 0, self.policy.profile(packed))

    def judge(self, address: str, found: object) -> Verdict | None:
        """Judge one body."""
        return self.rule(address, found).verdict

    def rule(self, address: str, found: object) -> Ruling:
        """Judge one body, and tell what comes back if it is not sent."""
        return self.contents.judge(self.client(address), found, self.now_ns)

    def outcomes(self, address: str, *found: object) -> list[Action]:
        """Judge one body after the other."""
        verdicts = [self.judge(address, each) for each in found]
        return [ALLOW if verdict is None else Action(verdict.action) for verdict in verdicts]

    def refused_by(self, address: str, found: object) -> BudgetKind:
        """Return whose budget refuses a body."""
        verdict = self.judge(address, found)
        assert verdict is not None
        assert verdict.spending is not None
        assert (verdict.action, verdict.status, verdict.reason) == (LIMIT, 429, Reason.BUDGET)
        return BudgetKind(verdict.spending.bucket)


def fresh() -> Tables:
    """Return empty tables."""
    return tables_of(64)


# One certificate, one user ID, one address.


@pytest.mark.parametrize("found", [None, 7, "text", object()])
def test_what_is_neither_costs_nothing(tables: Tables, found: object) -> None:
    """What other readers find is not counted here."""
    assert World(tables, no_delay("NEW_CERTS", 1)).outcomes(ALICE, *[found] * 9) == [ALLOW] * 9


def test_updates_of_a_certificate(tables: Tables) -> None:
    """A certificate is updated so often, whoever does it; others are not concerned; an hour later it may be again."""
    world = World(tables)
    assert world.outcomes(ALICE, *[new(1)] * 6) == [ALLOW] * 6
    assert world.outcomes(BOB, *[new(1)] * 4) == [ALLOW] * 4
    assert world.refused_by(BOB, new(1)) == BudgetKind.CERT_UPDATES
    assert world.outcomes(CAROL, new(2)) == [ALLOW]
    world.now_ns += HOUR
    assert world.outcomes(BOB, *[new(1)] * 11) == [ALLOW] * 10 + [LIMIT]


def test_nobody_can_keep_an_owner_from_revoking(tables: Tables) -> None:
    """When the updates are used up, the first of another network in a day still passes, and bare revocations do."""
    world = World(tables)
    assert world.outcomes(ALICE, *[new(1)] * 12) == [ALLOW] * 10 + [LIMIT] * 2
    assert world.outcomes(CAROL, new(1), new(1)) == [ALLOW, LIMIT]
    assert world.outcomes(ALICE, upload(revocation(1))) == [ALLOW]


def test_signatures_of_others_on_a_certificate(tables: Tables) -> None:
    """What it comes with first is no growth; later each new signature takes a token, and one that is known none."""
    budget = {"BUDGETS__CERT_GROWTH__BURST": "50", "BUDGETS__CERT_UPDATES__MODE": "off"}
    world = World(tables, budget)
    signed = [upload(certificate(1, signatures=count)) for count in (100, 120, 150, 160)]
    assert world.outcomes(ALICE, signed[0], signed[1], signed[1], signed[0], signed[2]) == [ALLOW] * 5
    assert world.refused_by(BOB, signed[3]) == BudgetKind.CERT_GROWTH
    assert world.outcomes(BOB, signed[2], upload(certificate(2, signatures=160))) == [ALLOW] * 2


@pytest.mark.parametrize("version", [3, 4, 6])
def test_revocation_is_an_update(tables: Tables, version: int) -> None:
    """A bare revocation counts for the certificate that it names, by fingerprint or by key id, and is never refused."""
    world = World(tables, {"BUDGETS__CERT_UPDATES__BURST": "2", **no_delay("NEW_CERTS", 4)})
    revoked = upload(revocation(1, version=version))
    assert world.outcomes(ALICE, revoked, revoked, revoked) == [ALLOW] * 3
    if version != 3:  # a fingerprint of version 3 and its key id have nothing in common
        update = upload(certificate(1, version=version))
        world.contents.judge(world.client(ALICE), update, world.now_ns)  # the first of a network in a day
        assert world.refused_by(ALICE, update) == BudgetKind.CERT_UPDATES


def test_revocation_that_says_the_key_id_only(tables: Tables) -> None:
    """Key id and fingerprint are one certificate."""
    world = World(tables, {"BUDGETS__CERT_UPDATES__BURST": "1"})
    revoked = Cert(key(1).name[24:], (), 1, 1, 0, 100, revocation_only=True)
    assert world.outcomes(ALICE, Upload((revoked,)), new(1), new(1), new(2)) == [ALLOW, ALLOW, LIMIT, ALLOW]


def test_revocation_makes_no_certificate_known(tables: Tables) -> None:
    """Nobody verifies who revokes: a stranger cannot take a new certificate past the budget of new ones."""
    world = World(tables, no_delay("NEW_CERTS", 4))
    assert world.outcomes(ALICE, *(upload(revocation(number)) for number in range(9))) == [ALLOW] * 9
    assert world.outcomes(ALICE, new(1)) == [ALLOW]
    assert world.refused_by(ALICE, new(2)) == BudgetKind.NEW_CERTS


def test_new_certificates_of_everybody(tables: Tables) -> None:
    """So many new certificates come in, from whichever networks; updates of known ones go on."""
    world = World(tables, no_delay("NEW_CERTS", 4))
    networks = [f"10.0.{number}.1" for number in range(4)]
    for number, address in enumerate(networks):
        assert world.outcomes(address, new(number)) == [ALLOW]
    assert world.refused_by("10.0.9.1", new(9)) == BudgetKind.NEW_CERTS
    assert world.outcomes("10.0.9.1", *map(new, range(4))) == [ALLOW] * 4


def test_new_certificate_is_new_once(tables: Tables) -> None:
    """It is known for 26 days after it was last uploaded."""
    world = World(
        tables, no_delay("NEW_CERTS", 4) | {"BUDGETS__NEW_CERTS__PERIOD": "366d", "BUDGETS__NEW_CERTS__COUNT": "1"}
    )
    assert world.outcomes(ALICE, new(1), new(1)) == [ALLOW, ALLOW]
    world.now_ns += SEEN_NS - HOUR
    assert world.outcomes(ALICE, new(1)) == [ALLOW]
    world.now_ns += SEEN_NS - HOUR
    assert world.outcomes(ALICE, new(1)) == [ALLOW]
    world.now_ns += SEEN_NS + HOUR
    assert world.refused_by(ALICE, new(1)) == BudgetKind.NEW_CERTS


def test_user_id_of_new_certificates(tables: Tables) -> None:
    """So many new certificates a day carry one user ID, however it is written; known ones are not asked."""
    world = World(tables)
    names = ["A <a@a.org>", "a <A@a.org>", " A <a@a.org> ", "A <a@a.org>", "A <a@a.org>"]
    forged = [named(number, name) for number, name in enumerate(names)]
    assert world.outcomes(ALICE, *forged) == [ALLOW] * 5
    assert world.refused_by(BOB, named(9, "Other", "A <a@a.org>")) == BudgetKind.USER_ID
    assert world.outcomes(BOB, *forged) == [ALLOW] * 5
    assert world.outcomes(BOB, named(9, "Other")) == [ALLOW]


def test_user_id_twice_in_a_certificate(tables: Tables) -> None:
    """A certificate takes one place, however often it says the name."""
    world = World(tables, {"BUDGETS__USER_ID__BURST": "1"})
    assert world.outcomes(ALICE, named(1, "A", "A", "A"), named(2, "A")) == [ALLOW, LIMIT]


def test_mail_to_an_address(tables: Tables) -> None:
    """One mail an hour to an address, whoever asks; the second is refused, not delayed."""
    world = World(tables)
    assert world.outcomes(ALICE, mail("a@a.org"), mail("b@a.org")) == [ALLOW] * 2
    assert world.refused_by(BOB, mail("a@a.org")) == BudgetKind.MAIL_ADDRESS
    world.now_ns += HOUR - 1
    assert world.outcomes(BOB, mail("a@a.org")) == [LIMIT]
    world.now_ns += 1
    assert world.outcomes(BOB, mail("a@a.org")) == [ALLOW]


# All or nothing.


def test_refused_mail_costs_the_other_addresses_nothing(tables: Tables) -> None:
    """Of several addresses one had its mail: the others may have theirs at once."""
    world = World(tables)
    world.judge(ALICE, mail("b@a.org"))
    assert world.outcomes(ALICE, mail("a@a.org", "b@a.org"), mail("a@a.org")) == [LIMIT, ALLOW]


def test_refused_upload_is_not_remembered(tables: Tables) -> None:
    """The certificates of an upload that is refused are still new, and nobody has paid for them."""
    world = World(tables, no_delay("NEW_CERTS", 12))
    assert world.outcomes(ALICE, new(9)) == [ALLOW]
    assert world.refused_by(ALICE, new(1, 2, 3)) == BudgetKind.NEW_CERTS
    assert world.outcomes(ALICE, new(1, 2), new(3)) == [ALLOW, LIMIT]


def test_shadow_takes_nothing_and_gets_nothing_back(tables: Tables) -> None:
    """A budget in shadow mode that is empty took nothing from a body that another one refuses, and stays empty."""
    shadow = {"BUDGETS__CERT_UPDATES__MODE": "shadow", "BUDGETS__CERT_UPDATES__BURST": "1"}
    world = World(tables, {**shadow, **no_delay("NEW_CERTS", 4)})
    assert world.outcomes(ALICE, new(1)) == [ALLOW]
    for _ in range(3):
        assert world.refused_by(ALICE, new(1, 2)) == BudgetKind.NEW_CERTS
    verdict = world.judge(ALICE, new(1))
    assert verdict is not None
    assert (verdict.action, verdict.shadow) == (ALLOW, LIMIT)


numbers = st.lists(st.integers(0, 5), min_size=1, max_size=4)
bodies = st.one_of(
    numbers.map(lambda drawn: new(*dict.fromkeys(drawn))),
    numbers.map(lambda drawn: mail(*(f"{each}@a.org" for each in dict.fromkeys(drawn)))),
    st.tuples(st.integers(0, 5), st.sampled_from(["A", "B"])).map(lambda drawn: named(*drawn)),
    st.integers(0, 5).map(lambda number: upload(revocation(number))),
)
steps = st.lists(st.tuples(st.sampled_from([ALICE, BOB, TOR]), bodies, st.integers(0, 1200)), max_size=12)
TIGHT = {
    **no_delay("NEW_CERTS", 8), **no_delay("EXIT_UPLOADS", 8), **no_delay("NETWORK_UPLOADS", 4),
    "BUDGETS__CERT_UPDATES__BURST": "2", "BUDGETS__USER_ID__BURST": "1",
}  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(steps)
def test_what_is_refused_has_not_happened(steps: list[tuple[str, object, int]]) -> None:
    """Whatever is tried, the outcome of all that is admitted is as if the refused had never come."""
    tried, silent = World(fresh(), TIGHT), World(fresh(), TIGHT)
    for address, found, seconds in steps:
        tried.now_ns = silent.now_ns = tried.now_ns + seconds * SECOND
        outcome = tried.outcomes(address, found)
        if outcome != [LIMIT]:
            assert silent.outcomes(address, found) == outcome


@settings(deadline=None, max_examples=40)
@given(steps)
def test_what_was_not_sent_may_be_sent_again(steps: list[tuple[str, object, int]]) -> None:
    """After a refund the same body is admitted again at once, as often as it is given back."""
    world = World(fresh(), TIGHT)
    for address, found, seconds in steps:
        world.now_ns += seconds * SECOND
        for _ in range(3):
            verdict, deposit = world.rule(address, found)
            if verdict is not None and verdict.action == LIMIT:
                break
            world.contents.refund(deposit, world.now_ns)
            verdict, deposit = world.rule(address, found)
            assert verdict is None
            world.contents.refund(deposit, world.now_ns)


def test_refund(tables: Tables) -> None:
    """Update, mail and the exits' token come back; a new certificate was paid, and is not new any more."""
    world = World(tables, {"BUDGETS__CERT_UPDATES__BURST": "1", **no_delay("NEW_CERTS", 4)})
    for found in (mail("a@a.org"), new(1)):
        verdict, deposit = world.rule(ALICE, found)
        assert verdict is None
        world.contents.refund(deposit, world.now_ns)
        assert world.outcomes(ALICE, found, found) == [ALLOW, LIMIT]
    assert world.refused_by(ALICE, new(2)) == BudgetKind.NEW_CERTS


def test_refund_goes_where_it_was_paid(tables: Tables) -> None:
    """A new certificate is known after its first attempt; what its exit paid comes back to the place of new ones."""
    world = World(tables, no_delay("EXIT_UPLOADS", 8))
    for number in range(3):
        world.contents.refund(world.rule(TOR, new(number)).deposit, world.now_ns)
    assert world.outcomes(TOR, new(3), new(4), new(5)) == [ALLOW, ALLOW, LIMIT]


# Uploads of one network.


def test_uploads_of_a_network(tables: Tables) -> None:
    """A network uploads so often, whoever in it and whatever, what is known too; a minute later once more."""
    world = World(tables, no_delay("NETWORK_UPLOADS", 4))
    assert world.outcomes(ALICE, new(1), new(1)) == [ALLOW] * 2
    assert world.outcomes(NEIGHBOUR, new(1), new(2, 3)) == [ALLOW] * 2
    for found in (new(1), new(9)):
        assert world.refused_by(NEIGHBOUR, found) == BudgetKind.NETWORK_UPLOADS
    assert world.outcomes(BOB, new(1)) == [ALLOW]
    world.now_ns += MINUTE
    assert world.outcomes(ALICE, new(9), new(9)) == [ALLOW, LIMIT]


def test_uploads_of_a_network_wait_before_they_are_refused(tables: Tables) -> None:
    """At the defaults 60 pass at once, as after a keysigning party; one more waits a minute, the next is refused."""
    world = World(tables)
    party = [f"192.0.2.{number}" for number in range(1, 61)]
    assert [world.outcomes(address, new(number)) for number, address in enumerate(party)] == [[ALLOW]] * 60
    late, later = world.judge(ALICE, new(100)), world.judge(NEIGHBOUR, new(101))
    assert late is not None
    assert (late.action, late.wait_ns) == (DELAY, MINUTE)
    assert later is not None
    assert later.spending is not None
    assert (later.action, later.spending.retry_after_ns) == (LIMIT, MINUTE)


def test_who_uploads_one_after_the_other_loses_none(tables: Tables) -> None:
    """Somebody who sends a keyring waits, from some upload on, up to a minute for each."""
    world, waits = World(tables), []
    for number in range(150):
        verdict = world.judge(ALICE, forged(number))
        assert verdict is None or verdict.action == DELAY
        waits.append(0 if verdict is None else verdict.wait_ns)
        world.now_ns += waits[-1]
    assert waits[:53] == [0] * 53
    assert max(waits) == MINUTE


def test_who_uploads_much_leaves_some_to_the_neighbours(tables: Tables) -> None:
    """Who had ten uploads finds an eighth less than the others of the network, however long it goes on."""
    world = World(tables, no_delay("NETWORK_UPLOADS", 16))
    assert world.outcomes(ALICE, *map(forged, range(20))) == [ALLOW] * 14 + [LIMIT] * 6
    assert world.outcomes(NEIGHBOUR, *map(forged, range(30, 33))) == [ALLOW] * 2 + [LIMIT]
    for number in range(600):
        world.now_ns += 10 * SECOND
        world.outcomes(ALICE, forged(100 + number))
    assert world.outcomes(NEIGHBOUR, forged(1000), forged(1001)) == [ALLOW] * 2


@pytest.mark.parametrize(
    ("settings", "address"),
    [
        ({"PEERS": "192.0.2.0/24"}, ALICE),
        ({"ALLOW": "192.0.2.0/24"}, ALICE),
        ({"BUDGETS__EXIT_UPLOADS__MODE": "off"}, TOR),
        ({"BUDGETS__NETWORK_UPLOADS__MODE": "off"}, ALICE),
    ],
    ids=["a peer", "allowed", "an exit", "off"],
)
def test_whose_network_is_not_asked(tables: Tables, settings: dict[str, str], address: str) -> None:
    """Peers push keys, allowed networks have no limits, and exits have a budget together."""
    world = World(tables, {**no_delay("NETWORK_UPLOADS", 1), **settings})
    assert world.outcomes(address, *[new(1)] * 9) == [ALLOW] * 9


def test_revocation_is_an_upload_of_its_network(tables: Tables) -> None:
    """A bare revocation counts, and is never refused; one beside something else is an upload like others."""
    world = World(tables, no_delay("NETWORK_UPLOADS", 4))
    revoked = [upload(revocation(number)) for number in range(6)]
    assert world.outcomes(ALICE, *revoked) == [ALLOW] * 6
    assert world.refused_by(NEIGHBOUR, new(9)) == BudgetKind.NETWORK_UPLOADS
    assert world.refused_by(NEIGHBOUR, upload(revocation(1), certificate(9))) == BudgetKind.NETWORK_UPLOADS


def test_upload_that_was_not_sent_costs_its_network_nothing(tables: Tables) -> None:
    """The token comes back, and who paid it has not had it: it does not leave more to its neighbours for that."""
    world = World(tables, no_delay("NETWORK_UPLOADS", 8))
    for number in range(30):
        world.contents.refund(world.rule(ALICE, forged(number)).deposit, world.now_ns)
    assert world.outcomes(ALICE, *map(forged, range(100, 109))) == [ALLOW] * 8 + [LIMIT]


def test_network_with_another_budget_of_uploads(tables: Tables) -> None:
    """The settings of a network may give it more or less than others."""
    networks = [{"cidr": "192.0.2.0/24", "budgets": {"network_uploads": {"burst": 2, "max_delay": "0s"}}}]
    world = World(tables, {"NETWORKS": json.dumps(networks)})
    assert world.outcomes(ALICE, new(1), new(2), new(3)) == [ALLOW, ALLOW, LIMIT]
    assert world.outcomes(BOB, new(1), new(2), new(3)) == [ALLOW] * 3


# Shared budgets.


def test_part_of_one_network(tables: Tables) -> None:
    """A network has a quarter of all new certificates; the other three are for others."""
    world = World(tables, no_delay("NEW_CERTS", 40))
    assert world.outcomes(ALICE, *(new(number) for number in range(11))) == [ALLOW] * 10 + [LIMIT]
    assert world.outcomes(NEIGHBOUR, new(100)) == [LIMIT]
    assert world.outcomes(BOB, *(new(200 + number) for number in range(11))) == [ALLOW] * 10 + [LIMIT]


def test_exits_share_a_budget(tables: Tables) -> None:
    """All that comes through shared exits is counted together, for each address a part of it; others are not asked."""
    world = World(tables, no_delay("EXIT_UPLOADS", 8))
    assert world.outcomes(TOR, new(1), new(2), new(3)) == [ALLOW, ALLOW, LIMIT]
    others = [f"185.220.101.{number}" for number in range(2, 12)]
    admitted = [world.outcomes(address, new(number)) for number, address in enumerate(others, 10)]
    assert admitted == [[ALLOW]] * 5 + [[LIMIT]] * 5  # one is kept for who uploads what is known
    assert world.refused_by(TOR_TOO, new(50)) == BudgetKind.EXIT_UPLOADS
    assert world.outcomes(ALICE, *(new(number) for number in range(60, 70))) == [ALLOW] * 10


def test_upload_of_more_than_a_part(tables: Tables) -> None:
    """More new certificates than a member may have at once take all that it may have, rather than never pass."""
    world = World(tables, no_delay("NEW_CERTS", 8))
    assert world.outcomes(ALICE, new(1, 2, 3, 4, 5), new(6)) == [ALLOW, LIMIT]
    assert world.outcomes(BOB, new(11), new(12, 13), new(14)) == [ALLOW, LIMIT, ALLOW]


@pytest.mark.parametrize("exits", [1, 4, 10, 100])
def test_flood_through_some_exits(tables: Tables, exits: int) -> None:
    """Whoever uploads through another exit waits a few seconds at most, once each exit of the flood had its first.

    Through an exit of the flood updates and revocations do, for these have places of their own.
    """
    world = World(tables, {"BUDGETS__NEW_CERTS__MODE": "off"})
    world.outcomes(ALICE, new(1), new(2))
    waits = []
    for second in range(60 * exits + 1200):
        world.now_ns += SECOND
        for each in range(5):
            number = 5 * second + each
            world.contents.judge(world.client(f"185.220.101.{number % exits}"), forged(number), world.now_ns)
        if second >= 60 * exits and second % 600 == 0:
            honest = (f"185.220.101.{200 + second // 600 % 50}", forged(10**6 + second))
            update = (f"185.220.101.{second // 600 % exits}", new(1))
            for address, found in (honest, update):
                verdict = world.judge(address, found)
                assert verdict is None or verdict.action == DELAY
                waits.append(0 if verdict is None else verdict.wait_ns)
    assert max(waits) <= 10 * SECOND


def test_updates_pass_a_flood_from_its_beginning(tables: Tables) -> None:
    """Through whichever exit, before each exit of the flood had its first upload: they are known, its are new."""
    world = World(tables, {"BUDGETS__NEW_CERTS__MODE": "off"})
    world.outcomes(ALICE, *(new(number) for number in range(10)))
    for second in range(1000):
        world.now_ns += SECOND
        for each in range(5):
            number = 5 * second + each
            world.contents.judge(world.client(f"185.220.101.{number % 200}"), forged(number), world.now_ns)
        if second % 100 == 99:
            assert world.outcomes(f"185.220.101.{second // 10}", new(second // 100)) != [LIMIT]


def test_who_asks_on_goes_behind_who_does_not(tables: Tables) -> None:
    """Of two who had nothing yet, who was refused again and again; after an hour they are alike."""
    world = World(tables, {**no_delay("NEW_CERTS", 15), "BUDGETS__NEW_CERTS__COUNT": "60"})
    for number in range(15):
        assert world.outcomes(f"10.0.{number}.1", new(number)) == [ALLOW]
    assert world.outcomes(BOB, new(100), new(100), new(100)) == [LIMIT] * 3
    world.now_ns += MINUTE
    assert world.outcomes(BOB, new(100)) == [LIMIT]
    assert world.outcomes(CAROL, new(101)) == [ALLOW]
    world.now_ns += HOUR
    for number in range(15):
        world.outcomes(f"10.1.{number}.1", new(200 + number))
    world.now_ns += MINUTE
    assert world.outcomes(BOB, new(100)) == [ALLOW]


def test_flood_of_revocations(tables: Tables) -> None:
    """Nobody verifies them, so they are held to the same budget; new certificates go beside."""
    world = World(tables, {"BUDGETS__NEW_CERTS__MODE": "off"})
    revoked = upload(revocation(1))
    for _ in range(600):
        world.now_ns += SECOND
        world.outcomes(TOR, revoked, revoked)
    assert world.outcomes(TOR, revoked) == [LIMIT]
    assert world.outcomes(TOR, new(1)) == [ALLOW]


def test_an_abuser_starves_nobody(tables: Tables) -> None:
    """One exit that never stops leaves to another what that one asks for at a human pace."""
    world = World(tables, {"BUDGETS__NEW_CERTS__MODE": "off"})
    honest: list[Action] = []
    for number in range(600):
        world.now_ns += SECOND
        world.outcomes(TOR, *(new(number + each * 1000) for each in range(5)))
        if number % 60 == 59:
            honest += world.outcomes(TOR_TOO, new(10_000 + number))
    assert LIMIT not in honest


def test_shared_budgets_delay_first(tables: Tables) -> None:
    """At the defaults an exit that uploads on waits, up to a minute; then it is refused, never locked out."""
    world = World(tables)
    verdicts = [world.judge(TOR, new(number)) for number in range(4)]
    waits = [0 if verdict is None else verdict.wait_ns // SECOND for verdict in verdicts[:2]]
    assert waits == [0, 40]
    refused = verdicts[2]
    assert refused is not None
    assert refused.spending is not None
    assert refused.action == LIMIT
    assert refused.spending.retry_after_ns <= 60 * SECOND
    world.now_ns += refused.spending.retry_after_ns
    assert world.outcomes(TOR, new(2)) == [DELAY]


@pytest.mark.parametrize("flooding", [1, 5, 40])
def test_retry_after_is_true(tables: Tables, flooding: int) -> None:
    """Who comes back when it was told to is let in, if nobody else was quicker; 1 ns earlier it is not."""
    world = World(tables, {"BUDGETS__NEW_CERTS__BURST": "12"})
    for number in range(200):
        world.now_ns += SECOND
        world.contents.judge(world.client(f"185.220.101.{number % flooding}"), forged(number), world.now_ns)
    verdict, numbers = None, iter(range(1000, 1100))
    while verdict is None or verdict.action != LIMIT:
        verdict = world.judge(TOR, forged(next(numbers)))
    assert verdict.spending is not None
    world.now_ns += verdict.spending.retry_after_ns - 1
    assert world.outcomes(TOR, forged(2000)) == [LIMIT]
    world.now_ns += 1
    assert world.outcomes(TOR, forged(2000)) == [DELAY]


def test_longest_refusal_is_told(tables: Tables) -> None:
    """Of two budgets that refuse, the one that does so longer says when to come back, and why."""
    world = World(tables, {**no_delay("NEW_CERTS", 4), **no_delay("EXIT_UPLOADS", 4)})
    assert world.outcomes(TOR, named(1, "A")) == [ALLOW]
    verdict = world.judge(TOR, named(2, "A"))
    assert verdict is not None
    assert verdict.spending is not None
    assert verdict.spending.bucket == BudgetKind.EXIT_UPLOADS
    assert verdict.spending.retry_after_ns == 40 * SECOND
    assert verdict.text == TEXTS[BudgetKind.EXIT_UPLOADS]


@pytest.mark.parametrize(
    ("updates_s", "wait_s", "budget"), [(10, 40, BudgetKind.EXIT_UPLOADS), (25, 50, BudgetKind.CERT_UPDATES)]
)
def test_longest_wait_binds(tables: Tables, updates_s: int, wait_s: int, budget: BudgetKind) -> None:
    """Of two budgets that delay, the one that delays longer tells how long."""
    updates = {"BURST": "1", "COUNT": "1", "PERIOD": f"{updates_s}s", "MAX_DELAY": "1m"}
    world = World(tables, {f"BUDGETS__CERT_UPDATES__{name}": value for name, value in updates.items()})
    assert [world.judge(address, new(1)) for address in (ALICE, TOR)] == [None, None]
    verdict = world.judge(TOR, new(1))
    assert verdict is not None
    assert verdict.spending is not None
    assert (verdict.action, verdict.wait_ns, verdict.spending.bucket) == (DELAY, wait_s * SECOND, budget)


# Modes.


@pytest.mark.parametrize("budgets", [{"MODE": "shadow"}, {"BUDGETS__CERT_UPDATES__MODE": "shadow"}])
def test_shadow(tables: Tables, budgets: dict[str, str]) -> None:
    """What would be refused is told, and done."""
    world = World(tables, {"BUDGETS__CERT_UPDATES__BURST": "2", **budgets})
    assert world.outcomes(ALICE, *[new(1)] * 2) == [ALLOW] * 2
    verdict = world.judge(ALICE, new(1))
    assert verdict is not None
    assert verdict.spending is not None
    assert (verdict.action, verdict.shadow, verdict.reason) == (ALLOW, LIMIT, Reason.BUDGET)
    assert verdict.spending.bucket == BudgetKind.CERT_UPDATES


def test_shadow_delay(tables: Tables) -> None:
    """What would be delayed is told, and done at once; what would be refused is told first."""
    world = World(tables, {"MODE": "shadow"})
    shadows = []
    for found in (new(1), new(2), new(3)):
        verdict = world.judge(TOR, found)
        shadows.append((ALLOW, 0) if verdict is None else (verdict.shadow, verdict.wait_ns))
    assert shadows == [(ALLOW, 0), (DELAY, 0), (LIMIT, 0)]


def test_shadow_refusal_is_told_before_a_delay(tables: Tables) -> None:
    """Of two budgets in shadow mode, the one that would refuse is told."""
    world = World(tables, {"MODE": "shadow", "BUDGETS__CERT_UPDATES__BURST": "1"})
    assert world.judge(TOR, new(1)) is None
    verdict = world.judge(TOR, new(1))
    assert verdict is not None
    assert verdict.spending is not None
    assert (verdict.shadow, verdict.spending.bucket) == (LIMIT, BudgetKind.CERT_UPDATES)


@pytest.mark.parametrize(
    ("found", "name"),
    [(new(1), "CERT_UPDATES"), (named(1, "A"), "USER_ID"), (mail("a@a.org"), "MAIL_ADDRESS"), (new(1), "EXIT_UPLOADS")],
)
def test_off(tables: Tables, found: object, name: str) -> None:
    """Without its budget nobody is counted against it."""
    budgets = {"CERT_UPDATES", "USER_ID", "MAIL_ADDRESS", "EXIT_UPLOADS", "NEW_CERTS"}
    tight = {f"BUDGETS__{each}__BURST": "1" for each in budgets}
    assert LIMIT in World(tables, {**tight, **{f"BUDGETS__{each}__MODE": "off" for each in budgets - {name}}}).outcomes(
        TOR, *[found if name != "USER_ID" else named(number, "A") for number in range(9)]
    )
    off = {f"BUDGETS__{each}__MODE": "off" for each in budgets}
    assert World(tables, {**tight, **off}).outcomes(TOR, *[found] * 9) == [ALLOW] * 9


def test_allowed_network(tables: Tables) -> None:
    """Nothing is counted of those whom no limit touches; what they upload is not remembered either."""
    world = World(tables, {"ALLOW": "192.0.2.0/24", **no_delay("NEW_CERTS", 4)})
    assert world.outcomes(ALICE, *map(new, range(9))) == [ALLOW] * 9
    assert world.outcomes(ALICE, *[mail("a@a.org")] * 9) == [ALLOW] * 9
    assert world.rule(ALICE, mail("a@a.org")).deposit == ()
    assert world.outcomes(BOB, new(1), new(2)) == [ALLOW, LIMIT]


def test_limits_of_a_new_policy_hold_at_once(tables: Tables) -> None:
    """After a reload parts are those of the new budgets, without a new table."""
    world = World(tables, no_delay("NEW_CERTS", 4))
    assert world.outcomes(ALICE, new(1), new(2)) == [ALLOW, LIMIT]
    world.policy = World(tables, no_delay("NEW_CERTS", 40)).policy
    assert world.outcomes(BOB, *(new(100 + number) for number in range(10))) == [ALLOW] * 10


@pytest.mark.parametrize("burst", ["1", "3", "18"])
@pytest.mark.parametrize("count", ["1", "1000"])
def test_slowest_budget(tables: Tables, burst: str, count: str) -> None:
    """Whatever an operator may set has a part for one client."""
    budget = {"BURST": burst, "COUNT": count, "PERIOD": "366d"}
    world = World(tables, {f"BUDGETS__NEW_CERTS__{name}": value for name, value in budget.items()})
    assert world.outcomes(ALICE, new(1)) == [ALLOW]


# What is written down for other nodes.


def paid(world: World) -> set[tuple[BudgetKind, int, int]]:
    """Return from which buckets how many tokens were taken since it was asked for the last time."""
    return {(BudgetKind(each.kind), each.key, each.tokens) for each in world.payments.take(99)}


def word_of(kind: BudgetKind, text: str) -> int:
    """Return the key of the bucket of a user ID or an address."""
    return bucket_key(kind, SUBJECTS.word_of(text))


def test_what_a_body_paid_is_written_down(tables: Tables) -> None:
    """All that is taken from buckets which nodes have together, and nothing of what is reckoned for one node alone."""
    world = World(tables)
    cert, network = named(1, "Alice <a@a.org>", "a@a.org"), network_key(ip_address(ALICE).packed)
    word = SUBJECTS.counted_as(OperationClass.CERT, cert.certs[0].fingerprint)
    assert world.judge(ALICE, cert) is None
    assert paid(world) == {
        (BudgetKind.NEW_CERTS, everybody(BudgetKind.NEW_CERTS), 1),
        (BudgetKind.NETWORK_UPLOADS, bucket_key(BudgetKind.NETWORK_UPLOADS, network), 1),
        (BudgetKind.CERT_UPDATES, bucket_key(BudgetKind.CERT_UPDATES, word), 1),
        (BudgetKind.USER_ID, word_of(BudgetKind.USER_ID, "alice <a@a.org>"), 1),
        (BudgetKind.USER_ID, word_of(BudgetKind.USER_ID, "a@a.org"), 1),
    }
    assert world.judge(TOR, cert) is None
    assert (BudgetKind.EXIT_UPLOADS, everybody(BudgetKind.EXIT_UPLOADS), 1) in paid(world)
    assert world.judge(BOB, mail("a@a.org", "b@a.org")) is None
    assert paid(world) == {(BudgetKind.MAIL_ADDRESS, word_of(BudgetKind.MAIL_ADDRESS, f"{x}@a.org"), 1) for x in "ab"}


def test_what_is_refused_is_not_written_down(tables: Tables) -> None:
    """Whose body is refused has paid nothing."""
    world = World(tables, no_delay("MAIL_ADDRESS", 1))
    assert world.outcomes(ALICE, mail("a@a.org"), mail("a@a.org", "b@a.org")) == [ALLOW, LIMIT]
    assert paid(world) == {(BudgetKind.MAIL_ADDRESS, word_of(BudgetKind.MAIL_ADDRESS, "a@a.org"), 1)}


def test_what_was_taken_and_is_not_kept_leaves_no_trace(tables: Tables) -> None:
    """A body that another one turns away has paid nothing, and is as new as before; kept, it is as if it was judged."""
    world = World(tables, no_delay("NEW_CERTS", 3))
    for _ in range(9):
        taken = world.contents.take(world.client(ALICE), new(1), world.now_ns)
        assert taken.verdict is None
        assert len(taken.takes()) == 3
        world.contents.turn_away(taken, world.now_ns)
    taken = world.contents.take(world.client(ALICE), new(1), world.now_ns)
    deposit = world.contents.keep(taken, world.now_ns)
    assert {bill.budget.kind for bill in deposit} <= {BudgetKind.NETWORK_UPLOADS, BudgetKind.CERT_UPDATES}
    again = world.contents.take(world.client(BOB), new(1), world.now_ns)
    assert BudgetKind.NEW_CERTS not in {take.number for take in again.takes()}


def test_what_shadows_take_is_claimed_of_nobody(tables: Tables) -> None:
    """Only budgets that may refuse are claimed of the cluster; of a budget of everybody not the part of a member."""
    world = World(tables, {"BUDGETS__NEW_CERTS__MODE": "shadow", "BUDGETS__USER_ID__MODE": "off"})
    taken = world.contents.take(world.client(ALICE), new(1), world.now_ns)
    assert [take.number for take in taken.takes()] == [BudgetKind.NETWORK_UPLOADS]
    assert all(take.sound for take in taken.takes())
