"""Reply heads of keyservers: what is relayed, and how the body ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.head import CHUNKED, NO_LENGTH, HeadError, ReplyHead, read_reply

MOST = 16384


def accepted(head: bytes) -> ReplyHead:
    """Read a head that is complete and well."""
    found = read_reply(head, MOST)
    assert found is not None
    return found


def with_fields(*lines: str, first: str = "HTTP/1.1 200 OK") -> bytes:
    """Return a reply head."""
    return "".join(f"{line}\r\n" for line in (first, *lines, "")).encode("latin-1")


@pytest.mark.parametrize(
    ("line", "status", "minor", "relayed"),
    [
        ("HTTP/1.1 200 OK", 200, 1, b"HTTP/1.1 200 OK\r\n"),
        ("HTTP/1.0 404 Not Found", 404, 0, b"HTTP/1.1 404 Not Found\r\n"),
        ("HTTP/1.1 200 ", 200, 1, b"HTTP/1.1 200 \r\n"),
        ("HTTP/1.1 200", 200, 1, b"HTTP/1.1 200\r\n"),
        ("HTTP/1.1 599 \xe4", 599, 1, b"HTTP/1.1 599 \xe4\r\n"),
        ("HTTP/1.1 100 Continue", 100, 1, b"HTTP/1.1 100 Continue\r\n"),
    ],
)
def test_status_line(line: str, status: int, minor: int, relayed: bytes) -> None:
    """The status and its phrase are relayed, the version is ours."""
    head = accepted(with_fields(first=line))
    assert (head.status, head.minor, head.block) == (status, minor, relayed)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "HTTP/1.1",
        "HTTP/1.1 ",
        "HTTP/1.1 20",
        "HTTP/1.1 2000",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 2x0 OK",
        "HTTP/1.1\t200 OK",
    ],
)
def test_refused_status_line(line: str) -> None:
    """A status line has one form."""
    with pytest.raises(HeadError):
        read_reply(with_fields("A: b", first=line), MOST)


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ((), NO_LENGTH),
        (("Content-Length: 0",), 0),
        (("Content-Length: 12",), 12),
        (("Transfer-Encoding: chunked",), CHUNKED),
    ],
)
def test_framing(lines: tuple[str, ...], length: int) -> None:
    """A length, chunks, or the end of the connection ends the body."""
    head = accepted(with_fields(*lines))
    assert head.length == length
    assert head.block == b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("first", "lines", "keep_alive"),
    [
        ("HTTP/1.1 200 OK", (), True),
        ("HTTP/1.1 200 OK", ("Connection: close",), False),
        ("HTTP/1.0 200 OK", (), False),
        ("HTTP/1.0 200 OK", ("Connection: keep-alive",), True),
    ],
)
def test_keep_alive(first: str, lines: tuple[str, ...], *, keep_alive: bool) -> None:
    """Whether the keyserver lets the connection be used again."""
    assert accepted(with_fields(*lines, first=first)).keep_alive == keep_alive


def test_relayed_fields() -> None:
    """Server, Via and the rest are relayed; what concerns the one connection, and what Connection names, is not."""
    head = accepted(
        with_fields(
            "Server: Hockeypuck/2.4",
            "Connection: x-gone, keep-alive",
            "Keep-Alive: timeout=5",
            "Proxy-Connection: a",
            "Proxy-Authenticate: a",
            "Upgrade: a",
            "Trailer: a",
            "X-Gone: a",
            "Via: 1.1 b",
            "X_Odd: kept",
            "Set-Cookie: a",
            "Set-Cookie: b",
            "Content-Length: 3",
        )
    )
    kept = b"Server: Hockeypuck/2.4\r\nVia: 1.1 b\r\nX_Odd: kept\r\nSet-Cookie: a\r\nSet-Cookie: b\r\n"
    assert head.block == b"HTTP/1.1 200 OK\r\n" + kept


def test_head_split_at_every_byte() -> None:
    """A head gives nothing until it is complete; what follows it is not looked at."""
    whole = with_fields("Server: a", "Content-Length: 3")
    for size in range(len(whole)):
        assert read_reply(whole[:size], MOST) is None
    assert accepted(whole + b"\n\n\0").size == len(whole)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Whatever comes is a head, not yet a head, or refused."""
    try:
        head = read_reply(data, 100)
    except HeadError:
        return
    assert head is None or 0 < head.size <= len(data)
