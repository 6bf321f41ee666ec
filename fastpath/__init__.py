"""The shared memory of a node: clients, bans, leases, crowds, rings, counters; and the tarpit. Imports none of ours."""

from fastpath._gcra_py import Decision, Limit, Mode
from fastpath.bans import BAN_TABLE_BYTES, BanEntry, BanTable, Standing
from fastpath.buckets import BucketTable, Budget, bucket_key, hash_text
from fastpath.cache import ReplyCache
from fastpath.clock import monotonic_ns
from fastpath.costs import CostMemory
from fastpath.counters import Counters
from fastpath.crowd import Crowd, crowd_bytes
from fastpath.distinct import DistinctTable
from fastpath.epochs import Epochs
from fastpath.excerpts import Excerpts
from fastpath.keys import (
    address_text,
    client_key,
    key_text,
    network_key,
    parents,
    parse_address,
    parse_network,
)
from fastpath.leases import CLIENT_BUSY, TOTAL_BUSY, Leases
from fastpath.origin import NetworkKind, Origin
from fastpath.payments import Payments
from fastpath.peer_book import PeerBook
from fastpath.prefixes import PrefixBook
from fastpath.record import RECORD_BYTES, Record, records
from fastpath.region import Control, Region
from fastpath.ring import KNOCK_RECORDS, Ring, notable
from fastpath.sightings import Sightings
from fastpath.snapshot import BOUNDS_SECONDS, Claimed, total
from fastpath.table import ClientTable, LimitSet, Spending
from fastpath.tariff import Tariff
from fastpath.tarpit import Tarpit, TarpitMode

BUCKETS = 12
"""Limits of a client: the total and one for each class of operations."""

__all__ = [
    "BAN_TABLE_BYTES",
    "BOUNDS_SECONDS",
    "BUCKETS",
    "CLIENT_BUSY",
    "KNOCK_RECORDS",
    "RECORD_BYTES",
    "TOTAL_BUSY",
    "BanEntry",
    "BanTable",
    "BucketTable",
    "Budget",
    "Claimed",
    "ClientTable",
    "Control",
    "CostMemory",
    "Counters",
    "Crowd",
    "Decision",
    "DistinctTable",
    "Epochs",
    "Excerpts",
    "Leases",
    "Limit",
    "LimitSet",
    "Mode",
    "NetworkKind",
    "Origin",
    "Payments",
    "PeerBook",
    "PrefixBook",
    "Record",
    "Region",
    "ReplyCache",
    "Ring",
    "Sightings",
    "Spending",
    "Standing",
    "Tariff",
    "Tarpit",
    "TarpitMode",
    "address_text",
    "bucket_key",
    "client_key",
    "crowd_bytes",
    "hash_text",
    "key_text",
    "monotonic_ns",
    "network_key",
    "notable",
    "parents",
    "parse_address",
    "parse_network",
    "records",
    "total",
]
