"""Bytes in, bytes out: the request path of one worker between a scripted client and a scripted keyserver.

Everything runs in one thread on one loop. The client is one end of a socket pair whose other end the guard admits; the
keyserver is a listening socket on loopback whose connections the test plays by hand. Nothing sleeps: a test waits for
bytes, with a time-out that only ends a test that has failed already. Timers of the guard (parked requests, the queue)
go off when the test says so; its deadlines are made to pass by configuring a nanosecond, and by calling its sweep.

The readers of requests and replies here are written for the tests and share nothing with the code that is tested.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import structlog
import uvloop

from fastpath import KNOCK_RECORDS, Counters, Region, Ring
from proxy.config import Config
from proxy.http.entrance import Entrance
from proxy.worker import Worker

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Callable, Mapping
    from ssl import SSLContext

    from fastpath import Record
    from fastpath.snapshot import Snapshot

SAFETY_SECONDS = 5.0
FPR = "740D7FE2AB3143E86C8FD12300186602339240CB"
KEY_TARGET = f"/pks/lookup?op=get&options=mr&search=0x{FPR}"
CLIENT = "192.0.2.1"
SMALL_BUFFER = 4096
# What would come between the other tests and the keyserver has tests of its own, which set it.
NOT_HERE = {"UPLOADS__MODE": "off", "CACHE__MODE": "off"}


class Timer:
    """A timer that goes off by hand."""

    def __init__(self, delay_seconds: float, callback: Callable[..., object], args: tuple[object, ...]) -> None:
        """Wait for `fire`."""
        self.delay_seconds = delay_seconds
        self.over = False
        self._callback = callback
        self._args = args

    def cancel(self) -> None:
        """Be over without having gone off."""
        self.over = True

    def fire(self) -> None:
        """Go off."""
        assert not self.over, "a timer went off twice, or after it was cancelled"
        self.over = True
        self._callback(*self._args)


class ManualLoop(uvloop.Loop):
    """uvloop, whose `call_later` waits for the test. `call_at`, and so `asyncio.timeout`, runs on the real clock."""

    def __init__(self) -> None:
        """No timer, no fault."""
        super().__init__()
        self._timers: list[Timer] = []
        self.faults: list[dict[str, Any]] = []

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep what a callback raised, whoever would handle it: it fails the test."""
        self.faults.append(context)

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: object, context: object = None
    ) -> TimerHandle:
        """Keep the timer for the test."""
        del context
        timer = Timer(delay, callback, args)
        self._timers.append(timer)
        return cast("TimerHandle", timer)

    def call_at(self, when: float, callback: Callable[..., object], *args: object, context: Any = None) -> TimerHandle:
        """Run on the real clock."""
        return super().call_later(when - self.time(), callback, *args, context=context)

    @property
    def timers(self) -> list[Timer]:
        """Those that may still go off, in the order of their making."""
        self._timers = [timer for timer in self._timers if not timer.over]
        return self._timers


async def turns(count: int = 10) -> None:
    """Let the loop do what is ready."""
    for _ in range(count):
        await asyncio.sleep(0)


async def exhaust(step: Callable[[], bool]) -> None:
    """Repeat `step`, with the loop running between, until it says several times in a row that it did nothing."""
    idle = 0
    while idle < 5:
        idle = 0 if step() else idle + 1
        await turns()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until `condition` holds."""
    async with asyncio.timeout(SAFETY_SECONDS):
        while not condition():  # noqa: ASYNC110 - nobody signals the last one
            await asyncio.sleep(0)


@dataclass(frozen=True)
class Fields:
    """Header lines as they were sent."""

    lines: tuple[tuple[str, str], ...]

    def all(self, name: str) -> list[str]:
        """Return the values of every line with that name."""
        return [value for key, value in self.lines if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        """Return the value of the only line with that name."""
        (value,) = self.all(name)
        return value

    def __contains__(self, name: object) -> bool:
        """Whether there is such a line."""
        return bool(self.all(str(name)))


class Message(NamedTuple):
    """A request or a reply; `framing`: none, length, chunked or close."""

    first: str
    fields: Fields
    body: bytes
    framing: str
    head: bytes

    @property
    def status(self) -> int:
        """Of a reply."""
        return int(self.first.split(" ")[1])

    @property
    def target(self) -> str:
        """Of a request."""
        return self.first.split(" ")[1]


class Wire:
    """One side of a connection, without waiting and without a protocol of its own."""

    def __init__(self, sock: socket.socket) -> None:
        """Own `sock`."""
        sock.setblocking(False)
        self.sock = sock
        self.buffer = b""
        self._loop = asyncio.get_running_loop()

    async def send(self, *pieces: bytes) -> None:
        """Send the pieces, each in its own call, and let the other side run after each."""
        async with asyncio.timeout(SAFETY_SECONDS):
            for piece in pieces:
                await self._loop.sock_sendall(self.sock, piece)
                await turns(3)

    def push(self, data: bytes) -> int:
        """Send of `data` what the kernel takes now; return how much, 0 if the other side has gone."""
        try:
            return self.sock.send(data)
        except (BlockingIOError, BrokenPipeError, ConnectionResetError):
            return 0

    def pull(self) -> int:
        """Read what is there now into `buffer`; return how much."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return 0
        self.buffer += data
        return len(data)

    async def more(self) -> bool:
        """Read what comes next into `buffer`; False at the end."""
        async with asyncio.timeout(SAFETY_SECONDS):
            data = await self._loop.sock_recv(self.sock, 65536)
        self.buffer += data
        return bool(data)

    async def until(self, end: bytes) -> bytes:
        """Take everything up to `end`, and `end`."""
        while end not in self.buffer:
            assert await self.more(), f"closed after {self.buffer[-80:]!r}"
        return self.take(self.buffer.index(end) + len(end))

    async def exactly(self, size: int) -> bytes:
        """Take `size` bytes."""
        while len(self.buffer) < size:
            assert await self.more(), f"closed after {self.buffer[-80:]!r}"
        return self.take(size)

    async def to_end(self) -> bytes:
        """Take everything until the other side closes."""
        while await self.more():
            pass
        return self.take(len(self.buffer))

    async def end(self) -> str:
        """Read on to the end and drop what comes; return how it ended: closed or reset."""
        try:
            await self.to_end()
        except ConnectionResetError:
            return "reset"
        return "closed"

    def take(self, size: int) -> bytes:
        """Cut bytes that have been read already."""
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def quiet(self) -> bool:
        """Return whether nothing came and the connection is open."""
        await turns()
        try:
            self.buffer += self.sock.recv(65536)
        except BlockingIOError:
            return not self.buffer
        return False

    async def push_all(self, data: bytes) -> int:
        """Send `data` as long as somebody takes it; return how much was taken."""
        sent = 0

        def step() -> bool:
            nonlocal sent
            taken = self.push(data[sent : sent + 65536])
            sent += taken
            return taken > 0

        await exhaust(step)
        return sent

    async def request(self) -> Message:
        """Take one request, as a keyserver would read it."""
        return await self._message("none", bodiless=False)

    async def head(self) -> bytes:
        """Take one head."""
        return await self.until(b"\r\n\r\n")

    async def reply(self, method: str = "GET") -> Message:
        """Take one reply to `method`."""
        return await self._message("close", bodiless=method == "HEAD")

    async def _message(self, unframed: str, *, bodiless: bool) -> Message:
        head = await self.head()
        first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        fields = Fields(tuple(_field(line) for line in lines))
        framing = _framing(fields) or unframed
        if bodiless or first.startswith(("HTTP/1.1 1", "HTTP/1.1 204", "HTTP/1.1 304")):
            return Message(first, fields, b"", framing if framing != "close" else "none", head)
        return Message(first, fields, await self._body(framing, fields), framing, head)

    async def _body(self, framing: str, fields: Fields) -> bytes:
        if framing == "length":
            return await self.exactly(int(fields["Content-Length"]))
        if framing == "close":
            return await self.to_end()
        return await self._chunks() if framing == "chunked" else b""

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.until(b"\r\n"), 16):
            body += await self.exactly(size)
            assert await self.exactly(2) == b"\r\n"
        assert await self.exactly(2) == b"\r\n"
        return body

    def finish(self) -> None:
        """Send no more, but read on."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Go away; bytes that were not read make the kernel send a reset."""
        self.sock.close()

    def break_off(self) -> None:
        """Go away with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _field(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(": ")
    assert colon, line
    return name, value


def _framing(fields: Fields) -> str:
    length, coding = fields.all("Content-Length"), fields.all("Transfer-Encoding")
    assert len(length) + len(coding) <= 1, "two ways to find the end of the message"
    assert coding in ([], ["chunked"])
    return "length" if length else "chunked" if coding else ""


class Keyserver:
    """A listening socket on loopback; the test plays its connections."""

    def __init__(self, *, small: bool = False) -> None:
        """`small`: with as little buffer as the kernel gives, so that back-pressure is felt early."""
        self._sock = socket.socket()
        if small:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
        self._sock.setblocking(False)
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(64)
        self.port: int = self._sock.getsockname()[1]
        self.wires: list[Wire] = []

    async def accept(self) -> Wire:
        """Return the next connection of the guard."""
        async with asyncio.timeout(SAFETY_SECONDS):
            sock, _ = await asyncio.get_running_loop().sock_accept(self._sock)
        self.wires.append(Wire(sock))
        return self.wires[-1]

    async def untouched(self) -> bool:
        """Return whether nobody has connected that was not accepted."""
        await turns()
        try:
            sock, _ = self._sock.accept()
        except BlockingIOError:
            return True
        self.wires.append(Wire(sock))
        return False

    def close(self) -> None:
        """Listen no more, and close all connections."""
        self._sock.close()
        for wire in self.wires:
            wire.close()


def unused_port() -> int:
    """Return a port of 127.0.0.1 where nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class Node:
    """One worker's request path, wired as the worker wires it, and its keyservers."""

    def __init__(self, config: Config, keyservers: list[Keyserver], context: SSLContext | None = None) -> None:
        """`config` names the ports of the keyservers, and maybe others; `context` is for TLS."""
        self.loop = cast("ManualLoop", asyncio.get_running_loop())
        self.config = config
        self.keyservers = keyservers
        self.region = Region.create(
            clients=1024, workers=1, upstreams=max(1, len(config.upstream)), reply_bytes=config.cache.bytes
        )
        self.desk, self._claims = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # where its claims arrive
        claims = self._claims if config.cluster.strict else None
        self.worker = Worker(self.loop, config, self.region, 0, context, claims=claims)
        self.guard = self.worker.guard
        self.clients: list[Wire] = []
        self._generation = 0

    @property
    def keyserver(self) -> Keyserver:
        """The first one."""
        return self.keyservers[0]

    @property
    def parked(self) -> int:
        """Requests that wait for their time, as the guard publishes it."""
        self.guard.sweep()
        return self.snapshot().parked

    @property
    def open(self) -> int:
        """Client connections, as the guard publishes it."""
        self.guard.sweep()
        return self.snapshot().connections

    def snapshot(self) -> Snapshot:
        """Return the counters of the worker."""
        return Counters(self.region.counters(0)).snapshot()

    def records(self) -> list[Record]:
        """Take the records that were written since."""
        return Ring(self.region.ring(0)).drain(1000)

    def knocks(self) -> list[Record]:
        """Take the records of connections that were not taken on since."""
        return Ring(self.region.knocks(0), KNOCK_RECORDS).drain(1000)

    async def connect(
        self,
        *first: bytes,
        peer: str = CLIENT,
        tcp: bool = False,
        small: bool = False,
        run: bool = True,
        entrance: Entrance | None = None,
    ) -> Wire:
        """Return the client's end of a new connection.

        Args:
            first: What the client sends before it is admitted.
            peer: Its address, as the kernel would tell it; the pair itself has none.
            tcp: A TCP pair: the only one on which a reset shows.
            small: As little buffer as the kernel gives.
            entrance: What is expected of the connection; None: plain HTTP from whoever wants.
            run: Let the loop run before the return; without, only what `admit` itself does has been done.

        """
        mine, theirs = _tcp_pair() if tcp else socket.socketpair()
        for sock in (mine, theirs) if small else ():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        theirs.setblocking(False)
        wire = Wire(mine)
        self.clients.append(wire)
        for piece in first:
            assert mine.send(piece) == len(piece)
        self.guard.admit(theirs.detach(), ipaddress.ip_address(peer).packed, entrance or Entrance())
        if run:
            await turns(3)
        return wire

    async def begin(self, request: bytes, **how: Any) -> tuple[Wire, Wire]:
        """Send the head of one request over new connections; return the client's end and the keyserver's."""
        client = await self.connect(request, **how)
        link = await self.keyserver.accept()
        await link.head()
        return client, link

    async def ask(self, request: bytes, reply: bytes, *, method: str = "GET", **how: Any) -> tuple[Message, Message]:
        """Send one request over new connections; return what the keyserver got and what the client got."""
        client = await self.connect(request, **how)
        link = await self.keyserver.accept()
        got = await link.request()
        await link.send(reply)
        return got, await client.reply(method)

    def reload(self, settings: Mapping[str, str]) -> None:
        """Put a new configuration in force, as the supervisor's channel does it."""
        self._generation += 1
        config = Config.from_env(environ_of(settings, [each.port for each in self.keyservers]))
        self.worker._reload(config, self._generation)
        structlog.reset_defaults()  # the log of this process is not the worker's

    async def close(self) -> None:
        """End everything."""
        for wire in self.clients:
            wire.close()
        for keyserver in self.keyservers:
            keyserver.close()
        await turns()
        self.guard.drain()
        await turns()
        self.loop.remove_reader(self._claims.fileno())
        self._claims.close()
        self.desk.close()
        self.region.close()


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        near = socket.socket()
        near.setblocking(False)
        near.connect_ex(listener.getsockname())
        far, _ = listener.accept()  # the handshake over loopback is done before connect_ex returns
        return near, far


def environ_of(settings: Mapping[str, str], ports: list[int]) -> dict[str, str]:
    """Return the environment that sets `settings` (names without HKPGUARD_) and the upstreams."""
    upstream = ",".join(f"http://127.0.0.1:{port}" for port in ports)
    given = {"UPSTREAM": upstream, **NOT_HERE, **settings}
    return {f"HKPGUARD_{name}": value for name, value in given.items()}


def get(target: str = KEY_TARGET, *lines: str, minor: int = 1, method: str = "GET") -> bytes:
    """Return a request without a body."""
    fields = "".join(f"{line}\r\n" for line in ("Host: keys.example", *lines))
    return f"{method} {target} HTTP/1.{minor}\r\n{fields}\r\n".encode("latin-1")


def ok(body: bytes = b"key\n", *lines: str) -> bytes:
    """Return a reply of known length."""
    fields = "".join(f"{line}\r\n" for line in lines).encode()
    return b"HTTP/1.1 200 OK\r\n%bContent-Length: %d\r\n\r\n%b" % (fields, len(body), body)


def chunked(*pieces: bytes) -> bytes:
    """Return pieces in chunked coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
