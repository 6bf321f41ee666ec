"""Streams on raw descriptors: what is read, written, paused, closed, and told exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, cast

import pytest

from proxy.http.stream import HIGH_WATER_BYTES, Listener, Stream
from tests.proxy.http.harness import SAFETY_SECONDS, SMALL_BUFFER, ManualLoop, turns, until

if TYPE_CHECKING:
    from collections.abc import Iterator


class Notes:
    """A protocol that notes what it is told."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.data = b""
        self.calls: list[str] = []

    def data_received(self, data: bytes) -> None:
        """Note the bytes."""
        self.data += data

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


def opened(*, small: bool = False) -> tuple[Stream, Notes, socket.socket]:
    """Return a stream, its protocol, and the other side."""
    near, far = socket.socketpair()
    for sock in (near, far):
        sock.setblocking(False)
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
    stream = Stream(asyncio.get_running_loop(), near.detach())
    stream.protocol = notes = Notes()
    return stream, notes, far


def tcp_opened() -> tuple[Stream, socket.socket]:
    """Return a stream over TCP, which knows resets, and the other side."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
    accepted.setblocking(False)
    return Stream(asyncio.get_running_loop(), accepted.detach()), client


async def received(sock: socket.socket) -> bytes:
    """Read everything until the other side closes."""
    data = b""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(SAFETY_SECONDS):
        while piece := await loop.sock_recv(sock, 65536):
            data += piece
    return data


@contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Let this process open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_open(fd: int) -> bool:
    """Whether a descriptor is in use."""
    with contextlib.suppress(OSError):
        return os.fstat(fd) is not None
    return False


async def test_read_now() -> None:
    """What is there is read at once; None while nothing is there, nothing at the end."""
    stream, _, far = opened()
    with far:
        assert stream.read_now() is None
        far.send(b"hello")
        assert stream.read_now() == b"hello"
        far.shutdown(socket.SHUT_WR)
        assert stream.read_now() == b""
        stream.abort()


async def test_read_now_on_a_broken_connection() -> None:
    """A connection that was reset raises."""
    stream, client = tcp_opened()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with pytest.raises(OSError, match="recv failed"):
        stream.read_now()
    stream.abort()


async def test_reading_is_off_until_it_is_asked_for() -> None:
    """Bytes stay with the kernel until somebody wants them, and again after a pause."""
    stream, notes, far = opened()
    with far:
        far.send(b"one")
        await turns()
        assert notes.data == b""
        stream.resume_reading()
        await until(lambda: notes.data == b"one")
        stream.pause_reading()
        far.send(b"two")
        await turns()
        assert notes.data == b"one"
        stream.resume_reading()
        await until(lambda: notes.data == b"onetwo")
        stream.abort()


async def test_end_of_the_stream_is_told_once() -> None:
    """After the end nothing is read any more, whatever is resumed; writing still works."""
    stream, notes, far = opened()
    with far:
        stream.resume_reading()
        far.shutdown(socket.SHUT_WR)
        await until(lambda: notes.calls == ["eof"])
        stream.resume_reading()
        await turns()
        stream.write(b"reply")
        stream.close()
        assert await received(far) == b"reply"
    assert notes.calls == ["eof", "lost"]


async def test_backlog_arrives_in_order() -> None:
    """What the kernel does not take at once is kept, told, and sent when it can be."""
    stream, notes, far = opened(small=True)
    pieces = [bytes([number]) * 5000 for number in range(60)]
    with far:
        for piece in pieces:
            stream.write(piece)
        assert notes.calls == ["pause"]
        assert stream.backlog_bytes > HIGH_WATER_BYTES
        data = b""
        while len(data) < 300_000:
            await turns(2)
            data += far.recv(65536)
        assert data == b"".join(pieces)
        await turns()
        assert notes.calls == ["pause", "resume"]
        assert stream.backlog_bytes == 0
        stream.abort()


async def test_pieces_go_out_one_in_a_turn() -> None:
    """Of many pieces each has a turn of the loop, after what was written before and before what is written later."""
    stream, notes, far = opened()
    pieces = [bytes([number]) * 20_000 for number in range(8)]
    with far:
        stream.write(b"head")
        stream.write_all(pieces)
        stream.write(b"end")
        assert stream.backlog_bytes == 8 * 20_000 + 3
        parts = [far.recv(1 << 20)]
        while stream.backlog_bytes:
            await turns(1)
            with contextlib.suppress(BlockingIOError):
                parts.append(far.recv(1 << 20))
        assert parts == [b"head", *pieces, b"end"]
        assert notes.calls == []
        stream.abort()


@pytest.mark.parametrize("pieces", [[], [b"one"], [b"x" * 200_000, b"y" * 200_000, b"z"]], ids=len)
async def test_close_sends_all_pieces(pieces: list[bytes]) -> None:
    """A close waits for the pieces as for anything else that is pending, also where the peer reads slowly."""
    stream, notes, far = opened(small=True)
    with far:
        stream.write(b"w" * 100_000)
        stream.write_all(pieces)
        stream.close()
        assert await received(far) == b"w" * 100_000 + b"".join(pieces)
        await turns()
    assert notes.calls[-1] == "lost"


async def test_pieces_end_with_their_stream() -> None:
    """Once a stream is given up, its pieces are thrown away, and new ones are ignored."""
    stream, _, far = opened()
    with far:
        stream.write_all([b"one", b"two"])
        os.close(stream.detach())
        stream.write_all([b"three", b"four"])
        assert stream.backlog_bytes == 0
        await turns()
        assert far.recv(100) == b""


async def test_close_sends_what_is_pending() -> None:
    """A close waits for the backlog; what is written after it is not sent; the descriptor goes last."""
    stream, notes, far = opened(small=True)
    fd = stream.fd
    with far:
        stream.write(b"x" * 100_000)
        stream.close()
        stream.write(b"late")
        assert stream.closed
        assert is_open(fd)
        assert await received(far) == b"x" * 100_000
        await turns()
    assert notes.calls[-1] == "lost"
    assert notes.calls.count("lost") == 1
    assert not is_open(fd)


async def test_close_without_a_backlog_is_immediate() -> None:
    """connection_lost comes before close returns, and only once."""
    stream, notes, far = opened()
    fd = stream.fd
    with far:
        stream.close()
        stream.close()
        stream.abort()
        stream.reset()
        assert notes.calls == ["lost"]
        assert not is_open(fd)
        assert (stream.fd, stream.closed, stream.protocol) == (-1, True, None)


async def test_abort_throws_the_backlog_away() -> None:
    """What was pending is not sent."""
    stream, notes, far = opened(small=True)
    with far:
        stream.write(b"x" * 300_000)
        stream.abort()
        assert notes.calls == ["pause", "lost"]
        assert len(await received(far)) < 300_000


async def test_reset_tells_the_peer() -> None:
    """A reset is an error on the other side, not an end."""
    stream, client = tcp_opened()
    stream.reset()
    with client, pytest.raises(ConnectionResetError):
        client.recv(1)


async def test_shutdown_write() -> None:
    """The peer reads the end and may still send."""
    stream, notes, far = opened()
    with far:
        stream.write(b"bye")
        stream.shutdown_write()
        assert await received(far) == b"bye"
        far.send(b"late")
        stream.resume_reading()
        await until(lambda: notes.data == b"late")
        stream.abort()


async def test_shutdown_write_with_a_backlog() -> None:
    """The end comes after what is pending."""
    stream, _, far = opened(small=True)
    with far:
        stream.write(b"x" * 100_000)
        stream.shutdown_write()
        assert await received(far) == b"x" * 100_000
        stream.abort()


async def test_write_to_a_peer_that_left_is_told_in_the_next_turn() -> None:
    """A protocol in the middle of a write is not called back from within; then it is, once."""
    stream, notes, far = opened()
    fd = stream.fd
    far.close()
    stream.write(b"x")
    assert notes.calls == []
    stream.write(b"y")
    await turns()
    assert notes.calls == ["lost"]
    assert not is_open(fd)


async def test_dropped_stream_closes_its_descriptor() -> None:
    """Nobody holds it: nothing leaks."""
    stream, _, far = opened()
    fd = stream.fd
    far.close()
    del stream
    assert not is_open(fd)


async def test_detach() -> None:
    """The caller has the descriptor, open and as it was; the stream knows nothing of it any more, and tells nothing."""
    stream, notes, far = opened()
    fd = stream.fd
    with far:
        stream.resume_reading()
        assert stream.detach() == fd
        assert (stream.fd, stream.closed, stream.protocol) == (-1, True, None)
        far.send(b"hello")
        await turns()
        stream.write(b"nothing")
        stream.resume_reading()
        stream.abort()
        assert os.read(fd, 100) == b"hello"
        assert stream.detach() == -1
        del stream
        os.close(fd)
        assert far.recv(100) == b""
    assert (notes.data, notes.calls) == (b"", [])


async def test_detach_with_a_backlog() -> None:
    """What was pending is thrown away, and the loop waits for neither direction."""
    stream, notes, far = opened(small=True)
    with far:
        stream.write(b"x" * 100_000)
        stream.close()
        with socket.socket(fileno=stream.detach()):
            far.setblocking(False)
            taken = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    taken += len(far.recv(65536))
            assert 0 < taken < 100_000
            await turns()
            with pytest.raises(BlockingIOError):
                far.recv(1)
            assert stream.backlog_bytes == 0
    assert notes.calls == ["pause"]


async def test_listener() -> None:
    """Connections are handed over with the peer's address, without blocking, IPv4 and IPv6 alike."""
    admitted: list[tuple[int, bytes, str]] = []
    addresses = [(socket.AF_INET, "127.0.0.1", bytes([127, 0, 0, 1])), (socket.AF_INET6, "::1", bytes(15) + b"\1")]
    for family, host, packed in addresses:
        listening = socket.create_server((host, 0), family=family)
        listening.setblocking(False)
        listener = Listener(asyncio.get_running_loop(), listening, lambda *what: admitted.append(what), "door")
        with socket.create_connection(listening.getsockname()[:2]):
            await until(lambda: bool(admitted))
            fd, peer, entrance = admitted.pop()
            assert (peer, entrance) == (packed, "door")
            assert not os.get_blocking(fd)
            assert not os.get_inheritable(fd)
            os.close(fd)
            listener.close()


async def test_listener_that_runs_out_of_descriptors_waits() -> None:
    """Without a free descriptor accepting pauses, and goes on later; nobody is lost, and no core spins."""
    loop = cast("ManualLoop", asyncio.get_running_loop())
    admitted: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    with socket.create_connection(listening.getsockname()), no_more_descriptors():
        listener = Listener(loop, listening, lambda fd, *_: admitted.append(fd), None)
        await until(lambda: bool(loop.timers))
        assert not admitted
    (timer,) = loop.timers
    assert timer.delay_seconds == Listener.RETRY_SECONDS
    timer.fire()
    await until(lambda: bool(admitted))
    listener.close()
    os.close(admitted.pop())


async def test_listener_takes_the_queue_of_the_kernel_before_it_closes() -> None:
    """Who was accepted by the kernel already is served, and nobody after that."""
    admitted: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    address = listening.getsockname()
    listener = Listener(asyncio.get_running_loop(), listening, lambda fd, *_: admitted.append(fd), None)
    clients = [socket.create_connection(address) for _ in range(3)]
    listener.close()
    listener.close()
    assert len(admitted) == 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    for client in clients:
        client.close()
    for fd in admitted:
        os.close(fd)


async def test_listener_accepts_a_bounded_number_in_a_turn() -> None:
    """A burst of connections does not keep the loop from those that are open: 8, then others have their turn."""
    admitted: list[int] = []
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    listening.setblocking(False)
    with ExitStack() as stack:
        for _ in range(40):
            stack.enter_context(socket.create_connection(listening.getsockname()))
        listener = Listener(asyncio.get_running_loop(), listening, lambda fd, *_: admitted.append(fd), None)
        await until(lambda: bool(admitted))
        first_turn = len(admitted)
        await until(lambda: len(admitted) == 40)
        listener.close()
        for fd in admitted:
            os.close(fd)
    assert first_turn == 8
