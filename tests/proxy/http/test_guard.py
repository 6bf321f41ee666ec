"""A worker as a whole: whom it admits, how it ends, what it publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastpath import client_key
from fastpath.record import NO_UPSTREAM
from proxy.hkp.classes import OperationClass
from proxy.http.guard import SWEEP_SECONDS
from proxy.policy.actions import Action, Reason, TurnedAway
from proxy.telemetry.numbers import FLAG_HTTP_1_0, METHODS
from tests.proxy.http.harness import CLIENT, FPR, KEY_TARGET, get, ok, turns, until

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start


async def test_more_connections_than_allowed(start: Start) -> None:
    """One too many is closed at once, counted, and does not disturb the others; a free place is given again."""
    node = await start({"CONNECTIONS": "16"})
    for _ in range(16):
        await node.connect(get(KEY_TARGET, "Connection: close"))
    refused = await node.connect(get("/nowhere"), tcp=True)
    assert await refused.end() in {"closed", "reset"}
    assert node.open == 16
    assert node.snapshot().turned_away[TurnedAway.FULL] == 1
    link = await node.keyserver.accept()
    await link.send(ok())
    await until(lambda: node.open == 15)
    client = await node.connect(get("/nowhere"))
    assert (await client.reply()).status == 404


async def test_who_waits_longest_makes_room(start: Start) -> None:
    """Where there is no room, the silent connection that is nearest to its deadline is closed for a new one."""
    node = await start({"CONNECTIONS": "16"})
    silent = [await node.connect() for _ in range(16)]
    client = await node.connect(get("/nowhere"))
    assert (await client.reply()).status == 404
    assert await silent[0].to_end() == b""
    assert node.open == 16


async def test_many_deadlines_at_once_are_met_in_turns(start: Start) -> None:
    """Connections that are late together are ended a few at a time, with rests in which others are served."""
    node = await start(head_ns=1)
    for number in range(200):
        await node.connect(b"GET", peer=f"203.0.{number}.1", run=False)
    await turns()
    node.guard.sweep()
    assert node.snapshot().responses[408] == 8
    node.guard.sweep()  # while some are waiting for their end it looks for no others
    assert node.snapshot().responses[408] == 8
    while node.loop.timers:
        node.loop.timers[0].fire()
    assert node.snapshot().responses[408] == 200


async def test_sixteenth_makes_room(start: Start) -> None:
    """Room is made for more than one newcomer, so that not each of them costs a look at all connections."""
    node = await start({"CONNECTIONS": "32"})
    for number in range(32):
        await node.connect(peer=f"203.0.{number}.1")
    await node.connect()
    assert node.open == 32 - 2 + 1


async def test_pipeline_lets_others_have_their_turn(start: Start) -> None:
    """After 32 requests of one connection others are served before it goes on."""
    node = await start()
    await node.connect(get("/nowhere") * 40, run=False)
    await node.connect(get("/nowhere"), peer="198.51.100.1", run=False)
    await until(lambda: node.snapshot().responses[404] == 41)
    other = client_key(bytes([198, 51, 100, 1]))
    assert [record.client == other for record in node.records()].index(True) == 32


async def test_idle_connections_make_room_first(start: Start) -> None:
    """Who has been answered and keeps the connection goes before who has just come, whatever their deadlines."""
    node = await start({"CONNECTIONS": "16"})
    fresh = await node.connect()
    idle = []
    for number in range(15):
        idle.append(await node.connect(get("/nowhere"), peer=f"203.0.{number}.1"))
        await idle[-1].reply()
    await node.connect(get("/nowhere"), peer="198.51.100.1")
    assert await idle[0].to_end() == b""
    assert await fresh.quiet()


@pytest.mark.parametrize("setting", ["TRUSTED_PROXIES", "ALLOW", "PEERS"])
async def test_known_clients_make_no_room(start: Start, setting: str) -> None:
    """Idle connections of proxies, peers and allowed networks are not closed for strangers."""
    node = await start({"CONNECTIONS": "16", setting: CLIENT})
    for _ in range(16):
        await node.connect()
    stranger = await node.connect(get("/nowhere"), peer="198.51.100.1", tcp=True)
    assert await stranger.end() in {"closed", "reset"}
    assert node.open == 16


async def test_drain_closes_idle_connections(start: Start) -> None:
    """At the end connections without a request are closed, to clients and to keyservers."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    node.guard.drain()
    assert await client.to_end() == b""
    assert await link.to_end() == b""


async def test_drain_finishes_what_is_under_way(start: Start) -> None:
    """A request that has begun gets its reply, and is told that the connection ends with it."""
    node = await start()
    client, link = await node.begin(get())
    node.guard.drain()
    await link.send(ok(b"key\n"))
    reply = await client.reply()
    assert (reply.body, reply.fields["Connection"]) == (b"key\n", "close")
    assert await client.to_end() == b""
    assert node.open == 0


async def test_drain_finishes_a_reply_that_has_begun(start: Start) -> None:
    """The same where the head of the reply went out before."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
    await client.until(b"half")
    node.guard.drain()
    await link.send(b"rest")
    assert await client.to_end() == b"rest"


async def test_drain_finishes_a_parked_request(start: Start) -> None:
    """Who was promised a turn gets it."""
    node = await start({"LIMITS__CERT__BURST": "1"})
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get())
    node.guard.drain()
    (timer,) = node.loop.timers
    timer.fire()
    again = await node.keyserver.accept()
    await again.head()
    await again.send(ok(b"late\n"))
    assert (await client.reply()).body == b"late\n"
    assert await client.to_end() == b""


async def test_drain_closes_connections_on_which_nothing_was_asked(start: Start) -> None:
    """A browser opens connections that it may never use; they do not hold up the end."""
    node = await start()
    client = await node.connect()
    node.guard.drain()
    assert await client.to_end() == b""


async def test_drain_answers_a_head_that_has_begun(start: Start) -> None:
    """Who is in the middle of a request finishes it, and is told that the connection ends; more is not read."""
    node = await start()
    client = await node.connect()
    await client.send(get("/nowhere")[:20])
    node.guard.drain()
    await client.send(get("/nowhere")[20:] + get("/nowhere"))
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (404, "close")
    assert await client.to_end() == b""


async def test_drain_while_a_slow_reader_has_not_got_all(start: Start) -> None:
    """A reply that is complete here and not yet read is still delivered."""
    node = await start()
    client, link = await node.begin(get(), small=True)
    await link.send(ok(b"k" * 60_000))
    await turns()
    node.guard.drain()
    assert (await client.reply()).body == b"k" * 60_000
    assert await client.to_end() == b""


async def test_gauges(start: Start) -> None:
    """Open connections and parked requests are published by the sweep, which runs several times a second."""
    node = await start({"LIMITS__CERT__BURST": "1"})
    await node.connect()
    await node.begin(get())
    await node.connect(get())
    node.guard.sweep()
    snapshot = node.snapshot()
    assert (snapshot.connections, snapshot.parked) == (3, 1)
    assert SWEEP_SECONDS <= 1


@pytest.mark.parametrize(
    ("method", "minor", "target", "operation", "subject"),
    [
        ("GET", 1, f"/pks/lookup?op=get&search=0x{FPR.lower()}", OperationClass.CERT, FPR.encode()),
        ("GET", 0, "/pks/lookup?op=get&search=Alice%40Example.org", OperationClass.IDENTITY, b"alice@example.org"),
        ("HEAD", 1, "/pks/lookup?op=get&options=mr&search=0x" + FPR, OperationClass.CERT, FPR.encode()),
        ("GET", 1, "/pks/stats", OperationClass.STATS, b""),
        ("POST", 1, "/pks/add", OperationClass.UPLOAD, b""),
    ],
)
async def test_record(
    start: Start, method: str, minor: int, target: str, operation: OperationClass, subject: bytes
) -> None:
    """Each request leaves one record, with what was asked, what was done, and what it cost."""
    node = await start(keyservers=2)
    _, reply = await node.ask(
        get(target, method=method, minor=minor), ok(b"key\n") if method != "HEAD" else ok(b""), method=method
    )
    (record,) = node.records()
    assert (record.operation, record.subject) == (operation, subject)
    assert (record.action, record.reason, record.status) == (Action.ALLOW, Reason.NONE, 200)
    assert METHODS[record.method] == method
    assert record.flags == (0 if minor else FLAG_HTTP_1_0)
    assert record.sent == len(reply.head) + len(reply.body)
    assert record.upstream == 0
    assert record.address[12:] == bytes(map(int, CLIENT.split(".")))
    assert 0 < record.upstream_us <= record.total_us
    assert record.wait_us == 0


@pytest.mark.parametrize("search", ["alice%FF%FE", "%ED%A0%80%ED%B0%80alice", "alice%C3", "alice%F0%9F%94%91"])
async def test_record_of_a_search_that_is_no_utf_8(start: Start, search: str) -> None:
    """Whatever octets are searched for, the request is served and recorded."""
    node = await start()
    got, reply = await node.ask(get(f"/pks/lookup?op=index&search={search}"), ok(b"key\n"))
    assert got.target == f"/pks/lookup?op=index&search={search}"
    assert reply.body == b"key\n"
    (record,) = node.records()
    assert record.operation == OperationClass.WORDS
    assert record.subject


async def test_record_of_an_upload(start: Start) -> None:
    """What was received is the body, without its framing."""
    node = await start()
    await node.ask(
        b"POST /pks/add HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nkeys\r\n0\r\n\r\n", ok()
    )
    (record,) = node.records()
    assert (record.operation, record.received) == (OperationClass.UPLOAD, 4)


async def test_record_of_a_refusal(start: Start) -> None:
    """A refusal names no keyserver, since none was asked."""
    node = await start()
    client = await node.connect(get("/nowhere"))
    reply = await client.reply()
    (record,) = node.records()
    assert (record.action, record.reason, record.status) == (Action.DENY, Reason.UNKNOWN, 404)
    assert (record.upstream, record.upstream_us) == (NO_UPSTREAM, 0)
    assert record.sent == len(reply.head) + len(reply.body)


async def test_record_names_the_class_of_an_upload_that_is_too_large(start: Start) -> None:
    """A refused upload is an upload: the operator sees which limit to raise."""
    node = await start()
    client = await node.connect(b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n")
    assert (await client.reply()).status == 413
    (record,) = node.records()
    assert (record.operation, record.reason) == (OperationClass.UPLOAD, Reason.TOO_LARGE)


async def test_counters(start: Start) -> None:
    """Requests, replies and times are counted once for each request."""
    node = await start({"LIMITS__CERT__BURST": "1"})
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get())
    (timer,) = node.loop.timers
    timer.fire()
    await link.head()
    await link.send(ok())
    await client.reply()
    await client.send(get("/nowhere"))
    await client.reply()
    snapshot = node.snapshot()
    cert, unknown = (snapshot.requests[kind] for kind in (OperationClass.CERT, OperationClass.UNKNOWN))
    assert (cert[Action.ALLOW], cert[Action.DELAY], unknown[Action.DENY]) == (1, 1, 1)
    assert sum(map(sum, snapshot.requests)) == 3
    assert (snapshot.responses[200], snapshot.responses[404], sum(snapshot.responses)) == (2, 1, 3)
    assert sum(snapshot.decision.counts) == 3
    assert sum(snapshot.added.counts) >= 1
    assert sum(snapshot.upstream[OperationClass.CERT].counts) == 2
    assert sum(snapshot.delayed.counts) == 1


async def test_wait_is_not_counted_as_added(start: Start) -> None:
    """The time that a limit imposed is no cost of the guard."""
    node = await start({"LIMITS__CERT__BURST": "1"})
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    await client.send(get())
    (timer,) = node.loop.timers
    timer.fire()  # long before its time: the wait that is recorded is the one that was decided
    await link.head()
    await link.send(ok())
    await client.reply()
    assert node.snapshot().added.sum_ns < 1_000_000_000
    assert node.snapshot().delayed.sum_ns > 100_000_000
