"""Keys: who shares a bucket."""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.keys import (
    client_key,
    key_text,
    network_key,
    parents,
    parse_address,
    parse_network,
    site_key,
)

TABLE = [
    ("192.0.2.1", "192.0.2.1", "192.0.2.0/24", "192.0.2.0/24"),
    ("10.0.0.0", "10.0.0.0", "10.0.0.0/24", "10.0.0.0/24"),
    ("255.255.255.255", "255.255.255.255", "255.255.255.0/24", "255.255.255.0/24"),
    ("::ffff:192.0.2.1", "192.0.2.1", "192.0.2.0/24", "192.0.2.0/24"),
    ("2001:db8:1:2ff:3::4", "2001:db8:1:2ff::/64", "2001:db8:1::/48", "2001:db8:1:200::/56"),
    ("fe80::1%eth0", "fe80::/64", "fe80::/48", "fe80::/56"),
    ("::1", "::/64", "::/48", "::/56"),
    ("ffff:ffff:ffff:ffff::", "ffff:ffff:ffff:ffff::/64", "ffff:ffff:ffff::/48", "ffff:ffff:ffff:ff00::/56"),
]

packed_addresses = st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16)


@pytest.mark.parametrize(("text", "client", "network", "site"), TABLE)
def test_keys_of_an_address(text: str, client: str, network: str, site: str) -> None:
    """An address belongs to a client, a site and a network, which can be read back."""
    packed = parse_address(text)
    assert key_text(client_key(packed)) == client
    assert key_text(network_key(packed)) == network
    assert key_text(site_key(packed)) == site


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("192.0.2.1", 0x02_000000_C0000201),
        ("2001:db8:1:2::3", 0x20010DB8_00010002),
        ("64:ff9b::1", 0x01_64FF9B_00000000),
    ],
)
def test_the_bits_of_a_client(text: str, key: int) -> None:
    """The layout is the one in the theory of `keys.pyx`: other processes and the analyst read it."""
    assert client_key(parse_address(text)) == key


@pytest.mark.parametrize(
    "text",
    [
        "", " 192.0.2.1", "192.0.2.1 ", "192.0.2.01", "192.0.2", "3221225985", "0xc0000201", "192.0.2.256",
        "192.0.2.1%eth0", "192.0.2.1:80", "[::1]", "::1%", "::g", ":::", "1::2::3", "::1\0", "::1/64",
        "\u0661.2.3.4", "localhost", "%eth0",
    ],
)  # fmt: skip
def test_not_an_address(text: str) -> None:
    """Whatever is not exactly an address is refused, without repeating it."""
    with pytest.raises(ValueError, match=r"^not an IP address$"):
        parse_address(text)


@pytest.mark.parametrize("builder", [client_key, network_key, site_key])
@pytest.mark.parametrize("size", [0, 3, 5, 15, 17])
def test_wrong_length(builder: type, size: int) -> None:
    """Bytes that are no address are the caller's bug."""
    with pytest.raises(ValueError, match=f"address has {size} bytes, not 4 or 16"):
        builder(bytes(size))


@pytest.mark.parametrize("key", [0, 1 << 57 | 1 << 32, 3 << 56 | 1 << 24, 4 << 56 | 1 << 48, 6 << 56, 0xF << 56])
def test_not_a_key(key: int) -> None:
    """A word that no address has is not written as one."""
    with pytest.raises(ValueError, match="is not a key"):
        key_text(key)


def client_of(packed: bytes) -> str:
    """Return the client of an address by the standard library."""
    address = ip_address(packed)
    address = getattr(address, "ipv4_mapped", None) or address
    if isinstance(address, IPv4Address):
        return str(address)
    return str(IPv6Network((int(address) >> 64 << 64, 64)))


@given(packed_addresses)
def test_text_of_any_client(packed: bytes) -> None:
    """Every key reads as its client, except that those that nobody routes lose their first byte."""
    if len(packed) == 16 and packed[0] < 0x10 and not packed.startswith(bytes(10)):
        packed = b"\0" + packed[1:]
    assert key_text(client_key(packed)) == client_of(packed)


@given(packed_addresses, packed_addresses)
def test_keys_are_exact(one: bytes, other: bytes) -> None:
    """Two addresses have one key only if they are one client (or not routed)."""
    if client_of(one) != client_of(other):
        unrouted = len(one) == len(other) == 16 and max(one[0], other[0]) < 0x10
        assert client_key(one) != client_key(other) or unrouted


@given(packed_addresses)
def test_kinds_never_meet(packed: bytes) -> None:
    """A client, its site and its network have different keys, and none is 0."""
    keys = [client_key(packed), network_key(packed), site_key(packed)]
    kinds = {min(16, key >> 56) for key in keys}
    assert len(kinds) == (2 if network_key(packed) == site_key(packed) else 3)
    assert 0 not in keys


@given(st.ip_addresses())
def test_any_address_is_read(address: IPv4Address | IPv6Address) -> None:
    """What the standard library writes is read as it is, with mapped addresses as IPv4."""
    mapped = getattr(address, "ipv4_mapped", None)
    assert parse_address(str(address)) == (mapped or address).packed


def test_networks_agree_with_the_standard_library() -> None:
    """A spot check of the prefixes against another implementation."""
    packed = IPv6Address("2001:db8:1:2ff:3::4").packed
    assert key_text(network_key(packed)) == str(IPv6Network("2001:db8:1:2ff:3::4/48", strict=False))
    assert key_text(network_key(packed[:4])) == str(IPv4Network((packed[:4], 24), strict=False))


@pytest.mark.parametrize(
    ("text", "around"),
    [
        ("192.0.2.1", ["192.0.2.0/24"]),
        ("0.0.0.0", ["0.0.0.0/24"]),
        ("255.255.255.255", ["255.255.255.0/24"]),
        ("192.0.2.0/24", []),
        ("2001:db8:1:2ff::/64", ["2001:db8:1:200::/56", "2001:db8:1::/48"]),
        ("ffff:ffff:ffff:ffff::/64", ["ffff:ffff:ffff:ff00::/56", "ffff:ffff:ffff::/48"]),
        ("1000::/64", ["1000::/56", "1000::/48"]),
        ("64:ff9b:1:2ff::/64", ["64:ff9b:1:200::/56", "64:ff9b:1::/48"]),
        ("::/64", ["::/56", "::/48"]),
        ("2001:db8:1:200::/56", ["2001:db8:1::/48"]),
        ("64:ff9b:1:200::/56", ["64:ff9b:1::/48"]),
        ("2001:db8:1::/48", []),
    ],
)
def test_the_networks_around(text: str, around: list[str]) -> None:
    """A client or a network has parents, the nearest first, up to /24 or /48."""
    assert [key_text(key) for key in parents(parse_network(text))] == around


@given(packed_addresses)
def test_parents_are_site_and_network(packed: bytes) -> None:
    """The parents of a client are the site and the network of its address, unless that is not routed."""
    if len(packed) == 16 and 0 < packed[0] < 0x10:
        packed = b"\0" + packed[1:]
    site, network = site_key(packed), network_key(packed)
    assert parents(client_key(packed)) == ((network,) if site == network else (site, network))
    assert parents(site) == (() if site == network else (network,))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1"),
        ("192.0.2.0/32", "192.0.2.0"),
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("0.0.0.0/24", "0.0.0.0/24"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2ff:3::4", "2001:db8:1:2ff::/64"),
        ("2001:DB8:0:0:0:0:0:0", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8::/64", "2001:db8::/64"),
        ("2001:db8:0:100::/56", "2001:db8:0:100::/56"),
        ("2001:db8:1:0::/48", "2001:db8:1::/48"),
        ("64:ff9b::192.0.2.1", "64:ff9b::/64"),
        ("::/48", "::/48"),
        ("1000::", "1000::/64"),
    ],
)
def test_a_network_is_named(text: str, name: str) -> None:
    """An address names its client; a network is named with its prefix."""
    assert key_text(parse_network(text)) == name


@given(packed_addresses)
def test_names_of_keys_are_read(packed: bytes) -> None:
    """What `key_text` writes is read as the same key."""
    if len(packed) == 16 and 0 < packed[0] < 0x10:
        packed = b"\0" + packed[1:]
    for key in (client_key(packed), *parents(client_key(packed))):
        assert parse_network(key_text(key)) == key


ALLOWED = "an address, a.b.c.d/32, a.b.c.0/24, or an IPv6 network /64, /56 or /48"
NOT_ROUTED = "a network from 100:: to fff:: is not routed and has no key of its own"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        *(
            (text, f"not {ALLOWED}")
            for text in (
                "", "/", "/24", "localhost", "192.0.2.0/", "192.0.2.0/0", "192.0.2.0/8", "192.0.2.0/25", "0.0.0.0/0",
                "192.0.2.0/024", "192.0.2.0/+24", "192.0.2.0/ 24", "192.0.2.0 /24", "192.0.2.0/24 ", "192.0.2.0/24/24",
                "192.0.2.0/\u0662\u0664", "192.0.2/24", "192.0.2.0/255.255.255.0", "192.0.2.0/64", "192.0.2.0/48",
                "2001:db8::/32", "2001:db8::/24", "2001:db8::1/128", "2001:db8::/65", "2001:db8::/0", "[2001:db8::]/64",
                "::ffff:192.0.2.0/24", "::ffff:192.0.2.1/32", "::ffff:192.0.2.0/120", "::ffff:0:0/64",
                "fe80::%eth0/64", "fe80::%/64", "192.0.2.1%eth0", "2001:db8::\0/64", "2001:db8::/64\0",
            )
        ),
        ("192.0.2.1/24", f"bits beyond the /24 are set; it must be {ALLOWED}"),
        ("2001:db8::1/64", f"bits beyond the /64 are set; it must be {ALLOWED}"),
        ("2001:db8:0:1::/56", f"bits beyond the /56 are set; it must be {ALLOWED}"),
        ("2001:db8:0:100::/48", f"bits beyond the /48 are set; it must be {ALLOWED}"),
        ("100::", NOT_ROUTED),
        ("100::/64", NOT_ROUTED),
        ("fff:ffff:ffff:ff00::/56", NOT_ROUTED),
        ("400::/48", NOT_ROUTED),
    ],
)  # fmt: skip
def test_not_a_network(text: str, problem: str) -> None:
    """What has no key is refused; the error says what is allowed and does not repeat the text."""
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}$"):
        parse_network(text)


@pytest.mark.parametrize("key", [0, 1 << 57 | 1 << 32, 3 << 56 | 1 << 24, 4 << 56 | 1 << 48, 6 << 56, 0xF << 56])
def test_nobody_is_around_what_is_no_key(key: int) -> None:
    """A word that no address has has no parents."""
    with pytest.raises(ValueError, match=f"{key:#x} is not a key"):
        parents(key)
