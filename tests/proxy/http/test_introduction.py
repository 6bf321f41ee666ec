"""PROXY headers towards the keyserver: who is introduced, and that a connection speaks for one client only."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

import pytest

from proxy.http.probe import answers
from proxy.http.proxy_header import read_proxy_header
from proxy.settings.addresses import Address
from tests.proxy.http.harness import CLIENT, KEY_TARGET, get, ok, unused_port

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Wire

V2 = {"UPSTREAM_PROXY_PROTOCOL": "v2"}
HEADER_BYTES = {4: 28, 16: 52}


async def introduced(link: Wire, size: int = 4) -> bytes | None:
    """Take the PROXY header of a connection to the keyserver; return the client that it names, None for nobody."""
    header = read_proxy_header(await link.exactly(HEADER_BYTES[size]))
    assert header is not None
    return header.address


@pytest.mark.parametrize("client", [CLIENT, "2001:db8::7"])
async def test_keyserver_is_told_the_client(start: Start, client: str) -> None:
    """The connection begins with a header that names the client, and the request follows."""
    node = await start(V2)
    packed = ipaddress.ip_address(client).packed
    wire = await node.connect(get(), peer=client)
    link = await node.keyserver.accept()
    assert await introduced(link, len(packed)) == packed
    assert (await link.request()).target == KEY_TARGET
    await link.send(ok())
    assert (await wire.reply()).status == 200


async def test_each_request_has_its_own_connection(start: Start) -> None:
    """A connection is closed after its reply, also for the next request of the same client: it speaks for one alone."""
    node = await start(V2)
    for peer in (CLIENT, CLIENT, "198.51.100.9"):
        wire = await node.connect(get(), peer=peer)
        link = await node.keyserver.accept()
        assert await introduced(link) == ipaddress.ip_address(peer).packed
        await link.request()
        await link.send(ok())
        assert (await wire.reply()).status == 200
        assert await link.end() in {"closed", "reset"}


async def test_client_behind_a_trusted_proxy_is_introduced(start: Start) -> None:
    """It is the client that is named, wherever its address came from."""
    node = await start({**V2, "TRUSTED_PROXIES": CLIENT})
    await node.connect(get(KEY_TARGET, "X-Forwarded-For: 198.51.100.9"))
    link = await node.keyserver.accept()
    assert await introduced(link) == ipaddress.ip_address("198.51.100.9").packed


async def test_next_keyserver_is_told_as_well(start: Start) -> None:
    """A request that goes to another keyserver, since the first refuses connections, is introduced there."""
    node = await start(V2, keyservers=2)
    node.keyservers[0].close()
    for _ in range(2):
        await node.connect(get())
        link = await node.keyservers[1].accept()
        assert await introduced(link) == ipaddress.ip_address(CLIENT).packed


@pytest.mark.parametrize(
    ("reply", "alive"),
    [
        (b"HTTP/1.1 200 OK\r\n", True),
        (b"HTTP/1.0 404 Not Found\r\n", True),
        (b"HTTP/1.1 500 Internal Server Error\r\n", False),
        (b"HTTP/1.1 2000 OK\r\n", False),
        (b"SSH-2.0-OpenSSH\r\n", False),
        (b"HTTP/1.1 200", False),
        (b"x" * 10_000 + b"\r\n", False),
        (b"", False),
    ],
)
@pytest.mark.parametrize("introduce", [True, False])
async def test_health_check(reply: bytes, *, alive: bool, introduce: bool) -> None:
    """Whoever answers as a web server below 500 is alive; the check introduces nobody (LOCAL)."""
    asked = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.extend(await reader.readuntil(b"\r\n\r\n"))
        if introduce:  # the header of the PROXY protocol looks like the end of a head
            asked.extend(await reader.readuntil(b"close\r\n\r\n"))
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        assert await answers(address, "/health", seconds=5.0, introduce=introduce) is alive
    header = read_proxy_header(bytes(asked)) if introduce else None
    assert header is None or header.local
    assert bytes(asked)[header.size if header else 0 :].startswith(b"GET /health HTTP/1.1\r\n")


async def test_health_check_of_nobody() -> None:
    """Where nobody listens nothing is alive."""
    assert not await answers(Address("127.0.0.1", unused_port()), "/", seconds=5.0, introduce=False)


@pytest.mark.parametrize(("before", "after"), [(V2, {}), ({}, V2)])
async def test_reload_mixes_nobody_up(start: Start, before: dict[str, str], after: dict[str, str]) -> None:
    """A connection of before the reload is not used for another client's request after it."""
    node = await start(before)
    wire = await node.connect(get())
    link = await node.keyserver.accept()
    if before:
        await introduced(link)
    await link.request()
    node.reload(after)
    await link.send(ok())
    assert (await wire.reply()).status == 200
    assert await link.end() in {"closed", "reset"}
    await node.connect(get(), peer="198.51.100.9")
    link = await node.keyserver.accept()
    if after:
        assert await introduced(link) == ipaddress.ip_address("198.51.100.9").packed
    assert (await link.request()).target == KEY_TARGET


async def test_health_check_without_an_answer() -> None:
    """Who takes the question and says nothing is not alive; the check ends at its time limit."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        address = Address("127.0.0.1", server.sockets[0].getsockname()[1])
        assert not await answers(address, "/", seconds=0.01, introduce=False)
