"""The addresses of a node's peers in shared memory: the analyst publishes them, workers read them without locks.

    edition | page | page        page: checksum | count | 1024 addresses of 16 bytes

A seqlock with two pages, so that there is always one to read. Edition n stands on page n % 2. The writer fills the
page that nobody is sent to, then says the new number. A reader takes the number, copies that page, and takes the
number again: if it is the same one, nobody had begun to write there, for the writer says edition n + 1 before it
begins with n + 2 on the page of n.

- A writer killed at any instruction leaves the edition before, whole; its successor fills the same page again.
- No reader waits for a writer: it tries again only where a whole edition was published while it read.
- Nothing wrong is believed: a page has a checksum of its number and its addresses (CRC-32, against accidents; who can
  write here needs no forgery). So it also works on processors that let others see two stores in another order.

All zero is the empty book, edition 0. One writer at a time; plain Python, for it is written every few minutes, and read
when the number, one word, has changed.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple
from zlib import crc32

MOST_PEER_ADDRESSES: Final = 1024
ADDRESS_BYTES: Final = 16
_LINE_BYTES: Final = 64
_HEAD_BYTES: Final = 16  # checksum, count
_PAGE_BYTES: Final = _LINE_BYTES + MOST_PEER_ADDRESSES * ADDRESS_BYTES
_MOST_TRIES: Final = 8
PEER_BOOK_BYTES: Final = _LINE_BYTES + 2 * _PAGE_BYTES
"""Size of the memory, bytes."""

_MAPPED: Final = bytes(10) + b"\xff\xff"  # an IPv4 address as one of IPv6 (RFC 4291, 2.5.5.2)


class Edition(NamedTuple):
    """What the book said at a moment."""

    number: int  # one more with each that is published
    addresses: tuple[bytes, ...]  # 4 or 16 bytes in network order, as `parse_address` gives them; sorted


class PeerBook:
    """The book of one node. What this object read last it keeps, in case the memory makes no sense."""

    def __init__(self, memory: memoryview) -> None:
        """Take `PEER_BOOK_BYTES` of memory; touches nothing. ValueError if it is smaller."""
        if memory.nbytes < PEER_BOOK_BYTES:
            raise ValueError(f"memory of the peers: {memory.nbytes} bytes, not {PEER_BOOK_BYTES}")
        octets = memory.cast("B")[:PEER_BOOK_BYTES]
        self._words = octets[:_LINE_BYTES].cast("Q")
        starts = (_LINE_BYTES, _LINE_BYTES + _PAGE_BYTES)
        self._pages = tuple(octets[start : start + _PAGE_BYTES] for start in starts)
        self._last = Edition(0, ())

    @property
    def edition(self) -> int:
        """The number of the present edition: if it is the one that was read, there is nothing new."""
        return self._words[0]

    def publish(self, addresses: Iterable[bytes]) -> int:
        """Writer: put these in the place of all that were in the book; return the number of the edition.

        Args:
            addresses: 4 or 16 bytes in network order, each; MOST_PEER_ADDRESSES different ones at most.

        Raises:
            ValueError: They are more, or another length. Nothing is changed then.

        """
        rows = sorted({_row(address) for address in addresses})
        if len(rows) > MOST_PEER_ADDRESSES:
            raise ValueError(f"{len(rows)} addresses of peers, not 0..{MOST_PEER_ADDRESSES}")
        number = self._words[0] + 1
        page = self._pages[number % 2]
        body = b"".join(rows)
        page[_LINE_BYTES : _LINE_BYTES + len(body)] = body
        head = page[:_HEAD_BYTES].cast("Q")
        head[0], head[1] = _checksum(number, body), len(rows)
        self._words[0] = number
        return number

    def read(self) -> Edition:
        """Return the present edition; the one that was read before if the memory makes no sense."""
        for _ in range(_MOST_TRIES):
            number = self._words[0]
            if number == self._last.number:
                break
            rows = self._copy(number)
            if self._words[0] == number:
                if rows is not None:
                    self._last = Edition(number, rows)
                break
        return self._last

    def _copy(self, number: int) -> tuple[bytes, ...] | None:
        """Return the addresses of an edition, None if its page does not hold it whole."""
        page = self._pages[number % 2]
        checksum, count = page[:_HEAD_BYTES].cast("Q")
        body = bytes(page[_LINE_BYTES : _LINE_BYTES + count * ADDRESS_BYTES])
        if checksum != _checksum(number, body):
            return None
        return tuple(_address(body[at : at + ADDRESS_BYTES]) for at in range(0, len(body), ADDRESS_BYTES))


def _checksum(number: int, body: bytes) -> int:
    return crc32(body, crc32(number.to_bytes(8)))


def _row(address: bytes) -> bytes:
    if len(address) not in {4, ADDRESS_BYTES}:
        raise ValueError(f"address has {len(address)} bytes, not 4 or {ADDRESS_BYTES}")
    return address if len(address) == ADDRESS_BYTES else _MAPPED + address


def _address(row: bytes) -> bytes:
    return row.removeprefix(_MAPPED)
