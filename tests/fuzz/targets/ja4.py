"""JA4 of whatever is sent as the first message of TLS, beside a reader of the plainest kind."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from proxy.http.ja4 import ja4_text, pack_ja4
from tests.fuzz.target import ACCEPTED, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LONGEST = 2000
SNI, ALPN, ALGORITHMS, VERSION = 0, 16, 13, 43
GREASE = (0x0A0A, 0x8A8A, 0xFAFA)
# Example of the document of JA4, in the order in which it was sent.
CHROME = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
CHROME_EXTENSIONS = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
CHROME_ALGORITHMS = "0403,0804,0401,0503,0805,0501,0806,0601"
NO_HASH = "0" * 12


def numbers(text: str) -> list[int]:
    """Return the numbers of a list as JA4 writes it."""
    return [int(each, 16) for each in text.split(",") if each]


def vector(octets: int, data: bytes) -> bytes:
    """Return data with its length before it."""
    return len(data).to_bytes(octets) + data


def words(values: Iterable[int]) -> bytes:
    """Return numbers of two bytes."""
    return b"".join(each.to_bytes(2) for each in values)


def hello(
    ciphers: Sequence[int],
    extensions: Sequence[int] | None,
    algorithms: Sequence[int] = (),
    *,
    alpn: Sequence[bytes] = (b"h2", b"http/1.1"),
    versions: Sequence[int] = (0x0A0A, 0x0304, 0x0303),
    legacy: int = 0x0303,
) -> bytes:
    """Return a ClientHello that offers this; the extensions of which JA4 tells hold what it tells."""
    content = {
        SNI: vector(2, b"\0" + vector(2, b"keys.example")),
        ALPN: vector(2, b"".join(vector(1, each) for each in alpn)),
        ALGORITHMS: vector(2, words(algorithms)),
        VERSION: vector(1, words(versions)),
    }
    body = legacy.to_bytes(2) + bytes(32) + vector(1, bytes(32)) + vector(2, words(ciphers)) + vector(1, b"\0")
    if extensions is not None:
        body += vector(2, b"".join(each.to_bytes(2) + vector(2, content.get(each, b"")) for each in extensions))
    return b"\1" + vector(3, body)


class Sent(NamedTuple):
    """What stands in a ClientHello, by the plainest of readers."""

    version: int
    ciphers: list[int]
    extensions: list[tuple[int, bytes]]


def read(message: bytes) -> Sent:
    """Read a message that is good."""
    at = 4 + 2 + 32
    at += 1 + message[at]
    size = int.from_bytes(message[at : at + 2])
    ciphers, at = pairs(message[at + 2 : at + 2 + size]), at + 2 + size
    at += 1 + message[at] + 2
    extensions = []
    while at < len(message):
        size = int.from_bytes(message[at + 2 : at + 4])
        extensions.append((int.from_bytes(message[at : at + 2]), message[at + 4 : at + 4 + size]))
        at += 4 + size
    return Sent(int.from_bytes(message[4:6]), ciphers, extensions)


def pairs(data: bytes) -> list[int]:
    """Return numbers of two bytes, without those that mean nothing."""
    found = [int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2)]
    return [each for each in found if not (each & 0x0F0F == 0x0A0A and each >> 8 == each & 0xFF)]


def reference(message: bytes) -> str:
    """Return the JA4 of a message that is good, as its document tells it."""
    sent = read(message)
    kinds = [kind for kind, _ in sent.extensions if pairs(kind.to_bytes(2))]
    given = dict(reversed(sent.extensions))
    version = max(pairs(dict(sent.extensions)[VERSION][1:]), default=0) if VERSION in given else sent.version
    name = given[ALPN][3 : 3 + given[ALPN][2]] if len(given.get(ALPN, b"")) > 2 else b""
    ends = "00"
    if name:
        plain = all(chr(each).isascii() and chr(each).isalnum() for each in (name[0], name[-1]))
        ends = chr(name[0]) + chr(name[-1]) if plain else name.hex()[0] + name.hex()[-1]
    hashed = [f"{each:04x}" for each in sorted(kinds) if each not in {SNI, ALPN}]
    algorithms = [f"{each:04x}" for each in pairs(given.get(ALGORITHMS, b"")[2:])]
    parts = [",".join(f"{each:04x}" for each in sorted(sent.ciphers)), ",".join(hashed)]
    if hashed and algorithms:
        parts[1] += "_" + ",".join(algorithms)
    texts = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 2: "s2"}
    head = f"t{texts.get(version, '00')}{'d' if SNI in kinds else 'i'}{min(len(sent.ciphers), 99):02}"
    hashes = [sha256(each.encode()).hexdigest()[:12] if each else NO_HASH for each in parts]
    return "_".join([f"{head}{min(len(kinds), 99):02}{ends}", *hashes])


def check(data: bytes) -> str:
    """Read a message; what is read is what stands there."""
    packed = pack_ja4(data)
    if not packed:
        return REFUSED
    assert len(packed) == 16
    assert ja4_text(packed) == reference(data)
    return ACCEPTED


def seeds() -> Iterator[bytes]:
    """Yield messages of programs, and odd ones."""
    chrome = numbers(CHROME), numbers(CHROME_EXTENSIONS), numbers(CHROME_ALGORITHMS)
    yield hello(*chrome)
    yield hello(chrome[0], None)
    yield hello([], [])
    yield hello([*GREASE, *chrome[0]], [*GREASE, ALPN, VERSION], alpn=[b"\xab", b""], versions=[2])
    yield hello([1], [SNI, SNI, ALPN, ALPN, ALGORITHMS, VERSION, VERSION], [1, *GREASE], alpn=[])
    yield hello(range(256), range(256, 500), range(256))


WORDS = (
    b"\1", b"\0\0", b"\0\1", b"\0\x0d", b"\0\x10", b"\0\x2b", b"\x0a\x0a", b"\xfa\xfa", b"\3\3", b"\3\4", b"\2h2",
    b"\x08http/1.1", b"\0\2", b"\0\3", b"\xff\xff", b"\0\4\0\2", b"\x20" + bytes(32),
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=5)
