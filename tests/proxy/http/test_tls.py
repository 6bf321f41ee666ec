"""TLS on raw descriptors: handshakes good, bad and never finished; what passes through; how it ends."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Protocol, cast

import pytest

from proxy.http.stream import HIGH_WATER_BYTES
from proxy.http.tls import Tls, TlsStream, first_byte, make_context
from tests.proxy.http.harness import SMALL_BUFFER, ManualLoop, exhaust, turns, until
from tests.proxy.http.tls_harness import HOST, Pair, TlsWire, make_pair, program, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

V2, V3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERSIONS = [pytest.param(V2, id="1.2"), pytest.param(V3, id="1.3")]
RECORD = 16384
SO_RCVLOWAT = socket.SO_RCVLOWAT


class Notes:
    """A protocol that notes what it is told, in order."""

    def __init__(self, stream: TlsStream) -> None:
        """Nothing yet."""
        self.stream = stream
        self.data = b""
        self.longest = 0
        self.calls: list[str] = []

    def handshake_done(self) -> None:
        """Note it."""
        assert not self.stream.handshaking
        self.calls.append("done")

    def data_received(self, data: bytes) -> None:
        """Note the bytes."""
        assert data
        self.data += data
        self.longest = max(self.longest, len(data))

    def eof_received(self) -> None:
        """Note it."""
        self.calls.append("eof")

    def pause_writing(self) -> None:
        """Note it."""
        self.calls.append("pause")

    def resume_writing(self) -> None:
        """Note it."""
        self.calls.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        """Note it."""
        assert error is None
        self.calls.append("lost")


class Echo(Notes):
    """Sends everything back."""

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        super().data_received(data)
        self.stream.write(data)

    def eof_received(self) -> None:
        """Close."""
        super().eof_received()
        self.stream.close()


class Line:
    """A connection: the stream and its protocol on our side, a wire on the client's."""

    def __init__(self, tls: Tls, context: ssl.SSLContext, protocol: type[Notes], how: How) -> None:
        """Connect; nothing is read yet."""
        near, far = socket.socketpair() if how.get("unix") else _tcp_pair()
        for sock in (near, far) if how.get("small") else ():
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        near.setblocking(False)
        self.ours = near.dup()  # to look at its options
        self.wire = TlsWire(far, context, name=how.get("name", HOST), session=how.get("session"))
        self.stream = TlsStream(asyncio.get_running_loop(), near.detach(), tls)
        self.stream.protocol = self.notes = protocol(self.stream)

    @property
    def lost(self) -> bool:
        """Whether our side has ended."""
        return self.notes.calls[-1:] == ["lost"]

    def begin(self) -> None:
        """Do what a connection of a client does first."""
        assert self.stream.read_now() is None
        self.stream.resume_reading()

    async def shake(self) -> None:
        """Go through with the handshake."""
        self.begin()
        await self.wire.shake()
        await until(lambda: not self.stream.handshaking)

    async def got(self, data: bytes) -> None:
        """Wait until exactly this has been received."""
        await until(lambda: len(self.notes.data) >= len(data))
        assert self.notes.data == data

    def low_water(self) -> int:
        """Return how many bytes the kernel waits for before it wakes us."""
        return self.ours.getsockopt(socket.SOL_SOCKET, SO_RCVLOWAT)

    def close(self) -> None:
        """End both sides."""
        self.ours.close()
        self.wire.close()
        self.stream.abort()


class How(TypedDict, total=False):
    """How a Line differs from the usual."""

    unix: bool  # a pair of Unix sockets: the kernel cannot be told how much to wait for
    small: bool  # as little buffer as the kernel gives
    name: str | None  # the server that the client asks for
    session: ssl.SSLSession | None  # what it resumes


class Connect(Protocol):
    """Makes connections; all are closed at the end of the test, at which nothing may have raised."""

    def __call__(
        self, context: ssl.SSLContext | None = None, *, protocol: type[Notes] = Notes, tls: Tls | None = None, **how: Unpack[How]
    ) -> Line:
        """Connect a client with `context` (None: 1.3) to a stream of `tls` (None: that of the fixture)."""


def _tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    for sock in (near, far):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return near, far
