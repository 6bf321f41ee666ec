"""Keys: who shares a bucket."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.keys import client_key, key_text, network_key, parse_address, site_key

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
