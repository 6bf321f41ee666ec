"""The end: SIGTERM lets everybody finish, SIGINT does not wait."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

from tests.integration.guard import NO_LIMITS
from tests.integration.http_client import Load, Question, connected
from tests.integration.keyserver import Gate, ok
from tests.integration.nginx import SMALL
from tests.integration.programs import listens, until

if TYPE_CHECKING:
    from tests.integration.conftest import StartGuard, StartKeyserver


CLIENTS = 4
GRACE_SECONDS = 1.0
AT_ONCE_SECONDS = 0.5
UNKNOWN = Question("/nothing")
MOST_GAP_SECONDS = 0.05  # between the signal as we see it and as the guard sees it


async def test_sigterm_under_load(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Readiness goes at once, nobody is refused during the grace, what is in flight is finished; exit status 0."""
    guarded = start_guard(start_keyserver(ok).url, GRACE=f"{GRACE_SECONDS:g}s", **NO_LIMITS)
    load = Load(guarded.port, SMALL)
    load.one_each(CLIENTS)
    await load.more(100)
    guarded.program.send(signal.SIGTERM)
    start = time.monotonic()
    drained = start + GRACE_SECONDS - MOST_GAP_SECONDS
    await asyncio.to_thread(until, lambda: guarded.readyz() == (503, "draining\n"), "it drains", AT_ONCE_SECONDS)
    assert await asyncio.to_thread(guarded.program.wait) == 0
    await load.stop()
    assert load.statuses.keys() == {200}
    assert [when - start for when in load.refused if when < drained] == []
    assert [when - start for when, _ in load.broken if when < drained] == []
    assert len(load.broken) <= CLIENTS  # caught in the act of connecting; from then on they are refused


async def test_sigterm_says_goodbye_to_busy_connections(
    start_guard: StartGuard, start_keyserver: StartKeyserver
) -> None:
    """During the grace each connection in use is told that its reply is the last one; no request is left unanswered."""
    guarded = start_guard(start_keyserver(ok).url, GRACE=f"{GRACE_SECONDS:g}s", **NO_LIMITS)
    load = Load(guarded.port, SMALL)
    load.keep_alive(CLIENTS)
    await load.more(100)
    guarded.program.send(signal.SIGTERM)
    assert await asyncio.to_thread(guarded.program.wait) == 0
    await load.stop()
    assert load.statuses.keys() == {200}
    assert not load.broken


async def test_sigterm_waits_for_a_slow_keyserver(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Requests that the keyserver is working on when the guard stops listening get their answers."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url, **NO_LIMITS)
    async with connected(guarded.port) as new, connected(guarded.port) as old, connected(guarded.port) as idle:
        assert (await idle.ask(UNKNOWN)).status == 404
        new.send(SMALL)
        old.send(SMALL._replace(version="1.0"))
        await asyncio.to_thread(until, lambda: server.in_flight == 2, "the keyserver works")
        guarded.program.send(signal.SIGTERM)
        assert await idle.at_end(2)
        await asyncio.to_thread(until, lambda: not listens(guarded.port), "nobody listens", 2)
        assert guarded.program.running
        gate.open()
        assert [(await each.receive()).status for each in (new, old)] == [200, 200]
        assert not new.open  # the reply said that it is the last one
    assert await asyncio.to_thread(guarded.program.wait) == 0


def test_sigint_is_quick(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """A guard that has nothing to do ends at once, whatever its grace."""
    guarded = start_guard(start_keyserver(ok).url, GRACE="30s")
    guarded.program.send(signal.SIGINT)
    assert guarded.program.wait(2) == 0


async def test_sigterm_does_not_wait_for_silent_connections(
    start_guard: StartGuard, start_keyserver: StartKeyserver
) -> None:
    """A connection over which nothing came yet keeps nobody waiting."""
    guarded = start_guard(start_keyserver(ok).url, **NO_LIMITS)
    async with connected(guarded.port):
        guarded.program.send(signal.SIGTERM)
        assert await asyncio.to_thread(guarded.program.wait, 2) == 0


async def test_hard_stop(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """A request that never ends does not keep the guard alive beyond its patience."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url, HARD_STOP_AFTER="500ms", **NO_LIMITS)
    async with connected(guarded.port) as connection:
        connection.send(SMALL)
        await asyncio.to_thread(until, lambda: server.in_flight == 1, "the keyserver works")
        guarded.program.send(signal.SIGTERM)
        assert await asyncio.to_thread(guarded.program.wait, 3) == 0
