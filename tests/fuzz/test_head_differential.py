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
"""

from __future__ import annotations

import functools
import json
import re
import tarfile
from pathlib import Path
from typing import NamedTuple

import httptools
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from proxy.http.body import decoder_for
from proxy.http.chunks import ChunkError
from proxy.http.head import CHUNKED, HeadError, RequestHead, read_request

HEAD_MOST = 16384
TARGET_MOST = 8192
LONGEST_BODY = 300
EXAMPLES = settings.default.max_examples if settings.default else 100  # more: --hypothesis-profile=long
CORPORA = Path(__file__).parents[3] / "shared" / "data" / "dev.tar.xz"

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
    raw = data[: head.size]
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


# Corpora of other projects. Their requests often lack Host, which HTTP/1.1 demands: it is put in.


def hosted(data: bytes) -> bytes:
    """Return requests with a Host where there is none."""
    if re.search(rb"(?im)^host\s*:", data):
        return data
    return re.sub(rb"( HTTP/1\.1\r\n)", rb"\1Host: a\r\n", data)


def outcome(data: bytes) -> str:
    """Read requests and their bodies to the end: accepted, refused, or incomplete."""
    while data.strip(b"\r\n"):
        try:
            head = read_request(data, 4 * HEAD_MOST, TARGET_MOST)
            if head is None:
                return "incomplete"
            decoder = decoder_for(head.length)
            decoder.feed(data[head.size :])
        except (HeadError, ChunkError):
            return "refused"
        if not decoder.done:
            return "incomplete"
        data = decoder.rest if head.length else data[head.size :]
    return "accepted"


@functools.cache
def corpora() -> dict[str, bytes]:
    """Return the files of the corpora by their names."""
    with tarfile.open(CORPORA) as archive:
        wanted = re.compile(r"\./http/(gunicorn/(valid|invalid)/.*\.http|llhttp/request/.*\.md)")
        return {
            member.name.removeprefix("./http/"): content.read()
            for member in archive
            if wanted.fullmatch(member.name) and (content := archive.extractfile(member))
        }


needs_corpora = pytest.mark.skipif(not CORPORA.is_file(), reason="the corpora (../shared/data/dev.tar.xz) are not here")


def gunicorn(kind: str) -> dict[str, str]:
    """Return what we make of each request of gunicorn's corpus."""
    outcomes = {}
    for name, content in corpora().items():
        if name.startswith(f"gunicorn/{kind}/"):
            data = content.replace(b"\n", b"").replace(rb"\r\n", b"\r\n")
            data = data.replace(rb"\0", b"\0").replace(rb"\n", b"\n").replace(rb"\t", b"\t")
            data = re.sub(rb"\\x([0-9a-fA-F]{2})", lambda found: bytes.fromhex(found[1].decode()), data)
            outcomes[Path(name).stem] = outcome(hosted(data))
    assert len(outcomes) > 50
    return outcomes


# Invalid for gunicorn, not for us.
LIMITS_OF_THEIR_TEST = "a bound that their test sets, not the syntax"
INVALID_AND_ACCEPTED = {
    "003c": "gunicorn wants methods to begin with a letter; `-bl` is a token, and no operation of a keyserver",
    "006": "a request line of 4094 bytes; ours may have 8 KiB",
    "007": LIMITS_OF_THEIR_TEST,
    "008": LIMITS_OF_THEIR_TEST,
    "010": LIMITS_OF_THEIR_TEST,
    "017": LIMITS_OF_THEIR_TEST,
    "limit_header_default_01": LIMITS_OF_THEIR_TEST,
    "019": "contradicting X-Forwarded fields: ours are made anew, those are dropped",
    "040": "names with an underscore: they are dropped",
    "041": "two Content-Type fields: no framing; the keyserver decides",
    "chunked_07": "a name with an underscore beside the real one: it is dropped",
    "rfc9110_trailer_forbidden_cl_01": "trailers are dropped, whatever they are called",
    "rfc9110_trailer_forbidden_host_01": "trailers are dropped, whatever they are called",
    "rfc9110_trailer_forbidden_te_01": "trailers are dropped, whatever they are called",
}

FRAGMENT = "a fragment in the target"
CODINGS = "a transfer coding other than chunked, alone"
FOLDED = "folded lines"
PROXY_PROTOCOL = "the PROXY protocol is no HTTP"
# Valid for gunicorn, not for us.
VALID_AND_REFUSED = {
    "002": "`=` in Host",
    "003": "`=` in Host",
    "005": FRAGMENT,
    "009": FRAGMENT,
    "027": FRAGMENT,
    "025": CODINGS,
    "025_line": CODINGS,
    "029": CODINGS,
    "030": CODINGS,
    "rfc9112_smuggle_gzip_chunked_01": CODINGS,
    "rfc9112_smuggle_te_identity_chunked_01": CODINGS,
    "028": "white space before the colon, which their test allows",
    "compat_obs_fold": FOLDED,
    "compat_obs_fold_huge": FOLDED,
    "pp_01": PROXY_PROTOCOL,
    "pp_02": PROXY_PROTOCOL,
    "pp_04": PROXY_PROTOCOL,
    "pp_05": PROXY_PROTOCOL,
    "020": "the inserted Host makes the body longer than its length",
    "rfc9112_target_absolute_https_01": "https in the target: we are no proxy to other schemes",
    "rfc9112_target_absolute_userinfo_01": "a user in the target",
    "rfc9112_target_authority_connect_01": "CONNECT",
    "rfc9112_target_authority_ipv6_01": "CONNECT",
}


@needs_corpora
def test_gunicorn_invalid() -> None:
    """What gunicorn holds to be invalid we never accept, but for what stands above."""
    assert {name for name, found in gunicorn("invalid").items() if found == "accepted"} == set(INVALID_AND_ACCEPTED)


@needs_corpora
def test_gunicorn_valid() -> None:
    """What gunicorn holds to be valid we accept, but for what stands above."""
    assert {name for name, found in gunicorn("valid").items() if found == "refused"} == set(VALID_AND_REFUSED)


# llhttp's own tests are Markdown: a title, a request, a log that has an error or not.
LLHTTP_TEST = re.compile(
    r"<!-- meta=(\{[^\n]*\}) -->\n```http\n((?:(?!```).)*)\n```\n.*?```log\n((?:(?!```).)*)```", re.DOTALL
)
LLHTTP_ESCAPES = {r"\r": "\r", r"\n": "\n", r"\t": "\t", r"\f": "\f"}


def llhttp_tests() -> dict[str, tuple[str, bool]]:
    """Return what we make of each request of llhttp's corpus, and whether llhttp refuses it."""
    found = {}
    for name, content in corpora().items():
        text = content.decode() if name.startswith("llhttp/") else ""
        for test in LLHTTP_TEST.finditer(text):
            if json.loads(test[1])["type"] == "request":
                title = re.findall(r"^#+ (.*)$", text[: test.start()], re.MULTILINE)[-1]
                found[f"{Path(name).stem}: {title}"] = (
                    outcome(hosted(llhttp_bytes(test[2]))),
                    "error code=" in test[3],
                )
    assert len(found) > 80
    return found


def llhttp_bytes(text: str) -> bytes:
    """Return the bytes that a test of llhttp writes down."""
    text = re.sub(r"\\\n", "", text).replace("\n", "\r\n")
    for escape, char in LLHTTP_ESCAPES.items():
        text = text.replace(escape, char)
    return re.sub(r"\\x([0-9a-fA-F]+)", lambda found: chr(int(found[1], 16)), text).encode("latin-1", "replace")


LLHTTP_INVALID_AND_ACCEPTED = {
    "connection: No restart when keep-alive is off (1.0)": "bytes behind a closing request are not read",
    "connection: Setting a flag and pausing": "an upgrade that we do not offer: the field is dropped",
    "invalid: HTTP protocol and ANNOUNCE method": "methods are tokens",
    "invalid: Invalid method": "methods are tokens",
    "transfer-encoding: No extension after semicolon": "extensions are dropped",
}
OTHER_AUTHORITY = "Host says another authority than the target"
LLHTTP_VALID_AND_REFUSED = {
    "method: M-SEARCH request": "`*` is a target of OPTIONS only",
    "method: SOURCE request with ICE": "another protocol",
    "method: OPTIONS request with RTSP": "another protocol",
    "method: ANNOUNCE request with RTSP": "another protocol",
    "sample: curl GET": "`=` in Host",
    "sample: Firefox GET": "`=` in Host",
    "sample: No HTTP version": "HTTP/0.9",
    "transfer-encoding: POST with `chunked` as last transfer-encoding": FRAGMENT,
    "transfer-encoding: POST with `chunked` as last transfer-encoding (multiple headers)": FRAGMENT,
    "uri: Host terminated by a query string": OTHER_AUTHORITY,
    "uri: `host:port` terminated by a query string": OTHER_AUTHORITY,
    "uri: `host:port` terminated by a space": OTHER_AUTHORITY,
    "uri: Fragment in URI": FRAGMENT,
    "uri: `host:port` and basic auth": "a user in the target",
}


@needs_corpora
def test_llhttp_invalid() -> None:
    """What llhttp's own tests hold to be invalid we never accept, but for what stands above."""
    accepted = {title for title, (found, invalid) in llhttp_tests().items() if invalid and found == "accepted"}
    assert accepted == set(LLHTTP_INVALID_AND_ACCEPTED)


@needs_corpora
def test_llhttp_valid() -> None:
    """What llhttp's own tests hold to be valid we accept, but for what stands above."""
    refused = {title for title, (found, invalid) in llhttp_tests().items() if not invalid and found == "refused"}
    assert refused == set(LLHTTP_VALID_AND_REFUSED)
