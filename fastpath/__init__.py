"""The shared memory of a node: client table, leases, record rings, counters. Imports none of the other folders."""

from fastpath._gcra_py import Decision, Limit, Mode
from fastpath.clock import monotonic_ns
from fastpath.counters import Counters
from fastpath.keys import address_text, client_key, key_text, network_key, parse_address
from fastpath.leases import CLIENT_BUSY, TOTAL_BUSY, Leases
from fastpath.record import RECORD_BYTES, Record, records
from fastpath.region import Control, Region
from fastpath.ring import Ring
from fastpath.snapshot import BOUNDS_SECONDS, total
from fastpath.table import ClientTable, LimitSet, Spending

BUCKETS = 12
"""Limits of a client: the total and one for each class of operations."""

__all__ = [
    "BOUNDS_SECONDS",
    "BUCKETS",
    "CLIENT_BUSY",
    "RECORD_BYTES",
    "TOTAL_BUSY",
    "ClientTable",
    "Control",
    "Counters",
    "Decision",
    "Leases",
    "Limit",
    "LimitSet",
    "Mode",
    "Record",
    "Region",
    "Ring",
    "Spending",
    "address_text",
    "client_key",
    "key_text",
    "monotonic_ns",
    "network_key",
    "parse_address",
    "records",
    "total",
]
