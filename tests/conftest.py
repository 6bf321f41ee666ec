"""Fixtures that many folders use."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("usual", deadline=None)  # a machine that is busy with something else is no fault
settings.load_profile("usual")
settings.register_profile("long", max_examples=50_000, deadline=None)  # make of it what a night is worth

# What may wait for the other side. On a socket without a time-out of 0 each of them can stop the whole worker.
SOCKET_CALLS = (
    "accept",
    "connect",
    "connect_ex",
    "recv",
    "recv_into",
    "recvfrom",
    "send",
    "sendall",
    "sendto",
)
LOOKUPS = ("getaddrinfo", "gethostbyname", "create_connection")


class BlockingCalls:
    """Finds calls that would stop an event loop: sleeping, waiting on a socket, asking a resolver.

    A call made while a loop runs in this thread raises, and is remembered in `found` in case somebody swallows that.
    """

    def __init__(self) -> None:
        """Nothing found, nothing allowed."""
        self.found: list[str] = []
        self._allowed = False

    @contextmanager
    def allowed(self) -> Iterator[None]:
        """Let blocking calls pass: for what a worker does before its loop runs."""
        self._allowed = True
        try:
            yield
        finally:
            self._allowed = False

    def guard(self, name: str, call: Callable[..., Any], *, of_socket: bool) -> Callable[..., Any]:
        """Return `call` with the check before it."""

        def guarded(*args: Any, **kwargs: Any) -> Any:
            waits = not of_socket or args[0].gettimeout() != 0
            if waits and not self._allowed and _loop_runs_here():
                self.found.append(name)
                raise AssertionError(f"{name} blocks the event loop")
            return call(*args, **kwargs)

        return guarded


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@pytest.fixture
def blocking_calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[BlockingCalls]:
    """Make every blocking call on a running event loop fail the test."""
    calls = BlockingCalls()
    monkeypatch.setattr(time, "sleep", calls.guard("time.sleep", time.sleep, of_socket=False))
    for name in LOOKUPS:
        call = calls.guard(f"socket.{name}", getattr(socket, name), of_socket=False)
        monkeypatch.setattr(socket, name, call)
    for name in SOCKET_CALLS:
        call = calls.guard(f"socket.socket.{name}", getattr(socket.socket, name), of_socket=True)
        monkeypatch.setattr(socket.socket, name, call)
    yield calls
    assert not calls.found
