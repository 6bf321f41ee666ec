"""Guards that know each other, started all at once."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from tests.integration.guard import guard
from tests.integration.programs import LOOPBACK, until
from tests.integration.redis_servers import SECRET

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack
    from pathlib import Path

    from tests.integration.guard import Guard

JOINED_SECONDS = 20.0


def start_all(
    stack: ExitStack, folder: Path, upstreams: Sequence[str], urls: Sequence[str], **settings: str
) -> list[Guard]:
    """Start a guard for each upstream, with the store of its turn; return when all know each other."""

    def start(number: int, upstream: str) -> Guard:
        own = folder / f"guard-{number}"
        own.mkdir()
        of_node = {"CLUSTER__NODE": f"node-{number}", "STATE_DIR": str(own / "state"), "WORKERS": "1"}
        of_all = {"REDIS_URL": urls[number % len(urls)], "CLUSTER__SECRET": SECRET}
        return stack.enter_context(guard(own, upstream, **(of_node | of_all | settings)))

    with ThreadPoolExecutor(len(upstreams)) as pool:
        guards = [*pool.map(start, range(len(upstreams)), upstreams)]
    await_joined(guards)
    return guards


def await_joined(guards: Sequence[Guard]) -> None:
    """Wait until all know each other."""
    until(lambda: all(nodes_of(each) == len(guards) for each in guards), "all know each other", JOINED_SECONDS)


def nodes_of(node: Guard) -> int:
    """Return how many nodes count, as one of them sees it."""
    _, text = node.admin("/api/v1/cluster")
    return int(json.loads(text or "{}").get("nodes", 0))


def tell(node: Guard, method: str, path: str, body: dict[str, Any] | None = None, **headers: str) -> None:
    """Tell a node something through its admin API."""
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{node.admin_port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
        method=method,
    )
    with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - of this machine
        pass


def ban(node: Guard, address: str) -> None:
    """Ban an address for ten minutes."""
    tell(node, "POST", "/api/v1/bans", {"network": address, "seconds": 600, "reason": "a test"})


def banned(node: Guard, address: str) -> bool:
    """Tell whether a node keeps an address out."""
    return bool(node.client(address)["banned"])
