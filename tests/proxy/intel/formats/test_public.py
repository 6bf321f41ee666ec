"""Prefixes that may be listed: all of them public, and none too wide."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.hkp.peer_list import is_public
from proxy.intel.formats.public import judge
from proxy.intel.formats.reading import Limits
from proxy.intel.listing import Prefixes


def judged(*texts: str) -> list[str]:
    """Return what is wrong with each network."""
    found = judge(Prefixes.of(map(ip_network, texts)), Limits())
    return ["wide" if wide else "reserved" if reserved else "" for reserved, wide in zip(*found, strict=True)]


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("9.9.9.9/32", ""),
        ("9.0.0.0/8", ""),
        ("223.255.255.255/32", ""),
        ("2620:fe::fe/128", ""),
        ("2a00::/19", ""),
        ("2001:200::/23", ""),
        ("8.0.0.0/7", "wide"),
        ("0.0.0.0/0", "wide"),
        ("128.0.0.0/1", "wide"),
        ("2a00::/18", "wide"),
        ("2000::/3", "wide"),
        ("::/0", "wide"),
        ("::/1", "wide"),
        ("10.0.0.0/8", "reserved"),
        ("10.1.2.3/32", "reserved"),
        ("100.64.0.0/16", "reserved"),
        ("100.0.0.0/8", "reserved"),  # has 100.64.0.0/10 in it
        ("127.0.0.1/32", "reserved"),
        ("169.254.0.0/16", "reserved"),
        ("172.16.0.0/12", "reserved"),
        ("192.168.1.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("198.16.0.0/12", "reserved"),
        ("224.0.0.1/32", "reserved"),
        ("224.0.0.0/3", "reserved"),  # wide, but nobody is in it
        ("255.255.255.255/32", "reserved"),
        ("::1/128", "reserved"),
        ("::/8", "reserved"),
        ("64:ff9b::/96", "reserved"),
        ("fc00::/7", "reserved"),
        ("fe80::/10", "reserved"),
        ("ff00::/8", "reserved"),
        ("2001::/32", "reserved"),
        ("2001:db8::1/128", "reserved"),
        ("2002:a00:1::/48", "reserved"),
        ("8000::/1", "reserved"),
    ],
)
def test_table(network: str, expected: str) -> None:
    """Reserved networks, and those with one in them, are told from what is too wide to be believed."""
    assert judged("9.9.9.9/32", network, "2620:fe::fe/128") == ["", expected, ""]


def test_none() -> None:
    """No prefix has no judgement."""
    assert judged() == []


@given(
    st.one_of(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda pair: IPv4Network(pair, strict=False)),
        st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(lambda pair: IPv6Network(pair, strict=False)),
        st.tuples(st.integers(0, 2**125 - 1).map((2**125).__add__), st.integers(0, 128)).map(
            lambda pair: IPv6Network(pair, strict=False)
        ),
    )
)
def test_public(network: IPv4Network | IPv6Network) -> None:
    """The ends of what may be listed are public addresses by the rules for peers too."""
    (expected,) = judged(str(network))
    widest = 8 if network.version == 4 else 19
    if not expected:
        assert network.prefixlen >= widest
        assert is_public(network[0].packed)
        assert is_public(network[-1].packed)
    elif network.prefixlen >= widest:
        assert expected == "reserved"
