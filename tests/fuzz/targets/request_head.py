"""Request heads: what we accept llhttp accepts and reads alike; what we forward says the same again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from proxy.http.body import decoder_for
from proxy.http.head import CHUNKED, HeadError, RequestHead, read_request
from tests.fuzz.corpora import files, gunicorn, h11_requests, llhttp, llhttp_requests
from tests.fuzz.llhttp import METHODS, agree
from tests.fuzz.target import ACCEPTED, INCOMPLETE, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD_MOST = 1024  # small, so that the bounds are met
TARGET_MOST = 256
LONGEST = 1200
STATUSES = frozenset({400, 414, 417, 431, 505})
DROPPED = (
    b"connection:", b"content-length:", b"transfer-encoding:", b"upgrade:", b"te:", b"trailer:", b"proxy:",
    b"expect:", b"forwarded:", b"x-forwarded-for:", b"x-real-ip:", b"keep-alive:", b"proxy-connection:",
)  # fmt: skip
FRAMINGS = {CHUNKED: b"Transfer-Encoding: chunked\r\n"}


def check(data: bytes) -> str:
    """Read a head as a client may send it."""
    try:
        head = read_request(data, HEAD_MOST, TARGET_MOST)
    except HeadError as error:
        assert error.status in STATUSES  # noqa: PT017 - most inputs end here, and a context for each costs more
        return REFUSED
    if head is None:
        assert len(data) <= HEAD_MOST + 2
        return INCOMPLETE
    assert 0 < head.size <= len(data)
    if head.method in METHODS:
        agree(head, data)
    _same_again(head)
    _only_whole(data[: head.size], head)
    return ACCEPTED


def _same_again(head: RequestHead) -> None:
    """Check that what is forwarded has the same meaning, and nothing of what has to be dropped."""
    host = b"" if head.host is not None else b"Host: a\r\n"
    framing = FRAMINGS.get(head.length) or b"Content-Length: %d\r\n" % head.length
    line = f"{head.method} {head.target} HTTP/1.1\r\n".encode("ascii")
    again = read_request(line + head.block + host + framing + b"\r\n", HEAD_MOST + 64, TARGET_MOST + 8)
    assert again is not None
    assert (again.method, again.target, again.length) == (head.method, head.target, head.length)
    assert again.block == head.block + host
    assert again.host == (b"a" if head.host is None else head.host)
    lines = head.block.lower().split(b"\r\n")
    assert not any(line.startswith(DROPPED) for line in lines)


def _only_whole(raw: bytes, head: RequestHead) -> None:
    """Check that a head is complete with its last byte and not earlier, wherever in a buffer it stands."""
    assert read_request(raw[:-1], HEAD_MOST, TARGET_MOST) is None
    later = read_request(b"\r\n:" + raw, HEAD_MOST, TARGET_MOST, 3)
    assert later is not None
    assert (later.size, later.block, later.target) == (head.size, head.block, head.target)
    assert not decoder_for(head.length).done or head.length == 0


def seeds() -> Iterator[bytes]:
    """Yield requests of real clients, of the corpora, and some of our own."""
    yield from OWN
    for path, content in files().items():
        if path.startswith("hkp_clients/trace"):
            heads = (json.loads(line).get("head") for line in content.splitlines())
            yield from (head.encode("latin-1") + b"\r\n\r\n" for head in heads if head)
    for case in (*dict(gunicorn()).values(), *dict(llhttp_requests()).values(), *dict(h11_requests()).values()):
        yield case.data
    for _, _, data, _ in llhttp("request"):
        yield data


OWN = (
    b"GET /pks/lookup?op=get&search=0x740D7FE2AB3143E86C8FD12300186602339240CB HTTP/1.0\r\nHost: a:11371\r\n\r\n",
    b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello",
    b"POST /pks/add HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, te\r\nTE: x\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\nAccept: application/problem+json\r\n\r\n",
    b"GET http://a/b?c HTTP/1.1\r\nhost:a\r\nX-Forwarded-For: 192.0.2.1\r\nX_Forwarded_For: 192.0.2.2\r\n\r\n",
    b"\r\nHEAD / HTTP/1.1\r\nHost: a\r\nForwarded: for=192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\nUpgrade: h2c\r\n\r\n",
)
WORDS = (
    b"\r\n", b"\r", b"\n", b"\r\n\r\n", b"\r\n ", b"\r\n\t", b": ", b":", b" :", b"\0", b"\x7f", b"\xff", b"\t", b" ",
    b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"CONNECT ", b"PRI ", b"M-SEARCH ", b"*", b"http://",
    b"http://a", b"https://a/", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"HTTP/", b"Host: a\r\n",
    b"Host: b\r\n", b"Host", b"Content-Length: 5\r\n", b"Content-Length", b"5", b"05", b"+5", b"0x5", b"5, 5",
    b"999999999999999", b"1000000000000000", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding", b"chunked",
    b"identity", b"gzip", b"Connection: ", b"close", b"keep-alive", b"close, ", b"Connection: Host\r\n",
    b"Connection: Content-Length\r\n", b"Connection: Transfer-Encoding\r\n", b"Expect: 100-continue\r\n",
    b"Upgrade: websocket\r\n", b"upgrade", b"TE: trailers\r\n", b"Trailer: a\r\n", b"Proxy: a\r\n",
    b"Forwarded: for=192.0.2.1\r\n", b"X-Forwarded-", b"X-Forwarded-For: 192.0.2.1\r\n",
    b"X-Forwarded-Proto: https\r\n", b"X_", b"_", b"Accept: a\r\n", b"#", b"%00", b"%2F", b"@", b"//", b"/../", b"?",
    b"&", b"Content_Length: 5\r\n", b"X-Request-ID: a\r\n", b"X-Hkpguard-A: a\r\n", b"X-Real-IP: 192.0.2.1\r\n",
    b"CF-Connecting-IP: 192.0.2.1\r\n", b"True-Client-IP: a\r\n", b"Via: 1.1 a\r\n", b"\x0b", b"\x0c", b"\x85",
    b"\xa0", b";", b",", b'"',
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=23)
