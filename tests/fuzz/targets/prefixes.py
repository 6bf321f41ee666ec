"""Sets of prefixes: any rows are found as the specification finds them, and in any memory nobody leaves the set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath._prefixes_py import PrefixSet as SlowSet
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import MAGIC_WORD, PrefixBook, PrefixSet, layout, prefix_bytes
from tests.fuzz.target import ACCEPTED, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1024
CAPACITY = 4
MOST_RANGES = 600  # of each family, in memory of no meaning
ROW_BYTES = 19  # kind, network, length, value
MAPPED = bytes(10) + b"\xff\xff"
HEADER_BYTES = 32
PROBES = (bytes(4), b"\xff" * 4, bytes(16), b"\xff" * 16, bytes([192, 0, 2, 1]), bytes.fromhex("20010db8" + "00" * 12))


def check(data: bytes) -> str:
    """Take the input for prefixes, for what stands behind a header, and for a set as a whole."""
    _use_rows(data)
    _use_content(data)
    _use_book(data)
    try:
        _probe(PrefixSet(data), data)
    except ValueError:
        return REFUSED
    return ACCEPTED


def _use_rows(data: bytes) -> None:
    prefixes = [_prefix(data[at : at + ROW_BYTES]) for at in range(0, len(data) - ROW_BYTES + 1, ROW_BYTES)]
    slow, quick = SlowSet(prefixes), PrefixSet(build(Rows.of(prefixes)))
    addresses = [address for network, length, _ in prefixes for address in _edges(network, length)]
    for address in (*PROBES, *addresses):
        assert quick.look_up(address) == slow.look_up(address), address


def _prefix(row: bytes) -> tuple[bytes, int, int]:
    """Return a prefix of IPv4, of IPv6 or of mapped addresses."""
    kind, network = row[0] % 3, row[1:17]
    if kind == 0:
        return network[:4], row[17] % 33, row[18]
    return (MAPPED + network[:4] if kind == 1 else network), row[17] % 129, row[18]


def _edges(network: bytes, length: int) -> Iterator[bytes]:
    bits = 8 * len(network)
    first = int.from_bytes(network) >> (bits - length) << (bits - length)
    for number in (first - 1, first, first + (1 << bits - length) - 1, first + (1 << bits - length)):
        yield (number % (1 << bits)).to_bytes(len(network))


def _use_content(data: bytes) -> None:
    """Search memory that ends where the set ends, as its header has it."""
    ranges4, ranges6 = (1 + int.from_bytes(data[at : at + 2]) % MOST_RANGES for at in (0, 2))
    size = layout(ranges4, ranges6).size
    memory = bytearray((data * (size // max(1, len(data)) + 1))[:size].ljust(size, b"\0"))
    memory[:HEADER_BYTES] = _words(MAGIC_WORD, 1, ranges4, ranges6)
    _probe(PrefixSet(memory), data)


BOOK_MEMORY = memoryview(bytearray(prefix_bytes(CAPACITY)))
BOOK = PrefixBook(BOOK_MEMORY, CAPACITY)
HALF_BYTES = (len(BOOK_MEMORY) - 4096) // 2


def _use_book(data: bytes) -> None:
    """Lay the input over the number and over both halves."""
    for start in (0, 4096, 4096 + HALF_BYTES):
        BOOK_MEMORY[start : start + len(data)] = data
    _probe(BOOK, data)
    for _ in BOOK.publish(build(Rows.of([(bytes(4), 0, 7)]))):
        pass
    assert BOOK.look_up(PROBES[0]) == 7


def _probe(matcher: PrefixSet | PrefixBook, data: bytes) -> None:
    for address in (*PROBES, data[:4].ljust(4), data[-16:].ljust(16)):
        assert 0 <= matcher.look_up(address) < 1 << 32


def seeds() -> Iterator[bytes]:
    """Yield sets, rows that nest and touch, and headers that do not fit."""
    rows = [(bytes([10, 0, 0, 0]), 8, 1), (bytes([10, 1, 0, 0]), 16, 0), (PROBES[5], 64, 3), (PROBES[5], 128, 4)]
    yield bytes(build(Rows.of(rows)))
    yield bytes(build(Rows.of([])))
    yield b"".join(bytes([2]) + PROBES[5] + bytes([length, length]) for length in (0, 32, 63, 64, 65, 127, 128))
    yield b"".join(bytes([n]) + bytes([10, n]) + bytes(14) + bytes([8 + n, n]) for n in range(20))
    for ranges in ((0, 1), (1, 0), (17, 1), (1, 17), ((1 << 64) - 1, 1), (1, 1 << 63)):
        yield _words(MAGIC_WORD, 1, *ranges) + bytes(512)
    yield _words(2)
    yield b"\xff" * 64


def _words(*words: int) -> bytes:
    return b"".join(word.to_bytes(8, "little") for word in words)


WORDS = (
    _words(MAGIC_WORD), _words(0), _words(1), _words(2), _words(16), _words(17), _words((1 << 64) - 1), _words(1 << 63),
    MAPPED, b"\xff" * 4, b"\xff" * 16, bytes(16), b"\x7f", b"\x80", b"\x20\x40\x60\x80",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=4)
