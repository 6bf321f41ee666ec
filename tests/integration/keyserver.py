"""Keyservers for the guard to stand in front of: one that a test scripts and that keeps a log, and onak."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from aiohttp import web

import bench.onak
from tests.integration.programs import LOOPBACK, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from multidict import CIMultiDictProxy

CHUNK_BYTES = 1000
TURNS = 10  # of the loop; a connection is made in three, and closed in two


class Asked(NamedTuple):
    """A request as it reached the keyserver."""

    method: str
    target: str
    fields: CIMultiDictProxy[str]
    body: bytes


class Answer(NamedTuple):
    """What the keyserver says to it."""

    status: int = 200
    body: bytes = b"OK\n"
    kind: str = "text/plain"
    chunked: bool = False


class Logged(NamedTuple):
    """A line of the keyserver's log."""

    asked: Asked
    answer: Answer


Respond = Callable[[Asked], Awaitable[Answer]]


class Keyserver:
    """A keyserver in a thread of its own; it logs and counts requests below /pks, but no health checks."""

    def __init__(self, respond: Respond, port: int) -> None:
        """Answer with `respond`, which runs in the keyserver's thread."""
        self._respond = respond
        self.port = port
        self.log: list[Logged] = []
        self.begun = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    def start(self) -> None:
        """Listen; return when it does."""
        self._thread.start()
        assert self._ready.wait(10), "the keyserver of the test does not listen"

    def stop(self) -> None:
        """Stop listening and break off what is in flight."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        sock = socket.create_server((LOOPBACK, self.port), backlog=1024)
        await web.SockSite(runner, sock).start()
        self._ready.set()
        await self._over.wait()
        # A connection that is accepted while the server closes is lost by asyncio (3.11): accept no more, then wait.
        self._loop.remove_reader(sock)
        await _turns()
        transports = [each.transport for each in runner.server.connections] if runner.server else []
        await runner.cleanup()
        for transport in filter(None, transports):
            transport.abort()  # although it has something to send
        await _turns()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(request.method, request.raw_path, request.headers, await request.read())
        if not asked.target.startswith("/pks"):
            return web.Response(text="OK\n")
        self.begun += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            answer = await self._respond(asked)
        finally:
            self.in_flight -= 1
        self.log.append(Logged(asked, answer))
        if answer.chunked:
            return await _in_chunks(request, answer)
        return web.Response(status=answer.status, body=answer.body, content_type=answer.kind)


async def _turns() -> None:
    """Let the loop do what is pending."""
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def _in_chunks(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.kind})
    response.enable_chunked_encoding()
    await response.prepare(request)
    for start in range(0, len(answer.body), CHUNK_BYTES):
        await response.write(answer.body[start : start + CHUNK_BYTES])
    await response.write_eof()
    return response


@contextmanager
def keyserver(respond: Respond, port: int | None = None) -> Iterator[Keyserver]:
    """Run a scripted keyserver."""
    server = Keyserver(respond, port or free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()


async def ok(_asked: Asked) -> Answer:
    """Answer everything at once."""
    return Answer()


class Gate:
    """Holds requests back until it is opened: a slow keyserver whose slowness a test commands."""

    def __init__(self, answer: Answer | None = None) -> None:
        """Be closed; `answer` is the usual one."""
        self._opened: Future[None] = Future()
        self._answer = answer or Answer()

    def open(self) -> None:
        """Let all pass, from now on; may be called in any thread."""
        self._opened.set_result(None)

    async def respond(self, _asked: Asked) -> Answer:
        """Answer once the gate is open; who goes away does not take the gate along."""
        await asyncio.shield(asyncio.wrap_future(self._opened))
        return self._answer


class Onak(bench.onak.Onak):
    """Onak behind the web server above, which lets one write at a time: several would fail on onak's locks."""

    def __init__(self, folder: Path, program: str) -> None:
        """Configure it in `folder`; `program` is the one for the command line."""
        super().__init__(folder, program)
        self._writing = asyncio.Lock()

    async def respond(self, asked: Asked) -> Answer:
        """Run the CGI program that the request names."""
        url = urlsplit(asked.target)
        name = url.path.removeprefix("/pks/")
        if name not in bench.onak.PROGRAMS:
            return Answer(404, b"Not found\n")
        request = {
            "REQUEST_METHOD": asked.method,
            "QUERY_STRING": url.query,
            "CONTENT_TYPE": asked.fields.get("Content-Type", ""),
        }
        async with self._writing if asked.method == "POST" else nullcontext():
            page = await asyncio.to_thread(self.page, name, request, asked.body)
        return Answer(200, page.body, page.kind)
