"""SIGHUP: a new configuration without dropping a connection; a bad one changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from tests.integration.http_client import Question, Reply, connected
from tests.integration.keyserver import ok
from tests.integration.programs import accepted_from, free_port, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard
    from tests.integration.http_client import Connection


ALICE = Question("/pks/lookup?op=get&options=mr&search=alice@example.org")
SMALL_LIMIT = '[limits.identity]\nburst = 2\ncount = 1\nperiod = "1h"\n'
MOST_QUESTIONS = 40
LARGE_LIMIT = SMALL_LIMIT.replace("burst = 2", "burst = 500")
BAD = '[limits.identity]\nburst = "many"\n[limits.nonsense]\nburst = 1\n'
REFUSED = "ready; the last reload was refused, the configuration before it is in force\n"


class Reloading:
    """A guard with a file, and a connection to each of its two workers, from two addresses."""

    def __init__(self, guarded: Guard, file: Path) -> None:
        """No connection yet."""
        self.guard = guarded
        self.file = file
        self.connections: dict[str, Connection] = {}
        self._stack = AsyncExitStack()

    async def connect(self) -> None:
        """Connect until both workers are reached."""
        while len(self.connections) < 2:
            client = f"127.0.0.{2 + len(self.connections)}"
            connection = await self._stack.enter_async_context(connected(self.guard.port, client))
            await connection.ask(Question("/nothing"))
            worker = next(each for each in ("worker-0", "worker-1") if self.holds(each, connection))
            if worker in self.connections:
                await connection.close()
            else:
                self.connections[worker] = connection

    def holds(self, worker: str, connection: Connection) -> bool:
        """Whether a worker has accepted a connection."""
        return connection.own_end in accepted_from(self.guard.pid(worker), self.guard.port)

    async def ask(self) -> list[Reply]:
        """Ask over both connections."""
        return [await connection.ask(ALICE) for connection in self.connections.values()]

    async def statuses(self) -> set[int]:
        """Ask over both connections; return how they were answered."""
        return {reply.status for reply in await self.ask()}

    async def reload(self, text: str) -> None:
        """Write the file, send SIGHUP, and wait until the supervisor has dealt with it."""
        seen = self._told()
        self.file.write_text(text)
        self.guard.program.send(signal.SIGHUP)
        await asyncio.to_thread(until, lambda: self._told() > seen, "the guard reads the file")

    def _told(self) -> int:
        """Return how many messages are of the supervisor; others may still be telling of the start."""
        return sum(each["process"] == "supervisor" for each in self.guard.messages())

    async def await_statuses(self, wanted: set[int]) -> None:
        """Ask until both workers answer so: they take over the new configuration one after the other."""
        for _ in range(MOST_QUESTIONS):
            if await self.statuses() == wanted:
                return
            await asyncio.sleep(0.05)
        pytest.fail(f"the workers never answer {wanted}")

    async def close(self) -> None:
        """Close all connections."""
        self.connections.clear()
        await self._stack.aclose()


@pytest.fixture
async def reloading(
    start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path
) -> AsyncIterator[Reloading]:
    """Run a guard whose limit for identities stands in a file; what a test leaves open is closed."""
    file = tmp_path / "hkpguard.toml"
    file.write_text(SMALL_LIMIT)
    started = Reloading(start_guard(start_keyserver(ok).url, CONFIG=str(file)), file)
    yield started
    await started.close()


async def use_up(reloading: Reloading) -> None:
    """Connect, and ask until the small limit is reached."""
    await reloading.connect()
    for _ in range(2):
        assert await reloading.statuses() == {200}
    assert await reloading.statuses() == {429}


async def test_new_limit_holds_on_open_connections(reloading: Reloading) -> None:
    """A limit that is raised lets the same connection go on, in both workers; one that is lowered stops it."""
    await use_up(reloading)
    await reloading.reload(LARGE_LIMIT)
    await reloading.await_statuses({200})
    assert reloading.guard.metric("policy_generation") == 1
    await reloading.reload(SMALL_LIMIT)
    await reloading.await_statuses({429})
    assert all(connection.open for connection in reloading.connections.values())
    assert reloading.guard.client("127.0.0.2")["limits"][2]["burst"] == 2


async def test_bad_file_changes_nothing(reloading: Reloading) -> None:
    """All faults of a file are reported, and counted once; the old configuration stays until there is a good one."""
    await use_up(reloading)
    await reloading.reload(BAD)
    [fault] = [each for each in reloading.guard.messages() if each["level"] == "error"]
    assert len(fault["faults"]) == 2
    await asyncio.to_thread(until, lambda: reloading.guard.readyz() == (200, REFUSED), "the reload is refused")
    assert reloading.guard.metric("reload_failures_total") == 1
    assert reloading.guard.metric("policy_generation") == 0
    assert await reloading.statuses() == {429}
    await reloading.reload(LARGE_LIMIT)
    await reloading.await_statuses({200})
    assert reloading.guard.readyz() == (200, "ready\n")
    assert reloading.guard.metric("reload_failures_total") == 1


async def test_new_settings_must_fit_those_that_stay(
    start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path
) -> None:
    """A reload that would leave nobody to an address that only trusted proxies may use is refused as a whole."""
    file, port = tmp_path / "hkpguard.toml", free_port()
    file.write_text('trusted_proxies = ["127.0.0.1"]\n')
    listen = f"127.0.0.1:{port}?direct=deny"
    reloading = Reloading(start_guard(start_keyserver(ok).url, CONFIG=str(file), LISTEN=listen), file)
    await reloading.reload("")
    await asyncio.to_thread(until, lambda: reloading.guard.readyz() == (200, REFUSED), "the reload is refused")
    assert reloading.guard.metric("reload_failures_total") == 1
    assert reloading.guard.metric("policy_generation") == 0
    async with connected(port) as connection:
        assert (await connection.ask(ALICE)).status == 200


async def test_replaced_worker_has_the_new_limit(reloading: Reloading) -> None:
    """A worker that is replaced after a reload has the configuration that is in force, not the first one."""
    await use_up(reloading)
    await reloading.reload(LARGE_LIMIT)
    await reloading.await_statuses({200})
    await reloading.close()
    killed = reloading.guard.pid("worker-0")
    os.kill(killed, signal.SIGKILL)
    await asyncio.to_thread(until, lambda: reloading.guard.pid("worker-0") != killed, "the worker is replaced")
    await reloading.connect()
    assert await reloading.statuses() == {200}
