"""A small HTTP client for tests: hides nothing, repeats nothing, and can have any loopback address.

It shares no code with the guard. A reply that breaks off, or a connection that ends, is an error of its own
kind, so that a test can count what real clients would notice.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

REPLY_SECONDS = 30.0
NO_LINGER = struct.pack("ii", 1, 0)  # close(2) throws away what is not sent
CLIENT = "127.0.0.1"


class Question(NamedTuple):
    """A request."""

    target: str
    fields: tuple[str, ...] = ()  # lines of the head
    method: str = "GET"
    version: str = "1.1"
    body: bytes = b""

    def encode(self) -> bytes:
        """Return it as it is sent."""
        lines = [f"{self.method} {self.target} HTTP/{self.version}", "Host: keys.example.org", *self.fields]
        if self.body:
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


class Reply(NamedTuple):
    """What came back."""

    status: int
    version: str
    fields: Mapping[str, str]  # names in lower case
    body: bytes


class BrokenError(Exception):
    """The connection ended before the reply was complete."""


class Connection:
    """One connection to a server on loopback."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `connect`."""
        self._reader = reader
        self._writer = writer
        self.open = True

    @classmethod
    async def connect(cls, port: int, client: str = CLIENT) -> Self:
        """Connect from the address `client`."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=(client, 0)))

    @property
    def own_end(self) -> tuple[str, int]:
        """Our address and port."""
        address, port = self._writer.get_extra_info("sockname")
        return address, port

    def send(self, question: Question) -> None:
        """Send a request."""
        self._writer.write(question.encode())

    async def receive(self, method: str = "GET") -> Reply:
        """Read a reply; BrokenError if the connection ends instead."""
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                return await self._reply(method)
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            self.open = False
            raise BrokenError(str(error)) from error

    async def ask(self, question: Question) -> Reply:
        """Send a request and read its reply."""
        self.send(question)
        return await self.receive(question.method)

    async def _reply(self, method: str) -> Reply:
        status, version, fields = 100, "", dict[str, str]()
        while status < 200:
            head = await self._reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
            version, status = first.split(" ")[0].removeprefix("HTTP/"), int(first.split(" ")[1])
            pairs = (line.partition(":") for line in lines)
            fields = {name.lower(): value.strip() for name, _, value in pairs}
        empty = method == "HEAD" or status in {204, 304}
        body = b"" if empty else await self._body(fields)
        usual = "keep-alive" if version == "1.1" else "close"
        self.open = self.open and fields.get("connection", usual).lower() != "close"
        return Reply(status, version, fields, body)

    async def _body(self, fields: Mapping[str, str]) -> bytes:
        if fields.get("transfer-encoding") == "chunked":
            return b"".join([chunk async for chunk in self._chunks()])
        if "content-length" in fields:
            return await self._reader.readexactly(int(fields["content-length"]))
        self.open = False
        return await self._reader.read()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)

    async def at_end(self, seconds: float) -> bool:
        """Whether the other side closes within so many seconds; call it when no reply is due."""
        try:
            async with asyncio.timeout(seconds):
                return not await self._reader.read(1)
        except TimeoutError:
            return False
        except ConnectionError:
            return True

    async def close(self) -> None:
        """Close, without complaint if it is closed already."""
        self.open = False
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def reset(self) -> None:
        """Go away without a word: the other side gets a reset, and not an orderly end."""
        self.open = False
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        self._writer.transport.abort()


@asynccontextmanager
async def connected(port: int, client: str = CLIENT) -> AsyncIterator[Connection]:
    """Connect, and close at the end."""
    connection = await Connection.connect(port, client)
    try:
        yield connection
    finally:
        await connection.close()


async def ask_once(port: int, question: Question, client: str = CLIENT) -> Reply:
    """Ask over a connection of its own."""
    async with connected(port, client) as connection:
        return await connection.ask(question)


def ask(port: int, question: Question, client: str = CLIENT) -> Reply:
    """Ask over a connection of its own, for tests that are not asynchronous."""
    return asyncio.run(ask_once(port, question, client))


class Load:
    """Clients that ask again and again until they are told to stop; what they notice is kept."""

    def __init__(self, port: int, question: Question, client: str = CLIENT) -> None:
        """Nothing runs yet."""
        self._port = port
        self._question = question
        self._client = client
        self._stop = asyncio.Event()
        self._goal = 0
        self._reached = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.connections: list[Connection] = []
        self.statuses: dict[int, int] = {}
        self.broken: list[tuple[float, tuple[str, int]]] = []  # when, and our end of the connection
        self.refused: list[float] = []

    def keep_alive(self, count: int) -> None:
        """Start clients that use one connection for all; one that breaks is not replaced."""
        self._tasks += [asyncio.create_task(self._over_one()) for _ in range(count)]

    def one_each(self, count: int) -> None:
        """Start clients that use one connection for each request."""
        self._tasks += [asyncio.create_task(self._over_many()) for _ in range(count)]

    async def stop(self) -> None:
        """Let the clients finish what they do."""
        self._stop.set()
        await asyncio.gather(*self._tasks)
        for connection in self.connections:
            await connection.close()

    async def more(self, count: int) -> None:
        """Wait until so many more requests are answered."""
        self._goal = self.answered + count
        self._reached.clear()
        async with asyncio.timeout(REPLY_SECONDS):
            await self._reached.wait()

    @property
    def answered(self) -> int:
        """How many replies came."""
        return sum(self.statuses.values())

    async def _over_one(self) -> None:
        connection = await Connection.connect(self._port, self._client)
        self.connections.append(connection)
        while connection.open and not self._stop.is_set():
            await self._ask(connection)

    async def _over_many(self) -> None:
        while not self._stop.is_set():
            try:
                async with connected(self._port, self._client) as connection:
                    await self._ask(connection)
            except OSError:
                self.refused.append(time.monotonic())
                await asyncio.sleep(0.01)

    async def _ask(self, connection: Connection) -> None:
        end = connection.own_end
        try:
            reply = await connection.ask(self._question)
        except BrokenError:
            self.broken.append((time.monotonic(), end))
            return
        self.statuses[reply.status] = self.statuses.get(reply.status, 0) + 1
        if self.answered >= self._goal:
            self._reached.set()
