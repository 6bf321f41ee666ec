"""Records as a worker would have written them."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from fastpath import Record, client_key
from fastpath.record import NO_UPSTREAM, RECORD_FORMAT
from proxy.hkp.classes import OperationClass

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND


def record(address: str = "192.0.2.1", age_seconds: float = 0, now_ns: int = NOW, **fields: int | bytes) -> Record:
    """Return a record of a get that was served, with other fields where they are named."""
    packed = ip_address(address).packed
    usual = Record(
        time_ns=now_ns - int(age_seconds * SECOND),
        client=client_key(packed),
        request_id=0x0123456789ABCDEF,
        subject_hash=1,
        upstream_us=1500,
        wait_us=0,
        total_us=2000,
        received=0,
        sent=1234,
        status=200,
        operation=OperationClass.CERT,
        action=0,
        reason=0,
        source=0,
        method=1,
        flags=0,
        upstream=0,
        address=packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed,
        subject=b"740D7FE2AB3143E86C8FD12300186602339240CB",
    )
    return usual._replace(**fields)  # type: ignore[arg-type]  # each field has its own type


def refused(address: str = "192.0.2.1", age_seconds: float = 0, now_ns: int = NOW) -> Record:
    """Return a record of a get that was limited."""
    return record(address, age_seconds, now_ns, status=429, action=2, reason=1, upstream=NO_UPSTREAM, upstream_us=0)


def block(*records: Record) -> bytes:
    """Return records as the ring hands them out."""
    layout = struct.Struct(RECORD_FORMAT)
    return b"".join(layout.pack(*each) for each in records)
