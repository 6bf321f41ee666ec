"""What an order is made to: databases and lists as layers, and what is told of those that cannot be read."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import numpy as np

from fastpath.origin import LISTED_DENIED, LISTED_PRICED, NetworkKind, Origin, unpack
from fastpath.prefix_build import Rows
from fastpath.prefixes import PrefixSet
from proxy.intel import combined
from proxy.intel.combining import Verdicts
from proxy.intel.compose import Order, Outcome, RuleOrder, compose
from tests.geo.databases_for_tests import write

if TYPE_CHECKING:
    from pathlib import Path

HOSTING, MOBILE, TOR, VPN = NetworkKind.HOSTING, NetworkKind.MOBILE, NetworkKind.TOR, NetworkKind.VPN


def database(path: Path, records: dict[str, dict[str, Any]]) -> str:
    """Write an mmdb file with records of networks; return its path."""
    return str(write(path, records))


def holder(asn: int, name: str) -> dict[str, Any]:
    """Return the record of a holder."""
    return {"autonomous_system_number": asn, "autonomous_system_organization": name}


def lists(path: Path, prefixes: list[tuple[str, int, int, int]]) -> str:
    """Write what follows from feeds: address, length among those of IPv6, rule, kind; return the path."""
    rows = Rows.of((ip_address(address).packed, length, 0) for address, length, _, _ in prefixes)
    count = len(prefixes)
    verdicts = Verdicts(
        networks=rows.networks,
        lengths=rows.lengths,
        rules=np.array([each[2] for each in prefixes], np.uint8),
        kinds=np.array([each[3] for each in prefixes], np.uint8),
        weights=np.zeros(count, np.float32),
        feeds=np.ones(count, np.uint32),
    )
    combined.write(path, verdicts, ["one"])
    return str(path)


def origins(order: Order, *addresses: str) -> tuple[list[Origin], Outcome]:
    """Return the origins of addresses, as an order makes them."""
    octets, outcome = compose(Order.of_json(json.dumps(order)))
    made = PrefixSet(octets)
    assert made.prefixes == outcome.ranges
    return [unpack(made.look_up(ip_address(address).packed)) for address in addresses], outcome


def test_holders(tmp_path: Path) -> None:
    """The number of a holder, and the kind that goes with the number or is guessed by the name."""
    path = database(
        tmp_path / "asn.mmdb",
        {
            "192.0.2.0/25": holder(24940, "A company"),
            "192.0.2.128/25": holder(64500, "Some Cloud Ltd"),
            "2001:db8::/32": holder(4_200_000_000, "Private"),
        },
    )
    asked = ("192.0.2.1", "192.0.2.129", "2001:db8::1", "203.0.113.1")
    assert origins(Order(databases=[path]), *asked) == (
        [Origin(24940, HOSTING), Origin(64500, HOSTING), Origin(), Origin()],
        Outcome(2, []),
    )


def test_countries_are_read_for_rules(tmp_path: Path) -> None:
    """A rule may name a country, also one that no database knows."""
    path = database(
        tmp_path / "country.mmdb",
        {"192.0.2.0/24": {"country": {"iso_code": "DE"}}, "198.51.100.0/24": {"country_code": "FR"}},
    )
    rules = [
        RuleOrder(["XX"], [], [], []),
        RuleOrder(["FR", "IT"], [], [], []),
        RuleOrder(["DE"], [], [], ["192.0.2.0/25"]),
    ]
    found, _ = origins(Order([path], rules=rules), "192.0.2.1", "192.0.2.129", "198.51.100.1", "203.0.113.1")
    assert [each.rule for each in found] == [3, 0, 2, 0]


def test_traits(tmp_path: Path) -> None:
    """What a database of anonymous addresses says is stronger than what the number of the holder says."""
    asn = database(tmp_path / "asn.mmdb", {"192.0.2.0/24": holder(24940, "")})
    anonymous = database(tmp_path / "anonymous.mmdb", {"192.0.2.1/32": {"is_anonymous_vpn": True}})
    found, _ = origins(Order([asn, anonymous]), "192.0.2.1", "192.0.2.2")
    assert found == [Origin(24940, VPN), Origin(24940, HOSTING)]


def test_lists(tmp_path: Path) -> None:
    """Rules and kinds that follow from feeds; a prefix of which they say nothing is a hole in those around it."""
    path = lists(
        tmp_path / "combined",
        [("192.0.2.0", 24, LISTED_DENIED, 0), ("192.0.2.1", 32, 0, TOR), ("2001:db8::", 32, LISTED_PRICED, MOBILE)],
    )
    found, _ = origins(Order(combined=path), "192.0.2.1", "192.0.2.2", "2001:db8::1")
    assert found == [Origin(kind=TOR), Origin(rule=LISTED_DENIED), Origin(kind=MOBILE, rule=LISTED_PRICED)]


def test_what_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    """The others still make a set."""
    good = database(tmp_path / "asn.mmdb", {"192.0.2.0/24": holder(7, "")})
    bad = tmp_path / "bad.mmdb"
    bad.write_bytes(b"no database")
    order = Order([str(tmp_path / "none.mmdb"), str(bad), good], str(bad))
    (found,), outcome = origins(order, "192.0.2.1")
    assert found == Origin(7)
    assert len(outcome.problems) == 3
    assert "none.mmdb: No such file" in outcome.problems[0]


def test_numbers_that_are_not_ours(tmp_path: Path) -> None:
    """A file of lists with kinds or rules that there are not is refused, and spoils no other bits."""
    for rule, kind in ((255, 0), (0, 10), (0, 255)):
        path = lists(tmp_path / "combined", [("192.0.2.0", 24, rule, kind)])
        (found,), outcome = origins(Order(combined=path), "192.0.2.1")
        assert (found, list(outcome.problems)) == (Origin(), ["its numbers are not ours"])
