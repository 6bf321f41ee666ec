"""Four nodes without their processes: real stores, real shared memory, the real exchange of limits; the test asks.

That is all that a failure of Redis has to do with limits, and takes no time to start. Guards are in other tests.
"""

from __future__ import annotations

import asyncio
import struct
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from fastpath import ClientTable, Control, Region, Ring, client_key, monotonic_ns, parse_address
from models.steps import whole
from proxy.cluster.command import Command
from proxy.cluster.keys import Family
from proxy.cluster.ledger import SETTLE_NS, Place
from proxy.cluster.limits import ClusterLimits
from proxy.courtesy import Courtesy
from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import Tables
from proxy.policy.policy import Policy
from tests.integration.programs import until
from tests.integration.redis_servers import SECRET, Node

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator, Sequence
    from pathlib import Path

    from proxy.cluster.store import Store
    from proxy.config import Config

NODES: Final = 4
BURST: Final = 60
PERIOD_SECONDS: Final = 600  # so hardly a token comes back while a test runs
FEED_SECONDS: Final = 0.02
AGREED_SECONDS: Final = 0.3  # several exchanges
HALF: Final = 0.5  # a token
KIND: Final = OperationClass.CERT
SETTINGS: Final = {
    "CLUSTER__TIMEOUT": "250ms",
    "LIMITS__CERT__BURST": str(BURST),
    "LIMITS__CERT__COUNT": "1",
    "LIMITS__CERT__PERIOD": f"{PERIOD_SECONDS}s",
    "LIMITS__CERT__MAX_DELAY": "0s",
    "LIMITS__TOTAL__MODE": "off",
}


class LimitNode(Node):
    """A node that keeps its limits in step with the others'."""

    def parts(self, config: Config, store: Store) -> Iterable[Coroutine[Any, Any, None]]:
        """Exchange limits, and read what workers have written."""
        region = Region.create(clients=64, workers=1, upstreams=1, prefixes=64, secret=SECRET.encode()[:16])
        region.close()
        self._config, self._control, self._ring = config, region.control, Ring(region.ring(0))
        self._tables = Tables.of(region)
        self.clients: ClientTable = self._tables.clients
        self.limits = ClusterLimits(config, region, store, lambda: NODES, courtesy=Courtesy())
        return self.limits.run(), self._feed(), self._load(store)

    @property
    def share(self) -> int:
        """By what limits are divided."""
        return int(self._control[Control.SHARE])

    def ask(self, address: str) -> bool:
        """Let a client ask for a certificate, as a worker does; return whether it may."""
        packed = parse_address(address)
        client, now_ns = client_key(packed), monotonic_ns()
        policy = Policy(self._config, self._tables, share=self.share)
        spending = self.clients.spend(policy.profile(packed).compiled, client, KIND, 0, now_ns)
        status, upstream = (200, 0) if spending is None else (429, 255)
        fields = (now_ns, client, 1, 1, 0, 0, 0, 0, 0, status, KIND, 0, 0, 0, 0, 0, upstream)
        assert self._ring.write(*fields, packed, b"x", b"")
        return spending is None

    def missing(self, address: str) -> float:
        """Return how many tokens a client has less than a full bucket, as this node knows it."""
        tats = self.clients.peek(client_key(parse_address(address)))
        return max(0.0, tats[KIND] - monotonic_ns()) / 1e9 / PERIOD_SECONDS if tats else 0.0

    async def _feed(self) -> None:
        while True:
            whole(self.limits.feed(self._ring.take(99)))
            await asyncio.sleep(FEED_SECONDS)


class LimitNodes:
    """All of them."""

    def __init__(self, nodes: Sequence[LimitNode]) -> None:
        """Of `nodes`."""
        self.nodes = nodes

    def __iter__(self) -> Iterator[LimitNode]:
        """Iterate over them."""
        return iter(self.nodes)

    def spend(self, address: str, most: int) -> int:
        """Let a client ask all nodes in turn, `most` times in all; return how often it may."""
        return sum(self.nodes[number % NODES].ask(address) for number in range(most))

    def level(self, address: str) -> float:
        """Return how many tokens a client has less than a full bucket, as the store knows it."""
        store, place = self.nodes[0].store, Place(client_key(parse_address(address)), KIND)
        data = place.number.to_bytes(1, "little") + place.key.to_bytes(8, "little")
        key = store.keys.key(Family.LIMIT, store.keys.name_of(data), store.keys.shard_of(data))
        commands = [Command("GET", (key,)), Command("TIME")]
        answers: list[Any] = self.nodes[0].do(store.pipeline(commands, seconds=5.0))
        full, (seconds, microseconds) = answers
        now_us = 10**6 * int(seconds) + int(microseconds)
        full_us, _, _ = struct.unpack("<ddd", full) if full else (0.0, 0.0, 0.0)
        return max(0.0, (full_us - now_us) / 1e6 / PERIOD_SECONDS)

    def await_level(self, address: str, tokens: int) -> None:
        """Wait until it is told that a client has spent so much, and no more."""
        least, most = tokens - HALF, tokens + HALF
        until(lambda: self.level(address) > least, f"{tokens} are told")
        time.sleep(AGREED_SECONDS)
        assert least < self.level(address) < most

    def agree(self, address: str) -> int:
        """Let a client ask each node once, and wait until all know what it spent before; return how often it may."""
        more = self.spend(address, NODES)
        until(lambda: min(each.missing(address) for each in self.nodes) > self.level(address) - NODES, "all know it")
        return more

    def until(self, *, up: bool) -> float:
        """Wait until all reach the store, or none does, and limits are whole or divided; return how long it took."""
        began = time.monotonic()
        until(lambda: all(each.store.up is up for each in self.nodes), f"the store is {'up' if up else 'down'}", 20)
        took = time.monotonic() - began
        until(lambda: {each.share for each in self.nodes} == {1 if up else NODES}, "limits follow")
        time.sleep(SETTLE_NS / 1e9 if up else 0.0)  # so long nodes take the side of the client
        return took


@contextmanager
def limit_nodes(urls: Sequence[str], folder: Path, **settings: str) -> Iterator[LimitNodes]:
    """Run four nodes, each with the URL of its turn; they are connected."""
    nodes: list[LimitNode] = []
    try:
        for number in range(NODES):
            own = SETTINGS | {"CLUSTER__NODE": f"node-{number}"} | settings
            nodes.append(LimitNode(urls[number % len(urls)], folder / f"state-{number}", **own))
        yield LimitNodes(nodes)
    finally:
        for each in nodes:
            each.close()
