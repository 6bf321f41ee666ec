"""Wrk and ab as clients: no error, no leak of memory or descriptors, a table that does not grow."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.guard import NO_LIMITS, Guard
from tests.integration.http_client import Question, ask
from tests.integration.nginx import SMALL, Nginx, nginx
from tests.integration.programs import pss_bytes, run, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Need, StartGuard


WORKERS = ("worker-0", "worker-1")
REQUESTS = 4000
MOST_GROWTH_BYTES = 5 << 20  # pages of tables of fixed size that are used for the first time, 1 MB of them the crowds'
IDLE_CONNECTIONS = 64  # to the keyserver, for each worker, by default
TABLE_CLIENTS = 1024  # the table rounds it up
FLOOD_FACTOR = 10
ACTIVE = "127.0.0.2"
MAIL = Question("/pks/lookup?op=get&options=mr&search=alice@example.org")
# Each request comes from another client, as the trusted proxy says; the argument is the number of the first.
FLOOD = """\
local number
init = function(args) number = tonumber(args[1]) end
request = function()
    number = number + 1
    local address = string.format("10.%d.%d.%d", number / 65536, number / 256 % 256, number % 256)
    return wrk.format("GET", TARGET, {["X-Forwarded-For"] = address})
end
"""


@pytest.fixture(scope="module")
def upstream(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Run nginx as keyserver."""
    with nginx(need("nginx"), tmp_path_factory.mktemp("nginx")) as server:
        yield server


def bytes_of(guarded: Guard) -> int:
    """Return the memory of both workers."""
    return sum(pss_bytes(guarded.pid(worker)) for worker in WORKERS)


def descriptors_of(guarded: Guard) -> int:
    """Return how many files and sockets both workers have open."""
    return sum(len(list(Path(f"/proc/{guarded.pid(worker)}/fd").iterdir())) for worker in WORKERS)


def requests_in(said: str) -> int:
    """Return how many requests wrk says it has made."""
    return int(re.findall(r"(\d+) requests in", said)[0])


@pytest.mark.parametrize("keep_alive", [(), ("-k",)])
def test_ab(need: Need, upstream: Nginx, start_guard: StartGuard, keep_alive: tuple[str, ...]) -> None:
    """Ab speaks HTTP/1.0, over many connections or few: each request is answered, and nothing stays behind."""
    ab = need("ab")
    guarded = start_guard(upstream.url, **NO_LIMITS)
    at_rest = descriptors_of(guarded)
    command = (ab, "-q", *keep_alive, "-c", "16", "-n", str(REQUESTS), f"{guarded.url}{SMALL.target}")
    run(*command)
    before = bytes_of(guarded)
    said = run(*command)
    assert re.search(rf"Complete requests: +{REQUESTS}\n", said.stdout), said.stderr
    assert re.search(r"Failed requests: +0\n", said.stdout)
    assert "Non-2xx" not in said.stdout
    assert (f"Keep-Alive requests:    {REQUESTS}\n" in said.stdout) == bool(keep_alive)
    until(lambda: descriptors_of(guarded) <= at_rest + len(WORKERS) * IDLE_CONNECTIONS, "connections are closed")
    guarded.await_metric("connections", 0)
    assert bytes_of(guarded) - before < MOST_GROWTH_BYTES


def test_wrk(need: Need, upstream: Nginx, start_guard: StartGuard) -> None:
    """Two seconds of as many requests as the machine can do: all are answered with what was asked, memory stays."""
    guarded = start_guard(upstream.url, **NO_LIMITS)
    command = (need("wrk"), "-t1", "-c64", "-d2", f"{guarded.url}{SMALL.target}")
    run(*command)
    before = bytes_of(guarded)
    said = run(*command).stdout
    assert requests_in(said) > 0
    assert "Non-2xx" not in said
    assert "Socket errors" not in said
    assert bytes_of(guarded) - before < MOST_GROWTH_BYTES


def flood(wrk: str, script: Path, url: str, clients: int) -> None:
    """Ask from so many clients, once each; how long that takes is up to the machine."""
    asked = 0
    while asked < clients:
        said = run(wrk, "-t1", "-c16", "-d1", "-s", script, url, "--", str(asked)).stdout
        assert "Non-2xx" not in said
        asked += requests_in(said)


def test_flood_of_addresses(need: Need, upstream: Nginx, start_guard: StartGuard, tmp_path: Path) -> None:
    """Ten times as many clients as the table holds: memory stays as it is, and an active client keeps its state."""
    wrk = need("wrk")
    settings = {"TABLE_CLIENTS": str(TABLE_CLIENTS), "TRUSTED_PROXIES": "127.0.0.1", "LIMITS__IDENTITY__PERIOD": "1h"}
    guarded = start_guard(upstream.url, **settings, LIMITS__IDENTITY__BURST="1")
    capacity = guarded.metric("table_capacity")
    assert [ask(guarded.port, MAIL, ACTIVE).status for _ in range(2)] == [404, 429]
    script = tmp_path / "flood.lua"
    script.write_text(FLOOD.replace("TARGET", f'"{SMALL.target}"'))
    before = bytes_of(guarded)
    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(flood, wrk, script, guarded.url, int(FLOOD_FACTOR * capacity))
        answers = set()
        while not flooding.done():
            answers.add(ask(guarded.port, MAIL, ACTIVE).status)
        flooding.result()
    assert answers == {429}
    assert guarded.metric("table_used") <= capacity
    assert guarded.metric("table_evictions_total") > 0
    assert bytes_of(guarded) - before < MOST_GROWTH_BYTES
