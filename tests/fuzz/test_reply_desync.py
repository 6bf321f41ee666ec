"""Whatever a keyserver sends, a client gets one reply for one request, and the next request gets its own.

The table says what becomes of each reply: it is RELAYED with a status and a body, REFUSED (one 503), or BROKEN: its
head was relayed, its end is missing, and the client can tell. In all cases nothing follows the reply, and a second
request, over the same client connection if that is still open, gets the true answer.
"""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.config import Config
from tests.fuzz.conversation import NEXT, Relayed, relay
from tests.fuzz.mutate import Mutator
from tests.fuzz.targets.reply_head import TARGET
from tests.proxy.http.harness import Keyserver, ManualLoop, Node, chunked, environ_of, get, ok

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.proxy.http.conftest import Start

RELAYED, REFUSED, BROKEN = "relayed", "refused", "broken"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\n"
HINT = b"HTTP/1.1 103 Early Hints\r\n\r\n"


class Row(NamedTuple):
    """A reply and what becomes of it, if it comes in one piece and the connection is closed then.

    `more`: more came than the reply, so the connection must not serve another request.
    """

    reply: bytes
    becomes: str = REFUSED
    body: bytes = b""
    status: int = 200
    more: bool = False


def reply(*lines: str, body: bytes = b"", status: str = "200 OK") -> bytes:
    """Return a reply of HTTP/1.1 with these fields."""
    return "\r\n".join((f"HTTP/1.1 {status}", *lines, "", "")).encode("latin-1") + body


def in_chunks(body: bytes, *lines: str) -> bytes:
    """Return a reply with a chunked body."""
    return reply("Transfer-Encoding: chunked", *lines, body=body)


ROWS = {
    # Conflicting lengths
    "lengths differ": Row(reply("Content-Length: 4", "Content-Length: 5", body=b"key\n")),
    "lengths in a list": Row(reply("Content-Length: 4, 4", body=b"key\n")),
    "length and chunks": Row(reply("Content-Length: 4", "Transfer-Encoding: chunked", body=chunked(b"key\n"))),
    "chunks and length": Row(reply("Transfer-Encoding: chunked", "Content-Length: 4", body=chunked(b"key\n"))),
    "chunks twice": Row(in_chunks(chunked(b"key\n"), "Transfer-Encoding: chunked")),
    "chunks are not the last coding": Row(reply("Transfer-Encoding: chunked, gzip", body=chunked(b"key\n"))),
    "unknown coding": Row(reply("Transfer-Encoding: xchunked", body=chunked(b"key\n"))),
    "chunks in HTTP/1.0": Row(in_chunks(chunked(b"key\n")).replace(b"HTTP/1.1", b"HTTP/1.0", 1)),
    "length with a sign": Row(reply("Content-Length: +4", body=b"key\n")),
    "length beyond 64 bits": Row(reply("Content-Length: 18446744073709551620", body=b"key\n")),
    "length of another head": Row(reply("Content-Length: 4\r\n\r\nContent-Length: 0"), RELAYED, b"Cont", more=True),
    "length behind a bare LF": Row(reply("A: b\nContent-Length: 0", body=b"key\n")),
    "length behind a bare CR": Row(reply("A: b\rContent-Length: 0", body=b"key\n")),
    "length in a folded line": Row(reply("A: b", " Content-Length: 0", body=b"key\n")),
    "space before the colon": Row(reply("Content-Length : 0", body=b"key\n")),
    "length with a NUL": Row(reply("Content-Length: 4\0", body=b"key\n")),
    "underscore for a hyphen": Row(reply("Content_Length: 0", "Content-Length: 4", body=b"key\n"), RELAYED, b"key\n"),
    "length is nominated": Row(ok(b"key\n", "Connection: Content-Length"), RELAYED, b"key\n"),
    "coding is nominated": Row(in_chunks(chunked(b"key\n"), "Connection: transfer-encoding"), RELAYED, b"key\n"),
    # Errors in chunks
    "no size": Row(in_chunks(b"\r\nkey\n\r\n0\r\n\r\n")),
    "negative size": Row(in_chunks(b"-4\r\nkey\n\r\n0\r\n\r\n")),
    "size with a prefix": Row(in_chunks(b"0x4\r\nkey\n\r\n0\r\n\r\n")),
    "space before the size": Row(in_chunks(b" 4\r\nkey\n\r\n0\r\n\r\n")),
    "space behind the size": Row(in_chunks(b"4 \r\nkey\n\r\n0\r\n\r\n")),
    "size beyond 64 bits": Row(in_chunks(b"10000000000000004\r\nkey\n\r\n0\r\n\r\n")),
    "size of 16 digits": Row(in_chunks(b"0000000000000004\r\nkey\n\r\n0\r\n\r\n")),
    "bare LF behind the size": Row(in_chunks(b"4\nkey\n\r\n0\r\n\r\n")),
    "bare LF in an extension": Row(in_chunks(b"4;a\n\r\nkey\n\r\n0\r\n\r\n")),
    "chunk longer than its size": Row(in_chunks(b"3\r\nkey\n\r\n0\r\n\r\n")),
    "chunk shorter than its size": Row(in_chunks(b"5\r\nkey\n\r\n0\r\n\r\n")),
    "bare LF behind a chunk": Row(in_chunks(b"4\r\nkey\n\n0\r\n\r\n")),
    "error in a later chunk": Row(in_chunks(b"4\r\nkey\n\r\nX\r\n\r\n")),
    "no end": Row(in_chunks(b"4\r\nkey\n\r\n"), BROKEN),
    "end without its last line": Row(in_chunks(b"4\r\nkey\n\r\n0\r\n"), BROKEN),
    "endless extension": Row(in_chunks(b"4;" + b"a" * 2000 + b"\r\nkey\n\r\n0\r\n\r\n")),
    "endless trailer": Row(in_chunks(b"4\r\nkey\n\r\n0\r\nA: " + b"a" * 9000 + b"\r\n\r\n")),
    "trailer without a colon": Row(in_chunks(b"4\r\nkey\n\r\n0\r\nHTTP/1.1 200 OK\r\n\r\n")),
    "folded trailer": Row(in_chunks(b"4\r\nkey\n\r\n0\r\nA: b\r\n c\r\n\r\n")),
    "length in a trailer": Row(in_chunks(b"4\r\nkey\n\r\n0\r\nContent-Length: 9\r\n\r\n"), RELAYED, b"key\n"),
    "extension": Row(in_chunks(b"4;a=b\r\nkey\n\r\n0;c\r\n\r\n"), RELAYED, b"key\n"),
    # Bytes behind the body
    "reply behind a length": Row(ok() + EVIL, RELAYED, b"key\n", more=True),
    "reply behind chunks": Row(in_chunks(chunked(b"key\n")) + EVIL, RELAYED, b"key\n", more=True),
    "reply behind an empty body": Row(ok(b"") + EVIL, RELAYED, more=True),
    "line end behind a body": Row(ok() + b"\r\n", RELAYED, b"key\n", more=True),
    "reply in a body without a length": Row(reply(body=EVIL), RELAYED, EVIL),
    "reply in a body with a length": Row(ok(EVIL), RELAYED, EVIL),
    "reply in a chunk": Row(in_chunks(chunked(EVIL, EVIL)), RELAYED, EVIL + EVIL),
    "body shorter than its length": Row(reply("Content-Length: 9", body=b"key\n"), BROKEN, b"key\n"),
    # Replies that have no body
    "204 with a body": Row(ok(EVIL).replace(b"200", b"204", 1), RELAYED, status=204, more=True),
    "204 with chunks": Row(in_chunks(chunked(EVIL)).replace(b"200", b"204", 1), RELAYED, status=204, more=True),
    "204 with a reply behind it": Row(reply(status="204 No Content") + EVIL, RELAYED, status=204, more=True),
    "304 with a body": Row(ok(EVIL).replace(b"200", b"304", 1), RELAYED, status=304, more=True),
    "304 with chunks": Row(in_chunks(chunked(EVIL)).replace(b"200", b"304", 1), RELAYED, status=304, more=True),
    "304 with a reply behind it": Row(reply(status="304 Not Modified") + EVIL, RELAYED, status=304, more=True),
    "204 that says two lengths": Row(reply("Content-Length: 0", "Content-Length: 1", status="204 No Content")),
    # Interim replies
    "eight hints": Row(HINT * 8 + ok(), RELAYED, b"key\n"),
    "nine hints": Row(HINT * 9 + ok()),
    "a flood of hints": Row(HINT * 5000),
    "hint with a body": Row(reply("Content-Length: 5", body=b"EVIL\n", status="103 Early Hints") + ok()),
    "hint with a reply for a body": Row(reply("Content-Length: 43", status="103 a") + EVIL),
    "hint with a length of nothing": Row(reply("Content-Length: 0", status="103 a") + ok(), RELAYED, b"key\n"),
    "hint with chunks": Row(in_chunks(chunked(b"a")).replace(b"200 OK", b"103 Early Hints", 1) + ok()),
    "malformed hint": Row(b"HTTP/1.1 103 Early\0Hints\r\n\r\n" + ok()),
    "only a hint": Row(HINT),
    "switch of protocols": Row(SWITCH + b"Connection: upgrade\r\nUpgrade: h2c\r\n\r\n" + ok()),
    "switch behind a hint": Row(HINT + SWITCH + b"\r\n"),
    # Heads
    "huge head": Row(reply("A: " + "a" * 70_000, "Content-Length: 4", body=b"key\n")),
    "endless head": Row(b"HTTP/1.1 200 OK\r\nA: " + b"a" * 200_000),
    "endless status line": Row(b"HTTP/1.1 200 " + b"a" * 200_000),
    "head of 60 KB": Row(reply("A: " + "a" * 60_000, "Content-Length: 4", body=b"key\n"), RELAYED, b"key\n"),
    "101 fields": Row(reply(*["A: b"] * 101)),
    "100 fields": Row(reply(*["A: b"] * 99, "Content-Length: 4", body=b"key\n"), RELAYED, b"key\n"),
    "no head": Row(b"key\n"),
    "nothing": Row(b""),
    "line end before the head": Row(b"\r\n" + ok()),
    "HTTP/2": Row(b"HTTP/2.0 200 OK\r\n\r\n"),
    "preface of HTTP/2": Row(b"\0\0\x12\x04\0\0\0\0\0"),
    "alert of TLS": Row(b"\x15\x03\x01\0\x02\x02\x46"),
    "status of two digits": Row(reply("Content-Length: 0", status="20 OK")),
    "status of four digits": Row(reply("Content-Length: 0", status="2000 OK")),
    "cut in the head": Row(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n"),
}  # fmt: skip
REQUESTS = {
    "GET": get(),
    "HEAD": get(method="HEAD"),
    "GET of HTTP/1.0": get(minor=0),
    "whole POST": b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nkeys",
}
# One byte at a time a long reply takes long.
SHORT = {name: row for name, row in ROWS.items() if len(row.reply) < 300}


def becomes(relayed: Relayed) -> str:
    """Return which of the three a reply became."""
    if relayed.status == 503:
        return REFUSED
    return RELAYED if relayed.whole else BROKEN


def check_alone(relayed: Relayed) -> None:
    """Check that nothing followed the reply, and that the next request had its own."""
    assert relayed.after == b""
    assert relayed.following == NEXT


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
async def test_reply(start: Start, row: Row) -> None:
    """A reply becomes what the table says."""
    relayed = await relay(await start(), row.reply)
    check_alone(relayed)
    assert becomes(relayed) == row.becomes
    if row.becomes == RELAYED:
        assert (relayed.status, relayed.body) == (row.status, row.body)


@pytest.mark.parametrize("row", SHORT.values(), ids=SHORT)
async def test_reply_byte_by_byte(start: Start, row: Row) -> None:
    """In pieces it becomes the same; but an error that shows only after the head breaks it off."""
    relayed = await relay(await start(), *(row.reply[i : i + 1] for i in range(len(row.reply))))
    check_alone(relayed)
    if row.becomes == RELAYED:
        assert (relayed.status, relayed.body, relayed.whole) == (row.status, row.body, True)
    else:
        assert becomes(relayed) != RELAYED


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_reply_to_other_requests(start: Start, request_: bytes) -> None:
    """Whatever was asked for, and even before all of the request was sent, nothing follows the one reply."""
    for row in ROWS.values():
        relayed = await relay(await start(), row.reply, request=request_)
        check_alone(relayed)


COMPLETE = {name: row for name, row in SHORT.items() if row.becomes == RELAYED and "without a length" not in name}


@pytest.mark.parametrize("row", COMPLETE.values(), ids=COMPLETE)
async def test_connection_that_the_keyserver_keeps(start: Start, row: Row) -> None:
    """A complete reply is relayed at once; if more has come, the next request goes over another connection."""
    relayed = await relay(await start(), row.reply, closes=False)
    check_alone(relayed)
    assert (relayed.status, relayed.body, relayed.whole) == (row.status, row.body, True)
    assert relayed.reused == (not row.more)


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Cut `data` at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


async def play(pieces: list[bytes], request: bytes) -> None:
    """Answer a request in these pieces on a node of its own."""
    keyserver = Keyserver()
    node = Node(Config.from_env(environ_of({"MODE": "off"}, [keyserver.port])), [keyserver])
    try:
        check_alone(await relay(node, *pieces, request=request))
    finally:
        await node.close()
    assert node.loop.faults == []


MUTATOR = Mutator(TARGET, 0)


@settings(max_examples=settings.default.max_examples // 2 if settings.default else 50, deadline=None)
@given(
    st.one_of(st.sampled_from(list(SHORT.values())).map(lambda row: row.reply), st.sampled_from(list(TARGET.seeds()))),
    st.integers(0, 1 << 32),
    st.lists(st.integers(0, 1000), max_size=4),
    st.sampled_from(list(REQUESTS.values())),
)
def test_any_reply(seed: bytes, number: int, places: list[int], request: bytes) -> None:
    """Replies that are changed at random, in any pieces, never leave anything for the next request."""
    MUTATOR.restart(number)
    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        runner.run(play(cut(MUTATOR.changed(seed), places), request))


async def test_late_body_is_never_the_next_reply(start: Start) -> None:
    """A keyserver that sends the body of a HEAD after all, when the next request is on its way, fools nobody."""
    node = await start()
    late = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL\n"
    client, link = await node.begin(get("/pks/stats", method="HEAD"))
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(late))
    await client.reply("HEAD")
    await client.send(get())
    link.push(late)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok(b"truth\n"))
    assert (await client.reply()).body == b"truth\n"
