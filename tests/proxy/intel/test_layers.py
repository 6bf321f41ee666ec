"""Layers of knowledge, laid one over the other: as if each address were looked up in each layer."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath._prefixes_py import PrefixSet as Slow
from fastpath.origin import LISTED_DENIED, LISTED_PRICED, NetworkKind, Origin, unpack
from fastpath.prefix_build import Rows, assembled, build
from fastpath.prefixes import PrefixSet
from geo.network_kind import strongest
from proxy.intel.layers import Layers, Rule, overlaid

if TYPE_CHECKING:
    from collections.abc import Sequence

HOSTING, TOR, VPN, MOBILE = NetworkKind.HOSTING, NetworkKind.TOR, NetworkKind.VPN, NetworkKind.MOBILE
Prefix = tuple[bytes, int, int]


def layer(prefixes: dict[str, int]) -> Rows:
    """Return a layer of networks with values."""
    networks = [(ip_network(text), value) for text, value in prefixes.items()]
    return Rows.of((network.network_address.packed, network.prefixlen, value) for network, value in networks)


def found(layers: Layers, *addresses: str) -> list[Origin]:
    """Return the origins of addresses."""
    made = PrefixSet(assembled(overlaid(layers), 0))
    return [unpack(made.look_up(ip_address(address).packed)) for address in addresses]


def test_nothing_is_known() -> None:
    """Without layers there is one range of each family, which says nothing."""
    ranges = overlaid(Layers())
    assert [(family["high"].tolist(), family["value"].tolist()) for family in ranges] == [([0], [0])] * 2


def test_layers_meet() -> None:
    """Each part of an origin comes from its own layers, wherever their prefixes begin and end."""
    layers = Layers(
        asns=[layer({"192.0.2.0/24": 7, "2001:db8::/32": 9})],
        kinds=[layer({"192.0.2.0/26": HOSTING, "2001:db8:0:8000::/49": MOBILE})],
        listed=[layer({"192.0.2.32/27": LISTED_PRICED, "::/0": 0})],
    )
    asked = ["192.0.1.255", "192.0.2.0", "192.0.2.63", "192.0.2.64", "192.0.3.0", "2001:db8::1", "2001:db8:0:8000::"]
    assert found(layers, *asked) == [
        Origin(),
        Origin(7, HOSTING),
        Origin(7, HOSTING, LISTED_PRICED),
        Origin(7),
        Origin(),
        Origin(9),
        Origin(9, MOBILE),
    ]


def test_first_holder_and_strongest_kind() -> None:
    """Of databases the first that knows counts; of kinds the one that a place says least about; a guess comes last."""
    layers = Layers(
        asns=[layer({"192.0.2.0/25": 1}), layer({"192.0.2.0/24": 2})],
        kinds=[layer({"192.0.2.0/24": HOSTING}), layer({"192.0.2.1/32": TOR, "192.0.2.2/32": VPN})],
        guesses=[layer({"192.0.0.0/16": MOBILE})],
    )
    asked = ["192.0.2.0", "192.0.2.1", "192.0.2.2", "192.0.2.128", "192.0.3.0"]
    assert found(layers, *asked) == [
        Origin(1, HOSTING),
        Origin(1, TOR),
        Origin(1, VPN),
        Origin(2, HOSTING),
        Origin(0, MOBILE),
    ]


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        (Rule(countries=(1,)), [True, True, False, False]),
        (Rule(countries=(1, 2)), [True, True, True, False]),
        (Rule(asns=(7,)), [True, False, True, False]),
        (Rule(kinds=(HOSTING,)), [True, True, False, False]),
        (Rule(kinds=(NetworkKind.UNKNOWN,)), [False, False, True, True]),
        (Rule(networks=layer({"192.0.2.0/24": 1, "192.0.3.0/24": 1})), [True, True, False, False]),
        (Rule(countries=(1,), asns=(7,)), [True, False, False, False]),
        (Rule(countries=(2,), kinds=(HOSTING,)), [False] * 4),
        (Rule(asns=(8,), networks=layer({"192.0.3.0/24": 1})), [False, True, False, False]),
    ],
)
def test_where_a_rule_holds(rule: Rule, fits: list[bool]) -> None:
    """In all that it names, in one of each; a rule that fits nobody, first, changes nothing."""
    layers = Layers(
        countries=[layer({"192.0.2.0/23": 1, "198.51.100.0/24": 2})],
        asns=[layer({"192.0.2.0/24": 7, "192.0.3.0/24": 8, "198.51.100.0/24": 7})],
        kinds=[layer({"192.0.2.0/23": HOSTING})],
        rules=[Rule(asns=(99,)), rule],
    )
    asked = found(layers, "192.0.2.1", "192.0.3.1", "198.51.100.1", "203.0.113.1")
    assert [origin.rule for origin in asked] == [2 if each else 0 for each in fits]


def test_whose_rule_counts() -> None:
    """Of the operator's rules the first that fits; what lists deny is denied anyway, what they price only otherwise."""
    layers = Layers(
        asns=[layer({"192.0.2.0/24": 7})],
        listed=[
            layer({"192.0.2.0/26": LISTED_PRICED, "198.51.100.0/24": LISTED_PRICED}),
            layer({"192.0.2.0/27": LISTED_DENIED}),
        ],
        rules=[Rule(networks=layer({"192.0.2.64/26": 1})), Rule(asns=(7,)), Rule(asns=(7,))],
    )
    asked = ["192.0.2.1", "192.0.2.33", "192.0.2.65", "192.0.2.129", "198.51.100.1"]
    assert [origin.rule for origin in found(layers, *asked)] == [LISTED_DENIED, 2, 1, 2, LISTED_PRICED]


def test_no_two_ranges_say_the_same() -> None:
    """What layers split and the origin does not, is one range again."""
    halves = {"192.0.2.0/25": 7, "192.0.2.128/25": 7}
    ranges = overlaid(Layers(asns=[layer(halves)], countries=[layer({"192.0.2.0/26": 1})]))
    assert len(ranges.four) == 3
    assert len(ranges.six) == 1


# The rule: what is swept is what each address would be told.


def prefixes(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[Prefix]]:
    """Return prefixes close together, nested and side by side, of both families."""
    four = st.tuples(st.integers(0, 15), st.integers(24, 32)).map(
        lambda each: (bytes([192, 0, 2, each[0] * 16]), each[1])
    )
    six = st.tuples(st.integers(0, 255), st.integers(0, 3), st.integers(0, 128)).map(
        lambda each: (bytes([0x20, 1, each[0], 0, 0, 0, 0, each[1]]) + bytes(7) + bytes([each[0]]), each[2])
    )
    return st.lists(st.tuples(four | six, values).map(lambda each: (*each[0], each[1])), max_size=12)


def groups(values: st.SearchStrategy[int]) -> st.SearchStrategy[list[list[Prefix]]]:
    """Return some layers."""
    return st.lists(prefixes(values), max_size=3)


def masked(network: bytes, length: int, value: int) -> Prefix:
    """Return a prefix without bits beyond it."""
    width = 8 * len(network)
    kept = int.from_bytes(network) >> (width - length) << (width - length)
    return kept.to_bytes(len(network)), length, value


def first(said: Sequence[int]) -> int:
    """Return the first that is not 0."""
    return next((value for value in said if value), 0)


kinds = st.sampled_from(NetworkKind).map(int)
listed = st.sampled_from([0, LISTED_PRICED, LISTED_DENIED])
small = st.integers(0, 3)
places = st.tuples(st.sets(small), st.sets(small), st.sets(kinds), st.none() | prefixes(st.just(1)))


@settings(deadline=None)
@given(
    said=st.tuples(groups(small), groups(small), groups(kinds), groups(kinds), groups(listed)),
    where=st.lists(places, max_size=3),
)
def test_as_if_each_address_were_looked_up(
    said: tuple[list[list[Prefix]], ...],
    where: list[tuple[set[int], set[int], set[int], list[Prefix] | None]],
) -> None:
    """The origin of an address is what its longest prefix in each layer gives, taken together."""
    rules = [
        Rule(tuple(countries), tuple(asns), tuple(map(NetworkKind, named)), None if inside is None else Rows.of(inside))
        for countries, asns, named, inside in where
    ]
    asns, countries, told, guesses, lists = ([*map(Rows.of, group)] for group in said)
    layers = Layers(asns=asns, countries=countries, kinds=told, guesses=guesses, listed=lists, rules=rules)
    made = PrefixSet(assembled(overlaid(layers), 0))
    slow = [[Slow([masked(*prefix) for prefix in layer]) for layer in group] for group in said]
    inside = [None if each[3] is None else Slow([masked(*prefix) for prefix in each[3]]) for each in where]
    edges = {each for group in said for layer in group for each in ends(layer)}
    edges |= {each for _, _, _, layer in where for each in ends(layer or [])}
    for address in edges | {bytes(4), bytes(16), b"\xff" * 4, b"\xff" * 16}:
        found = [[each.look_up(address) for each in group] for group in slow]
        asn, country = first(found[0]), first(found[1])
        kind = strongest(map(NetworkKind, found[2])) or NetworkKind(first(found[3]))
        fits = (
            (not rule.countries or country in rule.countries)
            and (not rule.asns or asn in rule.asns)
            and (not rule.kinds or kind in rule.kinds)
            and (holds is None or holds.look_up(address) != 0)
            for rule, holds in zip(rules, inside, strict=True)
        )
        number = next((i for i, each in enumerate(fits, 1) if each), 0)
        worst = max(found[4], default=0)
        expected = Origin(asn, kind, worst if worst == LISTED_DENIED or not number else number)
        assert unpack(made.look_up(address)) == expected, address.hex()


def ends(layer: list[Prefix]) -> set[bytes]:
    """Return the first and last addresses of prefixes, and those before and behind them."""
    found = set()
    for network, length, value in layer:
        first_of = int.from_bytes(masked(network, length, value)[0])
        width = 8 * len(network)
        last_of = first_of + (1 << (width - length)) - 1
        found |= {each.to_bytes(len(network)) for each in range(first_of - 1, first_of + 2) if 0 <= each < 1 << width}
        found |= {each.to_bytes(len(network)) for each in range(last_of - 1, last_of + 2) if 0 <= each < 1 << width}
    return found


def test_many_addresses_against_the_specification() -> None:
    """A hundred thousand random addresses in a hundred thousand prefixes of two layers."""
    draw = np.random.default_rng(6)

    def made(count: int, most: int) -> tuple[Rows, PrefixSet]:
        networks = draw.integers(0, 256, (count, 16), np.uint8)
        four = np.arange(count) % 2 == 0
        networks[four, :10], networks[four, 10:12] = 0, 255
        lengths = np.where(four, draw.integers(104, 129, count), draw.integers(3, 65, count)).astype(np.uint8)
        of_all = Rows(networks, lengths, draw.integers(0, most, count, np.uint32))
        return of_all, PrefixSet(build(of_all))

    (asns, asn_set), (told, kind_set) = made(50_000, 2**20), made(50_000, 10)
    both = PrefixSet(assembled(overlaid(Layers(asns=[asns], kinds=[told])), 0))
    for packed in [draw.bytes(4) for _ in range(50_000)] + [draw.bytes(16) for _ in range(50_000)]:
        assert both.look_up(packed) == kind_set.look_up(packed) << 20 | asn_set.look_up(packed)
