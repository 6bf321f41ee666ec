"""A server that speaks RESP2 and says what a test wants: slow, closing, garbage, errors."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from proxy.config import Config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

SECRET = "s" * 32
OK, PONG, NULL = b"+OK\r\n", b"+PONG\r\n", b"$-1\r\n"
SILENT, CLOSE = b"", None


class Stub:
    """Answers each command with what `answer` returns: bytes as they go out, SILENT for nothing, CLOSE to hang up.

    Attributes:
        answer: Takes a command, its name in capitals first.
        asked: The commands so far.
        connections: How many there were.

    """

    def __init__(self, answer: Callable[[list[bytes]], bytes | Awaitable[bytes | None] | None]) -> None:
        """Listen within `running`."""
        self.answer = answer
        self.asked: list[list[bytes]] = []
        self.connections = 0
        self.port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def names(self) -> list[bytes]:
        """The names of the commands so far."""
        return [command[0] for command in self.asked]

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        self.connections += 1
        self._writers.add(writer)
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                self.asked.append(command := await _command(reader))
                said = self.answer(command)
                said = said if said is None or isinstance(said, bytes) else await said
                if said is None:
                    break
                writer.write(said)
        self._writers.discard(writer)
        writer.transport.abort()


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    parts = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        parts.append((await reader.readexactly(size + 2))[:-2])
    return [parts[0].upper(), *parts[1:]]


@asynccontextmanager
async def stub(answer: Callable[[list[bytes]], Any]) -> AsyncIterator[Stub]:
    """Run a server on a port of loopback."""
    made = Stub(answer)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.hang_up()


async def turns_until(condition: Callable[[], object]) -> None:
    """Let the event loop turn until something holds; nothing else is waited for."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the condition is of many kinds
            await asyncio.sleep(0)


def config_of(port: int = 6379, url: str = "", **settings: str) -> Config:
    """Return a configuration with a store at a port of loopback."""
    given = {"CLUSTER__SECRET": SECRET, "CLUSTER__NODE": "here", "REDIS_URL": url or f"redis://127.0.0.1:{port}"}
    return Config.from_env({f"HKPGUARD_{name}": value for name, value in (given | settings).items() if value})
