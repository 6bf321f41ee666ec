"""The engine that holds connections, against an echo server of the test."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from bench.hoard import Count, Hoard, Orders, Read, Script, Sip

PATIENCE_S = 20.0
BIG = b"x" * 8_000_000  # more than the buffers of a connection take at once


@pytest.fixture
def stop() -> Iterator[tuple[int, int]]:
    """Give a pipe; the hoard ends when something can be read from it."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@contextmanager
def _server(*, answer: bool = True) -> Iterator[int]:
    """Send back whatever comes, or close at once."""

    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while answer and (data := connection.recv(65536)):
                connection.sendall(data)

    def accept() -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _run(port: int, script: Callable[[int], Script], stop: int, connections: int = 3) -> Count:
    hoard = Hoard(
        Orders(port=port, script=script, source=lambda _: "127.9.8.7", connections=connections, pace=100_000.0)
    )
    hoard.run(PATIENCE_S, stop)
    return hoard.count


def test_a_script_sends_waits_and_reads(stop: tuple[int, int]) -> None:
    """Each step does what it says, in its order, for all connections at once."""
    got: list[tuple[int, bytes, bytes]] = []

    def script(number: int) -> Script:
        nothing = yield Sip(3)
        yield b"%d and more" % number
        first = yield Read()
        yield 0.001
        got.append((number, nothing, first))
        if len(got) == 3:
            os.write(stop[1], b"x")
        yield PATIENCE_S

    with _server() as port:
        count = _run(port, script, stop[0])
    assert sorted(got) == [(number, b"", b"%d and more" % number) for number in range(3)]
    assert count == Count(opened=3)


def test_all_bytes_are_sent_before_the_next_step(stop: tuple[int, int]) -> None:
    """However often the server lets them wait."""
    echoed = bytearray()

    def script(_number: int) -> Script:
        yield BIG[: len(BIG) // 2]
        while len(echoed) < len(BIG) // 2:
            echoed.extend((yield Read()))
        os.write(stop[1], b"x")
        yield PATIENCE_S

    with _server() as port:
        _run(port, script, stop[0], connections=1)
    assert len(echoed) == len(BIG) // 2


def test_sips_are_small(stop: tuple[int, int]) -> None:
    """What is left stays in the kernel."""
    sips: list[bytes] = []

    def script(_number: int) -> Script:
        yield b"abcdef"
        while b"".join(sips) != b"abcdef":
            yield 0.001
            sips.append((yield Sip(4)))
        os.write(stop[1], b"x")
        yield PATIENCE_S

    with _server() as port:
        _run(port, script, stop[0], connections=1)
    assert max(map(len, sips)) <= 4


@pytest.mark.parametrize("ended_by_server", [True, False])
def test_the_hoard_stays_complete(stop: tuple[int, int], *, ended_by_server: bool) -> None:
    """Who is turned away, or is done, comes again under the same number; never more at a time than ordered."""
    started: list[int] = []
    present: set[int] = set()

    def script(number: int) -> Script:
        assert number not in present
        started.append(number)
        present.add(number)
        if len(started) == 7:
            os.write(stop[1], b"x")
        try:
            yield b"hello"
            if ended_by_server:
                yield Read()
        finally:
            present.remove(number)

    with _server(answer=not ended_by_server) as port:
        count = _run(port, script, stop[0], connections=2)
    assert set(started) == {0, 1}
    assert (count.ended if ended_by_server else count.over) >= 5


def test_time_is_bounded(stop: tuple[int, int]) -> None:
    """Nothing is opened when the time is over."""
    with _server() as port:
        hoard = Hoard(Orders(port=port, script=_never, source=lambda _: "127.9.8.7", connections=1, pace=1.0))
        hoard.run(0.0, stop[0])
    assert hoard.count == Count()


def _never(_number: int) -> Script:
    yield Read()
