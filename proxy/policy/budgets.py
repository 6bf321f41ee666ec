"""Budgets: limits that are not of one client, but of its network, of what is asked for, of a class, of everybody."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from fastpath import BUCKETS, BanTable, BucketTable, ClientTable, DistinctTable, PeerBook, Sightings

if TYPE_CHECKING:
    from fastpath import Region


class BudgetKind(IntEnum):
    """A budget; the number follows on those of the operation classes, whose limits are told in the same way."""

    DISTINCT_CERTS = BUCKETS
    DISTINCT_IDENTITIES = BUCKETS + 1
    DOMAIN = BUCKETS + 2
    CERT_UPDATES = BUCKETS + 3
    CERT_GROWTH = BUCKETS + 4
    USER_ID = BUCKETS + 5
    MAIL_ADDRESS = BUCKETS + 6
    EXIT_UPLOADS = BUCKETS + 7
    NEW_CERTS = BUCKETS + 8


class Tables(NamedTuple):
    """The shared tables that a policy works on."""

    clients: ClientTable
    bans: BanTable
    buckets: BucketTable  # of the budgets
    distinct: DistinctTable  # how much networks have asked for
    sightings: Sightings  # and what
    peers: PeerBook  # that were learnt

    @classmethod
    def of(cls, region: Region) -> Self:
        """Return those of a node."""
        return cls(
            ClientTable(region.table, region.secret),
            BanTable(region.bans, region.secret),
            BucketTable(region.buckets, region.secret),
            DistinctTable(region.distinct, region.secret),
            Sightings(region.sightings, region.secret),
            PeerBook(region.peers),
        )
