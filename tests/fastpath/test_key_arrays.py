"""Networks of clients by the array are those of single ones."""

from ipaddress import ip_address

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, network_key, parents
from fastpath.key_arrays import network_keys


@given(st.lists(st.binary(min_size=4, max_size=4) | st.binary(min_size=16, max_size=16), max_size=8))
def test_a_network_is_the_last_parent_of_its_client(addresses: list[bytes]) -> None:
    """Of every address, also of those that are not routed."""
    clients = [client_key(address) for address in addresses]
    networks = network_keys(np.array(clients, np.uint64))
    assert networks.tolist() == [parents(client)[-1] for client in clients]


@pytest.mark.parametrize("address", ["192.0.2.7", "2001:db8:1:2::3", "::1", "::ffff:192.0.2.7", "ff02::1"])
def test_and_that_of_its_address(address: str) -> None:
    """As `network_key` gives it."""
    packed = ip_address(address).packed
    assert network_keys(np.array([client_key(packed)], np.uint64)).tolist() == [network_key(packed)]


def test_networks_stay_what_they_are() -> None:
    """A /24 and a /48 have no network around them here."""
    networks = [network_key(bytes([192, 0, 2, 1])), network_key(bytes(range(32, 48)))]
    assert network_keys(np.array(networks, np.uint64)).tolist() == networks
