"""The chunk decoder beside a reference of regular expressions, and beside llhttp; any split gives the same."""

from __future__ import annotations

import re
import zlib
from itertools import pairwise
from typing import TYPE_CHECKING

from proxy.http.chunks import ChunkDecoder, ChunkError
from tests.fuzz.corpora import gunicorn, h11_requests, llhttp
from tests.fuzz.llhttp import Llhttp
from tests.fuzz.target import ACCEPTED, INCOMPLETE, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 900  # no extension and no trailer reaches its bound, which the reference does not know
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
TRAILERS = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n")
CONTRADICTING = re.compile(rb"(?i)content-length|transfer-encoding|connection|upgrade")

Found = tuple[bytes, int] | None


def reference(data: bytes) -> Found:
    """Return (payload, bytes of the coding), or None if `data` does not begin with a complete chunked body.

    Source: RFC 9112 section 7.1, without white space, which it allows to nobody but bad senders.
    """
    payload, at = b"", 0
    while size := SIZE.match(data, at):
        length, at = int(size[1], 16), size.end()
        if length == 0:
            end = TRAILERS.match(data, at)
            return end and (payload, end.end())
        if data[at + length : at + length + 2] != b"\r\n":
            return None
        payload += data[at : at + length]
        at += length + 2
    return None


def decode(pieces: Sequence[bytes]) -> tuple[str, Found]:
    """Return what becomes of pieces: accepted with (payload, bytes of the coding), refused, or incomplete."""
    decoder, payload, size = ChunkDecoder(), b"", 0
    for piece in pieces:
        try:
            payload += decoder.feed(piece)
        except ChunkError:
            return REFUSED, None
        size += len(piece)
        if decoder.done:
            return ACCEPTED, (payload, size - len(decoder.rest))
    return INCOMPLETE, None


def check(data: bytes) -> str:
    """Decode `data` in one piece, in pieces, byte by byte; compare."""
    data = data[:LONGEST]
    outcome, found = decode([data])
    assert found == reference(data)
    assert decode(_cut(data)) == (outcome, found)
    if found is not None:
        _check_accepted(data, *found)
    return outcome


def _check_accepted(data: bytes, payload: bytes, size: int) -> None:
    assert len(payload) <= size - 5  # the last chunk has that
    assert decode([bytes([byte]) for byte in data[:size]]) == (ACCEPTED, (payload, size))
    assert decode([data[: size - 1]])[0] == INCOMPLETE
    if b";" not in data[:size] and not CONTRADICTING.search(data, 0, size):  # see llhttp.py
        assert Llhttp(HEAD + data[:size]).messages == 1


def _cut(data: bytes) -> list[bytes]:
    """Cut at up to three places that follow from the data."""
    draw = zlib.crc32(data)
    places = sorted({0, len(data), *((draw >> shift) % (len(data) + 1) for shift in (0, 10, 20))})
    return [data[start:end] for start, end in pairwise(places)]


def seeds() -> Iterator[bytes]:
    """Yield chunked bodies."""
    yield from OWN
    for case in (*dict(gunicorn()).values(), *dict(h11_requests()).values()):
        if b"hunked\r\n" in case.data:
            yield case.data.partition(b"\r\n\r\n")[2]
    for _, _, data, _ in (*llhttp("request"), *llhttp("response")):
        if b"hunked\r\n" in data:
            yield data.partition(b"\r\n\r\n")[2]


OWN = (
    b"5;a=b\r\nhello\r\n0A\r\n, wor\r\nld!\r\n0\r\nTrailer: x\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    b"0\r\n\r\n",
    b"1\r\nx\r\n" * 20 + b"000\r\n\r\n",
    b"ff\r\n" + b"x" * 255 + b"\r\n0;a\r\nA: b\r\nC:\r\n\r\n",
)
WORDS = (
    b"0\r\n\r\n", b"0\r\n", b"\r\n", b"\r", b"\n", b"1\r\nx\r\n", b"5\r\nhello\r\n", b"a\r\n", b";", b";a=b",
    b';a="b;c"', b"0", b"00", b"f", b"F", b"10", b"fffffffffffffff", b"1000000000000000", b"7fffffffffffffff", b"-1",
    b"+1", b"0x1", b" ", b"\t", b"_", b"A: b\r\n", b": ", b"Content-Length: 1\r\n", b"\0", b"\x7f", b"\xff",
    b"\r\n\r\n", b"\n\n",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=18)
