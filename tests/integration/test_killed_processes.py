"""Processes of the guard that are killed: a worker is replaced, the analyst comes back, and no other notices."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.guard import NO_LIMITS, Guard, environ
from tests.integration.http_client import Load, Question, ask, ask_once, connected
from tests.integration.keyserver import Gate
from tests.integration.nginx import SMALL, Nginx, nginx
from tests.integration.programs import START_SECONDS, Program, accepted_from, alive, listens, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard, StartKeyserver


CONNECTIONS = 32
STOPPED_SECONDS = 4.0  # longer than the time after which a child counts as hung in SUPERVISOR
SUPERVISOR = """
import os, sys, time
from fastpath import Control, Region
from proxy import supervisor
from proxy.config import Config

def work(name, word, channel):
    print(name, os.getpid(), flush=True)
    while True:
        region.control[word] += 1
        time.sleep(0.01)

supervisor.LOOK_SECONDS = 0.5
region = Region.create(clients=1024, workers=1, upstreams=0)
node = supervisor.Supervisor(Config.from_env({}), region, {}, sockets=list)
beat = Control.ANALYST_HEARTBEAT_NS
node.add("beating", lambda channel: work("beating", beat, channel), heartbeat=beat)
node.add("silent", lambda channel: work("silent", Control.RELOAD_FAILURES, channel))
sys.exit(node.serve())
"""
HOPELESS = """
import os, sys
from fastpath import Region
from proxy import supervisor
from proxy.config import Config

def die(channel):
    os.write(1, b"begun\\n")
    return 1

supervisor.MOST_BACKOFF_SECONDS = 0.01
region = Region.create(clients=1024, workers=1, upstreams=0)
node = supervisor.Supervisor(Config.from_env({}), region, {}, sockets=list)
node.add("hopeless", die)
sys.exit(node.serve())
"""
AT_ONCE_SECONDS = 2.0
RETURN_SECONDS = 5.0
NEW_CONNECTIONS = 50
WORDS = Question("/pks/lookup?op=index&options=mr&search=somebody")


@pytest.fixture
def upstream(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Run nginx as keyserver."""
    with nginx(need("nginx"), tmp_path_factory.mktemp("nginx")) as server:
        yield server


@pytest.fixture
def guarded(upstream: Nginx, start_guard: StartGuard) -> Guard:
    """Run a guard in front of nginx."""
    return start_guard(upstream.url, **NO_LIMITS)


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Program]:
    """Run a supervisor that looks often; its children tell their names and pids, and one of them that it works."""
    program = Program([sys.executable, "-c", SUPERVISOR], tmp_path, environ({}))
    try:
        until(lambda: len(dict(begun(program))) == 2, "both children have begun", START_SECONDS)
        yield program
    finally:
        os.kill(program.pid, signal.SIGCONT)
        program.end(signal.SIGINT)


def begun(program: Program) -> list[tuple[str, int]]:
    """Return the children that have begun, in their order, by name and pid."""
    lines = [line.split(" ") for line in program.out().splitlines() if line.startswith(("beating ", "silent "))]
    return [(name, int(pid)) for name, pid in lines]


def clients_of(guarded: Guard, worker: str) -> set[tuple[str, int]]:
    """Return who is connected to a worker."""
    return accepted_from(guarded.pid(worker), guarded.port)


async def test_killed_worker(guarded: Guard) -> None:
    """Only the clients of the killed worker notice; new ones are served at once, and there is a new worker soon."""
    load = Load(guarded.port, SMALL)
    load.keep_alive(CONNECTIONS)
    await load.more(500)
    await asyncio.to_thread(until, lambda: bool(clients_of(guarded, "worker-1")), "the second worker has begun")
    others = clients_of(guarded, "worker-1")
    assert len(others) < CONNECTIONS
    killed = guarded.pid("worker-0")
    os.kill(killed, signal.SIGKILL)
    start = time.monotonic()
    for _ in range(NEW_CONNECTIONS):  # the kernel gives about half of them to the dead worker's socket
        assert (await ask_once(guarded.port, SMALL)).status == 200
    assert time.monotonic() - start < AT_ONCE_SECONDS
    await load.more(500)
    await load.stop()
    assert load.statuses.keys() == {200}
    assert len(load.broken) == CONNECTIONS - len(others)
    assert others.isdisjoint(end for _, end in load.broken)
    assert guarded.pid("worker-0") != killed


async def test_killed_worker_loses_its_places(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Requests that a killed worker had with the keyserver no longer count: the class is not blocked for ever."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url, LIMITS__WORDS__CONCURRENT="1", LIMITS__WORDS__CONCURRENT_TOTAL="1")
    async with connected(guarded.port) as first:
        first.send(WORDS)
        await asyncio.to_thread(until, lambda: server.in_flight == 1, "the keyserver is asked")
        holder = next(each for each in ("worker-0", "worker-1") if first.own_end in clients_of(guarded, each))
        os.kill(guarded.pid(holder), signal.SIGKILL)
        await asyncio.to_thread(until, lambda: server.in_flight == 0, "the keyserver is left")
        gate.open()
        assert (await ask_once(guarded.port, WORDS)).status == 200


async def test_killed_analyst(guarded: Guard) -> None:
    """Workers go on without the analyst; it comes back, and remembers what the workers counted."""
    load = Load(guarded.port, SMALL)
    load.keep_alive(8)
    load.one_each(2)
    await load.more(200)
    killed = guarded.pid("analyst")
    os.kill(killed, signal.SIGKILL)
    await load.more(200)
    await asyncio.to_thread(until, lambda: guarded.readyz().status == 200, "the analyst is back", RETURN_SECONDS)
    await load.more(200)
    await load.stop()
    assert not load.broken
    assert not load.refused
    assert load.statuses.keys() == {200}
    assert guarded.pid("analyst") != killed
    await asyncio.to_thread(guarded.await_metric, 'responses_total{code="200"}', load.answered)


def test_child_that_hangs(supervised: Program) -> None:
    """Who stops telling that it works is killed and replaced; who never tells is left alone."""
    children = dict(begun(supervised))
    os.kill(children["beating"], signal.SIGSTOP)
    until(lambda: dict(begun(supervised))["beating"] != children["beating"], "it is replaced")
    assert not alive(children["beating"])
    assert alive(children["silent"])


def test_node_that_is_stopped_as_a_whole(supervised: Program) -> None:
    """When it goes on, nobody takes the time in which nobody worked for a child that hangs."""
    before = begun(supervised)
    stopped = [supervised.pid, dict(before)["beating"]]
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in stopped:
            os.kill(pid, number)
        time.sleep(STOPPED_SECONDS)
    assert begun(supervised) == before


def test_worker_that_dies_twice(guarded: Guard) -> None:
    """A worker is replaced again, only later, and the guard goes on."""
    pids = [guarded.pid("worker-0")]
    for _ in range(2):
        os.kill(pids[-1], signal.SIGKILL)
        until(lambda: guarded.pid("worker-0") != pids[-1], "the worker is replaced")
        pids.append(guarded.pid("worker-0"))
    assert len(set(pids)) == 3
    assert ask(guarded.port, SMALL).status == 200


def test_process_that_dies_ten_times(tmp_path: Path) -> None:
    """The node gives up, and says so by its exit status, when a child dies at once again and again."""
    program = Program([sys.executable, "-c", HOPELESS], tmp_path, environ({}))
    try:
        assert program.wait() == 1
    finally:
        program.end()
    assert program.out().count("begun\n") == 10


def test_killed_supervisor(guarded: Guard) -> None:
    """Without their supervisor the other processes end: nobody is left behind that serves by an old policy."""
    children = [guarded.pid(name) for name in ("worker-0", "worker-1", "analyst")]
    os.kill(guarded.program.pid, signal.SIGKILL)
    guarded.program.wait()
    until(lambda: not any(map(alive, children)), "the others end")
    assert not listens(guarded.port)
