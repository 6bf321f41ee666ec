"""Maps from networks to values, beside the standard library's idea of a network."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st

from proxy.policy.networks import Network, NetworkMap, network_set

Address = IPv4Address | IPv6Address


def network_around(address: Address, bits: int) -> Network:
    """Return the network of `bits` bits (as many as fit) that holds an address."""
    return ip_network((address, min(bits, address.max_prefixlen)), strict=False)


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
NETWORKS = st.builds(network_around, ADDRESSES, st.integers(0, 128))
ENTRIES = st.lists(st.tuples(NETWORKS, st.integers(1, 1000)), max_size=12)


def expected(entries: list[tuple[Network, int]], address: Address) -> int | None:
    """Return the value of the smallest network that holds the address; of equal ones the last."""
    holding = [(network.prefixlen, place) for place, (network, _) in enumerate(entries) if _holds(network, address)]
    return entries[max(holding)[1]][1] if holding else None


def _holds(network: Network, address: Address) -> bool:
    return network.version == address.version and address in network


@given(ENTRIES, ADDRESSES)
def test_any_address(entries: list[tuple[Network, int]], address: Address) -> None:
    """The most specific network decides, for any address."""
    assert NetworkMap(entries).get(address.packed) == expected(entries, address)


@given(ENTRIES.filter(bool), st.data())
def test_address_inside(entries: list[tuple[Network, int]], data: st.DataObject) -> None:
    """The same for addresses at the edges of a network, where mistakes live."""
    network, _ = data.draw(st.sampled_from(entries))
    for address in (network[0], network[-1]):
        assert NetworkMap(entries).get(address.packed) == expected(entries, address)


@given(st.lists(NETWORKS, max_size=8), ADDRESSES)
def test_set(networks: list[Network], address: Address) -> None:
    """A set holds what one of its networks holds."""
    inside = any(_holds(network, address) for network in networks)
    assert network_set(networks).get(address.packed) == (True if inside else None)


def test_empty() -> None:
    """An empty map says so and holds nothing."""
    nothing: NetworkMap[int] = NetworkMap([])
    assert nothing.empty
    assert nothing.get(bytes(4)) is None
    assert nothing.get(bytes(16)) is None
    assert not NetworkMap([(IPv4Network("0.0.0.0/0"), 1)]).empty
    assert not NetworkMap([(IPv6Network("::/0"), 1)]).empty


def test_families_are_apart() -> None:
    """All of IPv4 is nothing of IPv6, and the other way round."""
    four, six = network_set([ip_network("0.0.0.0/0")]), network_set([ip_network("::/0")])
    assert four.get(ip_address("192.0.2.1").packed)
    assert four.get(ip_address("2001:db8::1").packed) is None
    assert six.get(ip_address("2001:db8::1").packed)
    assert six.get(ip_address("192.0.2.1").packed) is None


def test_of_equal_networks_the_later_wins() -> None:
    """As in a dictionary."""
    network = ip_network("192.0.2.0/24")
    assert NetworkMap([(network, 1), (network, 2)]).get(network[1].packed) == 2


def test_values_that_are_false() -> None:
    """A value need not be true to be found; only None is nothing."""
    outer, inner = ip_network("192.0.2.0/24"), ip_network("192.0.2.0/25")
    assert NetworkMap([(outer, 7), (inner, 0)]).get(inner[1].packed) == 0
