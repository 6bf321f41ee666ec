"""Forwarding headers: what a client writes never moves what trusted proxies wrote to its right."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

from proxy.http.address import HEADERS, Source, origin
from proxy.http.head import HeadError, read_request
from proxy.policy.networks import network_set
from tests.fuzz.target import ACCEPTED, REFUSED, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.http.address import Origin
    from proxy.http.head import RequestHead

LONGEST = 400
PROXY = ip_address("10.0.0.1").packed
STRANGER = ip_address("192.0.2.99").packed
CLIENT = ip_address("192.0.2.7").packed
TRUSTED = network_set([ip_network("10.0.0.0/8"), ip_network("2001:db8:ffff::/48")])
NAMES = tuple(HEADERS)
HEADER_NAMES = tuple(name.encode() for name in NAMES)
# What our trusted proxies append to the right of whatever they get.
APPENDED = {
    "x-forwarded-for": (b", 192.0.2.7, 10.1.1.1", Source.X_FORWARDED_FOR),
    "forwarded": (b', for=192.0.2.7;by="_a,b;c", for="10.1.1.1:80"', Source.FORWARDED),
}


def check(data: bytes) -> str:
    """Take the first byte for the choice of the header, the rest for its value, or for several of them."""
    chosen, value = (data[0] % len(NAMES), data[1:]) if data else (0, b"")
    head = _head(HEADER_NAMES[chosen], value)
    if head is None:
        return REFUSED
    found = origin(PROXY, head, TRUSTED, header=NAMES[chosen])
    _check_sound(found, NAMES[chosen])
    assert origin(STRANGER, head, TRUSTED, header=NAMES[chosen]) == (STRANGER, Source.PEER)
    for other in NAMES if b"\n" not in value else ():
        assert other == NAMES[chosen] or origin(PROXY, head, TRUSTED, header=other) == (PROXY, Source.TRUSTED_PEER)
    if NAMES[chosen] in APPENDED:
        _check_spoofing(HEADER_NAMES[chosen], value, *APPENDED[NAMES[chosen]])
    return ACCEPTED if found.source != Source.TRUSTED_PEER else REFUSED


def _check_sound(found: Origin, name: str) -> None:
    assert len(found.address) in {4, 16}
    assert found.source in {HEADERS[name].source, Source.TRUSTED_PEER}
    if found.source == Source.TRUSTED_PEER:
        assert found.address == PROXY


def _check_spoofing(name: bytes, value: bytes, appended: bytes, source: Source) -> None:
    """Check that the client in front of the trusted hop is found, in the same line or in one of its own."""
    line = b"\r\n" + name + b": " + appended[2:]
    for text in (value + line,) if b"\n" in value else (value + line, value + appended):
        head = _head(name, text)
        if head is not None:
            assert origin(PROXY, head, TRUSTED, header=name.decode()) == (CLIENT, source)


def _head(name: bytes, value: bytes) -> RequestHead | None:
    """Return a head with this field; None if it is refused, or if the value ends it."""
    raw = b"GET / HTTP/1.1\r\nHost: a\r\n" + name + b": " + value + b"\r\n\r\n"
    try:
        head = read_request(raw, 16384, 8192)
    except HeadError:
        return None
    return head if head and head.size == len(raw) else None


def seeds() -> Iterator[bytes]:
    """Yield each value behind the number of each header."""
    for number in range(len(NAMES)):
        for value in VALUES:
            yield bytes([number]) + value


VALUES = (
    b"192.0.2.1",
    b"192.0.2.66, 192.0.2.1, 10.1.1.1",
    b"[2001:db8::1]:4711, 2001:db8:ffff::5",
    b'for=192.0.2.1;proto=https, for="[2001:db8::1]:4711";by=10.0.0.1',
    b'host="a, for=192.0.2.9";for=192.0.2.1, for=10.1.1.1',
    b"for=_hidden, for=unknown",
    b"::ffff:192.0.2.1, fe80::1%eth0",
    b"unknown, , 192.0.2.1:80",
)
WORDS = (
    b", ", b",", b";", b"for=", b'For="', b'"', b"\\", b'\\"', b"=", b"by=", b"proto=http", b"host=", b"[", b"]",
    b"]:80", b":", b"::", b"%", b"192.0.2.1", b"10.1.1.1", b"2001:db8::1", b"2001:db8:ffff::5", b"::ffff:10.1.1.1",
    b"unknown", b"_a", b" ", b"\t", b"\xff", b"\0", b"0", b"00", b"256", b"fe80::1%eth0", b"for=192.0.2.66, ",
    b"\r\nForwarded: ", b"\r\nX-Forwarded-For: ", b'for="[::1]"', b"127.1", b"?", b"\x00\x01", b"\x01for=",
    b"\x00192.0.2.1",
)  # fmt: skip
TARGET = Target(check, seeds, WORDS, LONGEST, share=5)
