"""Which bans would hit networks that must not be hit."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, key_text, parents, parse_network
from proxy.policy.exemptions import LOOPBACK, Exemptions, Overlaps

if TYPE_CHECKING:
    from proxy.policy.networks import Network


def networks(*texts: str) -> list[Network]:
    """Return networks as the configuration has them."""
    return [ip_network(text) for text in texts]


@pytest.mark.parametrize(
    ("network", "key", "hit"),
    [
        ("192.0.2.7/32", "192.0.2.7", True),
        ("192.0.2.7/32", "192.0.2.8", False),
        ("192.0.2.7/32", "192.0.2.0/24", True),
        ("192.0.2.7/32", "192.0.3.0/24", False),
        ("192.0.2.64/28", "192.0.2.80", False),
        ("192.0.2.64/28", "192.0.2.79", True),
        ("192.0.2.64/28", "192.0.2.0/24", True),
        ("192.0.0.0/16", "192.0.2.0/24", True),
        ("192.0.0.0/16", "192.1.2.0/24", False),
        ("0.0.0.0/0", "203.0.113.1", True),
        ("0.0.0.0/0", "2001:db8::/48", False),
        ("2001:db8::7/128", "2001:db8::", True),  # another host of the same /64
        ("2001:db8::7/128", "2001:db8:0:1::", False),
        ("2001:db8::7/128", "2001:db8::/56", True),
        ("2001:db8::7/128", "2001:db8::/48", True),
        ("2001:db8:0:100::/60", "2001:db8::/56", False),
        ("2001:db8:0:100::/60", "2001:db8::/48", True),
        ("2001:db8:0:100::/52", "2001:db8:0:100::/56", True),
        ("2001:db8::/32", "2001:db8:9:9::", True),
        ("2001:db8::/32", "2001:db9::/48", False),
        ("::/0", "192.0.2.1", False),
    ],
)
def test_overlaps(network: str, key: str, hit: bool) -> None:  # noqa: FBT001 - a column
    """A ban hits a network if they share an address, whichever is larger."""
    given = ip_network(network, strict=False)
    assert (parse_network(key) in Overlaps([given])) is hit


ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6, network="2000::/3"))


@given(
    given=st.lists(st.tuples(ADDRESSES, st.integers(8, 128)), max_size=5),
    address=ADDRESSES,
    near=st.booleans(),
    data=st.data(),
)
def test_overlaps_like_the_standard_library(
    *, given: list[tuple[object, int]], address: object, near: bool, data: st.DataObject
) -> None:
    """The answer is that of `ipaddress`, for every key of an address near the networks or far from them."""
    listed = [ip_network((str(base), min(bits, base.max_prefixlen)), strict=False) for base, bits in given]  # type: ignore[attr-defined]
    if near and listed:
        address = data.draw(st.sampled_from(listed))[0]
    client = client_key(address.packed)  # type: ignore[attr-defined]
    for key in (client, *parents(client)):
        expected = any(
            each.version == ip_network(key_text(key)).version and each.overlaps(ip_network(key_text(key)))
            for each in listed
        )
        assert (key in Overlaps(listed)) is expected


def test_nobody_is_exempt_by_default() -> None:
    """Empty sets hit nothing."""
    exemptions = Exemptions()
    for text in ("192.0.2.1", "2001:db8::", "192.0.2.0/24"):
        key = parse_network(text)
        assert (exemptions.never(key), exemptions.shared(key), exemptions.may_widen_to(key)) == (False, False, True)


def test_what_exemptions_say() -> None:
    """Neither who is never banned nor a shared exit is hit for its neighbours."""
    exemptions = Exemptions(networks("192.0.2.7/32"), networks("198.51.100.9/32"))
    rows = [
        ("192.0.2.7", True, False, False),
        ("192.0.2.0/24", True, False, False),
        ("198.51.100.9", False, True, False),
        ("198.51.100.0/24", False, True, False),
        ("198.51.100.10", False, False, True),
        ("203.0.113.0/24", False, False, True),
    ]
    for text, never, shared, may_widen in rows:
        key = parse_network(text)
        assert (exemptions.never(key), exemptions.shared(key), exemptions.may_widen_to(key)) == (
            never,
            shared,
            may_widen,
        )


def test_loopback() -> None:
    """Addresses of this machine, and networks that hold them."""
    for text, loops in (("127.0.0.77", True), ("127.0.0.0/24", True), ("::1", True), ("128.0.0.1", False)):
        assert (parse_network(text) in LOOPBACK) is loops


def test_shared_by_origin() -> None:
    """An exit that its origin tells is spared like one that is named, as long as it tells; it may be banned."""
    exits = {parse_network("192.0.2.7"), parse_network("192.0.2.0/24")}
    given = Exemptions(networks("198.51.100.0/24"), (), exits.__contains__)
    assert [given.shared(parse_network(text)) for text in ("192.0.2.7", "192.0.2.8")] == [True, False]
    assert not given.never(parse_network("192.0.2.7"))
    assert not given.may_widen_to(parse_network("192.0.2.0/24"))
    exits.clear()
    assert given.may_widen_to(parse_network("192.0.2.0/24"))
    assert not given.shared(parse_network("192.0.2.7"))
