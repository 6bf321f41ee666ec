"""PROXY headers: accepted as a whole or not at all, in whatever pieces they come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath import address_text, parse_address
from proxy.http.proxy_header import ProxyHeaderError, proxy_v2_header, read_proxy_header
from tests.fuzz.corpora import gunicorn
from tests.fuzz.target import ACCEPTED, INCOMPLETE, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.http.proxy_header import ProxyHeader

LONGEST = 600
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LONGEST_HEADER = {1: 107, 2: 2064}
FAMILY_SIZES = {4: 12, 16: 36}


def check(data: bytes) -> str:
    """Read a header; compare with what its bytes say, and with its beginnings."""
    try:
        header = read_proxy_header(data)
    except ProxyHeaderError:
        return REFUSED
    if header is None:
        assert len(data) < LONGEST_HEADER[2]
        return INCOMPLETE
    _check_sound(header, data)
    _check_beginnings(header, data)
    return ACCEPTED


def _check_sound(header: ProxyHeader, data: bytes) -> None:
    assert 0 < header.size <= min(len(data), LONGEST_HEADER[header.version])
    assert 0 <= header.port < 1 << 16
    assert (header.address is None) == header.local
    if header.version == 1:
        _check_line(header, data[: header.size])
    else:
        _check_block(header, data[: header.size])


def _check_line(header: ProxyHeader, line: bytes) -> None:
    assert line.startswith(b"PROXY ")
    assert line.endswith(b"\r\n")
    assert line.count(b"\n") == 1
    if header.address is not None:
        words = line[:-2].decode("ascii").split(" ")
        assert parse_address(words[2]) == header.address
        assert str(header.port) == words[4]
        assert len(words) == 6


def _check_block(header: ProxyHeader, block: bytes) -> None:
    assert block.startswith(SIGNATURE)
    assert header.size == 16 + int.from_bytes(block[14:16])
    if header.address is not None:
        width = {0x11: 4, 0x21: 16}[block[13]]
        assert block[12] == 0x21
        assert len(block) >= 16 + FAMILY_SIZES[width]
        assert block[16 : 16 + width].endswith(header.address)
        again = proxy_v2_header(header.address, header.port, header.address, 1)
        copy = read_proxy_header(again)
        assert copy is not None
        assert (copy.address, copy.port, copy.size) == (header.address, header.port, len(again))
        assert address_text(header.address)


def _check_beginnings(header: ProxyHeader, data: bytes) -> None:
    """Check that no beginning is an error or a header, and that what follows does not matter."""
    places = range(header.size) if len(data) % 8 == 0 else (0, 1, header.size // 2, header.size - 1)
    for end in places:
        assert read_proxy_header(data[:end]) is None
    for rest in (b"", b"GET / HTTP/1.1\r\n"):
        alone = read_proxy_header(data[: header.size] + rest)
        assert alone is not None
        assert (alone.size, alone.address, alone.port) == (header.size, header.address, header.port)


def _v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + len(block).to_bytes(2) + block


def seeds() -> Iterator[bytes]:
    """Yield headers of both versions, with what may follow."""
    yield from OWN
    for name, case in gunicorn():
        if "/pp_" in name:
            yield case.data


FOUR = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0x12, 0x34, 0x2C, 0x6B])
SIX = bytes.fromhex("20010db8000000000000000000000001" * 2 + "12342c6b")
MAPPED = bytes(10) + b"\xff\xff\xc0\x00\x02\x01"
OWN = (
    b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 11371\r\nGET / HTTP/1.1\r\n\r\n",
    b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n",
    b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2\r\n",
    b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
    _v2(0x20, 0x00, b""),
    _v2(0x20, 0x11, FOUR),
    _v2(0x21, 0x11, FOUR) + b"GET / HTTP/1.1\r\n\r\n",
    _v2(0x21, 0x21, SIX),
    _v2(0x21, 0x21, MAPPED + MAPPED + b"\x12\x34\x2c\x6b"),
    _v2(0x21, 0x00, b"anything"),
    _v2(0x21, 0x31, bytes(216)),
    _v2(0x21, 0x11, FOUR + b"\x01\x00\x02h2\x04\x00\x03\0\0\0\xe0\x00\x01a"),
    _v2(0x21, 0x11, FOUR + b"\x05\x00\x04abcd\x02\x00\x01a\x30\x00\x02ns"),
    _v2(0x21, 0x11, FOUR + b"\x20\x00\x0f\x01\x00\x00\x00\x00\x21\x00\x07TLSv1.3"),
    proxy_v2_header(FOUR[:4], 1, FOUR[4:8], 2),
    # From HAProxy's checksum: the CRC32C over the header with zeros in its place.
    _v2(0x21, 0x11, FOUR + b"\x03\x00\x04\0\0\0\0"),
)
WORDS = (
    b"PROXY ", b"TCP4 ", b"TCP6 ", b"UNKNOWN", b"\r\n", b"\r", b"\n", b" ", b"192.0.2.1", b"2001:db8::1", b"::", b"0",
    b"00", b"65535", b"65536", b"256", SIGNATURE, b"\x20", b"\x21", b"\x22", b"\x11", b"\x12", b"\x31", b"\x00\x0c",
    b"\x00\x24", b"\x00\xd8", b"\x08\x00", b"\x08\x01", b"\xff\xff", FOUR, SIX, b"\x03\x00\x04", b"\x05\x00\x80",
    b"\x05\x00\x81", b"\x20\x00\x05", b"\x04\x00\x00", b"\0\0\0\0", b"\x01\x00\x02h2", b"\xff", b"%eth0", b"\t",
    b"-1", b"+1", b"\xc2\xb2",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=9)
