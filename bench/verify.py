"""Proves, before anything is timed, that a proxy does what its row is about."""

from http.client import HTTPConnection, HTTPResponse, HTTPSConnection

from bench.certificate import unchecked
from bench.fault import MeasurementError
from bench.peers import Running, Setup
from bench.targets import paths

ATTEMPTS = 4  # a limit may let a burst of one or two pass
ATTEMPT_TIMEOUT_S = 5.0
REFUSED = 429


class AnswerError(MeasurementError):
    """A proxy did not answer as its row needs."""


def verify(proxy: Running, server: Running, setup: Setup) -> None:
    """Ask `proxy` a few times over one connection and compare with what `server` says.

    Raises:
        AnswerError: a body that differs, a status that differs, or no keep-alive.

    """
    wanted = _answers(HTTPConnection("127.0.0.1", server.port, timeout=ATTEMPT_TIMEOUT_S))[-1]
    plain = HTTPConnection("127.0.0.1", proxy.port, timeout=ATTEMPT_TIMEOUT_S)
    sealed = HTTPSConnection("127.0.0.1", proxy.port, timeout=ATTEMPT_TIMEOUT_S, context=unchecked())
    got = _answers(sealed if setup is Setup.TLS else plain)[-1]
    refused = setup is Setup.REFUSE
    if refused and got[0] != REFUSED:
        raise AnswerError(f"{proxy.name} answered {got[0]}, not {REFUSED}")
    if not refused and got != wanted:
        raise AnswerError(f"{proxy.name} answered {got[0]} {got[1][:80]!r}, not what the upstream says")


def _answers(connection: HTTPConnection) -> list[tuple[int, bytes]]:
    try:
        return [_ask(connection, path) for path in paths(ATTEMPTS)]
    finally:
        connection.close()


def _ask(connection: HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer: HTTPResponse = connection.getresponse()
    body = answer.read()
    if answer.will_close:
        raise AnswerError(f"{answer.status} with a close: keep-alive cannot be measured")
    return answer.status, body
