"""Request heads: one meaning or none. Bytes in, fields or a status out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.head import CHUNKED, HeadError, RequestHead, read_request

HEAD_MOST = 16384
TARGET_MOST = 8192
GET = "GET / HTTP/1.1\r\nHost: a\r\n"


def read(head: bytes | str) -> RequestHead | None:
    """Read with the default bounds."""
    data = head.encode("latin-1") if isinstance(head, str) else head
    return read_request(data, HEAD_MOST, TARGET_MOST)


def accepted(head: bytes | str) -> RequestHead:
    """Read a head that is complete and well."""
    found = read(head)
    assert found is not None
    return found


def with_fields(*lines: str, minor: int = 1) -> str:
    """Return a head with Host and these lines."""
    return f"POST /pks/add HTTP/1.{minor}\r\nHost: a\r\n" + "".join(f"{line}\r\n" for line in lines) + "\r\n"


REFUSED_LINES = {
    "no method": (" / HTTP/1.1", 400),
    "method that is no token": ("G@T / HTTP/1.1", 400),
    "method of 40 letters": ("A" * 40 + " / HTTP/1.1", 400),
    "two spaces before the target": ("GET  / HTTP/1.1", 400),
    "two spaces after the target": ("GET /  HTTP/1.1", 400),
    "tab instead of space": ("GET\t/\tHTTP/1.1", 400),
    "no target": ("GET HTTP/1.1", 400),
    "no version": ("GET /", 400),
    "only a method": ("GET", 400),
    "trailing space": ("GET / HTTP/1.1 ", 400),
    "leading space": (" GET / HTTP/1.1", 400),
    "relative target": ("GET pks/lookup HTTP/1.1", 400),
    "fragment": ("GET /a#b HTTP/1.1", 400),
    "space in the target": ("GET /a b HTTP/1.1", 400),
    "tab in the target": ("GET /a\tb HTTP/1.1", 400),
    "byte above ASCII in the target": ("GET /\xff HTTP/1.1", 400),
    "DEL in the target": ("GET /\x7f HTTP/1.1", 400),
    "NUL in the target": ("GET /\x00 HTTP/1.1", 400),
    "CONNECT": ("CONNECT a:443 HTTP/1.1", 400),
    "CONNECT with a path": ("CONNECT / HTTP/1.1", 400),
    "CONNECT with a URL": ("CONNECT http://a/ HTTP/1.1", 400),
    "star without OPTIONS": ("GET * HTTP/1.1", 400),
    "https": ("GET https://a/ HTTP/1.1", 400),
    "no authority": ("GET http:///a HTTP/1.1", 400),
    "user in the authority": ("GET http://u@a/ HTTP/1.1", 400),
    "authority of somebody else": ("GET http://b/ HTTP/1.1", 400),
    "HTTP/2": ("GET / HTTP/2.0", 505),
    "HTTP/0.9": ("GET / HTTP/0.9", 505),
    "HTTP/1.2": ("GET / HTTP/1.2", 505),
    "HTTP/11.1": ("GET / HTTP/11.1", 400),
    "HTTP/1.10": ("GET / HTTP/1.10", 400),
    "HTTP/1": ("GET / HTTP/1", 400),
    "HTTP/1.x": ("GET / HTTP/1.x", 400),
    "lower-case http": ("GET / http/1.1", 400),
    "other protocol": ("GET / ICAP/1.1", 400),
    "preface of HTTP/2": ("PRI * HTTP/2.0", 400),
    "TLS": ("\x16\x03\x01\x02\x00\x01", 400),
}


@pytest.mark.parametrize(("line", "status"), REFUSED_LINES.values(), ids=REFUSED_LINES)
def test_refused_request_line(line: str, status: int) -> None:
    """A request line that could mean two things, or nothing, is refused with a status that says why."""
    with pytest.raises(HeadError) as caught:
        read(f"{line}\r\nHost: a\r\n\r\n")
    assert caught.value.status == status


REFUSED_FIELDS = {
    "space before the colon": "Content-Length : 0",
    "tab before the colon": "Content-Length\t: 0",
    "space before the name": " Accept: a",
    "folded line": "Accept: a\r\n b",
    "folded with a tab": "Accept: a\r\n\tb",
    "no colon": "Accept",
    "no name": ": a",
    "name that is no token": "Acc(ept: a",
    "name above ASCII": "Acc\xe9pt: a",
    "NUL in a value": "Accept: a\x00b",
    "control character in a value": "Accept: a\x01b",
    "DEL in a value": "Accept: a\x7f",
    "bare CR in a value": "Accept: a\rb",
    "bare CR at the end of a line": "Accept: a\r\r",
    "bare CR before a field": "Accept: a\rContent-Length: 5",
    "second Host": "Host: a",
    "two content types": "Content-Type: application/pgp-keys\r\ncontent-type: application/x-www-form-urlencoded",
    "equal content types": "Content-Type: a\r\nContent-Type: a",
    "other Host": "Host: b",
    "two lengths": "Content-Length: 5\r\nContent-Length: 6",
    "equal lengths": "Content-Length: 5\r\nContent-Length: 5",
    "list of equal lengths": "Content-Length: 5, 5",
    "length with a sign": "Content-Length: +5",
    "negative length": "Content-Length: -5",
    "hexadecimal length": "Content-Length: 0x5",
    "length with a fraction": "Content-Length: 5.0",
    "length with a space": "Content-Length: 5 5",
    "empty length": "Content-Length:",
    "length of 16 digits": "Content-Length: 1000000000000000",
    "length beyond 64 bits": "Content-Length: 18446744073709551621",
    "length in another script": "Content-Length: \xb2",
    "length and coding": "Content-Length: 5\r\nTransfer-Encoding: chunked",
    "coding and length": "Transfer-Encoding: chunked\r\nContent-Length: 5",
    "coding and length in other letters": "TRANSFER-ENCODING: chunked\r\ncontent-length: 5",
    "two codings in two lines": "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "two codings in one line": "Transfer-Encoding: chunked, chunked",
    "chunked is not the last": "Transfer-Encoding: chunked, identity",
    "gzip before chunked": "Transfer-Encoding: gzip, chunked",
    "identity": "Transfer-Encoding: identity",
    "unknown coding": "Transfer-Encoding: xchunked",
    "coding with a parameter": "Transfer-Encoding: chunked;a=b",
    "coding in quotes": 'Transfer-Encoding: "chunked"',
    "coding after a vertical tab": "Transfer-Encoding: \x0bchunked",
    "empty coding": "Transfer-Encoding:",
    "Connection that is no list": "Connection: close; a",
    "Connection with 17 names": "Connection: " + ", ".join(f"x{i}" for i in range(17)),
    "Connection in quotes": 'Connection: "close"',
}


@pytest.mark.parametrize("lines", REFUSED_FIELDS.values(), ids=REFUSED_FIELDS)
def test_refused_field(lines: str) -> None:
    """A field that two programs could read in two ways makes the head malformed."""
    with pytest.raises(HeadError) as caught:
        read(with_fields(lines))
    assert caught.value.status == 400


@pytest.mark.parametrize("host", ["a b", "a,b", "a/b", "u@a", "a?b", "a\\b", "a%00", '"a"', "a\x80"])
def test_refused_host(host: str) -> None:
    """Host is a name or an address and a port, and nothing that a keyserver could take for more."""
    with pytest.raises(HeadError) as caught:
        read(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
    assert caught.value.status == 400


OTHERS = {
    "no Host": ("GET / HTTP/1.1\r\n\r\n", 400),
    "coding in HTTP/1.0": (with_fields("Transfer-Encoding: chunked", minor=0), 400),
    "bare LF after the request line": ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    "bare LF after a field": ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    "bare LF at the end": ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    "bare LF in the beginning": ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "two empty lines in the beginning": ("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "only bare LFs": ("GET / HTTP/1.1\nHost: a\n\n", 400),
    "unknown expectation": (with_fields("Expect: 200-ok"), 417),
    "101 fields": (GET + "a: b\r\n" * 100 + "\r\n", 431),
    "head too large": (GET + f"a: {'b' * HEAD_MOST}\r\n\r\n", 431),
    "head too large and not complete": (GET + "a: " + "b" * HEAD_MOST, 431),
    "target too long": (f"GET /{'a' * TARGET_MOST} HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "target too long and not complete": (f"GET /{'a' * 2 * TARGET_MOST}", 414),
    "method and no end": ("A" * 2 * HEAD_MOST, 431),
}


@pytest.mark.parametrize(("head", "status"), OTHERS.values(), ids=OTHERS)
def test_refused_head(head: str, status: int) -> None:
    """Line ends, bounds and what HTTP/1.0 does not know."""
    with pytest.raises(HeadError) as caught:
        read(head)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("line", "method", "target"),
    [
        ("GET / HTTP/1.1", "GET", "/"),
        ("POST /pks/add HTTP/1.0", "POST", "/pks/add"),
        ("GET /a?b=c&d=%41+e HTTP/1.1", "GET", "/a?b=c&d=%41+e"),
        ("GET //a/../b HTTP/1.1", "GET", "//a/../b"),
        ('GET /a"<>\\^`{|} HTTP/1.1', "GET", '/a"<>\\^`{|}'),
        ("GET http://a/b?c HTTP/1.1", "GET", "/b?c"),
        ("GET HTTP://A/b HTTP/1.1", "GET", "/b"),
        ("GET http://a HTTP/1.1", "GET", "/"),
        ("GET http://a?b HTTP/1.1", "GET", "/?b"),
        ("OPTIONS * HTTP/1.1", "OPTIONS", "/"),
        ("OPTIONS /pks/lookup HTTP/1.1", "OPTIONS", "/pks/lookup"),
        ("get / HTTP/1.1", "get", "/"),
        ("M-SEARCH!#$%&'*+.^_`|~ / HTTP/1.1", "M-SEARCH!#$%&'*+.^_`|~", "/"),
        ("A" * 32 + " / HTTP/1.1", "A" * 32, "/"),
    ],
)
def test_accepted_request_line(line: str, method: str, target: str) -> None:
    """Method and target are read as they were sent; the target in origin form."""
    head = accepted(f"{line}\r\nHost: a\r\n\r\n")
    assert (head.method, head.target) == (method, target)


@pytest.mark.parametrize(
    ("lines", "minor", "length"),
    [
        ((), 1, 0),
        (("Content-Length: 0",), 1, 0),
        (("Content-Length: 5",), 0, 5),
        (("content-length:\t 005 ",), 1, 5),
        (("Content-Length: 999999999999999",), 1, 999_999_999_999_999),
        (("Transfer-Encoding: chunked",), 1, CHUNKED),
        (("transfer-encoding: CHUNKED",), 1, CHUNKED),
        (("Content_Length: 5",), 1, 0),
        (("Connection: Content-Length", "Content-Length: 5"), 1, 5),
        (("Connection: Transfer-Encoding", "Transfer-Encoding: chunked"), 1, CHUNKED),
    ],
)
def test_framing(lines: tuple[str, ...], minor: int, length: int) -> None:
    """One field at most says how long the body is, and Connection cannot take it away."""
    assert accepted(with_fields(*lines, minor=minor)).length == length


@pytest.mark.parametrize(
    ("minor", "connection", "keep_alive"),
    [
        (1, None, True),
        (1, "close", False),
        (1, "CLOSE", False),
        (1, "keep-alive, close", False),
        (1, "x ,close", False),
        (1, ", ,close,", False),
        (1, "closer", True),
        (0, None, False),
        (0, "keep-alive", True),
        (0, "Keep-Alive", True),
        (0, "keep-alive, close", False),
    ],
)
def test_keep_alive(minor: int, connection: str | None, *, keep_alive: bool) -> None:
    """HTTP/1.1 connections stay unless the client says close; HTTP/1.0 ones go unless it says keep-alive."""
    lines = () if connection is None else (f"Connection: {connection}",)
    assert accepted(with_fields(*lines, minor=minor)).keep_alive == keep_alive


def test_close_in_any_connection_line_counts() -> None:
    """Several Connection lines are one list."""
    assert not accepted(with_fields("Connection: x", "Connection: close", "Connection: y")).keep_alive


@pytest.mark.parametrize(
    ("minor", "value", "expects"),
    [(1, "100-continue", True), (1, "100-Continue", True), (0, "100-continue", False)],
)
def test_expectation(minor: int, value: str, *, expects: bool) -> None:
    """HTTP/1.1 clients may wait for 100 Continue; in HTTP/1.0 there is no such thing."""
    head = accepted(with_fields(f"Expect: {value}", minor=minor))
    assert head.expects_continue == expects
    assert b"xpect" not in head.block


DROPPED = [
    "Accept_Encoding: a",
    "X_Forwarded_For: 192.0.2.9",
    "Connection: x",
    "Keep-Alive: 5",
    "Proxy-Connection: keep-alive",
    "Proxy-Authorization: a",
    "Proxy: http://evil.example",
    "TE: trailers",
    "Trailer: Expires",
    "Upgrade: h2c",
    "HTTP2-Settings: a",
    "Content-Length: 5",
    "Forwarded: for=192.0.2.9",
    "X-Forwarded-For: 192.0.2.9",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: b",
    "X-Forwarded-Server: b",
    "X-Forwarded-Port: 1",
    "x-forwarded-anything: b",
    "X-Real-IP: 192.0.2.9",
    "X-Client-IP: 192.0.2.9",
    "X-Cluster-Client-IP: 192.0.2.9",
    "True-Client-IP: 192.0.2.9",
    "CF-Connecting-IP: 192.0.2.9",
    "X-Request-ID: a",
    "X-HKPGuard-Verdict: allow",
    "x-hkpguard-a: b",
]


@pytest.mark.parametrize("line", DROPPED)
def test_dropped_field(line: str) -> None:
    """Hop-by-hop fields, what only we may say of a client, and our own names do not go further, in any spelling."""
    for spelling in (line, line.upper(), line.lower()):
        head = accepted(with_fields("Accept: a", spelling, "User-Agent: b"))
        assert head.block == b"Host: a\r\nAccept: a\r\nUser-Agent: b\r\n"


KEPT = [
    "Accept: a",
    "Cookie: a=b",
    "Via: 1.1 a",
    "Content-Type: a",
    "X-Forwarded: a",
    "X-Hkpguard: a",
    "Te-st: a",
]


@pytest.mark.parametrize("line", KEPT)
def test_kept_field(line: str) -> None:
    """Everything else goes on as it came, odd spacing included."""
    assert accepted(with_fields(line)).block == f"Host: a\r\n{line}\r\n".encode()


def test_fields_that_connection_names_are_dropped() -> None:
    """What Connection nominates is hop-by-hop, before it and after it, in any spelling; but never what was believed."""
    lines = ("X-One: a", "Connection: x-one, Host, X-Two, content-type", "x-two: b", "Content-Type: c", "X-ONE: d")
    assert accepted(with_fields(*lines)).block == b"Host: a\r\nContent-Type: c\r\n"


def test_values_that_are_read() -> None:
    """Forwarding fields are joined over their lines; of Accept the first counts."""
    lines = (
        "X-Forwarded-For: a",
        "x-forwarded-for:b ",
        "Forwarded: for=c",
        "Forwarded: for=d",
        "Accept: e",
        "Accept: f",
    )
    head = accepted(with_fields(*lines, "X-Forwarded-Proto: https"))
    assert head.forwarded_for == b"a, b"
    assert head.forwarded == b"for=c, for=d"
    assert head.forwarded_proto == b"https"
    assert head.accept == b"e"
    assert head.host == b"a"


CLIENT_ADDRESSES = {
    "CF-Connecting-IP": "cf_connecting_ip",
    "True-Client-IP": "true_client_ip",
    "X-Real-IP": "x_real_ip",
}


@pytest.mark.parametrize(("name", "attribute"), CLIENT_ADDRESSES.items())
def test_client_addresses_are_read(name: str, attribute: str) -> None:
    """What a proxy says of the client is kept apart for each header; said twice, it is no single address any more."""
    assert getattr(accepted(with_fields("Accept: a")), attribute) is None
    for spelling in (name, name.upper(), name.lower()):
        head = accepted(with_fields(f"{spelling}: 192.0.2.1 "))
        assert [getattr(head, each) for each in CLIENT_ADDRESSES.values() if each != attribute] == [None, None]
        assert getattr(head, attribute) == b"192.0.2.1"
    twice = accepted(with_fields(f"{name}: 192.0.2.1", f"{name.lower()}: 192.0.2.1"))
    assert getattr(twice, attribute) == b"192.0.2.1, 192.0.2.1"
    assert twice.block == b"Host: a\r\n"


@pytest.mark.parametrize("name", CLIENT_ADDRESSES)
def test_near_misses_of_client_addresses(name: str) -> None:
    """Other names of the same length go on, and are not read."""
    other = name[:-1] + "Q"
    head = accepted(with_fields(f"{other}: 192.0.2.1", f"{name.replace('-', '_')}: 192.0.2.2"))
    assert [getattr(head, each) for each in CLIENT_ADDRESSES.values()] == [None] * 3
    assert head.block == f"Host: a\r\n{other}: 192.0.2.1\r\n".encode()


def test_http_1_0_needs_no_host() -> None:
    """Without Host there is none; nothing stands in for it here."""
    head = accepted("GET / HTTP/1.0\r\n\r\n")
    assert (head.host, head.minor, head.block) == (None, 0, b"")


def test_size_ends_at_the_empty_line() -> None:
    """What follows the head is not looked at, bare LFs and all; one empty line before it is forgiven."""
    head = with_fields().encode()
    found = accepted(b"\r\n" + head + b"\n\n\0 next")
    assert found.size == len(head) + 2


def test_bounds_are_inclusive() -> None:
    """A target and a head of exactly the most bytes are read; one more is refused."""
    line = "GET /{} HTTP/1.1\r\nHost: a\r\n"
    head = (line.format("a" * 99) + "\r\n").encode()
    assert read_request(head, len(head), 100) is not None
    with pytest.raises(HeadError) as too_long:
        read_request(head, len(head), 99)
    assert too_long.value.status == 414
    with pytest.raises(HeadError) as too_large:
        read_request(head, len(head) - 1, 100)
    assert too_large.value.status == 431


def test_hundred_fields_are_read() -> None:
    """The most fields that a head may have, all of them kept."""
    head = accepted(GET + "a: b\r\n" * 99 + "\r\n")
    assert head.block.count(b"a: b\r\n") == 99


EVERYTHING = (
    b"POST http://a/pks/add?b HTTP/1.1\r\nHost: a\r\nAccept: b\r\nX-Gone: c\r\nConnection: x-gone\r\n"
    b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nX-Forwarded-For: d\r\nX-Real-IP: e\r\n\r\n"
)
ATTRIBUTES = (
    "method", "target", "minor", "length", "keep_alive", "expects_continue", "host", "block",
    "forwarded_for", "forwarded", "forwarded_proto", "cf_connecting_ip", "true_client_ip", "x_real_ip",
    "accept", "size",
)  # fmt: skip


def test_head_split_at_every_byte() -> None:
    """A head gives nothing until it is complete, and then the same whatever follows it."""
    whole = accepted(EVERYTHING)
    for size in range(len(EVERYTHING)):
        assert read(EVERYTHING[:size]) is None
    again = accepted(EVERYTHING + b"5\r\nhello\r\n")
    for name in ATTRIBUTES:
        assert getattr(again, name) == getattr(whole, name)


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    """Whatever comes is a head, not yet a head, or refused with one of five statuses."""
    head, status = None, 400
    try:
        head = read_request(data, 100, 50)
    except HeadError as error:
        status = error.status
    assert status in {400, 414, 417, 431, 505}
    assert head is None or 0 < head.size <= len(data)


FIELD_TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20).map(str.strip)
NAMES = st.sampled_from(["Accept", "Cookie", "Range", "User-Agent", "If-None-Match", "X-A"])


@given(st.lists(st.tuples(NAMES, FIELD_TEXT), max_size=20))
def test_block_is_what_came(fields: list[tuple[str, str]]) -> None:
    """Fields that may pass, pass unchanged and in their order."""
    lines = [f"{name}: {value}" for name, value in fields]
    assert accepted(with_fields(*lines)).block == "".join(f"{line}\r\n" for line in ["Host: a", *lines]).encode()
