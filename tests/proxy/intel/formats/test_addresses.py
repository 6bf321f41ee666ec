"""Addresses, CIDRs and ranges as they are written: only what everybody reads in the same way."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, summarize_address_range

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.intel.formats.addresses import BadAddress, packed_of, prefixes_of
from proxy.intel.formats.reading import Limits
from proxy.intel.listing import network_of

LIMITS = Limits()


def networks(text: str) -> list[str]:
    """Return the networks of a text without host bits, as text."""
    return [str(network_of(packed, length)) for packed, length in prefixes_of(text, LIMITS)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9.9.9.9", ["9.9.9.9/32"]),
        ("9.9.9.0/24", ["9.9.9.0/24"]),
        ("2620:fe::fe", ["2620:fe::fe/128"]),
        ("2620:FE::/48", ["2620:fe::/48"]),
        ("::ffff:9.9.9.9", ["9.9.9.9/32"]),
        ("::ffff:909:909", ["9.9.9.9/32"]),
        ("::ffff:9.9.9.0/120", ["9.9.9.0/24"]),
        ("9.9.9.9 - 9.9.9.9", ["9.9.9.9/32"]),
        ("9.9.9.0-9.9.9.2", ["9.9.9.0/31", "9.9.9.2/32"]),
        ("9.0.0.0-9.255.255.255", ["9.0.0.0/8"]),
        ("255.255.255.254-255.255.255.255", ["255.255.255.254/31"]),
        ("2620:fe::1-2620:fe::2", ["2620:fe::1/128", "2620:fe::2/128"]),
        ("0.0.0.0/0", ["0.0.0.0/0"]),  # how wide a prefix may be is told later
    ],
)
def test_read(text: str, expected: list[str]) -> None:
    """Each form is read as its networks; an IPv4-mapped address is its IPv4 address."""
    assert networks(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "localhost",
        "9.9.9",
        "9.9.9.9.9",
        "9.9.9.256",
        "127.1",
        "0x7f000001",
        "2130706433",
        "010.9.9.9",
        "9.9.9.09",
        "9.9.9.9 ",
        "+9.9.9.9",
        "\uff19.9.9.9",
        "9.9.9.9\0",
        "9.9.9.9\ud800",
        "9.9.9.9/",
        "9.9.9.9/33",
        "9.9.9.9/-1",
        "9.9.9.9/08",
        "9.9.9.9/255.255.255.0",
        "9.9.9.9/8/8",
        "9.9.9.9:80",
        "[2620:fe::fe]",
        "fe80::1%eth0",
        "2620:fe::fe%1",
        "2620:fe::/129",
        "2620::fe::1",
        "::ffff:9.9.9.09",
        "9.9.9.9-9.9.9.8",
        "9.9.9.9-",
        "-",
        "9.9.9.9-10",
        "9.9.9.0/24-9.9.9.1",
        "9.0.0.0-10.0.0.0",
        "9.9.9.9-2620:fe::fe",
        "2620::-2620:2000::",
    ],
)
def test_refused(text: str) -> None:
    """What some read otherwise, or nobody, is refused, and so are ranges that are too wide."""
    with pytest.raises(BadAddress):
        prefixes_of(text, LIMITS)


@given(st.text(alphabet="0123456789abcdef.:/-% ", max_size=40))
def test_like_ipaddress(text: str) -> None:
    """An address is read if Python reads it without a zone, and as the same."""
    try:
        expected = ip_address(text) if "%" not in text else None
    except ValueError:
        expected = None
    try:
        found = packed_of(text)
    except BadAddress:
        assert expected is None
    else:
        plain = getattr(expected, "ipv4_mapped", None) or expected
        assert str(network_of(found, 128)).rpartition("/")[0] == str(plain)


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**24 - 1))
def test_ranges4(first: int, more: int) -> None:
    """A range is split as Python splits it."""
    low, high = IPv4Address(first), IPv4Address(min(first + more, 2**32 - 1))
    assert networks(f"{low}-{high}") == [str(network) for network in summarize_address_range(low, high)]


@given(st.integers(2**96, 2**128 - 1), st.integers(0, 2**109 - 1))
def test_ranges6(first: int, more: int) -> None:
    """So is one of IPv6."""
    low, high = IPv6Address(first), IPv6Address(min(first + more, 2**128 - 1))
    assert networks(f"{low}-{high}") == [str(network) for network in summarize_address_range(low, high)]
