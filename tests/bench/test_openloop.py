"""The open-loop generator against small servers of the test."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from bench import openloop
from bench.targets import BODY_END

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n" + BODY_END


@contextmanager
def _server(*parts: bytes) -> Iterator[int]:
    """Serve, on each connection, one answer in `parts` for each request."""

    def converse(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, suppress(ConnectionError):  # a client that gives up resets what it has not read
            while connection.recv(4096):
                for part in parts:
                    connection.sendall(part)

    def accept() -> None:
        for _ in range(openloop.CONNECTIONS):
            Thread(target=converse, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=openloop.CONNECTIONS) as listener:
        acceptor = Thread(target=accept, daemon=True)
        acceptor.start()
        yield listener.getsockname()[1]
        acceptor.join()


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    openloop.build()


@pytest.mark.parametrize("parts", [(ANSWER,), (ANSWER[:30], ANSWER[30:])], ids=["whole", "in parts"])
def test_every_scheduled_request_is_answered_once(parts: tuple[bytes, ...]) -> None:
    """All are sent, those of the warm-up are not counted, latency includes the lateness."""
    with _server(*parts) as port:
        latency = openloop.run(port, rate=400, seconds=0.1)
    assert (latency.sent, latency.requests) == (160, 40)
    assert 0 <= latency.late_p99_us < latency.p99_us


def test_another_status_ends_the_run() -> None:
    """A 429 is answered faster than a certificate: it must not count."""
    with _server(b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n") as port, pytest.raises(ConnectionError):
        openloop.run(port, rate=400, seconds=0.1)


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 3), (0.99, 4), (1.0, 4)])
def test_percentile_stays_inside(share: float, value: float) -> None:
    """The highest share is the greatest value, not one beyond."""
    assert openloop.percentile([1, 2, 3, 4], share) == value


def test_summary_leaves_the_warm_up_out() -> None:
    """The first requests may be as slow as they like."""
    latency = openloop.summary([9000.0, 1.0, 2.0], [9000.0, 0.5, 0.5], skip=1)
    assert latency == openloop.Latency(sent=3, requests=2, p50_us=2.0, p99_us=2.0, late_p99_us=0.5)
