"""A relay in front of a server: gives all that goes through it a source address and a distance.

Programs such as gpg cannot bind their sockets. So each run has a relay of its own: what connects to its port is
connected to the server from an address of the run, one connection for one, byte for byte, and ends when one side ends.

A distance of `rtt_s` delays as a real one does: the server sees a connection one round trip after it was begun, for
the client's handshake is done by then; each piece takes half a round trip. What is under way is bounded.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

LOOPBACK = "127.0.0.1"
PIECE_BYTES = 65536
UNDER_WAY = 16  # pieces in each direction
CONNECTIONS = 600  # at a time; more wait
BACKLOG = 1024

_Piece = tuple[float, bytes]  # when it arrives, by the loop's clock; b"" is the end


class Relay:
    """One run's way to the server."""

    def __init__(self, server_port: int, source: Callable[[], str], rtt_s: float = 0.0) -> None:
        """Lead to `server_port` of loopback; `source` is asked for an address of 127/8 for each connection."""
        self._server_port = server_port
        self._source = source
        self._rtt_s = rtt_s
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        self.failed = 0

    async def listen(self) -> asyncio.Server:
        """Take connections from now on, at `port`."""
        server = await asyncio.start_server(self._accepted, LOOPBACK, 0, backlog=BACKLOG)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def end(self) -> None:
        """Break off what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._join(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with self._room:
                await self._carry(reader, writer)
            writer.close()  # what it has still to send is sent
        except (OSError, RuntimeError):  # the second is what uvloop says where a socket is closed already
            self.failed += 1
        finally:
            if not writer.transport.is_closing():
                writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._rtt_s)
        there, back = await asyncio.open_connection(LOOPBACK, self._server_port, local_addr=(self._source(), 0))
        directions = [
            asyncio.create_task(self._pass(reader, back)),
            asyncio.create_task(self._pass(there, writer)),
        ]
        try:
            await _first_failure_or_answer(*directions)
        finally:
            back.transport.abort()  # the server has said what it had to say, or nobody listens
            for each in directions:
                each.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction to its end; what has a distance to go waits in a queue."""
        under_way: asyncio.Queue[_Piece] = asyncio.Queue(UNDER_WAY)
        reading = asyncio.create_task(self._read(reader, under_way))
        try:
            await _write(under_way, writer)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, reader: asyncio.StreamReader, under_way: asyncio.Queue[_Piece]) -> None:
        clock = asyncio.get_running_loop().time
        piece = b"?"
        while piece:
            try:
                piece = await reader.read(PIECE_BYTES)
            except OSError:  # a reset ends it, too
                piece = b""
            await under_way.put((clock() + self._rtt_s / 2, piece))


async def _write(under_way: asyncio.Queue[_Piece], writer: asyncio.StreamWriter) -> None:
    clock = asyncio.get_running_loop().time
    while True:
        due_s, piece = await under_way.get()
        if (early_s := due_s - clock()) > 0:
            await asyncio.sleep(early_s)
        if not piece:
            break
        writer.write(piece)
        await writer.drain()
    with suppress(OSError, RuntimeError):  # nobody is there to be told
        writer.write_eof()


async def _first_failure_or_answer(request: asyncio.Task[None], answer: asyncio.Task[None]) -> None:
    """Return when the answer is over, or either side has broken; the end of the request alone ends nothing."""
    await asyncio.wait({request, answer}, return_when=asyncio.FIRST_COMPLETED)
    if request.done() and not request.exception():
        await asyncio.wait({answer})
    for each in (request, answer):
        if each.done() and (error := each.exception()):
            raise error


@asynccontextmanager
async def relaying(server_port: int, source: Callable[[], str], rtt_s: float = 0.0) -> AsyncIterator[Relay]:
    """Run a relay."""
    relay = Relay(server_port, source, rtt_s)
    server = await relay.listen()
    try:
        yield relay
    finally:
        server.close()
        await relay.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(1):
                await server.wait_closed()
