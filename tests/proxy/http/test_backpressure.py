"""Slow sides: what one does not take must stay with the other, and not in the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.proxy.http.harness import get, ok, turns

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Wire

MIB = 1 << 20
# Kernel buffers of a loopback connection (sysctl tcp_wmem, tcp_rmem) and what a worker may hold of one exchange.
KERNEL_BYTES = 8 * MIB
PLENTY_BYTES = 48 * MIB


async def push_until_stuck(wire: Wire, most: int) -> int:
    """Send as long as somebody takes it; return how many bytes were taken."""
    pushed = 0
    while pushed < most:
        before = pushed
        for _ in range(20):
            pushed += wire.push(most - pushed)
            await turns(2)
        if pushed == before:
            break
    return pushed


async def test_slow_reader_stops_the_keyserver(start: Start) -> None:
    """A client that reads nothing makes the keyserver wait; the worker does not take in the reply for it."""
    node = await start(small=True)
    client = await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % PLENTY_BYTES)
    assert await push_until_stuck(link, PLENTY_BYTES) < KERNEL_BYTES
    client.close()


async def test_slow_reader_gets_everything_in_the_end(start: Start) -> None:
    """When the client reads again the rest of the reply comes, whole and in order."""
    node = await start(small=True)
    client = await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    body = bytes(range(256)) * 4096
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    sent = 0
    while sent < len(body):
        try:
            sent += link.sock.send(body[sent:])
        except BlockingIOError:
            await client.more()
        await turns(1)
    assert (await client.reply()).body == body


async def test_slow_keyserver_stops_the_upload(start: Start) -> None:
    """A keyserver that takes nothing of an upload makes the client wait; the worker does not take it in."""
    node = await start({"HTTP__BODY_BYTES": "64MiB"}, small=True)
    client = await node.connect(
        b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % PLENTY_BYTES, small=True
    )
    await node.keyserver.accept()
    assert await push_until_stuck(client, PLENTY_BYTES) < KERNEL_BYTES


async def test_upload_goes_on_when_the_keyserver_reads_again(start: Start) -> None:
    """After a pause of the keyserver the rest of the upload arrives, whole and in order."""
    node = await start({"HTTP__BODY_BYTES": "4MiB"}, small=True)
    body = bytes(range(256)) * 8192
    client = await node.connect(
        b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body), small=True
    )
    link = await node.keyserver.accept()
    sent = 0
    while sent < len(body):
        try:
            sent += client.sock.send(body[sent:])
        except BlockingIOError:
            await link.more()
        await turns(1)
    assert (await link.request()).body == body
    await link.send(ok())
    assert (await client.reply()).status == 200


async def test_connection_released_while_the_client_was_slow_serves_the_next(start: Start) -> None:
    """A keyserver connection whose last bytes filled the client's buffer is read again for the next request."""
    node = await start()
    slow = await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    body = b"k" * 160_000
    await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    await link.send(body[:60_000], body[60_000:100_000], body[100_000:])
    await turns(50)
    other = await node.connect(get())
    assert b"GET" in await link.head()
    await link.send(ok(b"second\n"))
    assert (await other.reply()).body == b"second\n"
    assert (await slow.reply()).body == body


async def test_pipeline_of_refusals_that_nobody_reads_stops(start: Start) -> None:
    """A client that asks and asks, and never reads the refusals, is not read any more."""
    node = await start()
    client = await node.connect(small=True)
    one = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    pushed = 0
    for _ in range(3000):
        try:
            pushed += client.sock.send(one * 100)
        except BlockingIOError:
            await turns(3)
    assert pushed < MIB


async def test_pipeline_of_replies_that_nobody_reads_stops(start: Start) -> None:
    """A client that pipelines gets and never reads the replies stops being served, not the worker's memory."""
    node = await start(small=True)
    client = await node.connect(get() * 400, small=True)
    link = await node.keyserver.accept()
    served = 0
    while served < 400 and get_arrived(link):
        await link.head()
        await link.send(ok(b"k" * 60_000))
        served += 1
        await turns()
    assert served < 20


def get_arrived(link: Wire) -> bool:
    """Whether a request is there, read or not."""
    try:
        link.buffer += link.sock.recv(65536)
    except BlockingIOError:
        pass
    return b"\r\n\r\n" in link.buffer
