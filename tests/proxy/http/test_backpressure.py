"""Slow sides: what one does not take must stay with the other, and not in the worker."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.proxy.http.harness import exhaust, get, ok, turns

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node, Wire

MIB = 1 << 20
# What the kernel keeps of a loopback connection (sysctl tcp_wmem) and a worker of an exchange, with room to spare;
# and what the worker must refuse to keep.
BUFFERS_BYTES = 8 * MIB
PLENTY = bytes(14 * MIB)
PATTERN = bytes(range(256)) * 6000


def upload(size: int) -> bytes:
    """Return the head of an upload."""
    return b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size


def of_length(size: int) -> bytes:
    """Return the head of a reply."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size


async def test_slow_reader_stops_the_keyserver(start: Start) -> None:
    """A client that reads nothing makes the keyserver wait; the worker does not take in the reply for it."""
    node = await start(small=True)
    await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(of_length(len(PLENTY)))
    assert await link.push_all(PLENTY) < BUFFERS_BYTES


async def test_slow_reader_gets_everything_in_the_end(start: Start) -> None:
    """When the client reads again the rest of the reply comes, whole and in order."""
    node = await start(small=True)
    client = await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(of_length(len(PATTERN)))
    stuck_at = await link.push_all(PATTERN)
    _, reply = await asyncio.gather(link.send(PATTERN[stuck_at:]), client.reply())
    assert reply.body == PATTERN


async def test_slow_keyserver_gets_everything_in_the_end(start: Start) -> None:
    """After a pause of the keyserver the rest of the upload arrives, whole and in order."""
    node = await start({"HTTP__BODY_BYTES": "4MiB"}, small=True)
    client = await node.connect(upload(len(PATTERN)), small=True)
    await client.send(PATTERN)
    link = await node.keyserver.accept()
    await turns()
    assert (await link.request()).body == PATTERN
    await link.send(ok())
    assert (await client.reply()).status == 200


async def test_connection_released_while_the_client_was_slow_serves_the_next(start: Start) -> None:
    """A keyserver connection whose last bytes filled the client's buffer is read again for the next request."""
    node = await start()
    slow = await node.connect(get(), small=True)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(of_length(100_000), PATTERN[:60_000], PATTERN[60_000:100_000])
    other = await node.connect(get())
    await link.head()
    await link.send(ok(b"second\n"))
    assert (await other.reply()).body == b"second\n"
    assert (await slow.reply()).body == PATTERN[:100_000]


async def test_refusals_that_nobody_reads_are_not_made(start: Start) -> None:
    """A client that asks and asks and never reads is not answered for ever: refusals would fill the memory."""
    node = await start()
    client = await node.connect(small=True)
    await client.push_all(b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 5000)
    assert sum(map(sum, node.snapshot().requests)) < 1000


async def test_refusals_go_on_when_the_client_reads_again(start: Start) -> None:
    """Nothing is lost by the pause: every request gets its answer, in its order."""
    node = await start()
    client = await node.connect(small=True)
    requests = (get("/x") + get("/pks/add")) * 1000
    stuck_at = await client.push_all(requests)
    _, statuses = await asyncio.gather(client.send(requests[stuck_at:]), statuses_of(client, 2000))
    assert statuses == [404, 405] * 1000


async def statuses_of(client: Wire, count: int) -> list[int]:
    """Read so many replies."""
    return [(await client.reply()).status for _ in range(count)]


async def test_replies_go_on_when_the_client_reads_again(start: Start) -> None:
    """The same for replies of a keyserver, long ones and short ones."""
    node = await start()
    client = await node.connect(small=True)
    await client.push_all(get() * 20)
    link = await node.keyserver.accept()
    sizes = [100_000, 10, 60_000, 70_000, 0] * 4

    async def serve() -> None:
        for size in sizes:
            await link.head()
            await link.send(of_length(size), PATTERN[:size]) if size else await link.send(of_length(0))

    async def read() -> list[int]:
        return [len((await client.reply()).body) for _ in sizes]

    assert (await asyncio.gather(serve(), read()))[1] == sizes


async def test_keyserver_that_takes_nothing_is_given_up(start: Start) -> None:
    """An upload that does not move because of the keyserver ends with 503 after `first_byte`."""
    node = await start({"HTTP__BODY_BYTES": "8MiB"}, small=True, first_byte_ns=1)
    client = await node.connect(upload(len(PATTERN)), small=True)
    await client.send(PATTERN)
    await node.keyserver.accept()
    node.guard.sweep()
    assert (await client.reply()).status == 503


async def test_replies_that_nobody_reads_are_not_fetched(start: Start) -> None:
    """A client that pipelines gets and never reads stops being served once its buffer is full."""
    node = await start()
    client = await node.connect(small=True)
    await client.push_all(get() * 200)
    link = await node.keyserver.accept()
    served = 0

    def step() -> bool:
        nonlocal served
        if not link.pull():
            return False
        served += 1
        reply = ok(PATTERN[:30_000])
        return link.push(reply) == len(reply)

    await exhaust(step)
    assert served < 20


async def stall(node: Node) -> Wire:
    """Return the client's end of a connection whose reply nobody reads."""
    client = await node.connect(get(), small=True, tcp=True)
    link = await node.keyserver.accept()
    await link.head()
    await link.send(of_length(len(PLENTY)))
    await link.push_all(PLENTY)
    return client


async def test_slow_readers_leave_their_places(start: Start) -> None:
    """A reply that its client does not read does not keep others from the keyserver, nor from the line for it."""
    node = await start({"POOL__CONNECTIONS": "1"}, small=True)
    for _ in range(3):
        await stall(node)
    _, reply = await node.ask(get(), ok())
    assert reply.status == 200
    assert node.open == 4


async def test_too_many_slow_readers(start: Start) -> None:
    """Where there are too many the reply that stalled first is broken off, and none that was read meanwhile."""
    node = await start({"POOL__SLOW": "2"}, small=True)
    first, second = await stall(node), await stall(node)
    while first.pull():  # it reads on
        await turns()
    later = [await stall(node) for _ in range(2)]
    assert await second.end() == "reset"
    assert [wire.pull() > 0 for wire in later] == [True, True]
