"""What a keyserver may answer, and what comes of it: the reply, or one that says that there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.proxy.http.harness import chunked, get, ok, turns

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start

EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nEVIL\n"
POST = b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nkeys"

MALFORMED = {
    "no status line": b"garbage\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "HTTP/1.2": b"HTTP/1.2 200 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status 099": b"HTTP/1.1 099 OK\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\n\r\n",
    "control character in the reason": b"HTTP/1.1 200 O\0K\r\n\r\n",
    "control character in a field": b"HTTP/1.1 200 OK\r\nServer: a\x01\r\nContent-Length: 0\r\n\r\n",
    "bare CR in a field": b"HTTP/1.1 200 OK\r\nServer: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
    "space before the colon": b"HTTP/1.1 200 OK\r\nContent-Length : 0\r\n\r\n",
    "folded line": b"HTTP/1.1 200 OK\r\nServer: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "no name": b"HTTP/1.1 200 OK\r\n: a\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "signed length": b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx",
    "empty length": b"HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n",
    "length of 16 digits": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000000\r\n\r\n",
    "length and coding": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding in HTTP/1.0": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad first chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "protocol switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "interim reply with a body": b"HTTP/1.1 103 Early Hints\r\nContent-Length: 41\r\n\r\n" + ok(b"bad"),
    "interim reply with chunks": b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n" + ok(b"bad"),
    "endless interim replies": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + ok(),
    "endless head": b"HTTP/1.1 200 OK\r\nServer: " + b"a" * 70_000,
    "too many fields": b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 101 + b"\r\n",
    "closed in the head": b"HTTP/1.1 200 OK\r\nServer: a",
    "closed at once": b"",
}


@pytest.mark.parametrize("reply", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_reply_is_one_503(start: Start, reply: bytes) -> None:
    """Whatever a keyserver sends that is no reply, the client gets one 503, and its next request a true answer."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(reply)
    link.sock.shutdown(1)
    refused = await client.reply()
    assert refused.status == 503
    assert int(refused.fields["Retry-After"]) > 0
    await client.send(get())
    again = await node.keyserver.accept()
    await again.head()
    await again.send(ok(b"true\n"))
    assert (await client.reply()).body == b"true\n"
    assert client.buffer == b""


@pytest.mark.parametrize(("minor", "status"), [(0, 500), (1, 503)])
async def test_keyserver_that_closes_is_500_to_http_1_0(start: Start, minor: int, status: int) -> None:
    """Gpg (HTTP/1.0) gets 500, which it does not repeat; others 503 with Retry-After; nobody 502."""
    node = await start()
    client, link = await node.begin(get(minor=minor))
    link.close()
    reply = await client.reply()
    assert reply.status == status
    assert ("Retry-After" in reply.fields) == (status == 503)


LONGER = {
    "length": (get(), ok() + EVIL),
    "chunked": (get(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"key\n") + EVIL),
    "empty": (get(), ok(b"") + EVIL),
    "204": (get(), b"HTTP/1.1 204 No Content\r\n\r\n" + EVIL),
    "204 with a length": (get(), b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nEVIL\n"),
    "304": (get(), b"HTTP/1.1 304 Not Modified\r\n\r\n" + EVIL),
    "HEAD": (get(method="HEAD"), ok()),
}


@pytest.mark.parametrize(("request_", "reply"), LONGER.values(), ids=LONGER)
async def test_reply_longer_than_it_said_ends_the_connection(start: Start, request_: bytes, reply: bytes) -> None:
    """What comes after the end of a reply is never taken for the reply to another request."""
    node = await start()
    client, link = await node.begin(request_)
    await link.send(reply)
    await client.reply("HEAD" if request_.startswith(b"HEAD") else "GET")
    await client.send(get())
    again = await node.keyserver.accept()
    await again.head()
    await again.send(ok(b"true\n"))
    assert (await client.reply()).body == b"true\n"


LATE = {
    "after a length": ok(),
    "body of a 204": b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    "coding of a 204": b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
}


@pytest.mark.parametrize("reply", LATE.values(), ids=LATE)
async def test_bytes_that_come_late_are_never_a_reply(start: Start, reply: bytes) -> None:
    """A keyserver that sends more a little later loses the connection, whether or not it is in use again.

    A 204 has no body; one that announces a body all the same may still send it, so its connection is not used again.
    """
    node = await start()
    client, link = await node.begin(get())
    await link.send(reply)
    await client.reply()
    if b"204" not in reply:
        await link.send(EVIL)
        await link.end()
    await client.send(get())
    again = await node.keyserver.accept()
    await again.head()
    await again.send(ok(b"true\n"))
    assert (await client.reply()).body == b"true\n"


async def test_interim_replies_are_swallowed(start: Start) -> None:
    """100 and 103 from the keyserver do not reach the client; the reply after them does."""
    node = await start()
    interim = b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    _, reply = await node.ask(get(), interim + ok(b"key\n"))
    assert (reply.status, reply.body) == (200, b"key\n")


@pytest.mark.parametrize(
    ("reply", "reused"),
    [
        (ok(), True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"key\n"), True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\n", False),  # the body may still come
        (b"HTTP/1.1 304 Not Modified\r\n\r\n", True),
        (ok(b"key\n", "Connection: close"), False),
        (ok(b"key\n", "Connection: keep-alive, close"), False),
        (ok().replace(b"HTTP/1.1", b"HTTP/1.0"), False),
        (ok(b"key\n", "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"), True),
    ],
)
async def test_keyserver_connection_is_kept_alive(start: Start, reply: bytes, *, reused: bool) -> None:
    """The next request goes over the same connection, unless the keyserver wants it closed."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(reply)
    await client.reply()
    await client.send(get())
    assert await node.keyserver.untouched() == reused


DEAD_BY = ["close", "reset"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_safe_request_on_a_dead_pooled_connection_is_sent_again(start: Start, method: str) -> None:
    """A kept connection that dies under a safe request costs the client nothing: a new one serves it."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get(method=method))
    await link.head()
    link.close()
    again = await node.keyserver.accept()
    assert (await again.head()).startswith(method.encode())
    await again.send(ok(b"")) if method != "HEAD" else await again.send(b"HTTP/1.1 200 OK\r\n\r\n")
    assert (await client.reply(method)).status == 200


async def test_safe_request_is_sent_again_only_once(start: Start) -> None:
    """If the second connection dies too, the keyserver is the cause."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get())
    await link.head()
    link.close()
    again = await node.keyserver.accept()
    await again.head()
    again.close()
    assert (await client.reply()).status == 503
    assert await node.keyserver.untouched()


async def test_request_with_a_body_is_never_sent_again(start: Start) -> None:
    """An upload may have been taken before the connection died, so it is never repeated."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(POST)
    await link.request()
    link.close()
    assert (await client.reply()).status == 503
    assert await node.keyserver.untouched()


async def test_fresh_connection_that_dies_is_not_tried_again(start: Start) -> None:
    """A keyserver that closes a connection that was made for the request would do it again."""
    node = await start()
    client, link = await node.begin(get())
    link.close()
    assert (await client.reply()).status == 503
    assert await node.keyserver.untouched()


async def test_reply_that_breaks_off_in_the_head_is_not_asked_for_again(start: Start) -> None:
    """Once a part of a reply came the request was heard; it is not repeated."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get())
    await link.head()
    await link.send(b"HTTP/1.1 200 OK\r\nServer:")
    link.close()
    assert (await client.reply()).status == 503
    assert await node.keyserver.untouched()


async def test_kept_connection_that_was_closed_meanwhile_is_not_used(start: Start) -> None:
    """A keyserver that closes an idle connection is noticed before the next request, an upload even."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    link.close()
    await turns()
    await client.send(POST)
    again = await node.keyserver.accept()
    assert (await again.request()).body == b"keys"


BROKEN = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    "chunked, in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhalf",
    "chunked, between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "chunked, malformed later": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nX",
}


@pytest.mark.parametrize("reply", BROKEN.values(), ids=BROKEN)
async def test_reply_that_breaks_off_is_incomplete_for_the_client_too(start: Start, reply: bytes) -> None:
    """Half a key must not look like a whole one: the body ends before its announced end, and the connection with it."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(reply[:-1], reply[-1:])
    link.close()
    raw = await client.to_end()
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    if b"Content-Length: 9" in head:
        assert body == b"half"
    else:
        assert b"Transfer-Encoding: chunked" in head
        assert not body.endswith(b"0\r\n\r\n")


async def test_reply_that_breaks_off_is_a_reset_for_http_1_0(start: Start) -> None:
    """Where the end of the connection is the end of the body, only a reset tells that a part is missing."""
    node = await start()
    client, link = await node.begin(get(minor=0), tcp=True)
    await link.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
    await client.until(b"half")
    link.close()
    assert await client.end() == "reset"


async def test_keyserver_that_dies_under_an_upload(start: Start) -> None:
    """The upload is not sent again: the keyserver may have taken it."""
    node = await start()
    head = b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalfrest"
    client, link = await node.begin(head)
    link.close()
    assert (await client.reply()).status == 503
    assert await node.keyserver.untouched()


async def test_early_answer_to_an_upload_is_relayed(start: Start) -> None:
    """A keyserver that answers before it has read all is heard; its connection is not used again."""
    node = await start({"HTTP__BODY_BYTES": "8MiB"}, small=True)
    body = b"k" * 4_000_000
    client = await node.connect(b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n")
    await client.send(body)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
    assert (await client.reply()).status == 413
    await client.send(get())
    assert b"GET" in await (await node.keyserver.accept()).head()


@pytest.mark.parametrize(("minor", "status"), [(0, 500), (1, 503)])
async def test_keyserver_that_does_not_answer_in_time(start: Start, minor: int, status: int) -> None:
    """A keyserver that hangs is given up after `first_byte`, and the request is not repeated elsewhere."""
    node = await start(first_byte_ns=1)
    client, _ = await node.begin(get(minor=minor))
    node.guard.sweep()
    assert (await client.reply()).status == status
    assert await node.keyserver.untouched()


async def test_hung_request_on_a_kept_connection_is_not_repeated(start: Start) -> None:
    """A request that made the keyserver hang is not given another chance to do so."""
    node = await start(first_byte_ns=1)
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get())
    await link.head()
    node.guard.sweep()
    assert (await client.reply()).status == 503
    assert await node.keyserver.untouched()


async def test_time_for_an_answer_begins_when_the_upload_is_complete(start: Start) -> None:
    """A slow client that uploads steadily is not cut off because the keyserver has not answered yet."""
    node = await start(first_byte_ns=1)
    client = await node.connect(b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\n")
    await client.send(b"half")
    node.guard.sweep()
    await client.send(b"rest")
    link = await node.keyserver.accept()
    assert (await link.request()).body == b"halfrest"
    await link.send(ok())
    assert (await client.reply()).status == 200


async def test_reply_that_stalls_is_broken_off(start: Start) -> None:
    """A keyserver that stops in the middle of a reply is given up after `upstream_idle`."""
    node = await start(upstream_idle_ns=1)
    client, link = await node.begin(get())
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
    await client.until(b"half")
    node.guard.sweep()
    assert await client.to_end() == b""


@pytest.mark.parametrize(
    ("minor", "sent", "relayed"),
    [(0, 502, 500), (1, 502, 500), (0, 503, 500), (0, 504, 500), (1, 503, 503), (1, 504, 504), (0, 501, 501)],
)
async def test_status_that_gpg_takes_badly_is_softened(start: Start, minor: int, sent: int, relayed: int) -> None:
    """No 502 of a keyserver reaches anybody, and no 503 or 504 reaches HTTP/1.0: dirmngr acts on them (HKP.md 0.3)."""
    node = await start()
    client, link = await node.begin(get(minor=minor))
    await link.send(b"HTTP/1.1 %d Whatever\r\nX-Kept: yes\r\nContent-Length: 5\r\n\r\nsorry" % sent)
    reply = await client.reply()
    assert (reply.status, reply.body) == (relayed, b"sorry")
    assert reply.fields.all("X-Kept") == ["yes"]
