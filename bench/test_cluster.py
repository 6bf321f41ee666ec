"""What following the limits of a cluster costs the analyst: a record, and a look at a bucket in each turn."""

from collections.abc import Callable
from typing import Any

import pytest

from bench.targets import BUSY, CALM, source
from fastpath import RECORD_BYTES, Region, Ring, client_key, monotonic_ns, parse_address
from models.steps import whole
from proxy.cluster.followed import Following
from proxy.cluster.ledger import Ledger, SharedLevels
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import Tables
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects

RECORDS = 4096
CERT = OperationClass.CERT
NETWORKS = {
    "HKPGUARD_ALLOW": "10.0.0.0/8,2001:db8:1::/48",
    "HKPGUARD_NETWORKS": '[{"cidr": "203.0.113.0/24", "limits": {"cert": {"burst": 600}}}]',
}


class Node:
    """A node whose clients are those of `bench cluster`: each tenth request is of a busy one."""

    def __init__(self, environ: dict[str, str], *, paid: bool = True) -> None:
        """Let all of them ask, and write it down."""
        region = Region.create(clients=4096, workers=1, upstreams=1, prefixes=64)
        tables = Tables.of(region)
        self.policy = Policy(Config.from_env(environ), tables)
        self.ledger = Ledger(SharedLevels(tables.clients, tables.buckets), monotonic_ns())
        self.ledger.stand(2, alone=False, now_ns=monotonic_ns())
        self.following = Following(self.ledger, Subjects(region.secret))
        ring = Ring(region.ring(0))
        for number in range(RECORDS):
            busy = number // 10 % BUSY if number % 10 == 0 else BUSY + number % CALM
            address = parse_address(source(busy))
            now_ns, client = monotonic_ns(), client_key(address)
            if paid:
                tables.clients.spend(self.policy.profile(address).compiled, client, CERT, 1, now_ns)
            fields = (now_ns, client, 1, 1, 0, 0, 900, 0, 0, 200, CERT, 0, 0, 0, 0, 0, 0)
            assert ring.write(*fields, address, b"0123456789ABCDEF", b"")
        self.block = ring.take(RECORDS)


@pytest.mark.parametrize("environ", [{}, NETWORKS], ids=["defaults", "networks"])
@pytest.mark.parametrize("size", [128, 512, RECORDS])
def test_records(benchmark: Callable[..., Any], environ: dict[str, str], size: int) -> None:
    """Follow so many records that were taken from a ring at once."""
    node = Node(environ)
    block = node.block[: size * RECORD_BYTES]
    benchmark.extra_info["records"] = size  # type: ignore[attr-defined]
    benchmark(lambda: whole(node.following.feed(block, node.policy, monotonic_ns)))


def test_turn(benchmark: Callable[..., Any]) -> None:
    """Look at each of some 3000 buckets, as is done in each turn; nothing is to be told."""
    node = Node({}, paid=False)
    whole(node.following.feed(node.block, node.policy, monotonic_ns))
    benchmark.extra_info["buckets"] = node.ledger.active  # type: ignore[attr-defined]
    benchmark(lambda: whole(node.ledger.questions(2500, monotonic_ns())))
