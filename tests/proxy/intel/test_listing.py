"""Listings as columns: what goes in comes out in order, once each, and a set can be built of it."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet
from proxy.intel.listing import Listing, Listings, Prefixes, joined

networks = st.one_of(
    st.builds(
        lambda bits, length: ip_network((bits, length), strict=False), st.integers(0, 2**32 - 1), st.integers(8, 32)
    ),
    st.builds(
        lambda bits, length: IPv6Network((0x20 << 120 | bits, length), strict=False),
        st.integers(0, 2**120 - 1),
        st.integers(19, 128),
    ),
)
rows = st.lists(
    st.builds(
        Listing,
        networks,
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
        st.one_of(st.none(), st.integers(1, 10).map(float)),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=20,
)


def rank(listing: Listing) -> tuple[float, float]:
    """Return what decides between listings of one network."""
    return listing.severity, float("inf") if listing.until_s is None else listing.until_s


@given(rows)
def test_round_trip(given_rows: list[Listing]) -> None:
    """Of each network the most severe listing is there, of equally severe ones the longest, with its own note."""
    listings = list(Listings.of(given_rows))
    assert {row.network for row in listings} == {row.network for row in given_rows}
    assert len({row.network for row in listings}) == len(listings)
    for row in listings:
        assert row in given_rows
        assert rank(row) == max(rank(other) for other in given_rows if other.network == row.network)


@given(rows, rows)
def test_join(first: list[Listing], second: list[Listing]) -> None:
    """Lists joined are the list of all their rows."""
    both = joined([Listings.of(first), Listings.of(second)])
    whole = Listings.of(first + second)
    assert [row[:3] for row in both] == [row[:3] for row in whole]
    assert all(row in first + second for row in both)


@given(rows, rows)
def test_without(some: list[Listing], others: list[Listing]) -> None:
    """What is taken out is the networks themselves, and none that holds one or lies in one."""
    listings = Listings.of(some)
    out = {row.network for row in others}
    left = listings.without(Prefixes.of(out))
    assert list(left) == [row for row in listings if row.network not in out]


def test_nothing_joined() -> None:
    """No list at all joins to an empty one."""
    assert len(joined([])) == 0


def test_set() -> None:
    """The prefixes are what a set is built of."""
    listings = Listings.of([Listing(IPv4Network("192.0.2.0/24")), Listing(IPv6Network("2001:db8::/32"))])
    prefixes = PrefixSet(build(Rows(listings.networks, listings.lengths, np.array([1, 2], np.uint32))))
    assert [row.network for row in listings][prefixes.look_up(bytes([192, 0, 2, 9])) - 1] == IPv4Network("192.0.2.0/24")
    assert prefixes.look_up(bytes([192, 0, 3, 9])) == 0
