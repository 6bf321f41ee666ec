"""Which buckets records tell of."""

from __future__ import annotations

from fastpath import Region, Ring, bucket_key, client_key, network_key, parse_address
from fastpath.record import FLAG_CACHED, NO_UPSTREAM
from proxy.cluster.followed import Following, size_of
from proxy.cluster.ledger import Ledger, Place, SharedLevels
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.policy import Policy
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
        tables = Tables.of(self._region)
        self.policy = Policy(config, tables)
        self.subjects = Subjects(SECRET)
        self.ledger = Ledger(SharedLevels(tables.clients, tables.buckets), NOW)
        self.following = Following(self.ledger, self.subjects)

    def write(
        self,
        kind: OperationClass,
        subject: bytes = b"",
        *,
        refused: bool = False,
        kept: bool = False,
        ends_ns: int = NOW,
        took_us: int = 1_000,
        address: bytes = ADDRESS,
    ) -> None:
        """Write a record; `kept`: the answer was that to another request, a 404."""
        status, upstream = (429, NO_UPSTREAM) if refused else (404, NO_UPSTREAM) if kept else (200, 0)
        flags = FLAG_CACHED if kept else 0
        fields = (ends_ns, client_key(address), 1, 1, 0, 0, took_us, 0, 0, status, kind, 0, 0, 0, 0, flags, upstream)
        assert self._ring.write(*fields, address, subject, b"")

    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """Return what the records tell of, by key and number: since when, and how many tokens."""
        found = self.following.seen(self._ring.take(99), self.policy)
        return {(each.place.key, each.place.number): (each.since_ns, each.tokens) for each in found}


def test_buckets_of_a_client_and_its_network() -> None:
    """A certificate takes from the total, its class and the network; the first request says since when."""
    desk = Desk()
    for after in range(3):
        desk.write(OperationClass.CERT, FINGERPRINT.encode(), ends_ns=NOW + after, kept=after == 1)
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


def test_uploads_take_from_their_client_only() -> None:
    """What else an upload was paid from its record does not say: workers write it down."""
    desk = Desk()
    desk.write(OperationClass.UPLOAD, FINGERPRINT.encode())
    assert desk.places().keys() == {(CLIENT, 0), (CLIENT, OperationClass.UPLOAD)}


def test_prefix_logs_take_from_their_network() -> None:
    """A list of what changed on a day tells of the budget of the network that it goes to."""
    desk = Desk()
    desk.write(OperationClass.PREFIXLOG, b"2026-05-01")
    assert (bucket_key(BudgetKind.NETWORK_PREFIXLOGS, NETWORK), BudgetKind.NETWORK_PREFIXLOGS) in desk.places()


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
