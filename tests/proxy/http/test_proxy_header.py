"""PROXY headers: exact to the byte, or refused as soon as no further byte could help."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.http.proxy_header import (
    LOCAL_HEADER,
    ProxyHeader,
    ProxyHeaderError,
    proxy_v2_header,
    read_proxy_header,
)

SIGNATURE = bytes.fromhex("0D0A0D0A000D0A515549540A")
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
LOCAL, PROXY = 0x20, 0x21
UNSPEC, TCP4, UDP4, TCP6, UNIX = 0x00, 0x11, 0x12, 0x21, 0x31
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL, NETNS, CUSTOM = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20, 0x30, 0xE0
FOUR = struct.pack("!4s4sHH", ip_address("192.0.2.1").packed, ip_address("198.51.100.9").packed, 4711, 11371)
SIX = struct.pack("!16s16sHH", ip_address("2001:db8::1").packed, ip_address("2001:db8::9").packed, 4711, 11371)
Address = IPv4Address | IPv6Address
PATHS = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")


# What the specification says, written down once more: the reader must agree with it, not with itself.


def block(command: int, family: int, rest: bytes) -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


def tlv(kind: int, value: bytes) -> bytes:
    """Return a TLV."""
    return struct.pack("!BH", kind, len(value)) + value


def crc32c(data: bytes) -> int:
    """Return the checksum of RFC 4960 appendix B, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def with_checksum(command: int, family: int, addresses: bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    """Return a header with a checksum between other TLVs."""
    header = block(command, family, addresses + before + tlv(CRC32C, bytes(4)) + behind)
    at = 16 + len(addresses) + len(before) + 3
    return header[:at] + struct.pack("!I", crc32c(header)) + header[at + 4 :]


def line(source: Address, destination: Address, source_port: int, destination_port: int) -> bytes:
    """Return a header of version 1."""
    family = "TCP4" if isinstance(source, IPv4Address) else "TCP6"
    return f"PROXY {family} {source} {destination} {source_port} {destination_port}\r\n".encode()


def found(header: bytes) -> ProxyHeader:
    """Read a header that is complete and well, with a request behind it."""
    result = read_proxy_header(header + REQUEST)
    assert result is not None
    assert result.size == len(header)
    assert result.local == (result.address is None)
    return result


def client(header: bytes) -> tuple[str, int, int]:
    """Return whom it names: address, port, and the version that it does so in."""
    result = found(header)
    assert result.address is not None
    return str(ip_address(result.address)), result.port, result.version


LINES = {
    "of the specification": (
        "PROXY TCP4 192.168.0.1 192.168.0.11 56324 443",
        ("192.168.0.1", 56324),
    ),
    "longest of IPv4": (
        "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
        ("255.255.255.255", 65535),
    ),
    "shortest of IPv4": ("PROXY TCP4 1.2.3.4 5.6.7.8 0 0", ("1.2.3.4", 0)),
    "IPv6": ("PROXY TCP6 2001:db8::1 ::1 4711 11371", ("2001:db8::1", 4711)),
    "longest of IPv6": (
        "PROXY TCP6 " + 2 * ("ffff:" * 7 + "ffff ") + "65535 65535",
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 65535),
    ),
    "IPv6 in full": ("PROXY TCP6 2001:0db8:0000:0000:0000:0000:0000:0001 :: 1 2", ("2001:db8::1", 1)),
    "IPv6 in capitals": ("PROXY TCP6 2001:DB8::A ::B 1 2", ("2001:db8::a", 1)),
    "mapped, in hexadecimal": ("PROXY TCP6 ::ffff:c000:201 ::1 1 2", ("192.0.2.1", 1)),
    "mapped, as inet_ntop writes it": ("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 1 2", ("192.0.2.1", 1)),
}


@pytest.mark.parametrize(("text", "expected"), LINES.values(), ids=LINES)
def test_version_1(text: str, expected: tuple[str, int]) -> None:
    """A line names the client."""
    assert client(f"{text}\r\n".encode()) == (*expected, 1)


UNKNOWN_LINES = {
    "short": b"PROXY UNKNOWN\r\n",
    "space": b"PROXY UNKNOWN \r\n",
    "worst case": b"PROXY UNKNOWN " + 2 * (b"ffff:" * 7 + b"ffff ") + b"65535 65535\r\n",
    "anything": b"PROXY UNKNOWN \x00\xff PROXY TCP4 192.0.2.1\r\n",
}


@pytest.mark.parametrize("header", UNKNOWN_LINES.values(), ids=UNKNOWN_LINES)
def test_unknown(header: bytes) -> None:
    """What stands behind UNKNOWN is ignored, and the real peer counts."""
    result = found(header)
    assert (result.local, result.address, result.port, result.version) == (True, None, 0, 1)


def test_longest_lines() -> None:
    """The bounds are those of the specification."""
    assert len(LINES["longest of IPv4"][0]) + 2 == 56
    assert len(LINES["longest of IPv6"][0]) + 2 == 104
    assert len(UNKNOWN_LINES["worst case"]) == 107


BAD_LINES = {
    "lower case": "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "space before": " PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "tab": "PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "two spaces before the protocol": "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "two spaces before the source": "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n",
    "two spaces before the destination": "PROXY TCP4 192.0.2.1  192.0.2.2 1 2\r\n",
    "two spaces before a port": "PROXY TCP4 192.0.2.1 192.0.2.2 1  2\r\n",
    "space at the end": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
    "tab between": "PROXY TCP4 192.0.2.1 192.0.2.2 1\t2\r\n",
    "UDP": "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
    "TCP": "PROXY TCP 192.0.2.1 192.0.2.2 1 2\r\n",
    "TCP5": "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n",
    "TCP46": "PROXY TCP46 192.0.2.1 192.0.2.2 1 2\r\n",
    "tcp4": "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n",
    "UNKNOWNS": "PROXY UNKNOWNS\r\n",
    "unknown": "PROXY unknown\r\n",
    "only PROXY": "PROXY\r\n",
    "only PROXY and space": "PROXY \r\n",
    "no addresses": "PROXY TCP4\r\n",
    "no addresses but a space": "PROXY TCP4 \r\n",
    "one address": "PROXY TCP4 192.0.2.1\r\n",
    "no ports": "PROXY TCP4 192.0.2.1 192.0.2.2\r\n",
    "one port": "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
    "three ports": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
    "ports first": "PROXY TCP4 1 2 192.0.2.1 192.0.2.2\r\n",
    "bare LF": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "bare CR": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rGET",
    "CR CR LF": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\r\n",
    "LF CR": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r",
    "LF in UNKNOWN": "PROXY UNKNOWN \n x\r\n",
    "CR in UNKNOWN": "PROXY UNKNOWN \r x\r\n",
    "NUL at the end": "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\x00\r\n",
    "NUL in an address": "PROXY TCP4 192.0.2.1\x00 192.0.2.2 1 2\r\n",
    "IPv6 in TCP4": "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n",
    "IPv6 destination in TCP4": "PROXY TCP4 192.0.2.1 2001:db8::1 1 2\r\n",
    "IPv4 in TCP6": "PROXY TCP6 192.0.2.1 2001:db8::1 1 2\r\n",
    "IPv4 destination in TCP6": "PROXY TCP6 2001:db8::1 192.0.2.1 1 2\r\n",
    "mapped in TCP4": "PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n",
    "zero before a number": "PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n",
    "zeros only": "PROXY TCP4 192.00.2.1 192.0.2.2 1 2\r\n",
    "octal": "PROXY TCP4 0300.0.2.1 192.0.2.2 1 2\r\n",
    "hexadecimal": "PROXY TCP4 c0.0.2.1 192.0.2.2 1 2\r\n",
    "three numbers": "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n",
    "five numbers": "PROXY TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n",
    "256": "PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
    "empty number": "PROXY TCP4 192.0..1 192.0.2.2 1 2\r\n",
    "malformed destination": "PROXY TCP4 192.0.2.1 192.0.2.256 1 2\r\n",
    "two double colons": "PROXY TCP6 2001::db8::1 ::1 1 2\r\n",
    "nine groups": "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n",
    "seven groups": "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n",
    "group of five": "PROXY TCP6 2001:00db8::1 ::1 1 2\r\n",
    "three colons": "PROXY TCP6 2001:::1 ::1 1 2\r\n",
    "zone": "PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
    "brackets": "PROXY TCP6 [2001:db8::1] ::1 1 2\r\n",
    "malformed IPv6 destination": "PROXY TCP6 ::1 2001:db8 1 2\r\n",
    "port 65536": "PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
    "destination port 65536": "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n",
    "port of six digits": "PROXY TCP4 192.0.2.1 192.0.2.2 111111 2\r\n",
    "port 01": "PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
    "destination port 01": "PROXY TCP4 192.0.2.1 192.0.2.2 1 01\r\n",
    "port 00": "PROXY TCP4 192.0.2.1 192.0.2.2 00 2\r\n",
    "port -1": "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
    "port +1": "PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n",
    "port in hexadecimal": "PROXY TCP4 192.0.2.1 192.0.2.2 a 2\r\n",
    "port that is empty": "PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n",
    "port in another script": "PROXY TCP4 192.0.2.1 192.0.2.2 \xb2 2\r\n",
    "108 bytes": "PROXY UNKNOWN " + 92 * "x" + "\r\n",
    "no end": "PROXY UNKNOWN " + 200 * "x",
    "HTTP": "GET / HTTP/1.1\r\n",
    "POST, which begins with a P": "POST / HTTP/1.1\r\n",
    "preface of HTTP/2": "PRI * HTTP/2.0\r\n",
    "empty line, then HTTP": "\r\nGET / HTTP/1.1\r\n",
    "TLS": "\x16\x03\x01\x02\x00\x01\x00",
}


@pytest.mark.parametrize("text", BAD_LINES.values(), ids=BAD_LINES)
def test_no_version_1(text: str) -> None:
    """Everything that is not exactly a line of the specification is refused, and the log gets none of it."""
    with pytest.raises(ProxyHeaderError) as caught:
        read_proxy_header(text.encode("latin-1"))
    why = str(caught.value)
    assert why.isascii()
    assert why.isprintable()
    assert "192" not in why


# Each begins like a header up to its last byte, and cannot become one any more.
TOO_LATE = {
    "first byte": b"G",
    "second byte": b"PO",
    "third byte": b"PRI",
    "second byte of version 2": b"\rG",
    "last byte of the signature": SIGNATURE[:-1] + b"\r",
    "protocol": b"PROXY S",
    "protocol's number": b"PROXY TCP5",
    "CR in the protocol": b"PROXY TC\r",
    "no space behind UNKNOWN": b"PROXY UNKNOWNX",
    "byte that no address has": b"PROXY TCP4 192.0.2.1g",
    "LF": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n",
    "byte behind CR": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\rG",
    "too long": b"PROXY UNKNOWN " + 92 * b"x",
    "too long of IPv6": b"PROXY TCP6 " + 95 * b"1",
    "version 1 in binary": SIGNATURE + b"\x11",
    "version 3": SIGNATURE + b"\x31",
    "command 2": SIGNATURE + b"\x22",
    "command 15": SIGNATURE + b"\x2f",
    "UDP over IPv4": SIGNATURE + bytes((PROXY, UDP4)),
    "UDP over IPv6": SIGNATURE + bytes((PROXY, 0x22)),
    "UNIX datagrams": SIGNATURE + bytes((PROXY, 0x32)),
    "family 4": SIGNATURE + bytes((PROXY, 0x41)),
    "long": SIGNATURE + bytes((PROXY, TCP4, 0x09)),
    "a byte too long": SIGNATURE + bytes((PROXY, TCP4, 0x08, 0x01)),
    "long LOCAL": SIGNATURE + bytes((LOCAL, UNSPEC, 0x08, 0x01)),
    "no room for addresses": SIGNATURE + bytes((PROXY, TCP4, 0, 11)),
    "no room for IPv6 addresses": SIGNATURE + bytes((PROXY, TCP6, 0, 35)),
    "no room for paths": SIGNATURE + bytes((PROXY, UNIX, 0, 215)),
}


@pytest.mark.parametrize("data", TOO_LATE.values(), ids=TOO_LATE)
def test_refused_at_once(data: bytes) -> None:
    """The byte that spoils it is the one that ends it; before that there was hope."""
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(data)
    assert read_proxy_header(data[:-1]) is None


SSL_VALUE = struct.pack("!BI", 1, 0) + tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_128_GCM_SHA256")
GOOD_TLVS = {
    "none": b"",
    "ALPN": tlv(ALPN, b"h2"),
    "authority": tlv(AUTHORITY, b"keys.example.org"),
    "empty NOOP": tlv(NOOP, b""),
    "two NOOPs": tlv(NOOP, bytes(5)) + tlv(NOOP, b"x"),
    "unique id": tlv(UNIQUE_ID, b"x" * 128),
    "TLS": tlv(SSL, SSL_VALUE),
    "TLS without more": tlv(SSL, bytes(5)),
    "namespace": tlv(NETNS, b"blue"),
    "custom": tlv(CUSTOM, b"t13d1516h2_8daaf6152771_02713d6af862"),
    "unknown": tlv(0xFF, b"x") + tlv(0x00, b"") + tlv(0x77, b"y"),
    "all": b"".join(tlv(kind, b"x") for kind in (ALPN, AUTHORITY, NOOP, UNIQUE_ID, NETNS, CUSTOM)) + tlv(SSL, bytes(5)),
    "as many bytes as may be": tlv(NOOP, bytes(2048 - 36 - 3)),
}


@pytest.mark.parametrize("tlvs", GOOD_TLVS.values(), ids=GOOD_TLVS)
def test_version_2(tlvs: bytes) -> None:
    """Addresses are read, TLVs are walked over."""
    assert client(block(PROXY, TCP4, FOUR + tlvs)) == ("192.0.2.1", 4711, 2)
    assert client(block(PROXY, TCP6, SIX + tlvs)) == ("2001:db8::1", 4711, 2)


@pytest.mark.parametrize("tlvs", [value for value in GOOD_TLVS.values() if len(value) < 2000])
def test_checksum(tlvs: bytes) -> None:
    """A checksum covers the whole header, wherever it stands; a wrong one, or a second, is refused."""
    for header in (with_checksum(PROXY, TCP4, FOUR, tlvs), with_checksum(PROXY, TCP4, FOUR, b"", tlvs)):
        assert client(header) == ("192.0.2.1", 4711, 2)
        for at in range(16, 28):
            with pytest.raises(ProxyHeaderError, match="checksum"):
                read_proxy_header(header[:at] + bytes([header[at] ^ 1]) + header[at + 1 :])


def test_checksum_is_castagnoli() -> None:
    """The check value of the literature, so that the two here are not wrong together."""
    assert crc32c(b"123456789") == 0xE3069283


BAD_TLVS = {
    "one byte": b"\x04",
    "two bytes": b"\x04\x00",
    "longer than the header": b"\x04\x00\x01",
    "much longer than the header": b"\x04\xff\xff" + bytes(100),
    "rest behind the last": tlv(NOOP, b"x") + b"\x00",
    "rest behind an empty one": tlv(NOOP, b"") + b"\x00\x00",
    "checksum of three bytes": tlv(CRC32C, bytes(3)),
    "checksum of five bytes": tlv(CRC32C, bytes(5)),
    "empty checksum": tlv(CRC32C, b""),
    "wrong checksum": tlv(CRC32C, bytes(4)),
    "two checksums": 2 * tlv(CRC32C, bytes(4)),
    "unique id of 129 bytes": tlv(UNIQUE_ID, bytes(129)),
    "TLS of four bytes": tlv(SSL, bytes(4)),
    "empty TLS": tlv(SSL, b""),
    "rest inside of TLS": tlv(SSL, SSL_VALUE + b"\x00"),
    "inner longer than TLS": tlv(SSL, bytes(5) + b"\x21\x00\x02x") + tlv(NOOP, bytes(50)),
    "inner longer than TLS, by the header behind": tlv(SSL, bytes(5) + b"\x21\x00") + b"\x00" + tlv(NOOP, bytes(50)),
}


@pytest.mark.parametrize("tlvs", BAD_TLVS.values(), ids=BAD_TLVS)
@pytest.mark.parametrize(("family", "addresses"), [(TCP4, FOUR), (TCP6, SIX), (UNIX, PATHS)])
def test_bad_tlvs(family: int, addresses: bytes, tlvs: bytes) -> None:
    """Lengths that do not add up, and what the specification bounds, are refused, whatever stands behind the header."""
    header = block(PROXY, family, addresses + tlvs)
    for data in (header, header + REQUEST, header + tlv(NOOP, bytes(0x10000 - 1))):
        with pytest.raises(ProxyHeaderError):
            read_proxy_header(data)


def test_two_good_checksums() -> None:
    """Each of two could only be right without the other: the second is refused for being there."""
    header = with_checksum(PROXY, TCP4, FOUR, b"", tlv(CRC32C, bytes(4)))
    with pytest.raises(ProxyHeaderError, match="two"):
        read_proxy_header(header)


EARLY = {
    "longer than the header": (b"\x04\x00\x01", 3),
    "too short to be one": (b"\x04\x00", 0),
    "long unique id": (tlv(UNIQUE_ID, bytes(129)), 3),
    "short TLS": (tlv(SSL, bytes(4)), 3),
    "inner longer than TLS": (tlv(SSL, bytes(5) + b"\x21\x00\x02x"), 11),
    "checksum of five bytes": (tlv(CRC32C, bytes(5)), 3),
    "second checksum": (2 * tlv(CRC32C, bytes(4)), 10),
}


@pytest.mark.parametrize(("tlvs", "size"), EARLY.values(), ids=EARLY)
def test_bad_tlvs_are_refused_at_once(tlvs: bytes, size: int) -> None:
    """Nothing is waited for behind a TLV that spoils the header."""
    header = block(PROXY, TCP4, FOUR + tlvs)
    with pytest.raises(ProxyHeaderError):
        read_proxy_header(header[: 28 + size])
    for seen in range(28 + size if size else 0):
        assert read_proxy_header(header[:seen]) is None


LOCALS = {
    "LOCAL": block(LOCAL, UNSPEC, b""),
    "LOCAL with addresses": block(LOCAL, TCP4, FOUR),
    "LOCAL with too little for addresses": block(LOCAL, TCP6, FOUR),
    "LOCAL of a family that is not taken": block(LOCAL, UDP4, FOUR),
    "LOCAL of a family that nobody knows": block(LOCAL, 0xFF, b"x"),
    "LOCAL with TLVs": block(LOCAL, UNSPEC, tlv(NOOP, b"x")),
    "LOCAL with what are no TLVs": block(LOCAL, UNSPEC, b"\x04\xff"),
    "longest LOCAL": block(LOCAL, UNSPEC, bytes(2048)),
    "UNSPEC": block(PROXY, UNSPEC, b""),
    "UNSPEC with anything": block(PROXY, UNSPEC, FOUR + b"\x04\xff"),
    "UNIX": block(PROXY, UNIX, PATHS),
    "UNIX with TLVs": with_checksum(PROXY, UNIX, PATHS, tlv(UNIQUE_ID, b"x")),
}


@pytest.mark.parametrize("header", LOCALS.values(), ids=LOCALS)
def test_real_peer_counts(header: bytes) -> None:
    """Health checks must be accepted and their block discarded; a client without an IP address has none to give."""
    result = found(header)
    assert (result.local, result.address, result.port, result.version) == (True, None, 0, 2)


def test_other_families() -> None:
    """Datagrams carry no HTTP/1, and the rest is unassigned: refused before any address comes."""
    for family in set(range(256)) - {UNSPEC, TCP4, TCP6, UNIX}:
        with pytest.raises(ProxyHeaderError, match="family"):
            read_proxy_header(SIGNATURE + bytes((PROXY, family)))


def test_other_versions_and_commands() -> None:
    """Only version 2 with LOCAL or PROXY: connections that present anything else are dropped."""
    for command in set(range(256)) - {LOCAL, PROXY}:
        with pytest.raises(ProxyHeaderError, match="version"):
            read_proxy_header(SIGNATURE + bytes((command,)))


def test_mapped_address() -> None:
    """An IPv4 client is the same client when its proxy listens on IPv6."""
    mapped = struct.pack("!16s16sHH", ip_address("::ffff:192.0.2.1").packed, ip_address("2001:db8::9").packed, 1, 2)
    result = found(block(PROXY, TCP6, mapped))
    assert (result.address, result.port) == (ip_address("192.0.2.1").packed, 1)


def test_nothing_yet() -> None:
    """No byte is no mistake."""
    assert read_proxy_header(b"") is None


def test_what_is_no_buffer() -> None:
    """None is the caller's bug."""
    with pytest.raises(TypeError):
        read_proxy_header(None)  # type: ignore[arg-type]


# Properties.

PORTS = st.integers(0, 65535)
TLVS = st.lists(
    st.builds(
        tlv,
        st.integers(0, 255).filter(lambda kind: kind not in {CRC32C, UNIQUE_ID, SSL}),
        st.binary(max_size=60),
    ),
    max_size=5,
).map(b"".join)
SSL_TLVS = TLVS.map(lambda inner: tlv(SSL, bytes(5) + inner))


def pairs(version: int) -> st.SearchStrategy[tuple[Address, Address]]:
    """Give two addresses of a family."""
    return st.tuples(st.ip_addresses(v=version), st.ip_addresses(v=version))  # type: ignore[arg-type]


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """Give any valid header."""
    version = draw(st.sampled_from([1, 2]))
    source, destination = draw(st.one_of(pairs(4), pairs(6)))
    ports = draw(PORTS), draw(PORTS)
    if version == 1:
        return draw(st.sampled_from([line(source, destination, *ports), *UNKNOWN_LINES.values()]))
    six = isinstance(source, IPv6Address)
    packed = [each.packed for each in (source, destination)]
    addresses = struct.pack("!16s16sHH" if six else "!4s4sHH", *packed, *ports)
    family, before, behind = TCP6 if six else TCP4, draw(TLVS), draw(SSL_TLVS)
    plain = block(PROXY, family, addresses + before + behind)
    return draw(st.sampled_from([plain, with_checksum(PROXY, family, addresses, before, behind), *LOCALS.values()]))


@given(st.one_of(pairs(4), pairs(6)), PORTS, PORTS)
def test_version_1_names_the_client(addresses: tuple[Address, Address], port: int, other: int) -> None:
    """Any line that is written down by the specification is read."""
    source, destination = addresses
    result = found(line(source, destination, port, other))
    assert (result.address, result.port) == (normalised(source), port)


@given(st.one_of(pairs(4), pairs(6)), PORTS, PORTS, TLVS, TLVS)
def test_version_2_names_the_client(
    addresses: tuple[Address, Address], port: int, other: int, before: bytes, behind: bytes
) -> None:
    """Any block that is written down by the specification is read, with a checksum or without."""
    packed = [each.packed for each in addresses]
    family = TCP4 if len(packed[0]) == 4 else TCP6
    written = b"".join(packed) + struct.pack("!HH", port, other)
    for header in (
        block(PROXY, family, written + before + behind),
        with_checksum(PROXY, family, written, before, behind),
    ):
        result = found(header)
        assert (result.address, result.port) == (normalised(addresses[0]), port)


@given(headers())
def test_every_prefix_of_a_header_may_become_one(header: bytes) -> None:
    """However a header is cut, its beginning is no error and no header."""
    for size in range(len(header)):
        assert read_proxy_header(header[:size]) is None
    assert found(header).size == len(header)


@given(headers(), st.data())
def test_mutations(header: bytes, data: st.DataObject) -> None:
    """A header in which a byte is another, missing or too many is a header, may become one, or is refused."""
    at = data.draw(st.integers(0, len(header) - 1))
    byte = data.draw(st.binary(min_size=1, max_size=1))
    for mutant in (
        header[:at] + byte + header[at + 1 :],
        header[:at] + header[at + 1 :],
        header[:at] + byte + header[at:],
    ):
        well_behaved(mutant)
        well_behaved(mutant + REQUEST)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda rest: b"PROXY " + rest),
        st.text("TCP46UNKNOWN 0123456789abf.:\r\n", max_size=100).map(lambda rest: b"PROXY TCP4 " + rest.encode()),
        st.binary(max_size=300).map(lambda rest: SIGNATURE + rest),
        st.binary(max_size=300).map(lambda rest: block(PROXY, TCP4, FOUR + rest)),
        st.binary(max_size=300).map(lambda rest: block(PROXY, TCP4, FOUR + tlv(SSL, rest))),
    )
)
def test_any_bytes(data: bytes) -> None:
    """Nothing raises but ProxyHeaderError, and no header is larger than what came."""
    well_behaved(data)


def well_behaved(data: bytes) -> None:
    """Check what may become of any bytes; and that what follows a header has no part in it."""
    try:
        result = read_proxy_header(data)
    except ProxyHeaderError as error:
        assert str(error).isprintable()  # noqa: PT017 - both ends are good
        return
    if result is None:
        return
    assert 15 <= result.size <= len(data)
    assert result.local or len(result.address or b"") in {4, 16}
    assert 0 <= result.port <= 65535
    again = found(data[: result.size])
    assert (again.address, again.port, again.local) == (result.address, result.port, result.local)


def normalised(address: Address) -> bytes:
    """Return the packed form, an IPv4-mapped address as IPv4."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).packed


# Writing.


def test_local_header() -> None:
    """Sixteen bytes without an address, as the specification wants them."""
    assert block(LOCAL, UNSPEC, b"") == LOCAL_HEADER


def test_header_that_we_write() -> None:
    """The bytes of the specification for two addresses of a family."""
    four = [ip_address(each).packed for each in ("192.0.2.1", "198.51.100.9")]
    six = [ip_address(each).packed for each in ("2001:db8::1", "2001:db8::9")]
    assert proxy_v2_header(four[0], 4711, four[1], 11371) == block(PROXY, TCP4, FOUR)
    assert proxy_v2_header(six[0], 4711, six[1], 11371) == block(PROXY, TCP6, SIX)


@pytest.mark.parametrize(("source", "destination"), [("192.0.2.1", "2001:db8::9"), ("2001:db8::1", "192.0.2.9")])
def test_two_families(source: str, destination: str) -> None:
    """Where one address is IPv6 the other is written as one."""
    mapped = [each if ":" in each else f"::ffff:{each}" for each in (source, destination)]
    addresses = b"".join(ip_address(each).packed for each in mapped)
    written = proxy_v2_header(ip_address(source).packed, 1, ip_address(destination).packed, 2)
    assert written == block(PROXY, TCP6, addresses + struct.pack("!HH", 1, 2))


@given(
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    PORTS,
    st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)),
    PORTS,
)
def test_round_trip(source: Address, port: int, destination: Address, other: int) -> None:
    """What we write we would read."""
    result = found(proxy_v2_header(source.packed, port, destination.packed, other))
    assert (result.address, result.port) == (normalised(source), port)


@pytest.mark.parametrize(
    ("source", "port", "destination", "other"),
    [
        (bytes(3), 1, bytes(4), 2),
        (bytes(4), 1, bytes(5), 2),
        (b"", 1, b"", 2),
        (bytes(15), 1, bytes(17), 2),
        (bytes(4), -1, bytes(4), 2),
        (bytes(4), 65536, bytes(4), 2),
        (bytes(4), 1, bytes(4), 65536),
    ],
)
def test_what_cannot_be_written(source: bytes, port: int, destination: bytes, other: int) -> None:
    """The caller's bugs do not become headers."""
    with pytest.raises(ValueError, match="not"):
        proxy_v2_header(source, port, destination, other)
