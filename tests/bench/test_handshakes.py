"""What is made of the output of `openssl s_time`."""

import pytest

from bench.handshakes import command, outcome
from bench.load import LoadError
from bench.targets import dirmngr_heads
from proxy.http.head import read_request

STARS = "*" * 99
LAST = "\n\n5 connections in 0.15s; 33.3 connections/user sec, bytes read 11300\n{} connections in 4 real seconds, "
END = "{} bytes read per connection\n"


def _printed(requests: int, answer_bytes: int) -> str:
    return STARS + LAST.format(requests) + END.format(answer_bytes)


def test_the_processes_are_added_up() -> None:
    """Requests, bytes, and no latency."""
    outputs = [_printed(200, 2260), _printed(100, 2260)]
    found = outcome(outputs, 2_000_000)
    assert (found.requests, found.bytes, found.rate, found.p99_us) == (300, 300 * 2260, 150.0, 0)


@pytest.mark.parametrize(
    "output", ["", STARS, _printed(0, 0), _printed(200, 309)], ids=["none", "cut", "no", "refused"]
)
def test_a_run_without_certificates_is_no_run(output: str) -> None:
    """An error page is answered faster than a certificate."""
    with pytest.raises(LoadError):
        outcome([_printed(200, 2260), output], 1)


def test_what_s_time_sends_is_a_request_of_dirmngr_and_one_field() -> None:
    """It writes `GET`, the given target and ` HTTP/1.0`: the fields are hidden in the target."""
    given = command(1, dirmngr_heads()[0], 3.0)
    sent = b"GET " + given[given.index("-www") + 1].encode() + b" HTTP/1.0\r\n\r\n"
    request = read_request(sent, 16384, 8192, 0)
    assert request is not None
    assert request.target == dirmngr_heads()[0].split()[1].decode()
    assert (request.host, request.minor, request.keep_alive) == (b"keys.example.org", 0, False)
