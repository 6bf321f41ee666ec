"""The operator's rules by origin, as they are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fastpath import NetworkKind
from proxy.config import Config, ConfigError

NAME = "HKPGUARD_ORIGIN_RULES"
FULL = {
    "name": "all-of-it",
    "countries": ["DE", "FR"],
    "asns": [64500, 1048575],
    "kinds": ["hosting", "VPN"],
    "networks": ["192.0.2.0/24", "2001:db8::/32"],
    "deny": ["upload"],
    "price": ["total"],
    "mode": "shadow",
}


def config(rules: object) -> Config:
    """Return a configuration with rules."""
    return Config.from_env({NAME: json.dumps(rules)})


def test_none_by_default() -> None:
    """Nothing is refused for where it comes from unless somebody says so."""
    assert Config.from_env({}).origin_rules == ()


def test_rules_keep_their_order_and_can_be_written() -> None:
    """The first that fits counts, so the order is theirs; what is printed is read as the same."""
    read = config([{"name": "b", "asns": "1,2"}, FULL])
    assert [rule.name for rule in read.origin_rules] == ["b", "all-of-it"]
    assert read.origin_rules[0].asns == (1, 2)
    assert read.origin_rules[1].network_kinds == (NetworkKind.HOSTING, NetworkKind.VPN)
    assert Config.from_env(read.environ()) == read


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({}, "must be a list of tables"),
        ([1], "[0] must be a table"),
        ([{"asns": [1]}], "[0].name must be given"),
        ([{"name": "A", "asns": [1]}], "[0].name=A must be up to 32 small letters"),
        ([{"name": "a", "asn": [1]}], "[0].asn is unknown; a rule has name, countries"),
        ([{"name": "a"}], "a must name countries, asns, kinds or networks"),
        ([{"name": "a", "countries": ["de"]}], "must be two capital letters"),
        ([{"name": "a", "asns": [0]}], "must be a whole number from 1 to 1048575"),
        ([{"name": "a", "asns": [1048576]}], "must be a whole number from 1 to 1048575"),
        ([{"name": "a", "kinds": ["cloud"]}], "must be residential, business"),
        ([{"name": "a", "networks": ["192.0.2.1/24"]}], "write 192.0.2.0/24"),
        ([{"name": "a", "asns": [1], "deny": ["certs"]}], "must be total, cert"),
        ([{"name": "a", "asns": [1], "mode": "on"}], "must be enforce, shadow or off"),
        ([{"name": "a", "asns": [1], "deny": ["cert"], "price": ["cert"]}], "a denies and prices cert"),
        ([{"name": "a", "asns": [1]}] * 2, "names a twice"),
        ([{"name": f"n{i}", "asns": [1]} for i in range(201)], "has 201 rules, not 0..200"),
        ([{"name": "a", "asns": [1] * 10_001}], "has 10001 asns, not 0..10000"),
    ],
)
def test_faults(rules: Any, problem: str) -> None:
    """Each mistake is told with its place."""
    with pytest.raises(ConfigError) as raised:
        config(rules)
    assert problem in str(raised.value)


def test_most_rules() -> None:
    """There may be as many as a word can name."""
    assert len(config([{"name": f"n{i}", "asns": [1]} for i in range(200)]).origin_rules) == 200
