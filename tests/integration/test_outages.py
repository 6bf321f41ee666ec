"""Keyservers that are killed and come back."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.guard import NO_LIMITS
from tests.integration.http_client import Load, Reply, ask, connected
from tests.integration.keyserver import Gate
from tests.integration.nginx import SMALL, Nginx, nginx
from tests.integration.programs import until

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.integration.conftest import Need, StartGuard, StartKeyserver


RETURN_SECONDS = 2.0
CONNECTIONS = 16
OLD = SMALL._replace(version="1.0")


@pytest.fixture
def upstreams(need: Need, stack: ExitStack, tmp_path_factory: pytest.TempPathFactory) -> list[Nginx]:
    """Run two nginx."""
    program = need("nginx")
    return [stack.enter_context(nginx(program, tmp_path_factory.mktemp("nginx"))) for _ in range(2)]


def check_unavailable(reply: Reply, version: str = "1.1") -> None:
    """Expect what clients bear: 503 and when to come again; 500 for HTTP/1.0 (HKP.md, finding 3)."""
    assert reply.status == (500 if version == "1.0" else 503)
    assert version == "1.0" or int(reply.fields["retry-after"]) > 0
    assert reply.fields["cache-control"] == "no-store"


async def test_killed_keyserver_and_its_return(upstreams: list[Nginx], start_guard: StartGuard) -> None:
    """Clients hear that the keyserver is away, on old connections and new ones, and served soon after its return."""
    upstream = upstreams[0]
    guarded = start_guard(upstream.url, **NO_LIMITS)
    async with connected(guarded.port) as connection:
        assert (await connection.ask(SMALL)).status == 200
        upstream.kill()
        for _ in range(20):
            check_unavailable(await connection.ask(SMALL))
        async with connected(guarded.port) as old:
            check_unavailable(await old.ask(OLD), "1.0")
            assert await old.at_end(1)
        await asyncio.to_thread(until, lambda: guarded.readyz().status == 503, "the guard is not ready")
        upstream.start()
        back = time.monotonic()
        while (reply := await connection.ask(SMALL)).status != 200:
            check_unavailable(reply)
            assert time.monotonic() - back < RETURN_SECONDS
        await asyncio.to_thread(guarded.await_ready)
        codes = [name for name in guarded.metrics() if name.startswith("hkpguard_responses_total")]
        assert sorted(codes) == [f'hkpguard_responses_total{{code="{code}"}}' for code in (200, 500, 503)]


async def test_one_of_two_keyservers_is_killed(upstreams: list[Nginx], start_guard: StartGuard) -> None:
    """While there is another keyserver no client notices; the first is used again when it is back."""
    guarded = start_guard(*(each.url for each in upstreams), **NO_LIMITS)
    load = Load(guarded.port, SMALL)
    load.keep_alive(CONNECTIONS)
    load.one_each(4)
    await load.more(500)
    upstreams[0].kill()
    await load.more(2000)
    upstreams[0].start()
    await load.more(500)
    upstreams[1].kill()
    await load.more(2000)
    await load.stop()
    assert load.broken == []
    assert load.refused == []
    assert load.statuses.keys() == {200}


def test_keyserver_that_does_not_answer(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Who accepts and then says nothing is given up after the time for the first byte."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url, TIMEOUTS__FIRST_BYTE="500ms", **NO_LIMITS)
    start = time.monotonic()
    check_unavailable(ask(guarded.port, SMALL))
    check_unavailable(ask(guarded.port, OLD), "1.0")
    assert time.monotonic() - start < 5
    until(lambda: server.in_flight == 0, "the guard hangs up")
