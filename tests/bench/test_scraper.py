"""The scraper, against a server of the test."""

import asyncio
import json
import socket
from collections import Counter
from contextlib import suppress

import pytest

from bench import scraper
from bench.scraper import Loot, ask, moments, scrape

ADDRESS = "127.0.39.1"


class Server:
    """Says one thing to all, and keeps who asked for what."""

    def __init__(self, said: bytes) -> None:
        """`said`: all that it sends."""
        self.targets: list[str] = []
        self.sources: set[str] = set()
        self._said = said
        self._answers: list[asyncio.Task[object] | None] = []

    async def __aenter__(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        """Stop, when all are gone."""
        self._server.close()
        await asyncio.gather(*filter(None, self._answers))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answers.append(asyncio.current_task())
        with suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.targets.append(head.split()[1].decode())
            self.sources.add(writer.get_extra_info("peername")[0])
            writer.write(self._said)
            await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n-----BEGIN", "200"),
        (b"HTTP/1.1 429 Too Many Requests\r\n\r\n", "429"),
        (b"HTTP/1.1 500 Oh\r\n\r\n", "500"),
        (b"", "broken"),
        (b"HTTP/1.1", "broken"),
    ],
)
async def test_what_it_is_told_is_kept(said: bytes, told: str) -> None:
    """The status, or that there was none."""
    async with Server(said) as port:
        assert await ask(port, ADDRESS, "/") == told


async def test_nobody_there_is_broken_too() -> None:
    """No exception ends the run."""
    async with Server(b"") as port:
        pass
    assert await ask(port, ADDRESS, "/") == "broken"


async def test_patience_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is held without a word gives up."""
    monkeypatch.setattr(scraper, "PATIENCE_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as nobody:  # the kernel accepts, and that is all
        assert await ask(nobody.getsockname()[1], ADDRESS, "/") == "silence"


def test_it_keeps_an_even_pace() -> None:
    """As many a second as it is told to."""
    assert moments(4.0, 1.5) == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]


async def test_it_asks_for_another_certificate_each_time() -> None:
    """So many as rate and time say, from its own address."""
    server = Server(b"HTTP/1.1 200 OK\r\n\r\n")
    async with server as port:
        told = await scrape(port, ADDRESS, 1000.0, 0.05)
    assert told == Counter({"200": 50})
    assert len(set(server.targets)) == 50
    assert server.sources == {ADDRESS}


def test_the_loot_is_what_was_answered() -> None:
    """And travels as JSON."""
    loot = Loot.of(Counter({"200": 3, "429": 2, "silence": 1}))
    assert loot == Loot(asked=6, got=3, otherwise={"429": 2, "silence": 1})
    assert json.loads(json.dumps(loot.otherwise)) == loot.otherwise
