"""Our head reader beside llhttp (the parser of Node.js, by httptools): at least as strict, and of the same opinion.

Two programs in a row that see different requests in the same bytes are the danger of every proxy. So whatever we
accept, llhttp must accept too, and find the same method, target, framing and end of the body. What llhttp accepts we
may refuse: that is the point of a strict reader.

Exceptions, each of them a thing that we hand on in another form or not at all:

- llhttp knows a list of methods, we take any token (RFC 9110 section 16.1 lets anybody register more); the
  classification refuses what is no method of a keyserver.
- llhttp wants a name behind the `;` of a chunk extension; we read extensions and drop them: nobody reads them after us.
- llhttp does not see `keep-alive` behind an empty Connection line of HTTP/1.0; we do, and tell the client so. Nothing
  of this reaches a keyserver.
- llhttp complains of bytes behind a request that closes the connection; we do not read them.
- llhttp takes a tab behind `chunked` for a part of it; white space around a value is none (RFC 9110 section 5.5).
- llhttp reads trailers as fields that may contradict the head; we drop them.
"""

from __future__ import annotations

import re

import httptools

from proxy.http.head import CHUNKED, RequestHead

LONGEST_BODY = 300
TRAILING_TABS = re.compile(rb"[ \t]*\t[ \t]*\r\n")

# Methods that llhttp knows in HTTP; others are its error, and not ours.
METHODS = frozenset(
    {
        "DELETE", "GET", "HEAD", "POST", "PUT", "CONNECT", "OPTIONS", "TRACE", "COPY", "LOCK", "MKCOL", "MOVE",
        "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY",
        "CHECKOUT", "MERGE", "M-SEARCH", "NOTIFY", "SUBSCRIBE", "UNSUBSCRIBE", "PATCH", "PURGE", "MKCALENDAR",
        "LINK", "UNLINK", "SOURCE", "QUERY",
    }
)  # fmt: skip


class Llhttp:
    """What llhttp finds in bytes that begin with a request."""

    def __init__(self, data: bytes) -> None:
        """Read `data`; HttpParserError if it is refused."""
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.head_complete = False
        self.messages = 0
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.messages += 1  # an upgrade that nobody asked of us: the head is accepted, and read to its end

    def on_url(self, url: bytes) -> None:
        """Note a piece of the target."""
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a field."""
        self.fields.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Note the end of the head."""
        self.head_complete = True

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        self.messages += 1

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of a field, without white space around them."""
        return [value.strip(b" \t") for key, value in self.fields if key == name]


def origin_form(target: bytes) -> str:
    """Return the target as a keyserver gets it: absolute form without its scheme and authority, `*` as `/`."""
    text = target.decode("ascii")
    rest = re.sub(r"(?i)^http://[^/?]*", "", text)
    return "/" if rest in {"", "*"} else rest if rest.startswith("/") else "/" + rest


def agree(head: RequestHead, data: bytes) -> None:
    """Check that llhttp reads the head at the start of `data` as we do, up to the last byte of the body."""
    raw = TRAILING_TABS.sub(rb" \r\n", data[: head.size])
    theirs = Llhttp(raw)
    assert theirs.head_complete
    assert theirs.parser.get_method().decode() == head.method
    assert origin_form(theirs.target) == head.target
    assert theirs.parser.get_http_version() == f"1.{head.minor}"
    assert theirs.values(b"host") == ([] if head.host is None else [head.host])
    lengths = [int(value) for value in theirs.values(b"content-length")]
    if theirs.values(b"transfer-encoding"):
        assert (head.length, lengths) == (CHUNKED, [])
    else:
        assert lengths == [head.length] or (not lengths and head.length == 0)
    if not theirs.parser.should_upgrade():
        assert head.minor == 0 or not head.keep_alive or theirs.parser.should_keep_alive()
        ends_agree(head, raw)


def ends_agree(head: RequestHead, raw: bytes) -> None:
    """Check that a body ends for llhttp where it ends for us, and not a byte earlier."""
    if head.length > LONGEST_BODY:
        return
    body = b"3\r\nabc\r\n0\r\n\r\n" if head.length == CHUNKED else b"x" * head.length
    assert Llhttp(raw + body).messages == 1
    if body:
        assert Llhttp(raw + body[:-1]).messages == 0
    else:
        assert Llhttp(raw).messages == 1
