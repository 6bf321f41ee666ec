"""The net under the other tests of this folder: what blocks a worker's loop fails a test."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, cast

import pytest

from tests.proxy.http.harness import ManualLoop, turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import BlockingCalls


def accept() -> None:
    """Wait for a connection that nobody makes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.01)
        listener.accept()


def receive() -> None:
    """Wait for bytes that nobody sends."""
    near, far = socket.socketpair()
    with near, far:
        near.settimeout(0.01)
        near.recv(1)


BLOCKING: dict[str, Callable[[], object]] = {
    "sleep": lambda: time.sleep(0.001),
    "name": lambda: socket.getaddrinfo("localhost", 80),
    "accept": accept,
    "receive": receive,
}


@pytest.mark.parametrize("call", BLOCKING.values(), ids=BLOCKING)
async def test_blocking_call_on_the_loop_is_found(blocking_calls: BlockingCalls, call: Callable[[], object]) -> None:
    """It raises where it is made, and is remembered for the end of the test in case that is swallowed."""
    with pytest.raises(AssertionError, match="blocks the event loop"):
        call()
    assert len(blocking_calls.found) == 1
    blocking_calls.found.clear()


async def test_blocking_call_in_a_callback_is_found(blocking_calls: BlockingCalls) -> None:
    """Callbacks run on the loop as well; what they raise goes to the loop's handler."""
    loop = cast("ManualLoop", asyncio.get_running_loop())
    loop.set_exception_handler(lambda _loop, _context: None)  # a worker sets its own: faults are found all the same
    loop.call_soon(time.sleep, 0.001)
    await turns()
    assert [type(fault["exception"]) for fault in loop.faults] == [AssertionError]
    assert blocking_calls.found == ["time.sleep"]
    blocking_calls.found.clear()


async def test_calls_that_do_not_block_pass(blocking_calls: BlockingCalls) -> None:
    """Sockets without a time-out, threads, and what is allowed before the loop runs."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        near.send(b"x")
        with pytest.raises(BlockingIOError):
            near.recv(1)
    await asyncio.to_thread(time.sleep, 0)
    with blocking_calls.allowed():
        await asyncio.sleep(0)
        pause = time.sleep
        pause(0)
    assert blocking_calls.found == []


def test_without_a_loop_everything_may_block(blocking_calls: BlockingCalls) -> None:
    """Tests that run no loop may sleep."""
    time.sleep(0)
    assert blocking_calls.found == []
