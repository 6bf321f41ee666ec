"""Answers that are kept for a moment, and single flight: of identical requests one goes to the keyserver."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.hkp.uploads import UploadBounds, UploadKind, UploadReader
from proxy.policy.actions import Action
from tests.certs_for_tests import armored, certificate, form
from tests.proxy.http.harness import FPR, KEY_TARGET, get, ok, turns, until

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Message, Node

ON = {"CACHE__MODE": "on", "LIMITS__CERT__BURST": "100000", "LIMITS__TOTAL__BURST": "100000"}
MISSING = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
WORDS = "/pks/lookup?op=index&options=mr&search=alice"
MAIL = "/pks/lookup?op=get&options=mr&search=alice%40example.org"
STATS = "/pks/lookup?op=stats"


async def ask(node: Node, request: bytes) -> Message:
    """Send a request over a connection of its own, and return its reply."""
    return await (await node.connect(request)).reply()


async def first(node: Node, request: bytes, reply: bytes | str) -> Message:
    """Have the keyserver answer a request."""
    client = await node.connect(request)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(reply if isinstance(reply, bytes) else reply.encode())
    return await client.reply()


@pytest.mark.parametrize("target", [KEY_TARGET, WORDS, MAIL, STATS, KEY_TARGET.replace("get", "index")])
async def test_second_request_is_answered_from_the_cache(start: Start, target: str) -> None:
    """It is the same answer, with its age, and the keyserver is not asked."""
    node = await start(ON)
    original = await first(node, get(target), ok(b"key\n", "Content-Type: application/pgp-keys"))
    kept = await ask(node, get(target))
    assert (kept.status, kept.body, kept.fields["Content-Type"]) == (200, b"key\n", "application/pgp-keys")
    assert (original.fields.all("Age"), kept.fields["Age"]) == ([], "0")
    assert kept.fields["Via"] == "1.1 hkpguard"
    assert await node.keyserver.untouched()


async def test_missing_certificate_is_remembered_too(start: Start) -> None:
    """404 is an answer like others, for a shorter time."""
    node = await start(ON)
    await first(node, get(), MISSING)
    assert (await ask(node, get())).status == 404
    assert await node.keyserver.untouched()


@pytest.mark.parametrize("minor", [0, 1])
async def test_http_1_0_and_1_1_share_what_is_kept(start: Start, minor: int) -> None:
    """A chunked answer to HTTP/1.1 is of known length for whoever comes next."""
    node = await start(ON)
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nkey\n\r\n0\r\n\r\n"
    assert (await first(node, get(minor=1 - minor), chunked)).body == b"key\n"
    kept = await ask(node, get(minor=minor))
    assert (kept.body, kept.framing) == (b"key\n", "length")


async def test_gpg_asks_for_no_cache_and_gets_what_is_kept(start: Start) -> None:
    """Its no-cache means: no older than the guard thinks right."""
    node = await start(ON)
    fields = ("Pragma: no-cache", "Cache-Control: no-cache")
    await first(node, get(KEY_TARGET, *fields, minor=0), ok(b"key\n"))
    assert (await ask(node, get(KEY_TARGET, *fields, minor=0))).body == b"key\n"
    assert await node.keyserver.untouched()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (get(), get(KEY_TARGET.replace("get", "index"))),
        (get(), get(KEY_TARGET, "Range: bytes=0-1")),
        (get(), get(KEY_TARGET, "If-None-Match: x")),
        (get(), get(KEY_TARGET, "Origin: https://example.org")),
        (get(), get(KEY_TARGET, "Authorization: Basic x")),
        (get(), get(KEY_TARGET, "Cookie: a=b")),
        (get(KEY_TARGET, "Cookie: a=b"), get()),
        (get(), get(method="HEAD")),
        (get(), b"GET " + KEY_TARGET.encode() + b" HTTP/1.1\r\nHost: other.example\r\n\r\n"),
        (get("/pks/health"), get("/pks/health")),
    ],
)
async def test_other_requests_go_to_the_keyserver(start: Start, before: bytes, after: bytes) -> None:
    """What asks for something else, or may be answered for one client alone, is not answered from the cache."""
    node = await start(ON)
    await first(node, before, ok(b"key\n"))
    await node.connect(after)
    assert not await node.keyserver.untouched() or await _asked_again(node)


async def _asked_again(node: Node) -> bool:
    return any(wire.pull() > 0 for wire in node.keyserver.wires)


@pytest.mark.parametrize(
    "reply",
    [
        ok(b"key\n", "Set-Cookie: a=b"),
        ok(b"key\n", "Cache-Control: private, max-age=9"),
        ok(b"key\n", "cache-control: no-store"),
        ok(b"key\n", "Content-Encoding: gzip"),
        ok(b"key\n", "Vary: User-Agent"),
        ok(b"key\n", "Vary: Origin, User-Agent"),
        ok(b"key\n", "Age: 7"),
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 301 Moved\r\nLocation: http://a/\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_replies_that_are_not_kept(start: Start, reply: bytes) -> None:
    """Errors, and what is for one client alone."""
    node = await start(ON)
    await first(node, get(), reply)
    client = await node.connect(get())
    await until(lambda: any(wire.pull() > 0 for wire in node.keyserver.wires))
    await node.keyserver.wires[-1].head()
    await node.keyserver.wires[-1].send(ok(b"new\n"))
    assert (await client.reply()).body == b"new\n"


@pytest.mark.parametrize("field", ["Vary: Origin", "Vary: origin, Accept-Encoding", "Cache-Control: no-cache"])
async def test_replies_that_are_kept_all_the_same(start: Start, field: str) -> None:
    """Requests with an Origin are not served from the cache anyhow; Hagrid says no-cache of everything."""
    node = await start(ON)
    await first(node, get(), ok(b"key\n", field))
    assert (await ask(node, get())).body == b"key\n"
    assert await node.keyserver.untouched()


async def test_large_reply_is_not_kept_and_arrives_whole(start: Start) -> None:
    """More than 256 KiB is passed on, and asked for again."""
    node = await start(ON)
    body = b"k" * 400_000
    client = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n", body)
    assert (await client.reply()).body == body
    await node.connect(get())
    await until(lambda: any(wire.pull() > 0 for wire in node.keyserver.wires))


async def test_thousand_identical_requests_are_one(start: Start) -> None:
    """Of those that come while the first is on its way none goes to the keyserver; all get its answer."""
    node = await start({**ON, "CONNECTIONS_PER_CLIENT": "0", "CONNECTIONS_PER_NETWORK": "0"})
    clients = [await node.connect(get(), run=False) for _ in range(1000)]
    link = await node.keyserver.accept()
    await link.head()
    await turns(50)
    await link.send(ok(b"key\n"))
    replies = [await client.reply() for client in clients]
    assert {(reply.status, reply.body) for reply in replies} == {(200, b"key\n")}
    assert await node.keyserver.untouched()


async def test_flight_that_brings_nothing_lets_the_others_go(start: Start) -> None:
    """When the answer may not be kept, who waited for it goes for himself."""
    node = await start(ON)
    leader = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    others = [await node.connect(get()) for _ in range(3)]
    await link.send(ok(b"mine\n", "Set-Cookie: a=b"))
    assert (await leader.reply()).body == b"mine\n"
    for wire in (link, await node.keyserver.accept(), await node.keyserver.accept()):
        await wire.head()
        await wire.send(ok(b"own\n", "Set-Cookie: a=b"))
    assert [(await other.reply()).body for other in others] == [b"own\n"] * 3


async def test_leader_that_goes_away(start: Start) -> None:
    """What it asked for comes all the same, and serves those who waited."""
    node = await start(ON)
    leader = await node.connect(get(), tcp=True)
    link = await node.keyserver.accept()
    await link.head()
    other = await node.connect(get())
    leader.break_off()
    await link.send(ok(b"key\n"))
    assert (await other.reply()).body == b"key\n"


async def test_keyserver_that_fails_the_leader(start: Start) -> None:
    """Who waited is not answered with the failure of another: one of them leads the next flight."""
    node = await start(ON)
    leader = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    other = await node.connect(get())
    link.close()
    assert (await leader.reply()).status == 503
    third = await node.keyserver.accept()
    await third.head()
    await third.send(ok(b"key\n"))
    assert (await other.reply()).body == b"key\n"


async def test_waiting_client_that_goes_away(start: Start) -> None:
    """It is forgotten, and costs the others nothing."""
    node = await start(ON)
    leader = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    waiting = await node.connect(get())
    waiting.close()
    await until(lambda: node.open == 1)
    await link.send(ok(b"key\n"))
    assert (await leader.reply()).body == b"key\n"


async def test_upload_of_a_certificate_ends_what_is_kept_of_it(start: Start) -> None:
    """Whoever asks after an upload gets the new one, by whichever of its names; others are still kept."""
    node = await start({**ON, "UPLOADS__MODE": "enforce"})
    cert = certificate()
    reader = UploadReader(UploadKind.BINARY, UploadBounds(), 2**32)
    reader.feed(cert)
    mine = f"/pks/lookup?op=get&options=mr&search=0x{reader.finish().certs[0].fingerprint}"
    await first(node, get(mine), ok(b"old\n"))
    link = node.keyserver.wires[0]
    body = form(armored(cert))
    lines = f"Host: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    uploader = await node.connect(b"POST /pks/add HTTP/1.1\r\n" + lines.encode() + body)
    assert (await link.request()).body == body
    await link.send(ok(b"stored\n"))
    assert (await uploader.reply()).body == b"stored\n"
    client = await node.connect(get(mine))
    await link.head()
    await link.send(ok(b"new\n"))
    assert (await client.reply()).body == b"new\n"


async def test_hit_pays_the_limits_of_its_client(start: Start) -> None:
    """A cache hit is a request like others: it takes tokens, and is refused when there are none."""
    node = await start({**ON, "LIMITS__CERT__BURST": "2", "LIMITS__CERT__MAX_DELAY": "0s"})
    await first(node, get(), ok(b"key\n"))
    assert [(await ask(node, get())).status for _ in range(2)] == [200, 429]


async def test_hit_is_recorded_without_an_upstream(start: Start) -> None:
    """The access log can tell it from what the keyserver answered."""
    node = await start(ON)
    await first(node, get(), ok(b"key\n"))
    await ask(node, get())
    record = node.records()[-1]
    assert (record.status, record.action, record.upstream) == (200, Action.ALLOW, 255)


async def test_off(start: Start) -> None:
    """Without the cache every request goes to the keyserver, identical ones too."""
    node = await start()
    await node.connect(get(), run=False)
    await node.connect(get(), run=False)
    await node.keyserver.accept()
    await node.keyserver.accept()
    assert FPR in KEY_TARGET
