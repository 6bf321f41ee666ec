"""Keyservers as one worker sees them: which one is asked, over which connection, and who waits."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from proxy.policy.actions import Reason
from tests.proxy.http.harness import Keyserver, get, ok, turns, until, unused_port

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node, Wire


def endpoint(port: int) -> tuple[int, tuple[str, int]]:
    """Return the endpoint of a port on loopback."""
    return socket.AF_INET, ("127.0.0.1", port)


def refuse(node: Node, *indices: int) -> None:
    """Let nobody listen where these keyservers were."""
    for index in indices:
        node.guard.upstreams.all[index].endpoints = (endpoint(unused_port()),)


async def answer(keyserver: Keyserver, body: bytes = b"key\n") -> Wire:
    """Serve one request on a new connection."""
    link = await keyserver.accept()
    await link.head()
    await link.send(ok(body))
    return link


async def test_request_goes_to_the_next_keyserver_if_the_first_refuses(start: Start) -> None:
    """A connection that cannot be made costs the client nothing as long as another keyserver is there."""
    node = await start(keyservers=2)
    refuse(node, 0)
    for _ in range(3):
        client = await node.connect(get("/pks/stats", "Connection: close"))
        link = await node.keyservers[1].accept()
        await link.head()
        await link.send(ok(b"second\n", "Connection: close"))
        assert (await client.reply()).body == b"second\n"


async def test_upload_goes_to_the_next_keyserver_if_the_first_refuses(start: Start) -> None:
    """Nothing of an upload has been sent when a connection is refused, so it may go elsewhere, whole."""
    node = await start(keyservers=2)
    refuse(node, 0)
    client = await node.connect(b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nkeys")
    link = await node.keyservers[1].accept()
    assert (await link.request()).body == b"keys"
    await link.send(ok())
    assert (await client.reply()).status == 200


@pytest.mark.parametrize(("minor", "status"), [(0, 500), (1, 503)])
async def test_all_keyservers_refuse(start: Start, minor: int, status: int) -> None:
    """With no keyserver left the answer is 500 to gpg, 503 and Retry-After to others."""
    node = await start(keyservers=2)
    refuse(node, 0, 1)
    client = await node.connect(get(minor=minor))
    assert (await client.reply()).status == status
    assert node.snapshot().responses[status] == 1


async def test_name_that_cannot_be_resolved(start: Start) -> None:
    """A keyserver without any known address is one that refuses."""
    node = await start()
    node.guard.upstreams.all[0].endpoints = ()
    client = await node.connect(get())
    assert (await client.reply()).status == 503


async def test_every_address_of_a_name_is_tried(start: Start) -> None:
    """`localhost` is ::1 and 127.0.0.1; a keyserver that listens on one of them serves every request."""
    node = await start()
    node.guard.upstreams.all[0].endpoints = (endpoint(unused_port()), endpoint(node.keyserver.port))
    for _ in range(4):
        client = await node.connect(get("/pks/stats", "Connection: close"))
        link = await node.keyserver.accept()
        await link.head()
        await link.send(ok(b"here\n", "Connection: close"))
        assert (await client.reply()).body == b"here\n"


async def test_keyserver_with_the_fewest_requests_is_chosen(start: Start) -> None:
    """While one keyserver works on a request, the next one goes to the other."""
    node = await start(keyservers=2)
    await node.connect(get())
    await (await node.keyservers[0].accept()).head()
    await node.connect(get())
    await (await node.keyservers[1].accept()).head()


async def test_failing_keyserver_is_left_alone(start: Start) -> None:
    """After `failures` refusals in a row a keyserver is not asked any more while another is up."""
    node = await start({"HEALTH__FAILURES": "2"}, keyservers=2)
    refuse(node, 0)
    for _ in range(2):
        client = await node.connect(get("/pks/stats", "Connection: close"))
        await answer(node.keyservers[1])
        await client.reply()
        for link in node.keyservers[1].wires:
            link.close()
        await turns()
    node.guard.upstreams.all[0].endpoints = (endpoint(node.keyservers[0].port),)
    for _ in range(2):
        await node.connect(get("/pks/stats", "Connection: close"))
        await (await node.keyservers[1].accept()).head()
    assert await node.keyservers[0].untouched()


async def test_keyservers_that_are_all_down_are_tried_all_the_same(start: Start) -> None:
    """A false alarm must not become an outage."""
    node = await start({"HEALTH__FAILURES": "1"})
    refuse(node, 0)
    client = await node.connect(get())
    await client.reply()
    node.guard.upstreams.all[0].endpoints = (endpoint(node.keyserver.port),)
    await client.send(get())
    await answer(node.keyserver, b"back\n")
    assert (await client.reply()).body == b"back\n"


async def test_safe_request_goes_to_the_next_keyserver_if_the_first_hangs_up(start: Start) -> None:
    """A keyserver that takes a connection and closes it without a word is passed over, and remembered for it."""
    node = await start(keyservers=2)
    client, link = await node.begin(get())
    link.close()
    await answer(node.keyservers[1], b"second\n")
    assert (await client.reply()).body == b"second\n"


async def test_upload_does_not_go_to_the_next_keyserver_if_the_first_hangs_up(start: Start) -> None:
    """The first may have stored it."""
    node = await start(keyservers=2)
    client = await node.connect(b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nkeys")
    link = await node.keyserver.accept()
    await link.request()
    link.close()
    assert (await client.reply()).status == 503
    assert await node.keyservers[1].untouched()


async def test_safe_request_is_not_sent_round_for_ever(start: Start) -> None:
    """When all keyservers hang up the client learns it."""
    node = await start(keyservers=2)
    client, link = await node.begin(get())
    link.close()
    other = await node.keyservers[1].accept()
    await other.head()
    other.close()
    assert (await client.reply()).status == 503
    assert await node.keyservers[0].untouched()
    assert await node.keyservers[1].untouched()


async def test_connection_that_takes_too_long(start: Start) -> None:
    """A keyserver that does not take the connection in time counts as one that refused it."""
    node = await start(keyservers=2, connect_ns=1)
    client = await node.connect(get(), run=False)
    node.guard.sweep()
    link = await node.keyservers[1].accept()
    await link.head()
    await link.send(ok(b"second\n"))
    assert (await client.reply()).body == b"second\n"


async def test_request_waits_for_a_connection(start: Start) -> None:
    """Where no more connections may be opened, requests wait for one, in the order in which they came."""
    node = await start({"POOL__CONNECTIONS": "1"})
    first, link = await node.begin(get())
    second, third = await node.connect(get("/pks/stats?n=2")), await node.connect(get("/pks/stats?n=3"))
    assert await node.keyserver.untouched()
    await link.send(ok(b"1\n"))
    assert b"n=2" in await link.head()
    await link.send(ok(b"2\n"))
    assert b"n=3" in await link.head()
    await link.send(ok(b"3\n"))
    assert [(await each.reply()).body for each in (first, second, third)] == [b"1\n", b"2\n", b"3\n"]


async def test_waiting_request_gets_a_new_connection_when_one_dies(start: Start) -> None:
    """A connection that dies makes room for another one."""
    node = await start({"POOL__CONNECTIONS": "1"})
    first, link = await node.begin(get())
    second = await node.connect(get())
    link.close()
    assert (await first.reply()).status == 503
    await answer(node.keyserver, b"2\n")
    assert (await second.reply()).body == b"2\n"


async def test_every_waiting_request_is_served_after_connections_died(start: Start) -> None:
    """Each connection that dies makes room for one of those that wait, however many died at once."""
    node = await start({"POOL__CONNECTIONS": "2"})
    links = []
    for _ in range(2):
        _, link = await node.begin(get())
        links.append(link)
    waiting = [await node.connect(get()) for _ in range(2)]
    for link in links:
        link.close()
    for client in waiting:
        await answer(node.keyserver, b"late\n")
        assert (await client.reply()).body == b"late\n"


async def test_waiting_request_is_refused_when_no_connection_can_be_made(start: Start) -> None:
    """Who waits for a connection learns at once that none can be made."""
    node = await start({"POOL__CONNECTIONS": "1"})
    refuse(node, 0)
    first, second = await node.connect(get(), run=False), await node.connect(get(), run=False)
    assert (await first.reply()).status == 503
    assert (await second.reply()).status == 503


async def test_waiting_request_is_served_although_the_one_before_it_left(start: Start) -> None:
    """A client that leaves the queue for a connection does not take its successor's turn with it."""
    node = await start({"POOL__CONNECTIONS": "1"})
    first, link = await node.begin(get("/pks/stats", "Connection: close"))
    gone = await node.connect(tcp=True)
    await gone.send(get())
    waiting = await node.connect(get("/pks/stats?n=2"))
    gone.break_off()
    await turns()
    link.close()
    assert (await first.reply()).status == 503
    again = await node.keyserver.accept()
    assert b"n=2" in await again.head()
    await again.send(ok())
    assert (await waiting.reply()).status == 200


@pytest.mark.parametrize("leave", ["close", "break_off", "finish"])
async def test_who_leaves_the_line_for_connections_gives_up_its_place(start: Start, leave: str) -> None:
    """Else a handful of clients that ask and leave, again and again, would fill the line for everybody."""
    node = await start({"POOL__CONNECTIONS": "1"})
    await node.begin(get())
    gone = await node.connect(tcp=True)
    await gone.send(get())
    await until(lambda: len(node.guard.upstreams.waiting) == 1)
    getattr(gone, leave)()
    await until(lambda: not node.guard.upstreams.waiting)
    assert node.records()[-1].reason == Reason.GONE


async def test_request_that_waits_too_long_for_a_connection(start: Start) -> None:
    """The wait for a connection is as long as that for a first byte."""
    node = await start({"POOL__CONNECTIONS": "1"}, first_byte_ns=1)
    await node.begin(get())
    waiting = await node.connect(get())
    node.guard.sweep()
    assert (await waiting.reply()).status == 503


async def test_line_for_connections_is_bounded(start: Start) -> None:
    """So many requests wait for a connection; one more is refused at once, and the others go on waiting."""
    no_caps = {"MODE": "off", "CONNECTIONS_PER_CLIENT": "0", "CONNECTIONS_PER_NETWORK": "0"}
    node = await start({"POOL__CONNECTIONS": "1", **no_caps}, first_byte_ns=1)
    await node.begin(get())
    waiting = [await node.connect(get(), run=False) for _ in range(4096)]
    refused = await node.connect(get())
    assert (await refused.reply()).status == 503
    assert await waiting[0].quiet()
    assert await waiting[-1].quiet()
    node.guard.sweep()
    assert (await waiting[-1].reply()).status == 503


async def test_idle_connections_are_bounded(start: Start) -> None:
    """What is more than `idle` is closed when it comes back."""
    node = await start({"POOL__IDLE": "1"})
    clients = [await node.begin(get()) for _ in range(2)]
    for _, link in clients:
        await link.send(ok())
    assert await clients[0][1].quiet()
    assert await clients[1][1].to_end() == b""


async def test_new_bounds_hold_after_a_reload(start: Start) -> None:
    """A reload changes the bounds of the pool without touching the connections that are in use."""
    node = await start({"POOL__CONNECTIONS": "1"})
    first, link = await node.begin(get())
    await node.connect(get("/pks/stats?n=2"))
    node.reload({"POOL__CONNECTIONS": "2", "POOL__IDLE": "0"})
    third = await node.connect(get("/pks/stats?n=3"))
    other = await node.keyserver.accept()
    assert b"n=" in await other.head()
    await link.send(ok(b"1\n"))
    assert (await first.reply()).body == b"1\n"
    third.close()


async def test_idle_connection_is_closed_when_it_is_old(start: Start) -> None:
    """A kept connection that nobody used is closed before the keyserver does it."""
    node = await start(upstream_idle_ns=1)
    client, link = await node.begin(get())
    await link.send(ok())
    await client.reply()
    node.guard.sweep()
    assert await link.to_end() == b""
