"""Tests of how values are read. What is refused stands in test_config.py, with the message."""

from ipaddress import ip_network

import pytest

from proxy.settings.kinds import (
    DAY,
    HOUR,
    KIB,
    MIB,
    MILLISECOND,
    MINUTE,
    SECOND,
    Address,
    AnyKind,
    Choice,
    Cidr,
    Duration,
    HostPort,
    ListOf,
    OrEmpty,
    PathPrefix,
    Size,
    Switch,
    Whole,
)
from proxy.settings.limits import NETWORKS


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Whole(0, 9), " 7 ", 7),
        (Whole(0, 9), 7, 7),
        (Duration(0, DAY), "500ms", 500 * MILLISECOND),
        (Duration(0, DAY), "10s", 10 * SECOND),
        (Duration(0, DAY), "1m", MINUTE),
        (Duration(0, DAY), "1h", HOUR),
        (Duration(0, DAY), "1d", DAY),
        (Duration(0, DAY), "15", 15 * SECOND),
        (Duration(0, DAY), 15, 15 * SECOND),
        (Duration(0, DAY), "2 S", 2 * SECOND),
        (Size(0, MIB), "16KiB", 16 * KIB),
        (Size(0, MIB), "1MiB", MIB),
        (Size(0, MIB), "100", 100),
        (Choice(("a", "b")), "B", "b"),
        (Switch(), "On", True),
        (Switch(), False, False),
        (HostPort(), "localhost:0", Address("localhost", 0)),
        (HostPort(), "[2001:DB8:0::1]:80", Address("2001:db8::1", 80)),
        (HostPort(scheme="http://"), "http://Keys.Example.org:11371/", Address("keys.example.org", 11371)),
        (Cidr(), "192.0.2.0/24", ip_network("192.0.2.0/24")),
        (Cidr(), "2001:db8::1", ip_network("2001:db8::1/128")),
        (ListOf(Whole(0, 9)), "1, 2", (1, 2)),
        (ListOf(Whole(0, 9)), ["1", 2], (1, 2)),
        (ListOf(Whole(0, 9)), "", ()),
        (OrEmpty(ListOf(PathPrefix())), "/a,/b/", ("/a", "/b/")),
        (OrEmpty(ListOf(PathPrefix())), " ", None),
        (NETWORKS, "", ()),
    ],
)
def test_value_is_read(kind: AnyKind, text: object, value: object) -> None:
    """Each kind of value is read as the documentation writes it."""
    assert kind.parse(text) == value
