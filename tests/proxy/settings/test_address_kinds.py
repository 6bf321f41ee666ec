"""Tests of how addresses are read. What is refused stands in test_config.py, with the message."""

from ipaddress import ip_network

import pytest

from proxy.settings.addresses import Address, Cidr, HostPort
from proxy.settings.kinds import AnyKind


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (HostPort(), "localhost:0", Address("localhost", 0)),
        (HostPort(), "[2001:DB8:0::1]:80", Address("2001:db8::1", 80)),
        (HostPort(scheme="http://"), "http://Keys.Example.org:11371/", Address("keys.example.org", 11371)),
        (Cidr(), "192.0.2.0/24", ip_network("192.0.2.0/24")),
        (Cidr(), "2001:db8::1", ip_network("2001:db8::1/128")),
    ],
)
def test_address_is_read(kind: AnyKind, text: str, value: object) -> None:
    """Sockets and networks are read as the documentation writes them, and kept in their canonical form."""
    assert kind.parse(text) == value
