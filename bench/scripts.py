"""What hostile clients say, as scripts of `hoard.py`, one for each kind of attack.

Between two pieces of a slow attack lie PIECE_S, as in slowhttptest: shorter than any time-out that could tell such a
client from a slow one by the gap alone.
"""

import random
import ssl
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import repeat

from bench.certificate import unchecked
from bench.hoard import Read, Script, Sip
from bench.targets import keepalive_heads

PIECE_S = 5.0
SIP_BYTES = 32
HEAD_BYTES = 16 * 1024  # hkpguard's default bound
BURST = 64  # requests
BIG = "/pks/lookup?op=get&options=mr&search=0x" + "B16B00B5" * 5
_HOST = b"Host: keys.example.org\r\n"
_GET = b"GET /pks/lookup?op=get&options=mr&search=0x%040X HTTP/1.1\r\n" + _HOST
_POST = b"POST /pks/add HTTP/1.1\r\n" + _HOST + b"Content-Type: application/x-www-form-urlencoded\r\n"
_FIELD = b"X-Filler-%03d: " + b"f" * 480 + b"\r\n"


@cache
def heads() -> Sequence[bytes]:
    """Return the heads of honest requests."""
    return keepalive_heads()


def slowly(pieces: Iterable[bytes]) -> Script:
    """Send a piece each PIECE_S; the first pause is drawn, so that those that begin together spread out."""
    pause_s = random.uniform(0, PIECE_S)  # noqa: S311 - spreads load
    for piece in pieces:
        yield piece
        yield pause_s
        pause_s = PIECE_S


def slow_head(number: int) -> Script:
    """Never finish a head: slowloris."""
    yield _GET % number
    yield from slowly(repeat(b"X-a: b\r\n"))


def slow_body(_number: int) -> Script:
    """Announce an upload, send it byte by byte: RUDY."""
    yield _POST + b"Content-Length: 65536\r\n\r\nkeytext=-----BEGIN+PGP+PUBLIC+KEY+BLOCK-----%0AComment:+"
    yield from slowly(repeat(b"A"))


def bad_body(_number: int) -> Script:
    """Do the same, but with a first byte that is of no certificate."""
    yield _POST + b"Content-Length: 65536\r\n\r\nkeytext="
    yield from slowly(repeat(b"A"))


def slow_reader(_number: int) -> Script:
    """Ask for a large certificate and take it in sips."""
    yield f"GET {BIG} HTTP/1.1\r\n".encode() + _HOST + b"\r\n"
    while True:
        yield PIECE_S
        yield Sip(SIP_BYTES)


def idle(number: int) -> Script:
    """Ask once, then keep the connection."""
    yield heads()[number % len(heads())]
    while True:
        yield Read()


def pipelining(number: int) -> Script:
    """Send requests by the dozen and read no answer."""
    start = number * BURST % (len(heads()) - BURST)
    yield from slowly(repeat(b"".join(heads()[start : start + BURST])))


def huge_head(number: int) -> Script:
    """Send a head just under the bound, but for its end: what costs most memory."""
    head = bytearray(_GET % number)
    while len(head) + len(_FIELD % 0) < HEAD_BYTES - 256:  # room for what follows slowly
        head += _FIELD % (len(head) % 1000)
    yield bytes(head)
    yield from slowly(repeat(b"X-a: b\r\n", 16))


def oversized_head(number: int) -> Script:
    """Send a head over the bound, and wait for what comes."""
    yield _GET % number + b"".join(_FIELD % each for each in range(HEAD_BYTES // len(_FIELD % 0) + 1))
    while True:
        yield Read()


def chunk_extension(_number: int) -> Script:
    """Begin a chunk whose extension never ends."""
    yield _POST + b"Transfer-Encoding: chunked\r\n\r\n4;e="
    yield from slowly(repeat(b"e" * 512))


def tls_part(_number: int) -> Script:
    """Send a part of a ClientHello."""
    yield client_hello()[:64]
    while True:
        yield PIECE_S


def tls_silent(_number: int) -> Script:
    """Send a whole ClientHello and let the server wait for the rest."""
    yield client_hello()
    while True:
        yield PIECE_S


def knocking(_number: int) -> Script:
    """Connect and ask; who is banned gets no further."""
    yield heads()[0]
    while True:
        yield Read()


def scanner(_number: int) -> Script:
    """Ask for what no keyserver has, and wait as long as it takes."""
    yield b"GET /.env HTTP/1.1\r\n" + _HOST + b"User-Agent: scanner\r\n\r\n"
    while True:
        yield Read()


@cache
def client_hello() -> bytes:
    """Return the first flight of a TLS client of today."""
    outgoing = ssl.MemoryBIO()
    connection = unchecked().wrap_bio(ssl.MemoryBIO(), outgoing)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake ended without a server")
