"""One client connection: kept or closed, heads in a row, time limits, and how it ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastpath import monotonic_ns
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Reason
from tests.proxy.http.harness import FPR, chunked, get, ok, turns, until

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start

UPLOAD = b"POST /pks/add HTTP/1.1\r\nHost: a\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def numbered(number: int, *lines: str, minor: int = 1) -> bytes:
    """Return a request that can be told from others."""
    return get(f"/pks/stats?n={number}", *lines, minor=minor)


@pytest.mark.parametrize(
    ("minor", "lines", "connection", "stays"),
    [
        (1, (), [], True),
        (1, ("Connection: close",), ["close"], False),
        (1, ("Connection: keep-alive",), [], True),
        (0, (), ["close"], False),
        (0, ("Connection: keep-alive",), ["keep-alive"], True),
        (0, ("Connection: Keep-Alive, close",), ["close"], False),
    ],
)
@pytest.mark.parametrize("refused", [False, True])
async def test_keep_alive(
    start: Start, minor: int, lines: tuple[str, ...], connection: list[str], *, stays: bool, refused: bool
) -> None:
    """A connection is kept or closed as the client asks, and told so in the words of its version, refused or not."""
    node = await start()
    request = get("/nowhere" if refused else "/pks/stats", *lines, minor=minor)
    client = await node.connect(request)
    if not refused:
        link = await node.keyserver.accept()
        await link.head()
        await link.send(ok())
    reply = await client.reply()
    assert reply.status == (404 if refused else 200)
    assert reply.fields.all("Connection") == connection
    if stays:
        await client.send(get("/nowhere"))
        assert (await client.reply()).status == 404
    else:
        assert await client.to_end() == b""


async def test_pipeline(start: Start) -> None:
    """Several requests in one packet are answered in their order, one after the other."""
    node = await start()
    client = await node.connect(b"".join(numbered(number) for number in range(5)))
    link = await node.keyserver.accept()
    for number in range(5):
        assert f"n={number} ".encode() in await link.head()
        assert await link.quiet()
        await link.send(ok(b"%d" % number))
    assert [(await client.reply()).body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_pipeline_of_refused_and_proxied(start: Start) -> None:
    """A refusal waits for its turn behind a slow reply."""
    node = await start()
    client = await node.connect(numbered(0) + get("/nowhere") + numbered(2) + get("/nowhere", method="HEAD"))
    link = await node.keyserver.accept()
    await link.head()
    assert await client.quiet()
    await link.send(ok(b"0"))
    assert (await client.reply()).body == b"0"
    assert (await client.reply()).status == 404
    await link.head()
    await link.send(ok(b"2"))
    assert (await client.reply()).body == b"2"
    assert (await client.reply("HEAD")).status == 404


async def test_pipeline_with_bodies(start: Start) -> None:
    """The next request begins exactly where the body of the one before ends."""
    node = await start()
    first = UPLOAD + b"Content-Length: 4\r\n\r\nkeys"
    second = UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(b"GET / HTTP/1.1\r\n\r\n")
    client = await node.connect(first + second + numbered(3))
    link = await node.keyserver.accept()
    assert (await link.request()).body == b"keys"
    await link.send(ok(b"1"))
    assert (await link.request()).body == b"GET / HTTP/1.1\r\n\r\n"
    await link.send(ok(b"2"))
    assert b"n=3" in await link.head()
    await link.send(ok(b"3"))
    assert [(await client.reply()).body for _ in range(3)] == [b"1", b"2", b"3"]


async def test_pipeline_ends_with_close(start: Start) -> None:
    """What follows a request that closes the connection is not served."""
    node = await start()
    client = await node.connect(numbered(0, "Connection: close") + numbered(1))
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok(b"0", "Connection: close"))
    assert (await client.reply()).fields["Connection"] == "close"
    assert await client.to_end() == b""
    assert await link.to_end() == b""
    assert await node.keyserver.untouched()


async def test_requests_split_at_every_byte(start: Start) -> None:
    """Wherever the network cuts two pipelined requests, the keyserver gets the same two."""
    node = await start({"MODE": "off"})
    both = UPLOAD + b"Content-Length: 4\r\n\r\nkeys" + numbered(1)
    client = await node.connect()
    link = None
    for cut in range(1, len(both)):
        await client.send(both[:cut], both[cut:])
        link = link or await node.keyserver.accept()
        assert (await link.request()).body == b"keys"
        await link.send(ok(b"1"))
        assert (await link.request()).target == "/pks/stats?n=1"
        await link.send(ok(b"2"))
        assert [(await client.reply()).body for _ in range(2)] == [b"1", b"2"]


async def test_long_pipeline_is_left_with_the_kernel(start: Start) -> None:
    """While a request is under way a client may send ahead, but the worker does not take in all of it."""
    node = await start()
    client, link = await node.begin(numbered(0), small=True)
    assert await client.push_all(numbered(1) * 20_000) < 300_000
    await link.send(ok(b"0"))
    assert (await client.reply()).body == b"0"


MALFORMED = {
    "bad line": (b"GET\r\n\r\n", 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare LF, not complete": (b"GET / HTTP/1.1\n", 400),
    "length and coding": (UPLOAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "two lengths": (UPLOAD + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n", 400),
    "coding in HTTP/1.0": (UPLOAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "unknown coding": (UPLOAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "long target": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "long target, not complete": (b"GET /" + b"a" * 9000, 414),
    "long head": (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 17000, 431),
    "expectation": (UPLOAD + b"Expect: a\r\n\r\n", 417),
    "HTTP/2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
}


@pytest.mark.parametrize(("request_", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_malformed_head_ends_the_connection(start: Start, request_: bytes, status: int) -> None:
    """One refusal, then the end: where the next request would begin is not known, so nothing more is read as one."""
    node = await start()
    client = await node.connect(request_)
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"], reply.framing) == (status, "close", "length")
    await client.send(get())
    assert await client.to_end() == b""
    assert await node.keyserver.untouched()
    (record,) = node.records()
    assert (record.status, record.reason) == (status, Reason.TOO_LARGE if status in {414, 431} else Reason.MALFORMED)


async def test_refusal_arrives_although_the_client_goes_on_sending(start: Start) -> None:
    """A client that is still uploading can read why it was refused: the connection is not reset under its reply."""
    node = await start()
    client = await node.connect(UPLOAD + b"Content-Length: 900000000\r\n\r\n", tcp=True)
    await client.push_all(b"k" * 500_000)
    assert (await client.reply()).status == 413
    assert await client.end() == "closed"


async def test_lingering_is_bounded_in_bytes(start: Start) -> None:
    """What a refused client still sends is thrown away, but not for ever."""
    node = await start()
    client = await node.connect(UPLOAD + b"Content-Length: 900000000\r\n\r\n")
    await client.push_all(b"k" * 3_000_000)
    assert node.open == 0


async def test_lingering_ends_when_the_client_closes(start: Start) -> None:
    """When the client has read its refusal and closes, so do we."""
    node = await start()
    client = await node.connect(b"GET\r\n\r\n")
    await client.reply()
    client.close()
    await until(lambda: node.open == 0)


async def test_lingering_has_its_time(start: Start) -> None:
    """Who neither closes nor falls silent is cut off two seconds after his refusal."""
    node = await start()
    client = await node.connect(b"GET\r\n\r\n")
    await client.reply()
    (connection,) = node.guard.connections
    until_ns = connection.deadline_ns
    assert until_ns <= monotonic_ns() + 2_000_000_000
    await client.send(b"a", b"b", b"c")
    assert connection.deadline_ns == until_ns


async def test_bad_request_behind_a_reply_that_is_still_going_out(start: Start) -> None:
    """A slow reader gets its reply, the refusal behind it, and the end, without a time limit having to pass."""
    node = await start()
    client, link = await node.begin(numbered(0) + b"GET\r\n\r\n", small=True)
    await link.send(ok(b"k" * 40_000))
    assert len((await client.reply()).body) == 40_000
    assert (await client.reply()).status == 400
    assert await client.to_end() == b""


async def test_head_that_takes_too_long(start: Start) -> None:
    """A client that does not finish its head gets 408 after `head`."""
    node = await start(head_ns=1)
    client = await node.connect()
    await client.send(b"GET / HTTP/1.1\r\nHost")
    node.guard.sweep()
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (408, "close")
    assert await client.to_end() == b""
    (record,) = node.records()
    assert record.reason == Reason.TIMEOUT


async def test_silent_connection_is_closed_without_a_word(start: Start) -> None:
    """Who connects and says nothing (browsers do, in advance) is closed after `head`; no record, and so no offence."""
    node = await start(head_ns=1)
    client = await node.connect()
    node.guard.sweep()
    assert await client.to_end() == b""
    assert (node.records(), node.open) == ([], 0)


async def test_second_head_that_takes_too_long(start: Start) -> None:
    """The same for a later request on the connection, counted from its first byte."""
    node = await start(head_ns=1)
    client = await node.connect(get("/nowhere"))
    await client.reply()
    node.guard.sweep()
    assert await client.quiet()
    await client.send(b"GET")
    node.guard.sweep()
    assert (await client.reply()).status == 408


async def test_dripping_does_not_prolong_the_head(start: Start) -> None:
    """Each byte of a head does not start its time anew (Slowloris)."""
    node = await start(head_ns=3_600_000_000_000)
    client = await node.connect()
    await client.send(b"G")
    before = [connection.deadline_ns for connection in node.guard.connections]
    await client.send(*(bytes([byte]) for byte in b"ET / HTTP/1.1\r\nA: b"))
    assert [connection.deadline_ns for connection in node.guard.connections] == before


async def test_idle_connection(start: Start) -> None:
    """A kept connection that is not used is closed after `keepalive`, without a word."""
    node = await start(keepalive_ns=1)
    client = await node.connect(get("/nowhere"))
    await client.reply()
    node.guard.sweep()
    assert await client.to_end() == b""


async def test_request_under_way_is_no_idle_connection(start: Start) -> None:
    """While the keyserver works, none of the client's time limits runs."""
    node = await start(head_ns=1, keepalive_ns=1, body_ns=1, write_ns=1)
    client, link = await node.begin(get())
    node.guard.sweep()
    await link.send(ok(b"key\n"))
    assert (await client.reply()).body == b"key\n"


async def test_body_that_takes_too_long(start: Start) -> None:
    """A client that stops in the middle of its upload gets 408; the keyserver never hears of it."""
    node = await start(body_ns=1)
    client = await node.connect(UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\nkeys\r\n")
    node.guard.sweep()
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (408, "close")
    assert await node.keyserver.untouched()


async def test_upload_that_drips(start: Start) -> None:
    """An upload has its time as a whole: pieces that come in time do not prolong it."""
    node = await start(body_ns=1)
    client = await node.connect(UPLOAD + b"Content-Length: 4\r\n\r\nk")
    node.reload({"TIMEOUTS__BODY": "1h"})  # each further piece is in time
    await client.send(b"e", b"y")
    node.guard.sweep()
    assert (await client.reply()).status == 408
    assert await node.keyserver.untouched()


async def test_reader_that_takes_nothing(start: Start) -> None:
    """A client that does not read its reply is given up after `write`, and the keyserver with it."""
    node = await start(write_ns=1)
    _, link = await node.begin(get(), small=True)
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
    await link.push_all(b"k" * 600_000)
    node.guard.sweep()
    assert await link.end() in {"closed", "reset"}
    assert node.open == 0


async def test_reader_that_takes_nothing_of_replies_that_are_complete(start: Start) -> None:
    """The same where the replies are all in the worker's hands and more requests wait behind."""
    node = await start(write_ns=1)
    client = await node.connect(small=True)
    await client.push_all(get("/nowhere") * 500)
    node.guard.sweep()
    assert node.open == 0


@pytest.mark.parametrize("reply", [ok(b"k" * 30_000), CHUNKED + chunked(b"k" * 30_000)])
async def test_client_that_has_sent_all_it_will_send(start: Start, reply: bytes) -> None:
    """A client that closes its side after its request gets its whole reply, however slowly it reads."""
    node = await start()
    client = await node.connect(small=True)
    await client.send(get())
    client.finish()
    link = await node.keyserver.accept()
    await link.head()
    await link.send(reply)
    assert (await client.reply()).body == b"k" * 30_000
    assert await client.to_end() == b""


async def test_client_that_closes_its_side_while_its_reply_goes_out(start: Start) -> None:
    """The same when the end is noticed only after the reply was handed to the kernel in part."""
    node = await start()
    client, link = await node.begin(get(), small=True)
    await link.send(ok(b"k" * 60_000))
    client.finish()
    await turns()
    assert (await client.reply()).body == b"k" * 60_000
    assert await client.to_end() == b""


@pytest.mark.parametrize("sent", [b"", b"GET / HT"])
async def test_client_that_leaves_before_its_request_is_complete(start: Start, sent: bytes) -> None:
    """Nobody is there to be answered, and nothing is recorded."""
    node = await start()
    client = await node.connect()
    if sent:
        await client.send(sent)
    client.close()
    await until(lambda: node.open == 0)
    assert node.records() == []


async def test_client_that_left_before_it_was_admitted(start: Start) -> None:
    """A connection that is at its end, or broken, when it is accepted, is dropped."""
    node = await start()
    client = await node.connect(run=False)
    client.close()
    await until(lambda: node.open == 0)


async def test_request_that_came_with_the_connection(start: Start) -> None:
    """Request and end of the connection in one go, as some health checks do: it is asked, nobody is answered."""
    node = await start()
    client = await node.connect()
    await client.send(get("/nowhere", "Connection: close"))
    assert (await client.reply()).status == 404
    client.close()
    assert len(node.records()) == 1


async def test_empty_line_before_a_request(start: Start) -> None:
    """Some clients end a body with CRLF more than they said; one such line is forgiven."""
    node = await start()
    client = await node.connect(UPLOAD + b"Content-Length: 4\r\n\r\nkeys\r\n" + numbered(1))
    link = await node.keyserver.accept()
    assert (await link.request()).body == b"keys"
    await link.send(ok(b"0"))
    assert (await link.request()).target == "/pks/stats?n=1"
    await link.send(ok(b"1"))
    assert [(await client.reply()).body for _ in range(2)] == [b"0", b"1"]


async def test_target_that_has_no_canonical_form(start: Start) -> None:
    """400, and the connection is closed: who sends such things is not asked for more."""
    node = await start()
    client = await node.connect(get("/%zz") + get("/nowhere"))
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (400, "close")
    assert await client.to_end() == b""


async def test_slip_in_a_search_is_no_offence(start: Start) -> None:
    """A percent sign in a search, as careless scripts send it, is recorded as a search."""
    node = await start()
    client = await node.connect(get("/pks/lookup?op=get&search=50%"))
    assert (await client.reply()).status == 400
    (record,) = node.records()
    assert (record.operation, record.reason) == (OperationClass.WORDS, Reason.MALFORMED)


async def test_unknown_path_does_not_trouble_the_keyserver(start: Start) -> None:
    """404 from us, whatever the method says."""
    node = await start()
    for method in ("GET", "HEAD", "POST", "BREW"):
        client = await node.connect(get("/somewhere", method=method))
        assert (await client.reply(method)).status == 404
    assert await node.keyserver.untouched()


@pytest.mark.parametrize(
    ("method", "target", "status", "allow"),
    [
        ("GET", "/pks/add", 405, "POST, OPTIONS"),
        ("DELETE", f"/pks/lookup?op=get&search=0x{FPR}", 405, "GET, HEAD, OPTIONS"),
        ("GET", "/pks/lookup?op=frobnicate&search=a", 501, None),
        ("GET", "/pks/lookup?op=get&search=ab", 501, None),
        ("GET", "/pks/lookup?op=get", 400, None),
        ("POST", "/pks/hashquery", 403, None),
    ],
)
async def test_what_is_not_offered(start: Start, method: str, target: str, status: int, allow: str | None) -> None:
    """Each has its status, and 405 the methods that would do."""
    node = await start()
    client = await node.connect(get(target, method=method))
    reply = await client.reply()
    assert (reply.status, reply.fields.all("Allow")) == (status, [allow] if allow else [])
    assert await node.keyserver.untouched()


async def test_unknown_path_may_pass(start: Start) -> None:
    """An operator who has more than a keyserver behind us may let unknown paths through."""
    node = await start({"UNKNOWN": "pass"})
    got, reply = await node.ask(get("/somewhere?a=b"), ok())
    assert (got.target, reply.status) == ("/somewhere?a=b", 200)
