"""A small document of an upstream: whole or not at all, bounded in bytes and time."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.http.fetch import MOST_HEAD_BYTES, FetchFailed, fetch
from proxy.http.proxy_header import read_proxy_header
from proxy.settings.addresses import Address
from tests.proxy.http.harness import unused_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MOST = 1000
BODY = b"x" * MOST


class Server:
    """Answers every request with the same bytes."""

    def __init__(self, reply: bytes, *, end: bool = True) -> None:
        """Take the reply; `end`: close the connection after it."""
        self.reply, self.end = reply, end
        self.asked = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection."""
        self.asked = await reader.readuntil(b"close\r\n\r\n")
        writer.write(self.reply)
        if not self.end:
            await reader.read()  # until the client closes
        writer.close()

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[Address]:
        """Listen."""
        async with await asyncio.start_server(self.serve, "127.0.0.1", 0) as server:
            yield Address("127.0.0.1", server.sockets[0].getsockname()[1])


async def ask(reply: bytes, *, end: bool = True, seconds: float = 10.0, introduce: bool = False) -> bytes:
    """Return what is fetched from a server that answers so."""
    async with Server(reply, end=end).listen() as address:
        return await fetch(address, "/stats", seconds=seconds, most_bytes=MOST, introduce=introduce)


def chunked(*chunks: bytes) -> bytes:
    """Return a reply in chunks."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


@pytest.mark.parametrize(
    ("reply", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", b"{}"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + BODY, BODY),
        (b"HTTP/1.0 200 OK\r\n\r\n" + BODY, BODY),
        (chunked(b"{", b"}", b""), b"{}"),
        (chunked(BODY, b""), BODY),
    ],
)
async def test_whole_documents(reply: bytes, body: bytes) -> None:
    """However the end of a document is told, it is read, up to the last byte that it may have."""
    assert await ask(reply) == body


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"", "ends too early"),
        (b"HTTP/1.1 200 OK\r\n", "ends too early"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", "ends too early"),
        (chunked(b"{}"), "ends too early"),
        (chunked(b"{}") + b"xyz\r\n", "no HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MOST_HEAD_BYTES, "no HTTP"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", "is 404"),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "is 302"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "is 100"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + BODY, "more than 1000 bytes"),
        (b"HTTP/1.0 200 OK\r\n\r\nx" + BODY, "more than 1000 bytes"),
        (chunked(BODY, b"x", b""), "more than 1000 bytes"),
    ],
)
async def test_no_document(reply: bytes, why: str) -> None:
    """What is cut, too large, broken or another status is no document, and the reason is told."""
    with pytest.raises(FetchFailed, match=why):
        await ask(reply)


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"])
async def test_a_flood_is_not_read_to_its_end(head: bytes) -> None:
    """A server that sends more than it may, and never ends, is left in good time."""
    flood = b"x" * 2000 if b"1.0" in head else b"7d0\r\n" + b"x" * 2000 + b"\r\n"
    with pytest.raises(FetchFailed, match="more than 1000 bytes"):
        await ask(head + flood, end=False)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"])
async def test_silence(reply: bytes) -> None:
    """A server that does not end its answer in time is left."""
    with pytest.raises(FetchFailed, match=r"no whole answer in 0\.05 s"):
        await ask(reply, end=False, seconds=0.05)


async def test_nobody_there() -> None:
    """Where nobody listens there is no document."""
    with pytest.raises(FetchFailed, match="no connection"):
        await fetch(Address("127.0.0.1", unused_port()), "/", seconds=10.0, most_bytes=MOST, introduce=False)


@pytest.mark.parametrize("introduce", [False, True])
async def test_what_is_asked(*, introduce: bool) -> None:
    """One GET that ends the connection; where the upstream expects PROXY headers, one that introduces nobody."""
    server = Server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    async with server.listen() as address:
        await fetch(address, "/stats?a=b", seconds=10.0, most_bytes=MOST, introduce=introduce)
        request = f"GET /stats?a=b HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    header = read_proxy_header(server.asked) if introduce else None
    assert header is None or header.local
    assert server.asked[header.size if header else 0 :] == request
