"""The step `judge`, and what comes right before it: goal under 2 us for the decision."""

from collections.abc import Callable
from typing import Any

import pytest

from fastpath import NetworkKind, Origin, Region, client_key, monotonic_ns
from fastpath.prefix_build import Rows, build
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.http.head import read_request
from proxy.policy.budgets import Tables
from proxy.policy.judge import Client, Facts
from proxy.policy.policy import Policy

HEAD = (
    b"GET /pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF0123456789ABCDEF01234567 HTTP/1.0\r\n"
    b"Host: keys.example.org:11371\r\nPragma: no-cache\r\nCache-Control: no-cache\r\n\r\n"
)
NETWORKS = {
    "HKPGUARD_ALLOW": "10.0.0.0/8,2001:db8:1::/48",
    "HKPGUARD_PEERS": "198.51.100.7/32",
    "HKPGUARD_NETWORKS": '[{"cidr": "203.0.113.0/24", "limits": {"cert": {"burst": 600}}}]',
}


@pytest.mark.parametrize("environ", [{}, NETWORKS], ids=["defaults", "networks"])
def test_judge(benchmark: Callable[..., Any], environ: dict[str, str]) -> None:
    """Decide about a get by fingerprint that no limit objects to."""
    region = Region.create(clients=1024, workers=1, upstreams=1)
    rates = {"HKPGUARD_LIMITS__CERT__BURST": "1000000", "HKPGUARD_LIMITS__TOTAL__BURST": "1000000"}
    policy = Policy(Config.from_env(environ | rates), Tables.of(region))
    address = bytes([192, 0, 2, 1])
    facts = Facts(Client(address, client_key(address), 0, policy.profile(address)), OperationClass.CERT, 1, subject=7)
    benchmark(lambda: policy.judge(facts, monotonic_ns()))


def test_profile(benchmark: Callable[..., Any]) -> None:
    """Look up the networks that a new connection belongs to."""
    region = Region.create(clients=1024, workers=1, upstreams=1)
    policy = Policy(Config.from_env(NETWORKS), Tables.of(region))
    benchmark(policy.profile, bytes([192, 0, 2, 1]))


def test_profile_by_origin(benchmark: Callable[..., Any]) -> None:
    """The same where a database knows the address, and no network is named."""
    region = Region.create(clients=1024, workers=1, upstreams=1)
    tables = Tables.of(region)
    rows = Rows.of([(bytes([192, 0, 2, 0]), 24, Origin(64_500, NetworkKind.HOSTING).pack())])
    for _ in tables.origins.publish(build(rows)):
        pass
    benchmark(Policy(Config.from_env({}), tables).profile, bytes([192, 0, 2, 1]))


def test_read_request(benchmark: Callable[..., Any]) -> None:
    """Read the head that dirmngr sends."""
    benchmark(read_request, HEAD, 16384, 8192)
