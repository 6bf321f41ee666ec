"""The relay: source addresses, one connection for one, bytes and ends as they are, and a distance."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bench.recording import relay as relays
from bench.recording.relay import LOOPBACK, Relay, relaying

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

SOURCE = "127.77.0.9"
PATIENCE_S = 10  # nothing waits for ever


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[int]:
    """Run a server of the test; give its port."""
    server = await asyncio.start_server(handler, LOOPBACK, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say who it is, and then all that it said, when it has ended."""
    address = writer.get_extra_info("peername")[0]
    writer.write(address.encode() + b" " + await reader.read())
    writer.close()


async def ask(port: int, data: bytes) -> bytes:
    """Send all, end, and read to the end."""
    async with asyncio.timeout(PATIENCE_S):
        reader, writer = await asyncio.open_connection(LOOPBACK, port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("rtt_s", [0.0, 0.002])
@pytest.mark.parametrize("data", [b"", b"a request", bytes(range(256)) * 4096], ids=["nothing", "short", "a megabyte"])
async def test_bytes_arrive_as_they_are_from_the_address_of_the_run(data: bytes, rtt_s: float) -> None:
    """The end of the request goes through as well, and does not end the answer."""
    async with serving(echo) as port, relaying(port, lambda: SOURCE, rtt_s) as relay:
        assert await ask(relay.port, data) == SOURCE.encode() + b" " + data


async def test_each_connection_is_one_connection_and_asks_for_its_address() -> None:
    """One for one: what a client opens is what the server sees."""
    sources = iter([f"127.77.0.{number}" for number in range(1, 4)])
    async with serving(echo) as port, relaying(port, lambda: next(sources)) as relay:
        answers = [await ask(relay.port, b"x") for _ in range(3)]
        assert answers == [b"127.77.0.1 x", b"127.77.0.2 x", b"127.77.0.3 x"]
        assert relay.connections == 3


async def test_the_end_of_the_server_ends_the_client() -> None:
    """Although the client has not finished: a refusal is not kept from it."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"no")
        writer.close()

    async with serving(refuse) as port, relaying(port, lambda: SOURCE) as relay:
        reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
        writer.write(b"GET /")
        assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b"no"
        writer.close()


async def test_a_client_that_breaks_off_is_not_kept() -> None:
    """The server learns of it."""
    gone = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        gone.set()
        writer.close()

    async with serving(wait) as port, relaying(port, lambda: SOURCE) as relay:
        _reader, writer = await asyncio.open_connection(LOOPBACK, relay.port)
        writer.write(b"GET /")
        await writer.drain()
        writer.transport.abort()
        await asyncio.wait_for(gone.wait(), PATIENCE_S)


async def test_a_server_that_does_not_listen_is_counted() -> None:
    """The client sees its connection end, as with a server that goes away."""
    async with serving(echo) as port:
        pass
    async with relaying(port, lambda: SOURCE) as relay:
        assert await ask(relay.port, b"x") == b""
        assert relay.failed == 1


async def test_no_more_connections_at_a_time_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait until there is room; none is lost."""
    monkeypatch.setattr(relays, "CONNECTIONS", 2)
    served, most = 0, 0

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served, most
        served += 1
        most = max(most, served)
        await echo(reader, writer)
        served -= 1

    async with serving(count) as port, relaying(port, lambda: SOURCE) as relay:
        answers = await asyncio.gather(*(ask(relay.port, b"x") for _ in range(8)))
    assert len(answers) == 8
    assert most <= 2


async def test_distance_is_a_round_trip_before_the_server_is_reached_and_half_of_one_for_each_piece() -> None:
    """As a list of what the relay waits for, on a clock that stands still."""
    loop = asyncio.get_running_loop()
    now_s = loop.time()
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        async with serving(echo) as port:
            relay = Relay(port, lambda: SOURCE, rtt_s=4.0)
            server = await relay.listen()
            patch.setattr(relays.asyncio, "sleep", note)
            patch.setattr(loop, "time", lambda: now_s)
            await ask(relay.port, b"x")
            server.close()
            await relay.end()
    assert slept == [4.0, 2.0, 2.0, 2.0, 2.0]  # then the request, its end, the answer, its end
