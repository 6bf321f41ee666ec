"""Reply heads: what we accept llhttp accepts and reads alike; what we relay says the same again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httptools

from proxy.http.head import CHUNKED, NO_LENGTH, HeadError, ReplyHead, read_reply
from tests.fuzz.corpora import h11_responses, llhttp, llhttp_responses
from tests.fuzz.llhttp import TRAILING_TABS
from tests.fuzz.target import ACCEPTED, INCOMPLETE, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_MOST = 1024
LONGEST = 1200
LONGEST_BODY = 300
BODILESS = frozenset({204, 304})
SWITCHING_PROTOCOLS = 101
FINAL = 200


class Callbacks:
    """What llhttp finds in bytes that begin with a reply."""

    def __init__(self) -> None:
        """Nothing found."""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False
        self.messages = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field."""
        self.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self.complete = True

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        self.messages += 1


def check(data: bytes) -> str:
    """Read a head as an upstream may send it."""
    try:
        head = read_reply(data, HEAD_MOST)
    except HeadError:
        return REFUSED
    if head is None:
        assert len(data) <= HEAD_MOST
        return INCOMPLETE
    assert 0 < head.size <= len(data)
    _agree(head, data[: head.size])
    _same_again(head)
    assert read_reply(data[: head.size - 1], HEAD_MOST) is None
    return ACCEPTED


def _agree(head: ReplyHead, raw: bytes) -> None:
    """Check that llhttp reads the head as we do, and finds the end of the body where we do."""
    if head.status == SWITCHING_PROTOCOLS:
        return  # nobody asked for it: the upstream side refuses it
    theirs = Callbacks()
    parser = httptools.HttpResponseParser(theirs)
    parser.feed_data(TRAILING_TABS.sub(rb" \r\n", raw))
    assert theirs.complete
    assert parser.get_status_code() == head.status
    assert parser.get_http_version() == f"1.{head.minor}"
    lengths = [int(value) for name, value in theirs.fields if name == b"content-length"]
    codings = [value.lower() for name, value in theirs.fields if name == b"transfer-encoding"]
    if head.length == CHUNKED:
        assert (lengths, codings) == ([], [b"chunked"])
    else:
        assert (lengths, codings) == ([] if head.length == NO_LENGTH else [head.length], [])
    if head.status >= FINAL and head.status not in BODILESS and head.length <= LONGEST_BODY:
        _ends_agree(head, parser, theirs)


def _ends_agree(head: ReplyHead, parser: httptools.HttpResponseParser, theirs: Callbacks) -> None:
    """Check that a body ends for llhttp with its last byte, and not earlier."""
    if head.length == NO_LENGTH:
        assert theirs.messages == 0
        return
    body = b"3\r\nabc\r\n0\r\n\r\n" if head.length == CHUNKED else b"x" * head.length
    if body:
        parser.feed_data(body[:-1])
        assert theirs.messages == 0
        parser.feed_data(body[-1:])
    assert theirs.messages == 1


def _same_again(head: ReplyHead) -> None:
    """Check that what is relayed is a head without framing and hop-by-hop fields, and stays as it is."""
    again = read_reply(head.block + b"\r\n", HEAD_MOST + 16)
    assert again is not None
    assert (again.status, again.length, again.minor, again.block) == (head.status, NO_LENGTH, 1, head.block)


def seeds() -> Iterator[bytes]:
    """Yield replies of keyservers and of the corpora."""
    yield from OWN
    for answer in (*dict(llhttp_responses()).values(), *dict(h11_responses()).values()):
        yield answer.data
    for _, _, data, _ in llhttp("response"):
        yield data


OWN = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/pgp-keys\r\nContent-Length: 3\r\n\r\nkey",
    b"HTTP/1.0 404 Not found\r\nConnection: close\r\nContent-Type: text/html; charset=UTF-8\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n3\r\nkey\r\n0\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nConnection: keep-alive, x-a\r\nX-A: b\r\nETag: a\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 204\r\nTrailer: a\r\nUpgrade: h2c\r\nProxy-Authenticate: a\r\n\r\n",
)
WORDS = (
    b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\r\n ", b": ", b":", b" :", b"\0", b"\x7f", b"\xff", b"\t", b" ",
    b"HTTP/1.1 ", b"HTTP/1.0 ", b"HTTP/2.0 ", b"200", b"204", b"304", b"100", b"101", b"099", b"600", b"502",
    b" OK\r\n", b"Content-Length: 3\r\n", b"Content-Length", b"3", b"03", b"+3", b"3, 3", b"999999999999999",
    b"1000000000000000", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding", b"chunked", b"identity",
    b"gzip, chunked", b"Connection: ", b"close", b"keep-alive", b"Connection: Content-Length\r\n",
    b"Keep-Alive: a\r\n", b"Upgrade: h2c\r\n", b"upgrade", b"Trailer: a\r\n", b"Proxy-Connection: a\r\n",
    b"Proxy-Authenticate: a\r\n", b"Set-Cookie: a=b\r\n", b"_", b",", b";", b'"', b"\x0b", b"\x85",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=20)
