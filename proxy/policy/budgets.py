"""Budgets: limits that are not of one client, but of its network, of what is asked for, of a class, of everybody."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from fastpath import (
    BUCKETS,
    BanTable,
    BucketTable,
    ClientTable,
    Control,
    DistinctTable,
    PeerBook,
    PrefixBook,
    Sightings,
    Tariff,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastpath import Region


class BudgetKind(IntEnum):
    """A budget; the number follows on those of the operation classes, whose limits are told in the same way."""

    DISTINCT_CERTS = BUCKETS
    DISTINCT_IDENTITIES = BUCKETS + 1
    NETWORK_UPLOADS = BUCKETS + 2
    NETWORK_PREFIXLOGS = BUCKETS + 3
    DOMAIN = BUCKETS + 4
    CERT_UPDATES = BUCKETS + 5
    CERT_GROWTH = BUCKETS + 6
    USER_ID = BUCKETS + 7
    MAIL_ADDRESS = BUCKETS + 8
    EXIT_UPLOADS = BUCKETS + 9
    NEW_CERTS = BUCKETS + 10
    HOSTING_CERTS = BUCKETS + 11
    TOR_CERTS = BUCKETS + 12


MISSES: Final = 254
"""The kind of the buckets of misses (misses.pyx), which are a client's own and refuse nobody."""

TEXTS: Final[Mapping[int, str]] = {
    BudgetKind.DISTINCT_CERTS: "Rate limit reached for this network.",
    BudgetKind.DISTINCT_IDENTITIES: "Rate limit reached for this network.",
    BudgetKind.NETWORK_UPLOADS: "Rate limit reached for uploads from this network.",
    BudgetKind.NETWORK_PREFIXLOGS: "Rate limit reached for this network.",
    BudgetKind.DOMAIN: "Rate limit reached for this mail domain.",
    BudgetKind.CERT_UPDATES: "Rate limit reached for uploads of this key.",
    BudgetKind.CERT_GROWTH: "Rate limit reached for signatures on this key.",
    BudgetKind.USER_ID: "Rate limit reached for keys with this user ID.",
    BudgetKind.MAIL_ADDRESS: "Rate limit reached for mail to this address.",
    BudgetKind.EXIT_UPLOADS: "Rate limit reached for uploads from shared exits.",
    BudgetKind.NEW_CERTS: "Rate limit reached for new keys.",
    BudgetKind.HOSTING_CERTS: "Rate limit reached for the provider of this network.",
    BudgetKind.TOR_CERTS: "Rate limit reached for Tor.",
}
"""What a refused client is told; `proxy.http.refusal` has the words that are not to be used."""


class Tables(NamedTuple):
    """The shared tables that a policy works on."""

    clients: ClientTable
    bans: BanTable
    verdicts: BanTable
    buckets: BucketTable  # of the budgets
    distinct: DistinctTable  # how much networks have asked for
    sightings: Sightings  # and what
    peers: PeerBook  # that were learnt
    tariff: Tariff  # what requests cost while the site is under attack
    origins: PrefixBook  # where addresses are: `fastpath.origin`
    origin_rules: memoryview  # one word: by which rules they were composed

    @classmethod
    def of(cls, region: Region) -> Self:
        """Return those of a node."""
        return cls(
            ClientTable(region.table, region.secret),
            BanTable(region.bans, region.secret),
            BanTable(region.verdicts, region.secret),
            BucketTable(region.buckets, region.secret),
            DistinctTable(region.distinct, region.secret),
            Sightings(region.sightings, region.secret),
            PeerBook(region.peers),
            Tariff(region.tariff),
            PrefixBook(region.origins, region.counts.prefixes),
            region.control[Control.ORIGIN_RULES : Control.ORIGIN_RULES + 1],
        )
