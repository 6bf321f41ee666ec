"""Which buckets records tell of."""

from __future__ import annotations

from fastpath import BUCKETS, Region, Ring, bucket_key, client_key, network_key, parse_address
from proxy.cluster.followed import alike, buckets_of, size_of
from proxy.cluster.ledger import Place
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.policy import Policy
from proxy.policy.sharing import everybody
from proxy.policy.subjects import Subjects

SECOND = 10**9
NOW = 1_000 * SECOND
SECRET = bytes(range(16))
ADDRESS = parse_address("192.0.2.7")
CLIENT, NETWORK = client_key(ADDRESS), network_key(ADDRESS)
FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


class Desk:
    """Records of one worker, and the policy that they were judged by."""

    def __init__(self, **settings: str) -> None:
        """Begin with no records; `settings` without HKPGUARD_."""
        self._region = Region.create(clients=64, workers=1, upstreams=1, prefixes=64, secret=SECRET)
        self._region.close()
        self._ring = Ring(self._region.ring(0))
        config = Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()})
        self.policy = Policy(config, Tables.of(self._region))
        self.subjects = Subjects(SECRET)

    def write(
        self,
        kind: OperationClass,
        subject: bytes = b"",
        *,
        refused: bool = False,
        ends_ns: int = NOW,
        took_us: int = 1_000,
        address: bytes = ADDRESS,
    ) -> None:
        """Write a record."""
        status, upstream = (429, 255) if refused else (200, 0)

        fields = (ends_ns, client_key(address), 1, 1, 0, 0, took_us, 0, 0, status, kind, 0, 0, 0, 0, 0, upstream)
        assert self._ring.write(*fields, address, subject, b"")

    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return what the records tell of, by key and number: since when, and how many tokens."""
        found = (each for some in alike(self._ring.take(99)) for each in buckets_of(some, self.policy, self.subjects))
        return {(each.place.key, each.place.number): (each.since_ns, each.tokens) for each in found}


def test_buckets_of_a_client_and_its_network() -> None:
    """A certificate takes from the total, its class and the network; the first request says since when."""
    desk = Desk()
    for after in range(3):
        desk.write(OperationClass.CERT, FINGERPRINT.encode(), ends_ns=NOW + after)
    desk.write(OperationClass.CERT, FINGERPRINT.encode(), ends_ns=NOW + 9, refused=True)
    began_ns = NOW - 1_000_000
    network = bucket_key(OperationClass.CERT, NETWORK)
    assert desk.places() == {
        (CLIENT, 0): (began_ns, 3),
        (CLIENT, OperationClass.CERT): (began_ns, 3),
        (network, BudgetKind.DISTINCT_CERTS): (began_ns, 3),
    }


def test_the_total_counts_prices() -> None:
    """A word search costs as much of the total as it does when it is let through."""
    desk = Desk()
    desk.write(OperationClass.WORDS, b"somebody")
    assert {number: tokens for (_, number), (_, tokens) in desk.places().items()} == {0: 60, OperationClass.WORDS: 1}


def test_searches_take_from_their_mail_domain() -> None:
    """A search tells of the budget of its domain, unless the address may have been cut."""
    desk = Desk()
    desk.write(OperationClass.IDENTITY, b"alice@example.org")
    domain = desk.subjects.domain_of(OperationClass.IDENTITY, "alice@example.org")
    assert (bucket_key(BudgetKind.DOMAIN, domain), BudgetKind.DOMAIN) in desk.places()
    desk.write(OperationClass.IDENTITY, b"alice@" + 58 * b"e")
    assert BudgetKind.DOMAIN not in {number for _, number in desk.places()}


def test_uploads_take_from_what_is_everybodys() -> None:
    """An upload tells of the budget of new certificates and of those of its network and its certificate."""
    desk = Desk()
    desk.write(OperationClass.UPLOAD, FINGERPRINT.encode())
    word = desk.subjects.counted_as(OperationClass.CERT, FINGERPRINT)
    assert {place for place in desk.places() if place[1] >= BUCKETS} == {
        (everybody(BudgetKind.NEW_CERTS), BudgetKind.NEW_CERTS),
        (bucket_key(BudgetKind.NETWORK_UPLOADS, NETWORK), BudgetKind.NETWORK_UPLOADS),
        (bucket_key(BudgetKind.CERT_UPDATES, word), BudgetKind.CERT_UPDATES),
        (bucket_key(BudgetKind.CERT_GROWTH, word), BudgetKind.CERT_GROWTH),
    }
    desk.write(OperationClass.UPLOAD)
    assert {number for _, number in desk.places() if number >= BUCKETS} == {
        BudgetKind.NEW_CERTS,
        BudgetKind.NETWORK_UPLOADS,
    }


def test_prefix_logs_take_from_their_network() -> None:
    """A list of what changed on a day tells of the budget of the network that it goes to."""
    desk = Desk()
    desk.write(OperationClass.PREFIXLOG, b"2026-05-01")
    assert (bucket_key(BudgetKind.NETWORK_PREFIXLOGS, NETWORK), BudgetKind.NETWORK_PREFIXLOGS) in desk.places()


def test_uploads_through_a_shared_exit_take_from_those_of_all_exits() -> None:
    """An upload from an exit tells of the budget of all of them, and of none of its network."""
    desk = Desk(SHARED_EXITS="192.0.2.0/24")
    desk.policy = Policy(
        config := Config.from_env({"HKPGUARD_SHARED_EXITS": "192.0.2.0/24"}),
        Tables.of(desk._region),
        exits=config.shared_exits,
    )
    desk.write(OperationClass.UPLOAD)
    places = desk.places()
    assert (everybody(BudgetKind.EXIT_UPLOADS), BudgetKind.EXIT_UPLOADS) in places
    assert BudgetKind.NETWORK_UPLOADS not in {number for _, number in places}


def test_a_mapped_address_is_its_ipv4_address() -> None:
    """Records have addresses in 16 bytes; networks of the configuration are found all the same."""
    desk = Desk(NETWORKS='[{"cidr": "192.0.2.0/24", "limits": {"cert": {"mode": "off"}}}]')
    desk.write(OperationClass.CERT)
    assert OperationClass.CERT not in {number for _, number in desk.places()}


def test_who_is_exempt_has_no_buckets() -> None:
    """Of an allowed network nothing is told."""
    desk = Desk(ALLOW="192.0.2.0/24")
    desk.write(OperationClass.CERT)
    assert desk.places() == {}


def test_the_size_of_a_limit_has_its_delay_in_it() -> None:
    """What may wait for its tokens has taken them already."""
    limit = Desk().policy.profile(ADDRESS).limits[OperationClass.CERT]
    assert limit is not None
    assert size_of(limit) == (SECOND // 5, 60 * SECOND // 5 + 10 * SECOND)


def test_words_of_nodes_are_equal() -> None:
    """Two nodes that have the secret of the region in common name a subject's bucket alike; others do not."""
    one, other, stranger = Subjects(SECRET), Subjects(SECRET), Subjects(bytes(16))
    words = [each.counted_as(OperationClass.CERT, FINGERPRINT) for each in (one, other, stranger)]
    assert words[0] == words[1] != words[2]
    assert Place(words[0], 12) == Place(words[1], 12)
