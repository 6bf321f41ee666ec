"""Nodes and one Redis: what one decides holds on all, and a node that starts knows it before it is ready."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import pytest

from tests.integration.cluster_guards import ban, banned, tell
from tests.integration.guard import guard
from tests.integration.http_client import BrokenError, Question, ask
from tests.integration.keyserver import Answer
from tests.integration.programs import LOOPBACK, until
from tests.integration.redis_servers import ON_REDIS, SECRET, server

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from tests.integration.conftest import StartKeyserver
    from tests.integration.guard import Guard
    from tests.integration.keyserver import Asked
    from tests.integration.redis_servers import Server


NODES = 4
BANS = 20
NETWORK = "198.51.100"
SCANNER = "127.0.0.2"
SUSPECT = "1.2.3.4"
TRAP = Question("/.env")
PATIENCE_SECONDS = 10.0  # of a busy machine; how long it takes is printed, not asserted


async def ok(_asked: Asked) -> Answer:
    """Answer anything."""
    return Answer()


class Cluster:
    """Some nodes and what they share."""

    def __init__(self, stack: ExitStack, folder: Path, redis: Server, upstream: str) -> None:
        """Start no node yet."""
        self._stack, self._folder, self._redis, self._upstream = stack, folder, redis, upstream

    def start(self, name: str, **others: str) -> Guard:
        """Start a node, with what it has written down before, and wait until it is ready."""
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        settings = {
            "REDIS_URL": f"redis://{LOOPBACK}:{self._redis.port}",
            "CLUSTER__SECRET": SECRET,
            "CLUSTER__NODE": name,
            "STATE_DIR": str(folder / "state"),
            "WORKERS": "1",
        }
        return self._stack.enter_context(guard(folder, self._upstream, **settings | others))


@pytest.fixture
def redis(store_program: str, stack: ExitStack, tmp_path: Path) -> Server:
    """Return a running server."""
    return stack.enter_context(server(store_program, tmp_path / "redis"))


@pytest.fixture
def cluster(stack: ExitStack, tmp_path: Path, redis: Server, start_keyserver: StartKeyserver) -> Cluster:
    """Return a cluster without nodes."""
    return Cluster(stack, tmp_path, redis, start_keyserver(ok).url)


def lifted(node: Guard, address: str) -> bool:
    """Tell whether a node lets an address in."""
    return not banned(node, address)


def await_banned(node: Guard, address: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until a node keeps an address out."""
    until(partial(banned, node, address), f"{address} is banned", seconds)


def test_a_ban_binds_on_all_nodes(cluster: Cluster) -> None:
    """Whichever node is told to ban or to unban, all do; each tells who did."""
    nodes = [cluster.start(f"node-{number}") for number in range(NODES)]
    taken: list[float] = []
    for number in range(BANS):
        address, teller = f"{NETWORK}.{number}", nodes[number % NODES]
        ban(teller, address)
        began = time.monotonic()
        for node in nodes:
            await_banned(node, address)
        taken.append(time.monotonic() - began)
    print(f"banned on {NODES} nodes: median {1000 * median(taken):.0f} ms, worst {1000 * max(taken):.0f} ms")  # noqa: T201
    held = nodes[1].client(f"{NETWORK}.0")["ban"]
    assert (held["origin"], held["node"], held["reason"]) == ("cluster", "node-0", "a test")
    assert "cluster (node-0)" in nodes[1].command("explain", f"{NETWORK}.0")[1]
    assert nodes[2].metric("gossip_delay_seconds_count") >= BANS * (NODES - 1) / NODES
    tell(nodes[3], "DELETE", f"/api/v1/bans/{NETWORK}.0")
    for node in nodes:
        until(partial(lifted, node, f"{NETWORK}.0"), "it is lifted", PATIENCE_SECONDS)
    assert all(banned(node, f"{NETWORK}.1") for node in nodes)


@ON_REDIS
def test_offences_on_two_nodes_count_together(cluster: Cluster) -> None:
    """A scanner that asks one node for some traps and another one for the rest is banned on both."""
    first, second = (cluster.start(name, TARPIT__MODE="off") for name in ("first", "second"))
    for _ in range(3):
        ask(first.port, TRAP, SCANNER)
    until(lambda: second.client(SCANNER)["points"] > 70, "the second has heard of it", PATIENCE_SECONDS)
    assert not banned(first, SCANNER)
    assert not banned(second, SCANNER)
    for _ in range(2):  # 25 points each, with 100 for a ban, and a little decay between
        with suppress(BrokenError, ConnectionError):  # banned
            ask(second.port, TRAP, SCANNER)
    for node in (first, second):
        await_banned(node, SCANNER)


@ON_REDIS
def test_a_verdict_binds_on_all_nodes(cluster: Cluster, tmp_path: Path) -> None:
    """What one node concludes of a client holds on the others as well; they know who said so, and not why."""
    reporters = tmp_path / "reporters"
    reporters.write_text("one first-reporter-1\ntwo second-reporter-2\n")
    reporters.chmod(0o600)
    first = cluster.start("first", INTEL__REPORTERS_FILE=str(reporters))
    second = cluster.start("second")
    for token in ("first-reporter-1", "second-reporter-2"):
        tell(first, "POST", "/api/v1/intel/reports", {"network": SUSPECT}, Authorization=f"Bearer {token}")
    verdict = lambda: second.client(SUSPECT)["verdict"]  # noqa: E731 - short
    until(lambda: verdict()["standing"] == "priced", "the second has heard of it", PATIENCE_SECONDS)
    assert verdict()["elsewhere"] == {"node": "first", "standing": "priced"}
    assert verdict()["evidence"] == []
    assert first.client(SUSPECT)["verdict"]["elsewhere"] is None


@ON_REDIS
def test_a_node_that_starts_has_all_bans_before_it_is_ready(cluster: Cluster) -> None:
    """Those that were placed while it was away as well as before, and none that was lifted meanwhile."""
    first, second = cluster.start("first"), cluster.start("second")
    ban(second, f"{NETWORK}.1")
    ban(second, f"{NETWORK}.2")
    await_banned(first, f"{NETWORK}.1")
    await_banned(first, f"{NETWORK}.2")
    second.program.end(signal.SIGTERM)
    ban(first, f"{NETWORK}.3")
    tell(first, "DELETE", f"/api/v1/bans/{NETWORK}.1")
    again, new = cluster.start("second"), cluster.start("new")
    for node in (again, new):
        assert [banned(node, f"{NETWORK}.{number}") for number in (1, 2, 3)] == [False, True, True]


@ON_REDIS
def test_a_store_that_comes_back_empty(cluster: Cluster, redis: Server) -> None:
    """Nodes write again what they have said, and what was banned meanwhile; a node that starts then knows it all."""
    first, second = cluster.start("first"), cluster.start("second")
    ban(first, f"{NETWORK}.1")
    await_banned(second, f"{NETWORK}.1")
    redis.kill()
    ban(second, f"{NETWORK}.2")
    redis.start()
    await_banned(first, f"{NETWORK}.2", 3 * PATIENCE_SECONDS)
    third = cluster.start("third")
    for number in (1, 2):
        await_banned(third, f"{NETWORK}.{number}")
