"""Tables, rings and leases over memory in which anything may stand: no reader or writer leaves it, or hangs.

A worker that runs wild may write anything into the shared memory. What the others then decide may be wrong, but they
go on, and stay inside. In the sanitizer run the memory is bounded by what AddressSanitizer knows of it.

Each input is laid out where the keys of this test are looked up, so that most of its bytes are read.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from fastpath import (
    BAN_TABLE_BYTES,
    RECORD_BYTES,
    BanTable,
    ClientTable,
    Crowd,
    Leases,
    Limit,
    LimitSet,
    Ring,
    client_key,
    crowd_bytes,
    parents,
)
from fastpath.bans import LAYOUT as BAN_LAYOUT
from fastpath.bans import Standing
from fastpath.leases import LEASE_BYTES
from fastpath.ring import RING_BYTES, notable
from fastpath.table import table_bytes
from tests.fuzz.target import ACCEPTED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1280
SECRET = bytes(range(16))
MOST_RECORDS = 4
NOW_NS = 10**18
WORKERS = 2
RARELY = 64  # one input of so many is also laid over all of a large memory
HARDLY_EVER = 1024  # the same, where it is gone through slot by slot
RING_HEADER_BYTES = 128
FINGERPRINTS = (b"", bytes(range(16)))
ADDRESSES = (bytes([192, 0, 2, 1]), bytes.fromhex("20010db8000000000000000000000001"))
CLIENTS = tuple(client_key(address) for address in ADDRESSES)
KEYS = tuple(key for client in CLIENTS for key in (client, *parents(client)))
LIMITS = LimitSet([Limit(name="a", burst=10, count=10, period_ns=10**9)] * 12)
BAN_SLOTS = (BAN_TABLE_BYTES - BAN_LAYOUT["header_bytes"]) // (BAN_LAYOUT["key_bytes"] + BAN_LAYOUT["entry_bytes"])
WELCOME, LAST_STANDING = int(Standing.WELCOME), max(Standing)


def _filled(size: int, data: bytes) -> bytearray:
    """Return memory that is full of `data`, over and over."""
    return bytearray((data * (size // len(data) + 1))[:size])


def check(data: bytes) -> str:
    """Lay `data` out in each kind of memory and use it."""
    data = data or b"\0"
    _use_table(_filled(table_bytes(8), data))
    _use_ring(data)
    _use_bans(data)
    draw = zlib.crc32(data)
    if draw % RARELY == 0:
        _use_leases(data)
        _use_crowd(data)
    if draw % HARDLY_EVER == 0:
        _use_all_bans(data)
    return ACCEPTED


def _use_table(memory: bytearray) -> None:
    table = ClientTable(memoryview(memory), SECRET)
    for key in CLIENTS:
        for bucket in (1, 11):
            spending = table.spend(LIMITS, key, bucket, 3, NOW_NS)
            assert spending is None or spending.wait_ns >= 0
        table.refund(LIMITS, key, 1, 3, NOW_NS)
        tats = table.peek(key)
        assert tats is None or len(tats) == 12
    assert 0 <= table.used(NOW_NS) <= table.capacity


RING_MEMORY = bytearray(RING_BYTES)
RING = Ring(memoryview(RING_MEMORY))


def _use_ring(data: bytes) -> None:
    RING_MEMORY[: len(data)] = data
    taken = RING.take(MOST_RECORDS)
    assert len(taken) % RECORD_BYTES == 0
    assert len(taken) <= MOST_RECORDS * RECORD_BYTES
    assert len(notable(taken)) <= len(taken)
    fields = (NOW_NS, 1, 2, 3, -1, 4, 1 << 40, 5, 6, 200, 0, 0, 0, 0, 0, 0, 0)
    if RING.write(*fields, ADDRESSES[len(data) % 2], data[:80], FINGERPRINTS[len(data) % 2]):
        RING.drain(1)


BAN_MEMORY = bytearray(BAN_TABLE_BYTES)
BANS = BanTable(memoryview(BAN_MEMORY), SECRET)
PLACES = tuple(place for key in KEYS for place in BANS.place(key))


def _lay_bans(data: bytes) -> None:
    """Write the header, then keys and entries where the keys of this test are looked for."""
    header, key_bytes, entry_bytes = BAN_LAYOUT["header_bytes"], BAN_LAYOUT["key_bytes"], BAN_LAYOUT["entry_bytes"]
    ways = BAN_LAYOUT["ways"]
    BAN_MEMORY[:header] = _filled(header, data)
    entries = header + key_bytes * BAN_SLOTS
    size = ways * (key_bytes + entry_bytes)
    filling = data * ((size + len(PLACES)) // len(data) + 1)
    for number, place in enumerate(PLACES):
        content = filling[number : number + size]
        at = header + key_bytes * place
        BAN_MEMORY[at : at + ways * key_bytes] = content[: ways * key_bytes]
        at = entries + entry_bytes * place
        BAN_MEMORY[at : at + ways * entry_bytes] = content[ways * key_bytes :]


def _use_bans(data: bytes) -> None:
    _lay_bans(data)
    for address in ADDRESSES:
        assert WELCOME <= BANS.standing(address, NOW_NS) <= LAST_STANDING
    for key in KEYS:
        assert BANS.until(key, NOW_NS) >= 0


def _use_all_bans(data: bytes) -> None:
    """Let a new writer begin in this memory."""
    writer = BanTable(memoryview(BAN_MEMORY), SECRET)
    for key in KEYS:
        if writer.put(key, 2 * NOW_NS):
            assert writer.until(key, NOW_NS) in {0, 2 * NOW_NS}  # 0: the header says that there is none of its kind
            writer.remove(key)
        assert writer.until(key, NOW_NS) == 0
    writer.expire(NOW_NS)
    assert len(writer.entries(NOW_NS)) == writer.used(NOW_NS) <= writer.capacity
    BAN_MEMORY[:] = bytes(BAN_TABLE_BYTES)
    BAN_MEMORY[: len(data)] = data
    writer.recover()


def _use_leases(data: bytes) -> None:
    leases = Leases(memoryview(_filled(LEASE_BYTES, data)), memoryview(_filled(8 * WORKERS, data)), 1, SECRET)
    for key in CLIENTS:
        for client_cap, total_cap in ((0, 3), (2, 0), (2, 256)):
            handle = leases.acquire(11, key, client_cap, total_cap)
            if handle > 0:
                leases.release(handle)


def _use_crowd(data: bytes) -> None:
    crowd = Crowd(memoryview(_filled(crowd_bytes(WORKERS), data)), WORKERS, 1, SECRET)
    for key in KEYS:
        crowd.enter(key)
        assert 0 <= crowd.count(key) <= WORKERS * 65_535
        crowd.leave(key)
        crowd.leave(key)
    crowd.start()
    assert all(0 <= crowd.count(key) <= 65_535 for key in KEYS)


def seeds() -> Iterator[bytes]:
    """Yield a table, rings and bans as they are in use, and some that never are."""
    memory = bytearray(table_bytes(8))
    table = ClientTable(memoryview(memory), SECRET)
    for key in CLIENTS:
        table.spend(LIMITS, key, 1, 3, NOW_NS)
    yield bytes(memory)
    word = (1 << 64) - 1
    for head, tail in ((0, 0), (8192, 0), (9, 1), (8191, 8190), (word, word - 1), (0, word), (1, 10**9)):
        yield _words(head, 0, *[0] * 6, tail, *[0] * 7)
    for state in range(4):
        yield _words(*[0] * 8, *CLIENTS * 4, *[state] * 16)
    yield _words(0b111110, 1, 1, 1, 1, 1, 0, 0, *KEYS * 4)
    yield b"\xff" * 64


def _words(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


WORDS = (
    *(_words(key) for key in KEYS), _words(0), _words(1), _words(2), _words(3), _words((1 << 64) - 1), _words(1 << 63),
    _words(8192), _words(8191), _words(8193), _words(NOW_NS), _words(NOW_NS + 1), _words(2 * NOW_NS + 1), b"\xff\xff",
    b"\0" * 64, b"\xff" * 64, b"\x7f", b"\x80", _words(0x3FFFFF), _words(0b111110),
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=4)
