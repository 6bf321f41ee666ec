"""The honest clients against small servers of the test."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from bench import visitors
from bench.load import Client
from bench.targets import BODY_END
from bench.visitors import ADDRESSES, Crowd, Experience, Tally, Visits

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 35\r\n\r\n" + BODY_END
REFUSED = b"HTTP/1.1 429 No\r\nContent-Length: 0\r\n\r\n"
RATE, SECONDS = 100.0, 0.2  # and half a second before that is not counted


@contextmanager
def _server(answer: bytes, *, close: bool, peers: set[str]) -> Iterator[int]:
    def converse(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while connection.recv(4096):
                connection.sendall(answer)
                if close:
                    return

    def accept() -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                connection, address = listener.accept()
                peers.add(address[0])
                Thread(target=converse, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def _met(kind: Client, answer: bytes, *, close: bool) -> Experience:
    peers: set[str] = set()
    with _server(answer, close=close, peers=peers) as port:
        visits = Visits(port, Crowd(rates={kind: RATE}), SECONDS)
        visits.run()
    assert peers == {ADDRESSES[kind]}
    return visits.tallies[kind].experience()


@pytest.mark.parametrize(("kind", "close"), [(Client.KEEPALIVE, False), (Client.DIRMNGR, True)])
def test_every_request_is_sent_and_answered(kind: Client, *, close: bool) -> None:
    """A connection that stays has many answers, one of gpg's has one and ends."""
    met = _met(kind, WHOLE, close=close)
    assert (met.sent, met.counted, met.errors) == (70, 20, {})
    assert 0 < met.late_p99_us < met.p99_us


@pytest.mark.parametrize(
    ("kind", "answer", "close", "error"),
    [
        (Client.KEEPALIVE, REFUSED, True, "status 429"),
        (Client.KEEPALIVE, WHOLE[:50], True, "closed"),
        (Client.KEEPALIVE, b"", True, "closed"),
        (Client.DIRMNGR, REFUSED, True, "status 429"),
        (Client.DIRMNGR, WHOLE[:50], True, "closed"),
    ],
)
def test_what_goes_wrong_is_counted_by_its_kind(kind: Client, answer: bytes, error: str, *, close: bool) -> None:
    """And the next request is sent all the same, over another connection."""
    met = _met(kind, answer, close=close)
    assert (met.counted, met.errors, met.failed) == (20, {error: 20}, 20)


def test_a_server_that_is_not_there_is_an_error_of_each_request() -> None:
    """Nothing stops."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    visits = Visits(port, Crowd(rates=dict.fromkeys(ADDRESSES, RATE)), SECONDS)
    visits.run()
    for tally in visits.tallies.values():
        assert tally.experience().errors == {"ECONNREFUSED": 20}


def test_what_cannot_be_sent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guard that answers nobody does not stop the run; each request that fell due has failed."""
    monkeypatch.setattr(visitors, "PATIENCE_S", 0.0)
    monkeypatch.setattr(visitors, "STAYING", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        visits = Visits(silent.getsockname()[1], Crowd(rates={Client.KEEPALIVE: RATE}), SECONDS)
        visits.run()
    met = visits.tallies[Client.KEEPALIVE].experience()
    assert (met.sent, met.counted, met.errors) == (70, 20, {"not sent": 20})


def test_the_time_counts_from_when_a_request_was_due() -> None:
    """So what a stall holds up is in the figures; the warm-up is not. To wait for a connection is not lateness."""
    tally = Tally(1_000_000, rate=1000.0, seconds=0.003)
    assert (tally.total, tally.due_ns) == (503, 1_000_000)
    for _ in range(500):
        number, due_ns = tally.depart(9_000_000_000)
        tally.arrive(number, due_ns, 9_999_000_000)
    for late_ns, waited_ns in ((2_000, 7_000), (3_000, 9_000)):
        now_ns = tally.due_ns
        assert now_ns is not None
        number, due_ns = tally.depart(now_ns + late_ns)
        tally.arrive(number, due_ns, now_ns + waited_ns)
    number, _ = tally.depart(504_000_000, free_ns=503_900_000)  # due at 503 ms
    tally.fail(number, "closed")
    assert tally.due_ns is None
    assert tally.experience() == Experience(
        sent=503, counted=3, errors={"closed": 1}, p50_us=9.0, p99_us=9.0, late_p99_us=100.0
    )
