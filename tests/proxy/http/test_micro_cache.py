"""Answers that are kept for a moment, and single flight: of identical requests one goes to the keyserver."""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from fastpath.record import FLAG_CACHED
from proxy.hkp.uploads import UploadBounds, UploadKind, UploadReader
from proxy.http.micro_cache import SHELF_BYTES, is_over
from proxy.policy.actions import Action
from proxy.telemetry.numbers import CacheUse
from tests.certs_for_tests import armored, certificate, form
from tests.proxy.http.harness import FPR, KEY_TARGET, Wire, get, ok, turns, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Message, Node

ON = {"CACHE__MODE": "on", "LIMITS__CERT__BURST": "100000", "LIMITS__TOTAL__BURST": "100000"}
MISSING = "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nno\n"
WORDS = "/pks/lookup?op=index&options=mr&search=alice"
MAIL = "/pks/lookup?op=get&options=mr&search=alice%40example.org"
STATS = "/pks/lookup?op=stats"
PREFIXLOG = "/pks/v2/prefixlog/2026-05-01"


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


@pytest.mark.parametrize("target", [KEY_TARGET, WORDS, MAIL, STATS, PREFIXLOG, KEY_TARGET.replace("get", "index")])
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


# Large answers.

MIB = 1 << 20
PATTERN = bytes(range(251)) * 4200  # more than 1 MiB, and of no power of two
FAT = PATTERN[:484_000]  # a certificate with 3000 signatures
SLOW = {**ON, "CONNECTIONS_PER_CLIENT": "0", "CONNECTIONS_PER_NETWORK": "0"}


def of_length(size: int) -> bytes:
    """Return the head of a reply whose body is still to come."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size


def target(number: int) -> str:
    """Return the target of one of many certificates."""
    return f"/pks/lookup?op=get&options=mr&search=0x{number:040X}"


@pytest.mark.parametrize("size", [65_536, 65_537, 484_000, MIB - 200])
@pytest.mark.parametrize("minor", [0, 1])
async def test_large_answer_is_kept(start: Start, size: int, minor: int) -> None:
    """Whatever its size up to 1 MiB, head and all, who asks next gets the same answer, whole."""
    node = await start(ON)
    body = PATTERN[:size]
    assert (await first(node, get(), ok(body))).body == body
    kept = await ask(node, get(minor=minor))
    assert (kept.body == body, kept.fields["Age"], kept.framing) == (True, "0", "length")
    assert await node.keyserver.untouched()


@pytest.mark.parametrize("head", [of_length(MIB), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
async def test_larger_answer_is_not_kept_and_arrives_whole(start: Start, head: bytes) -> None:
    """More than 1 MiB with its head is passed on, and asked for again, whether or not its length is known."""
    node = await start(ON)
    body = PATTERN[:MIB]
    client = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    rest = body if b"Length" in head else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    _, reply = await asyncio.gather(link.send(head, rest), client.reply())
    assert reply.body == body
    await node.connect(get())
    await until(lambda: any(wire.pull() > 0 for wire in node.keyserver.wires))
    assert node.guard.cache.shelf.used_bytes == 0


async def test_stampede_on_a_large_answer_is_one_request(start: Start) -> None:
    """All who wait for it get it, though it is dear, and were asked for it before anybody knew that."""
    node = await start(SLOW)
    clients = [await node.connect(get(), run=False, peer=f"192.0.2.{number}") for number in range(60)]
    link = await node.keyserver.accept()
    await link.head()
    sending = asyncio.create_task(link.send(ok(FAT)))
    replies = await asyncio.gather(*(client.reply() for client in clients))
    await sending
    assert {(reply.status, reply.body == FAT) for reply in replies} == {(200, True)}
    assert await node.keyserver.untouched()
    await until(lambda: node.guard.cache.shelf.used_bytes == 0)


async def test_slow_leader_keeps_nobody_waiting(start: Start) -> None:
    """Who asked first and reads nothing gets the rest when it reads on; those who wait have the answer before."""
    node = await start(SLOW, small=True)
    leader = await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    other = await node.connect(get())
    sending = asyncio.create_task(link.send(of_length(MIB - 200), PATTERN[: MIB - 200]))
    assert (await other.reply()).body == PATTERN[: MIB - 200]
    await sending
    assert (await leader.reply()).body == PATTERN[: MIB - 200]


async def test_slow_readers_share_what_they_read(start: Start) -> None:
    """However many read a large answer slowly, it is in memory once; and no longer than they need it."""
    node = await start(SLOW)
    body = PATTERN[: MIB - 200]
    await first(node, get(), ok(body))
    readers = [await node.connect(get(), small=True) for _ in range(30)]
    await turns()
    assert node.guard.cache.shelf.used_bytes == len(body)
    replies = await asyncio.gather(*(reader.reply() for reader in readers))
    assert all(reply.body == body for reply in replies)
    await until(lambda: node.guard.cache.shelf.used_bytes == 0)


async def test_large_answers_that_come_are_held_within_a_bound(start: Start) -> None:
    """More flights than there is room for are given up one by one; all answers arrive whole."""
    node = await start({**SLOW, "LIMITS__CERT__CONCURRENT": "0"})
    size, shelf = MIB - 200, node.guard.cache.shelf
    waiting = []
    for number in range(SHELF_BYTES // size + 4):
        client = await node.connect(get(target(number)))
        link = await node.keyserver.accept()
        await link.head()
        await link.send(of_length(size), PATTERN[: size - 1])
        assert await client.until(b"\r\n\r\n")
        waiting.append((client, link))
        await until(lambda link=link: drained(link) or shelf.used_bytes + MIB > SHELF_BYTES)  # type: ignore[misc]
    assert shelf.most_bytes - 2 * MIB < shelf.used_bytes <= shelf.most_bytes == SHELF_BYTES
    for client, link in waiting:
        _, body = await asyncio.gather(link.send(PATTERN[size - 1 : size]), client.exactly(size))
        assert body == PATTERN[:size]
    await until(lambda: shelf.used_bytes == 0)


def drained(wire: Wire) -> bool:
    """Whether the guard has read all that the keyserver wrote."""
    return int.from_bytes(fcntl.ioctl(wire.sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder) == 0


async def test_hit_without_room_goes_to_the_keyserver(start: Start) -> None:
    """When slow readers of other large answers fill the shelf, a reader of one more is served as without a cache."""
    node = await start(SLOW)
    body = PATTERN[: MIB - 200]
    room = SHELF_BYTES // len(body)
    await first(node, get(target(0)), ok(body))
    link = node.keyserver.wires[0]
    for number in range(1, room + 1):
        client = await node.connect(get(target(number)))
        await link.head()
        _, reply = await asyncio.gather(link.send(ok(body)), client.reply())
        assert reply.body == body
    slow = [await node.connect(get(target(number)), small=True) for number in range(room)]
    await turns()
    assert node.guard.cache.shelf.used_bytes == room * len(body)
    client = await node.connect(get(target(room)))
    await link.head()
    await link.send(ok(b"from the keyserver\n"))
    assert (await client.reply()).body == b"from the keyserver\n"
    assert all(reply.body == body for reply in await asyncio.gather(*(each.reply() for each in slow)))


async def test_beyond_the_bound_the_caps_of_the_subject_hold(start: Start) -> None:
    """An answer that is too large to be shared is dear: of those who waited for it two go at a time."""
    node = await start(SLOW)
    leader = await node.connect(get(), peer="192.0.2.1")
    link = await node.keyserver.accept()
    await link.head()
    others = [await node.connect(get(), peer=f"192.0.2.{number}") for number in range(2, 8)]
    _, reply = await asyncio.gather(link.send(ok(PATTERN)), leader.reply())
    assert reply.body == PATTERN
    await turns(50)
    answered = [asyncio.create_task(other.reply()) for other in others]
    asked = []
    for _ in others:
        await until(lambda: busy(node) > 0)
        await turns(20)
        asked.append(busy(node))
        wire = next(wire for wire in node.keyserver.wires if wire.buffer)
        wire.buffer = b""
        await wire.send(ok(PATTERN))
    assert max(asked) == 2
    assert [(await each).body == PATTERN for each in answered] == [True] * len(others)


def busy(node: Node) -> int:
    """Return how many requests the keyserver has and has not answered."""
    with suppress(BlockingIOError):
        while True:
            sock, _ = node.keyserver._sock.accept()
            node.keyserver.wires.append(Wire(sock))
    for wire in node.keyserver.wires:
        wire.pull()
    return sum(bool(wire.buffer) for wire in node.keyserver.wires)


async def test_client_that_leaves_a_large_answer_has_paid(start: Start) -> None:
    """Who breaks off in the middle of what was kept gets nothing back."""
    node = await start({**SLOW, "LIMITS__CERT__BURST": "2", "LIMITS__CERT__COUNT": "1", "LIMITS__CERT__PERIOD": "1h"})
    await first(node, get(), ok(FAT))
    client = await node.connect(get(), small=True, tcp=True)
    await turns()
    client.break_off()
    await until(lambda: node.open <= 1)
    assert (await ask(node, get())).status == 429


# Single flight.


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


async def test_flights_that_bring_nothing_let_the_others_go(start: Start) -> None:
    """When the answer may not be kept one of those who waited goes, and when his may not either, all do."""
    node = await start(ON)
    leader = await node.connect(get())
    link = await node.keyserver.accept()
    await link.head()
    others = [await node.connect(get()) for _ in range(3)]
    await link.send(ok(b"mine\n", "Set-Cookie: a=b"))
    assert (await leader.reply()).body == b"mine\n"
    await link.head()
    assert await node.keyserver.untouched()
    await link.send(ok(b"own\n", "Set-Cookie: a=b"))
    for wire in (link, await node.keyserver.accept()):
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


CERT = certificate()


def fingerprint() -> str:
    """Return that of CERT."""
    reader = UploadReader(UploadKind.BINARY, UploadBounds(), 2**32)
    reader.feed(CERT)
    return str(reader.finish().certs[0].fingerprint)


def post(path: str, body: bytes) -> bytes:
    """Return a request with a form."""
    lines = f"Host: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\n{lines}".encode() + body


NAMES = {
    "fingerprint": lambda digits: digits,
    "key id": lambda digits: digits[-16:],
    "short id": lambda digits: digits[-8:],
}


@pytest.mark.parametrize("op", ["get", "index", "vindex"])
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_upload_of_a_certificate_ends_what_is_kept_of_it(
    start: Start, name: Callable[[str], str], op: str
) -> None:
    """Whoever asks after an upload gets the new one, by whichever of its names; others are still kept."""
    node = await start({**ON, "UPLOADS__MODE": "enforce"})
    mine = f"/pks/lookup?op={op}&options=mr&search=0x{name(fingerprint())}"
    await first(node, get(mine), ok(b"old\n"))
    link = node.keyserver.wires[0]
    assert (await answered(node, get(), ok(b"another\n"))).body == b"another\n"
    assert (await answered(node, post("/pks/add", form(armored(CERT))), ok(b"stored\n"))).body == b"stored\n"
    client = await node.connect(get(mine))
    await link.head()
    await link.send(ok(b"new\n"))
    assert (await client.reply()).body == b"new\n"
    assert (await ask(node, get())).body == b"another\n"


async def answered(node: Node, request: bytes, reply: bytes) -> Message:
    """Have the keyserver answer a request over the connection that is there already."""
    client = await node.connect(request)
    link = node.keyserver.wires[0]
    await link.request()
    await link.send(reply)
    return await client.reply()


async def test_answer_that_was_on_its_way_during_an_upload_is_not_kept(start: Start) -> None:
    """It may be older than the upload; who asks after that gets a new one."""
    node = await start({**ON, "UPLOADS__MODE": "enforce"})
    mine = f"/pks/lookup?op=get&options=mr&search=0x{fingerprint()}"
    early, link = await node.begin(get(mine))
    uploader = await node.connect(post("/pks/add", form(armored(CERT))))
    other = await node.keyserver.accept()
    await other.request()
    await other.send(ok(b"stored\n"))
    await uploader.reply()
    await link.send(ok(b"old\n"))
    assert (await early.reply()).body == b"old\n"
    client = await node.connect(get(mine))
    await until(lambda: any(wire.pull() > 0 for wire in node.keyserver.wires))
    wire = next(wire for wire in node.keyserver.wires if wire.buffer)
    await wire.send(ok(b"new\n"))
    assert (await client.reply()).body == b"new\n"


UNREAD = [
    ("/pks/add", "200 OK", False),  # with UPLOADS__MODE=off
    ("/pks/replace", "200 OK", False),
    ("/pks/delete", "200 OK", False),
    ("/pks/delete", "500 Internal Server Error", False),  # perhaps it was done all the same
    ("/pks/delete", "401 Unauthorized", True),
    ("/pks/add", "422 Unprocessable Content", True),
]


@pytest.mark.parametrize(("path", "status", "kept"), UNREAD)
async def test_change_that_nobody_read_ends_all_that_is_kept(
    start: Start, path: str, status: str, *, kept: bool
) -> None:
    """Nobody knows which certificates it is about; but what the keyserver has refused has changed none."""
    node = await start({**ON, "LIMITS__ADMIN__MODE": "off"})
    await first(node, get(), ok(b"old\n"))
    await answered(node, post(path, b"keytext=x"), f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
    await node.connect(get())
    await turns(50)
    assert (node.keyserver.wires[0].pull() == 0) == kept


@pytest.mark.parametrize("setting", ["CERT", "MISSING", "SEARCH", "STATS", "PREFIXLOG"])
async def test_each_time_is_a_setting(start: Start, setting: str) -> None:
    """What is kept for 0 s is not kept at all, and the others are."""
    node = await start({**ON, f"CACHE__{setting}": "0s"})
    asked = {"CERT": KEY_TARGET, "MISSING": target(404), "SEARCH": MAIL, "STATS": STATS, "PREFIXLOG": PREFIXLOG}
    await first(node, get("/pks/lookup?op=index&options=mr&search=0x0123456789ABCDEF", "Cookie: a=b"), ok())
    for each in asked.values():
        await answered(node, get(each), MISSING.encode() if each == target(404) else ok())
    for name, each in asked.items():
        await node.connect(get(each))
        await turns(50)
        assert (node.keyserver.wires[0].pull() > 0) == (name == setting)


@pytest.mark.parametrize(
    ("day", "over"),
    [
        ("2026-05-01", True), ("2025-12-31", True), ("2026-05-02", False), ("2026-05-03", False), ("2026-5-1", False),
        ("", False), ("20260501", False), ("2026-05-01x", False), ("0", False),
    ],
)  # fmt: skip
def test_day_that_is_over(day: str, *, over: bool) -> None:
    """Only a day that is written out, and before the one that it is in UTC; what is none may mean today."""
    assert is_over(day, datetime(2026, 5, 2, 0, 0, 1, tzinfo=UTC)) is over


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
    original, record = node.records()
    assert (record.status, record.action, record.upstream) == (200, Action.ALLOW, 255)
    assert (original.flags & FLAG_CACHED, record.flags & FLAG_CACHED) == (0, FLAG_CACHED)


async def test_what_the_cache_was_to_requests_is_counted(start: Start) -> None:
    """One that goes to the keyserver, one that joins it, one that comes later, and one that is none of its business."""
    node = await start(ON)
    leader, link = await node.begin(get())
    joined = await node.connect(get())
    await link.send(ok())
    replies = [await leader.reply(), await joined.reply(), await ask(node, get())]
    await answered(node, get(method="HEAD"), ok(b""))
    assert [reply.fields.all("Age") for reply in replies] == [[], ["0"], ["0"]]
    uses = node.snapshot().cache
    assert {use: uses[use] for use in CacheUse} == {
        CacheUse.NONE: 1,
        CacheUse.HIT: 1,
        CacheUse.JOINED: 1,
        CacheUse.MISS: 1,
    }
    assert [record.flags & FLAG_CACHED for record in node.records()] == [0, FLAG_CACHED, FLAG_CACHED, 0]


async def test_off(start: Start) -> None:
    """Without the cache every request goes to the keyserver, identical ones too."""
    node = await start()
    await node.connect(get(), run=False)
    await node.connect(get(), run=False)
    await node.keyserver.accept()
    await node.keyserver.accept()
    assert FPR in KEY_TARGET
