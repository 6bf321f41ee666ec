"""Requests and replies on their way through: what the keyserver gets, what the client gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proxy.http.harness import FPR, KEY_TARGET, Message, chunked, get, ok, turns, until

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNFRAMED = b"HTTP/1.1 200 OK\r\n\r\n"
UPLOAD = b"POST /pks/add HTTP/1.1\r\nHost: a\r\n"
KEY = b"keytext=" + b"k" * 500


async def test_what_the_keyserver_gets(start: Start) -> None:
    """The request is built anew: our words on top of what may pass, and nothing else."""
    node = await start()
    request = get(
        "/pks/lookup?search=0x" + FPR.lower() + "&op=get", "Accept: text/plain", "Connection: close", "Cookie: a"
    )
    got, _ = await node.ask(request, ok())
    request_id = got.fields["X-Request-ID"]
    assert (
        got.head
        == (
            f"GET /pks/lookup?op=get&search=0x{FPR} HTTP/1.1\r\n"
            "Host: keys.example\r\n"
            "Accept: text/plain\r\n"
            "Cookie: a\r\n"
            "X-Forwarded-For: 192.0.2.1\r\n"
            "X-Forwarded-Proto: http\r\n"
            "X-Forwarded-Host: keys.example\r\n"
            f"X-Request-ID: {request_id}\r\n"
            "Via: 1.1 hkpguard\r\n"
            "\r\n"
        ).encode()
    )
    assert len(request_id) == 16


async def test_what_the_client_gets(start: Start) -> None:
    """The reply keeps its status, Server and body; hop-by-hop fields are ours."""
    node = await start()
    reply = ok(b"key\n", "Server: Hockeypuck/2.4", "Connection: close", "Keep-Alive: a", "Set-Cookie: b")
    _, got = await node.ask(get(), reply)
    assert got.head == (
        b"HTTP/1.1 200 OK\r\nServer: Hockeypuck/2.4\r\nSet-Cookie: b\r\nVia: 1.1 hkpguard\r\nContent-Length: 4\r\n\r\n"
    )
    assert got.body == b"key\n"


@pytest.mark.parametrize(
    ("target", "canonical"),
    [
        (KEY_TARGET, KEY_TARGET),
        ("/pks/%6cookup?op=%67et&search=0x" + FPR, f"/pks/lookup?op=get&search=0x{FPR}"),
        ("//pks/./lookup?search=0x" + FPR + "&op=get&op=index", f"/pks/lookup?op=get&search=0x{FPR}"),
        ("/pks%2Flookup?op=get&search=0x" + FPR, f"/pks/lookup?op=get&search=0x{FPR}"),
        ("http://keys.example/pks/lookup?op=get&search=0x" + FPR, f"/pks/lookup?op=get&search=0x{FPR}"),
        ("/pks/stats", "/pks/stats"),
    ],
)
async def test_canonical_target_goes_upstream(start: Start, target: str, canonical: str) -> None:
    """The keyserver reads what was classified, whatever the client wrote."""
    node = await start()
    got, _ = await node.ask(get(target), ok())
    assert got.target == canonical


@pytest.mark.parametrize(
    ("minor", "via"), [(0, "1.0 hkpguard"), (1, "1.1 hkpguard")]
)  # fmt: skip
async def test_via_names_the_version_that_was_received(start: Start, minor: int, via: str) -> None:
    """Via tells with which version the message came, in both directions (RFC 9110 section 7.6.3)."""
    node = await start()
    got, _ = await node.ask(get(minor=minor), ok())
    assert got.fields["Via"] == via
    other = await start()
    _, reply = await other.ask(get(), ok().replace(b"HTTP/1.1", b"HTTP/1.%d" % minor))
    assert reply.fields["Via"] == via


async def test_via_of_others_stays(start: Start) -> None:
    """Proxies before and behind us are still named, before us in their order."""
    node = await start()
    got, reply = await node.ask(get(KEY_TARGET, "Via: 1.0 front"), ok(b"", "Via: 1.1 back"))
    assert got.fields.all("Via") == ["1.0 front", "1.1 hkpguard"]
    assert reply.fields.all("Via") == ["1.1 back", "1.1 hkpguard"]


async def test_http_1_0_without_host_gets_the_keyserver_s(start: Start) -> None:
    """HTTP/1.1 upstream needs a Host, so the keyserver's own address stands in."""
    node = await start()
    got, _ = await node.ask(f"GET {KEY_TARGET} HTTP/1.0\r\n\r\n".encode(), ok())
    assert got.fields["Host"] == got.fields["X-Forwarded-Host"] == f"127.0.0.1:{node.keyserver.port}"


# Reply of the keyserver, split into what arrives first and what later; minor version of the client; how the client is
# told the end of the body.
RELAYED = {
    "length, at once, 1.1": (ok(KEY), b"", 1, "length"),
    "length, at once, 1.0": (ok(KEY), b"", 0, "length"),
    "length, in pieces, 1.1": (ok(KEY)[:100], ok(KEY)[100:], 1, "length"),
    "length, in pieces, 1.0": (ok(KEY)[:100], ok(KEY)[100:], 0, "length"),
    "chunked, at once, 1.1": (CHUNKED + chunked(KEY[:99], KEY[99:]), b"", 1, "length"),
    "chunked, at once, 1.0": (CHUNKED + chunked(KEY[:99], KEY[99:]), b"", 0, "length"),
    "chunked, in pieces, 1.1": (CHUNKED + chunked(KEY)[:50], chunked(KEY)[50:], 1, "chunked"),
    "chunked, in pieces, 1.0": (CHUNKED + chunked(KEY)[:50], chunked(KEY)[50:], 0, "close"),
    "chunked, head first, 1.1": (CHUNKED, chunked(KEY), 1, "chunked"),
    "chunked, head first, 1.0": (CHUNKED, chunked(KEY), 0, "close"),
    "chunked, end later, 1.1": (CHUNKED + chunked(KEY)[:-5], b"0\r\n\r\n", 1, "chunked"),
    "chunked, end later, 1.0": (CHUNKED + chunked(KEY)[:-5], b"0\r\n\r\n", 0, "close"),
    "to the end, 1.1": (UNFRAMED + KEY[:50], KEY[50:], 1, "chunked"),
    "to the end, 1.0": (UNFRAMED + KEY[:50], KEY[50:], 0, "close"),
    "to the end, version 1.0 upstream": (b"HTTP/1.0 200 OK\r\n\r\n" + KEY[:50], KEY[50:], 1, "chunked"),
    "chunked with trailers": (CHUNKED + chunked(KEY)[:-2], b"Expires: never\r\n\r\n", 1, "chunked"),
}


@pytest.mark.parametrize(("first", "later", "minor", "framing"), RELAYED.values(), ids=RELAYED)
async def test_framing_of_the_reply(start: Start, first: bytes, later: bytes, minor: int, framing: str) -> None:
    """A reply reaches the client in a framing that it knows.

    HTTP/1.0 never gets chunks: gpg takes them for a part of the key.
    """
    node = await start()
    client, link = await node.begin(get(minor=minor))
    await link.send(first, later) if later else await link.send(first)
    if first.startswith((UNFRAMED, b"HTTP/1.0")):
        link.sock.shutdown(1)
    reply = await client.reply()
    assert (reply.framing, reply.body) == (framing, KEY)
    assert ("Connection" in reply.fields) == (minor == 0)


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("keyserver", ["length", "chunked"])
async def test_reply_split_at_every_byte(start: Start, minor: int, keyserver: str) -> None:
    """Wherever the network cuts a reply in two, the client gets the same body."""
    reply = ok(b"key\n", "Server: a") if keyserver == "length" else CHUNKED + chunked(b"ke", b"y\n")
    node = await start()
    for cut in range(1, len(reply)):
        client, link = await node.begin(get("/pks/stats", "Connection: close", minor=minor))
        await link.send(reply[:cut], reply[cut:])
        assert (await client.reply()).body == b"key\n"
        assert await client.to_end() == b""
        link.close()
        client.close()
        await turns()


BODILESS = {
    "HEAD with a length": ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", ["9"]),
    "HEAD with chunks": ("HEAD", CHUNKED, []),
    "HEAD without either": ("HEAD", UNFRAMED, []),
    "HEAD of nothing": ("HEAD", ok(b""), ["0"]),
    "204": ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", []),
    "204 with a length of 0": ("GET", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", []),
    "304 with a length": ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ["9"]),
    "304 without": ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", []),
}


@pytest.mark.parametrize(("method", "reply", "length"), BODILESS.values(), ids=BODILESS)
async def test_reply_without_a_body(start: Start, method: str, reply: bytes, length: list[str]) -> None:
    """Replies that have no body say so by their nature. The client's connection serves the next request; so does the
    keyserver's, unless a body was announced, which might come after all.
    """
    node = await start()
    client, link = await node.begin(get("/pks/stats", method=method))
    await link.send(reply)
    got = await client.reply(method)
    assert got.fields.all("Content-Length") == length
    assert "Transfer-Encoding" not in got.fields
    await client.send(get())
    if b"Length: 9" in reply or b"chunked" in reply:
        assert await link.to_end() == b""
        link = await node.keyserver.accept()
    await link.head()
    await link.send(ok(b"next\n"))
    assert (await client.reply()).body == b"next\n"


UPLOADS = {
    "length": UPLOAD + b"Content-Length: 508\r\n\r\n" + KEY,
    "length in HTTP/1.0": b"POST /pks/add HTTP/1.0\r\nContent-Length: 508\r\n\r\n" + KEY,
    "nothing": UPLOAD + b"Content-Length: 0\r\n\r\n",
    "no framing": UPLOAD + b"\r\n",
    "chunked": UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(KEY[:8], KEY[8:]),
    "chunked with extensions": UPLOAD
    + b"Transfer-Encoding: chunked\r\n\r\n1FC;a=b\r\n"
    + KEY
    + b"\r\n0\r\nA: b\r\n\r\n",
    "chunked nothing": UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("tail", [0, 1, 2, 7, 100, 400])
@pytest.mark.parametrize("request_", UPLOADS.values(), ids=UPLOADS)
async def test_upload(start: Start, request_: bytes, tail: int) -> None:
    """An upload reaches the keyserver whole and with its length, however it was framed and cut on its way."""
    node = await start()
    client = await node.connect()
    await client.send(request_[: len(request_) - tail], request_[len(request_) - tail :])
    link = await node.keyserver.accept()
    got = await link.request()
    assert got.body == (KEY if b"kkk" in request_ else b"")
    assert got.framing == "length"
    await link.send(ok(b"stored\n"))
    assert (await client.reply()).body == b"stored\n"


async def test_chunk_extensions_and_trailers_stay_here(start: Start) -> None:
    """What the keyserver gets is the data, nothing else."""
    node = await start()
    client = await node.connect(UPLOADS["chunked with extensions"])
    link = await node.keyserver.accept()
    head = await link.head()
    assert b"chunked" not in head
    assert b"\r\nContent-Length: 508\r\n" in head
    assert await link.exactly(508) == KEY
    await link.send(ok())
    assert (await client.reply()).status == 200


async def test_upload_is_read_before_the_keyserver_hears_of_it(start: Start) -> None:
    """A slow client holds nothing of the keyserver's."""
    node = await start()
    client = await node.connect(UPLOAD + b"Content-Length: 508\r\n\r\n" + KEY[:-1])
    assert await node.keyserver.untouched()
    await client.send(KEY[-1:])
    assert (await (await node.keyserver.accept()).request()).body == KEY


async def test_upload_byte_by_byte(start: Start) -> None:
    """The slowest upload is an upload."""
    node = await start()
    client = await node.connect()
    request = UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"ab", b"c")
    await client.send(*(bytes([byte]) for byte in request))
    link = await node.keyserver.accept()
    assert (await link.request()).body == b"abc"


async def test_expect_continue(start: Start) -> None:
    """A client that asks first is told to go on, and only then sends; the keyserver is asked when all is here."""
    node = await start()
    client = await node.connect(UPLOAD + b"Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    assert await client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert await node.keyserver.untouched()
    await client.send(b"keys")
    link = await node.keyserver.accept()
    assert (await link.request()).body == b"keys"
    await link.send(ok())
    assert (await client.reply()).status == 200


@pytest.mark.parametrize(
    ("target", "length", "status"),
    [
        ("/pks/nowhere", 100, 404),
        (KEY_TARGET, 100, 405),
        ("/pks/add", 9_999_999, 413),
        ("/pks/nowhere", 9_999_999, 413),
    ],
)
async def test_expect_continue_of_a_refused_request(start: Start, target: str, length: int, status: int) -> None:
    """Who is refused is not told to send first: the final status comes at once, and the connection ends."""
    node = await start()
    lines = f"Host: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    client = await node.connect(f"POST {target} HTTP/1.1\r\n{lines}".encode())
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (status, "close")
    assert await node.keyserver.untouched()


LARGE = {
    "length": UPLOAD + b"Content-Length: 1025\r\n\r\n",
    "chunked, in one chunk": UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n401\r\n" + b"k" * 1025,
    "chunked, in two": UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n400\r\n" + b"k" * 1024 + b"\r\n1\r\nk",
}


@pytest.mark.parametrize("request_", LARGE.values(), ids=LARGE)
async def test_upload_beyond_the_limit(start: Start, request_: bytes) -> None:
    """413, whether the length was announced or became known; the keyserver never hears of it."""
    node = await start({"HTTP__BODY_BYTES": "1KiB"})
    client = await node.connect(request_)
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (413, "close")
    await client.send(b"more")
    assert await client.to_end() == b""
    assert await node.keyserver.untouched()


@pytest.mark.parametrize("framing", ["length", "chunked"])
async def test_upload_of_exactly_the_limit(start: Start, framing: str) -> None:
    """The limit itself is allowed."""
    node = await start({"HTTP__BODY_BYTES": "1KiB"})
    body = b"k" * 1024
    framed = (
        b"Content-Length: 1024\r\n\r\n" + body
        if framing == "length"
        else b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body)
    )
    await node.connect(UPLOAD + framed)
    assert (await (await node.keyserver.accept()).request()).body == body


async def test_malformed_chunk_of_an_upload(start: Start) -> None:
    """400 and the end; the keyserver never hears of it."""
    node = await start()
    client = await node.connect(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nkeys\r\nX\r\n")
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (400, "close")
    await client.send(get())
    assert await client.to_end() == b""
    assert await node.keyserver.untouched()


async def test_kept_http_1_0_connection_ends_with_a_reply_of_unknown_length(start: Start) -> None:
    """HTTP/1.0 with keep-alive can only be told the end of such a body by the end of the connection."""
    node = await start()
    client, link = await node.begin(get(KEY_TARGET, "Connection: keep-alive", minor=0))
    await link.send(CHUNKED, chunked(KEY))
    reply = await client.reply()
    assert (reply.framing, reply.body, reply.fields["Connection"]) == ("close", KEY, "close")


@pytest.mark.parametrize("framing", [b"Content-Length: 4\r\n\r\nbody", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"])
async def test_body_where_none_is_of_use(start: Start, framing: bytes) -> None:
    """A GET with a body is refused and closed: it would hold a keyserver connection for nothing."""
    node = await start()
    client = await node.connect(b"GET /pks/stats HTTP/1.1\r\nHost: a\r\n" + framing)
    reply = await client.reply()
    assert (reply.status, reply.fields.all("Connection")) == (400, ["close"])
    assert await node.keyserver.untouched()


async def test_upload_that_is_too_large_ends_the_connection(start: Start) -> None:
    """Where the body ends is not asked any more: the bytes after it are never read as a request."""
    node = await start({"HTTP__BODY_BYTES": "1KiB"})
    body = b"5dc\r\n" + b"k" * 1500 + b"\r\n0\r\n\r\n"
    client = await node.connect(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n", run=False)
    await client.send(body + get("/pks/stats")[:10])
    reply = await client.reply()
    assert (reply.status, reply.fields.all("Connection")) == (413, ["close"])


async def test_gone_while_the_keyserver_works(start: Start) -> None:
    """A client that is gone when its reply comes costs the connection to the keyserver nothing more."""
    node = await start()
    client, link = await node.begin(get())
    client.close()
    await link.send(ok(b"k" * 100))
    await turns()
    assert node.open == 0


async def test_gone_in_the_middle_of_a_reply(start: Start) -> None:
    """The keyserver is not asked to go on for nobody."""
    node = await start()
    client, link = await node.begin(get(), tcp=True)
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\nhalf")
    await client.until(b"half")
    client.break_off()
    await link.push_all(b"k" * 500_000)
    assert await link.end() in {"closed", "reset"}
    assert node.open == 0


async def test_gone_in_the_middle_of_an_upload(start: Start) -> None:
    """The keyserver never hears of half an upload, and its memory is free again."""
    node = await start()
    client = await node.connect(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nkeys\r\n")
    assert node.guard.bodies.used_bytes == 4
    client.close()
    await until(lambda: node.open == 0)
    assert node.guard.bodies.used_bytes == 0
    assert await node.keyserver.untouched()


def framings(reply: Message) -> int:
    """Return how many ways there are to find the end of a message."""
    return len(reply.fields.all("Content-Length")) + len(reply.fields.all("Transfer-Encoding"))
