"""Which records tell of certificates that were asked for."""

from __future__ import annotations

import pytest

from fastpath import network_key
from fastpath.record import NO_UPSTREAM
from fastpath.record_array import record_array
from models.coldness import Coldness
from proxy import cold_watch
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.telemetry.numbers import SHADOW
from tests.proxy.admin.records_for_tests import NOW, block, record, refused

HERE = network_key(bytes([192, 0, 2, 1]))


def asked(raw: bytes, network: int = HERE) -> float:
    """Return how much a network asked for by these records."""
    coldness = Coldness(bytes(range(16)))
    cold_watch.show(coldness, record_array(raw))
    return coldness.standing(network, NOW).asked


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"upstream": NO_UPSTREAM, "upstream_us": 0}, True),
        ({"action": Action.DELAY, "reason": Reason.BUDGET}, True),
        ({"action": SHADOW + Action.LIMIT, "reason": Reason.BUDGET}, True),
        ({"reason": Reason.CANARY}, True),
        ({"status": 404}, False),
        ({"status": 500}, False),
        ({"status": 0, "reason": Reason.GONE}, False),
        ({"reason": Reason.ALLOWED_NETWORK}, False),
        ({"operation": OperationClass.IDENTITY}, False),
        ({"operation": OperationClass.WORDS}, False),
        ({"operation": OperationClass.UPLOAD}, False),
    ],
)
def test_what_counts(fields: dict[str, int], *, counts: bool) -> None:
    """Certificates that were handed out, from wherever, to who has limits; also late ones, and those in shadow mode."""
    assert asked(block(record(**fields))) == counts


def test_what_is_refused_does_not_count() -> None:
    """It neither is held against anybody nor makes a certificate known."""
    coldness = Coldness(bytes(range(16)))
    cold_watch.show(coldness, record_array(block(refused("198.51.100.1"))))
    cold_watch.show(coldness, record_array(block(record())))
    assert coldness.standing(HERE, NOW).cold == 1


@pytest.mark.parametrize(
    ("address", "network"), [("192.0.2.200", "192.0.2.1"), ("2001:db8:1:2::3", "2001:db8:1:ffff::")]
)
def test_networks_ask(address: str, network: str) -> None:
    """IPv4 /24 and IPv6 /48."""
    key = network_key(record(network).address)
    raw = block(record(address, subject_hash=2**64 - 1), record(network, subject_hash=7))
    assert asked(raw, key) == 2


def test_an_empty_block() -> None:
    """A turn without records is like any other."""
    assert asked(b"") == 0
