"""Our head reader beside llhttp: at least as strict, and of the same opinion; see `llhttp.py`."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from proxy.http.body import decoder_for
from proxy.http.chunks import ChunkError
from proxy.http.head import CHUNKED, HeadError, read_request
from tests.fuzz.llhttp import METHODS, Llhttp, agree

HEAD_MOST = 16384
TARGET_MOST = 8192
EXAMPLES = settings.default.max_examples if settings.default else 100  # more: --hypothesis-profile=long

REQUEST_LINES = st.sampled_from(
    [
        *["GET / HTTP/1.1", "POST /pks/add HTTP/1.1", "POST / HTTP/1.0"] * 6,
        "GET /pks/lookup?op=get&search=0x1 HTTP/1.1",
        "OPTIONS * HTTP/1.1", "HEAD /a%20b HTTP/1.1", "GET http://a/b?c HTTP/1.1", "GET HTTP://a HTTP/1.1",
        "GET http://a?b HTTP/1.1", "PUT /~a;b=c,d HTTP/1.1", "GET //a/../b HTTP/1.1", "CONNECT a:1 HTTP/1.1",
        "GET /#a HTTP/1.1", "GET / HTTP/1.2", "GET / HTTP/2.0", "GET / HTTP/0.9", "GET  / HTTP/1.1", "get / HTTP/1.1",
        "M-SEARCH / HTTP/1.1", "GET /\x7f HTTP/1.1", "GET /\xe9 HTTP/1.1", "GET /\t HTTP/1.1", "", "PRI * HTTP/2.0",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.sampled_from(
        [
            "", "a", "0", "5", "05", "+5", "-5", "5, 5", "5 5", "0x5", "5.0", "18446744073709551616", "chunked",
            "Chunked", " chunked ", "\tchunked", "chunked, chunked", "gzip, chunked", "chunked, gzip", "identity",
            "close", "keep-alive", "Close, keep-alive", "close, ", ", close", "close close", "upgrade",
            "Content-Length", "Transfer-Encoding", "Host", "a:80", "[::1]:80", "a b", "a, b", "a@b", "100-continue",
            "\x00", "a\x01b", "\x7f", "\xe9", "a\rb", "a\r", "a\nb", "a\r\n b", "a\r\n\tb", "\x0bchunked",
            "chunked\x0b", "chunked;a=b", "websocket", "h2c",
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=8),
)  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(
        [
            "Host", "host", "Content-Length", "content-length", "CONTENT-LENGTH", "Transfer-Encoding",
            "transfer-encoding", "Connection", "connection", "Expect", "Upgrade", "Content-Length ",
            "Content-Length\t", " Content-Length", "Transfer-Encoding ", "Content_Length", "Transfer\x00-Encoding",
            "Content-Lengt\xe8", "X-A", "", "(", "Proxy-Connection",
            *["Content-Length", "Transfer-Encoding", "Connection", "Expect"] * 5,
        ]
    ),
    st.text(st.characters(max_codepoint=255), max_size=6),
)  # fmt: skip
SEPARATORS = st.sampled_from([": "] * 30 + [":", ":  ", ":\t", " : ", "", "::", ": \r\n "])
LINE_ENDS = st.sampled_from(["\r\n"] * 150 + ["\n", "\r", "\r\r\n", "\n\r", " \r\n", "\r\n\r\n", ""])
HOSTS = st.sampled_from(["Host: a"] * 20 + ["host:a", "Host: b", "Host:", "X: y"])
FIELDS = st.builds(lambda name, separator, value: name + separator + value, NAMES, SEPARATORS, VALUES)
JUNK = st.sampled_from(
    [bytes([byte]) for byte in (0, 9, 10, 11, 13, 32, 34, 44, 48, 58, 59, 61, 95, 127, 128, 160, 255)]
)


class Change(NamedTuple):
    """One byte that is put in, put in the place of another, or taken out (`junk` is empty)."""

    place: int
    junk: bytes
    replaces: bool

    def apply(self, data: bytes) -> bytes:
        """Return the changed bytes."""
        place = self.place % (len(data) + 1)
        return data[:place] + self.junk + data[place + self.replaces :]


CHANGES = st.builds(Change, st.integers(0, 400), st.one_of(st.just(b""), JUNK), st.booleans())


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Make a head of usual and unusual lines, then change some bytes of some of them."""
    lines = [draw(REQUEST_LINES), draw(HOSTS), *draw(st.lists(FIELDS, max_size=4))]
    text = "".join(line + draw(LINE_ENDS) for line in lines) + "\r\n"
    data = text.encode("latin-1")
    for change in draw(st.one_of(st.just([]), st.lists(CHANGES, max_size=2))):
        data = change.apply(data)
    return data


@settings(max_examples=6 * EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(heads())
def test_at_least_as_strict_as_llhttp(data: bytes) -> None:
    """Every head that we accept, llhttp accepts as well, and agrees on what it means."""
    try:
        head = read_request(data, HEAD_MOST, TARGET_MOST)
    except HeadError as error:
        event(f"refused with {error.status}")
        return
    event("not complete" if head is None else "accepted")
    if head is not None and head.method in METHODS:
        agree(head, data)


VALID_HEADS = st.builds(
    lambda method, target, minor, fields: (
        f"{method} {target} HTTP/1.{minor}\r\nHost: a\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in fields)
        + "\r\n"
    ).encode("latin-1"),
    st.sampled_from(sorted(METHODS - {"CONNECT"})),
    st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=40).map("/".__add__),
    st.integers(0, 1),
    st.lists(
        st.tuples(
            st.from_regex("X-[!#$%&'*+.^_`|~0-9A-Za-z-]{1,10}", fullmatch=True),
            st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=20),
        ),
        max_size=5,
    ),
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(VALID_HEADS, st.sampled_from(["", "Content-Length: 3\r\n", "Transfer-Encoding: chunked\r\n"]))
def test_sound_heads_are_accepted_by_both(data: bytes, framing: str) -> None:
    """The strict reader does not refuse what is plainly well-formed, and both read it alike."""
    data = data[:-2] + framing.encode() + data[-2:]
    if framing.startswith("T") and b"HTTP/1.0" in data:
        return
    head = read_request(data, HEAD_MOST, TARGET_MOST)
    assert head is not None
    agree(head, data)


CHUNK_PIECES = st.sampled_from(
    [
        b"0", b"1", b"a", b"3", b"\r\n", b"\r", b"\n", b";", b" ", b"x", b"abc", b"0\r\n\r\n", b"1\r\nx\r\n",
        b"A: b\r\n", b"\0",
    ]
)  # fmt: skip


@settings(max_examples=3 * EXAMPLES, deadline=None)
@given(st.lists(CHUNK_PIECES, max_size=12))
def test_chunks_end_where_llhttp_ends_them(pieces: list[bytes]) -> None:
    """A chunked body that we take to be complete is complete for llhttp at the same byte."""
    data = b"".join(pieces)
    decoder = decoder_for(CHUNKED)
    try:
        decoder.feed(data)
    except ChunkError:
        return
    size = len(data) - len(decoder.rest)
    if not decoder.done or b";" in data[:size]:  # extensions: see above
        return
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert Llhttp(head + data[:size]).messages == 1
    assert Llhttp(head + data[: size - 1]).messages == 0
