"""Of what kind a network is."""

from __future__ import annotations

from typing import Any

import pytest

from fastpath.origin import NetworkKind as Kind
from geo.network_kind import NUMBERS, ORDER, kind_of, strongest, told_by
from geo.place import Holder


@pytest.mark.parametrize(
    ("traits", "kind"),
    [
        ({"is_anonymous": True, "is_anonymous_vpn": True, "is_tor_exit_node": True}, Kind.TOR),
        ({"is_anonymous": True, "is_hosting_provider": True, "is_anonymous_vpn": True}, Kind.VPN),
        ({"is_anonymous": True, "is_hosting_provider": True}, Kind.HOSTING),
        ({"is_anonymous": True}, Kind.VPN),
        ({"is_anonymous": True, "connection_type": "Cable/DSL"}, Kind.VPN),
        ({"anonymizer_confidence": 50, "provider_name": "somebody"}, Kind.VPN),
        ({"is_residential_proxy": True, "user_type": "residential"}, Kind.VPN),
        ({"is_anycast": True}, Kind.RELAY),
        ({"connection_type": "Cable/DSL"}, Kind.RESIDENTIAL),
        ({"connection_type": "Cellular"}, Kind.MOBILE),
        ({"connection_type": "Corporate", "user_type": "hosting"}, Kind.HOSTING),
        ({"connection_type": "Satellite"}, Kind.SATELLITE),
        ({"user_type": "school"}, Kind.EDUCATION),
        ({"is_tor_exit_node": "true", "user_type": 7, "connection_type": "something new"}, Kind.UNKNOWN),
        ({}, Kind.UNKNOWN),
    ],
)
def test_traits(traits: dict[str, Any], kind: Kind) -> None:
    """Flags and words of MaxMind's databases name the kind; the one that hides most counts."""
    assert told_by(traits) is kind


@pytest.mark.parametrize(
    ("holder", "told", "kind"),
    [
        (None, (), Kind.UNKNOWN),
        (Holder(24940, "Hetzner"), (), Kind.HOSTING),
        (Holder(24940, "Hetzner"), (Kind.BUSINESS,), Kind.HOSTING),
        (Holder(24940, "Hetzner"), (Kind.TOR,), Kind.TOR),
        (Holder(14593, "SpaceX"), (Kind.RESIDENTIAL,), Kind.SATELLITE),
        (Holder(64500, "Acme VPN Ltd"), (), Kind.VPN),
        (Holder(64500, "Acme Cloud Hosting"), (), Kind.HOSTING),
        (Holder(64500, "Universität Beispiel"), (), Kind.EDUCATION),
        (Holder(64500, "T-Mobile Example"), (), Kind.MOBILE),
        (Holder(64500, "Cloudy Telecom"), (), Kind.UNKNOWN),
        (Holder(64500, "Acme Hosting"), (Kind.RESIDENTIAL,), Kind.RESIDENTIAL),
    ],
)
def test_kind_of(holder: Holder | None, told: tuple[Kind, ...], kind: Kind) -> None:
    """A number counts beside what databases say, and words in a name only where nothing else is known."""
    assert kind_of(holder, told) is kind


def test_tables() -> None:
    """Every kind has its place in the order, and no number is of no kind."""
    assert sorted(ORDER) == sorted(Kind)
    assert strongest(()) is Kind.UNKNOWN
    assert Kind.UNKNOWN not in NUMBERS.values()
