"""When networks are banned because of the clients in them, and until when."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, parents, parse_network
from proxy.policy.widening import Term, Widening

NET24 = parse_network("192.0.2.0/24")
NET56 = parse_network("2001:db8::/56")
NET48 = parse_network("2001:db8::/48")


def four(number: int) -> int:
    """Return an address of 192.0.2.0/24."""
    return client_key(bytes([192, 0, 2, number]))


def six(site: int, number: int) -> int:
    """Return a /64 of a /56 of 2001:db8::/48."""
    return client_key((int(IPv6Address("2001:db8::")) + (site << 72) + (number << 64)).to_bytes(16))


def site(number: int) -> int:
    """Return a /56 of 2001:db8::/48."""
    return parents(six(number, 0))[0]


def widening(ipv4: int = 3, ipv6: int = 2) -> Widening:
    """Return one that may ban every network."""
    return Widening(ipv4=ipv4, ipv6=ipv6, may_ban=lambda _network: True)


# Bans of the addresses 1, 2, ... of a /24 that needs three: (until when, ...), and until when it is banned at 0.
@pytest.mark.parametrize(
    ("bans", "until"),
    [
        ((), 0),
        ((10, 10), 0),
        ((10, 10, 10), 10),
        ((10, 20, 30), 10),
        ((30, 20, 10, 25), 20),
        ((5, 5, 5, 100, 100, 100), 100),
        ((5, 100, 100), 5),
    ],
)
def test_network_of_ipv4(bans: tuple[int, ...], until: int) -> None:
    """It is banned while three of its addresses are: the third longest ban decides."""
    networks = widening()
    for number, each in enumerate(bans, 1):
        networks.set(four(number), each, 0)
    term = networks.term(NET24, 0)
    assert (term.until_ns if term else 0) == until


def test_it_narrows_again() -> None:
    """As soon as one of those that it needs is lifted, its ban goes; one more brings it back, from then on."""
    networks = widening()
    for number in (1, 2, 3):
        networks.set(four(number), 100, number)
    assert networks.term(NET24, 3) == Term(3, 100)
    networks.set(four(4), 200, 10)
    assert networks.term(NET24, 10) == Term(3, 100)  # the same ban
    networks.set(four(1), 0, 20)
    assert networks.term(NET24, 20) == Term(3, 100)
    networks.set(four(2), 0, 30)
    assert networks.term(NET24, 30) is None
    assert list(networks.networks(30)) == []
    networks.set(four(5), 150, 40)
    assert networks.term(NET24, 40) == Term(40, 100)


def test_its_ban_ends_by_itself() -> None:
    """Nothing has to happen when the third longest ban ends, at that very nanosecond."""
    networks = widening()
    for number, until in ((1, 50), (2, 60), (3, 70)):
        networks.set(four(number), until, 0)
    assert networks.term(NET24, 49)
    assert networks.term(NET24, 50) is None
    assert not list(networks.networks(50))
    networks.set(four(1), 90, 55)
    assert networks.term(NET24, 55) == Term(55, 60)


def test_networks_are_apart() -> None:
    """Bans next door do not count."""
    networks = widening()
    for third in (2, 3, 4):
        networks.set(client_key(bytes([192, 0, third, 1])), 100, 0)
    assert not list(networks.networks(0))


# Bans of IPv6, two needed: ((site, number, until), ...), until when the /56 with site 0 is banned, and the /48.
@pytest.mark.parametrize(
    ("bans", "until_56", "until_48"),
    [
        (((0, 1, 10),), 0, 0),
        (((0, 1, 10), (0, 2, 20)), 10, 0),
        (((0, 1, 10), (1, 1, 20)), 0, 10),  # one /64 in each of two /56 is enough for the /48
        (((0, 1, 10), (0, 2, 20), (1, 1, 30)), 10, 20),  # the /56 counts while any of its /64 is banned
        (((0, 1, 10), (0, 2, 20), (0, 3, 30)), 20, 0),
    ],
)
def test_networks_of_ipv6(bans: tuple[tuple[int, int, int], ...], until_56: int, until_48: int) -> None:
    """A /56 is banned with enough of its /64, a /48 with enough /56 that have one."""
    networks = widening()
    for place, number, until in bans:
        networks.set(six(place, number), until, 0)
    assert [term.until_ns if (term := networks.term(key, 0)) else 0 for key in (site(0), NET48)] == [until_56, until_48]


def test_networks_of_ipv6_narrow() -> None:
    """From outside to inside, as the bans go."""
    networks = widening()
    for place, number in ((0, 1), (0, 2), (1, 1)):
        networks.set(six(place, number), 100, 0)
    assert {key for key, _ in networks.networks(0)} == {site(0), NET48}
    networks.set(six(1, 1), 0, 1)
    assert {key for key, _ in networks.networks(1)} == {site(0)}
    networks.set(six(0, 2), 0, 2)
    assert not list(networks.networks(2))


def test_some_networks_are_never_banned() -> None:
    """Neither with three banned addresses, nor with all."""
    networks = Widening(ipv4=3, ipv6=2, may_ban=lambda network: network != NET24)
    for number in range(256):
        networks.set(four(number), 100, 0)
    assert networks.term(NET24, 0) is None


def test_nothing_is_kept_of_those_that_are_free() -> None:
    """When the last ban of a network is over, the network is forgotten."""
    networks = widening()
    for place in range(3):
        networks.set(six(place, 1), 100, 0)
        networks.set(four(place), 100, 0)
    for place in range(3):
        networks.set(six(place, 1), 0, 50)
        networks.set(four(place), 0, 50)
    assert (networks._children, networks._terms) == ({}, {})


EVENTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=40)


@given(EVENTS, st.integers(2, 4))
def test_any_history(events: list[tuple[int, int]], needed: int) -> None:
    """Whatever happened: a /24 is banned exactly while as many of its addresses are as it needs."""
    networks = widening(ipv4=needed)
    bans: dict[int, int] = {}
    for now, (number, length) in enumerate(events):
        until = now + length if length else 0
        bans[number] = until
        networks.set(four(number), until, now)
        for later in (now, now + 1, now + 30):
            banned = sum(until > later for until in bans.values()) >= needed
            assert (networks.term(NET24, later) is not None) is banned


def test_keys_of_the_test() -> None:
    """The helpers name what they say."""
    assert parents(six(0, 1)) == (NET56, NET48)
    assert parents(four(9)) == (parse_network(f"{IPv4Address(0xC0000200)}/24"),)
