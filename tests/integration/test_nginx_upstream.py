"""Nginx as keyserver: large certificates, slow readers, and memory that does not grow."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.integration.guard import NO_LIMITS, Guard
from tests.integration.http_client import Question, ask
from tests.integration.nginx import SMALL, Nginx, nginx
from tests.integration.programs import pss_bytes, unsent_bytes, until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.integration.conftest import Need, StartGuard


LARGE, LARGE_BYTES = "0x" + 40 * "2", 500_000  # as the largest certificates that keyservers have
HUGE, HUGE_BYTES = "0x" + 40 * "3", 32 << 20  # more than the kernel buffers of two connections hold
STALLED_READERS = 6
STALLED_LOOKS = 30  # without a change
MOST_GROWTH_BYTES = 5 << 20
SLOW_BYTES, SLOW_SECONDS = 25_000, 0.05


@pytest.fixture(scope="module")
def upstream(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """Run nginx with certificates of three sizes."""
    with nginx(need("nginx"), tmp_path_factory.mktemp("nginx")) as server:
        server.serve(LARGE, os.urandom(LARGE_BYTES))
        server.serve(HUGE, bytes(HUGE_BYTES))
        yield server


@pytest.fixture
def guarded(upstream: Nginx, start_guard: StartGuard) -> Guard:
    """Run a guard in front of nginx that has been used, so that it has all the memory that it usually needs."""
    started = start_guard(upstream.url, **NO_LIMITS)
    for _ in range(20):
        assert ask(started.port, SMALL).status == 200
    return started


def workers_bytes(guarded: Guard) -> int:
    """Return the memory of both workers."""
    return sum(pss_bytes(guarded.pid(f"worker-{index}")) for index in range(2))


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1"])
def test_slow_curl_gets_a_large_certificate(need: Need, guarded: Guard, version: str) -> None:
    """Who reads slowly gets all of it, and the worker does not take it in to wait for him."""
    url = f"{guarded.url}/pks/lookup?op=get&search={LARGE}"
    before = workers_bytes(guarded)
    pieces = []
    with subprocess.Popen([need("curl"), "--silent", version, url], stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        while piece := curl.stdout.read(SLOW_BYTES):  # its pipe is soon full, and curl has to wait
            pieces.append(piece)
            assert workers_bytes(guarded) - before < MOST_GROWTH_BYTES
            time.sleep(SLOW_SECONDS)
    assert b"".join(pieces) == ask(guarded.port, Question(f"/pks/lookup?op=get&search={LARGE}")).body
    assert sum(map(len, pieces)) == LARGE_BYTES


def test_stalled_readers_hold_up_the_keyserver_and_not_the_memory(upstream: Nginx, guarded: Guard) -> None:
    """What clients do not read stays with the keyserver; when they read on, they get all of it."""
    request = Question(f"/pks/lookup?op=get&search={HUGE}").encode()
    before = workers_bytes(guarded)
    sockets = [socket.create_connection(("127.0.0.1", guarded.port)) for _ in range(STALLED_READERS)]
    try:
        for each in sockets:
            each.sendall(request)
        await_stall(upstream)
        assert workers_bytes(guarded) - before < MOST_GROWTH_BYTES
        with ThreadPoolExecutor(STALLED_READERS) as pool:
            sizes = list(pool.map(body_bytes, sockets))
    finally:
        for each in sockets:
            each.close()
    assert sizes == [HUGE_BYTES] * STALLED_READERS
    assert workers_bytes(guarded) - before < MOST_GROWTH_BYTES


def await_stall(upstream: Nginx) -> None:
    """Wait until nginx has something to send that nobody takes."""
    looks: list[int] = []

    def stalled() -> bool:
        looks.append(unsent_bytes(upstream.port))
        last = set(looks[-STALLED_LOOKS:])
        return len(looks) > STALLED_LOOKS and len(last) == 1 and 0 not in last

    until(stalled, "the keyserver waits for its readers")


def body_bytes(sock: socket.socket) -> int:
    """Read a reply to the end of its body, and return how long the body was."""
    with sock.makefile("rb") as stream:
        length = 0
        while (line := stream.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            length = int(value) if name.lower() == b"content-length" else length
        return len(stream.read(length))
