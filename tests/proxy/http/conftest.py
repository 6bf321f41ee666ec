"""A worker's request path for each test, on a uvloop whose timers go off by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import pytest

from proxy.config import Config
from tests.proxy.http.harness import Keyserver, ManualLoop, Node, environ_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from ssl import SSLContext

    from tests.conftest import BlockingCalls


class Start(Protocol):
    """Makes nodes; all are closed at the end of the test."""

    async def __call__(
        self,
        settings: Mapping[str, str] | None = None,
        /,
        *,
        keyservers: int = 1,
        small: bool = False,
        context: SSLContext | None = None,
        **timeouts_ns: int,
    ) -> Node:
        """Make a node.

        Args:
            settings: Names without HKPGUARD_.
            keyservers: How many.
            small: Keyservers with little buffer.
            context: For TLS.
            timeouts_ns: Fields of `Timeouts`; not checked, so that a nanosecond may be chosen.

        """


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], ManualLoop]]:
    """Run the tests of this folder on a ManualLoop."""
    return {"manual": ManualLoop}


@pytest.fixture
async def start(blocking_calls: BlockingCalls) -> AsyncIterator[Start]:
    """Return a maker of nodes; whatever blocks the loop, or raises in a callback, fails the test."""
    nodes: list[Node] = []
    loop = cast("ManualLoop", asyncio.get_running_loop())

    async def start(
        settings: Mapping[str, str] | None = None,
        /,
        *,
        keyservers: int = 1,
        small: bool = False,
        context: SSLContext | None = None,
        **timeouts_ns: int,
    ) -> Node:
        servers = [Keyserver(small=small) for _ in range(keyservers)]
        config = Config.from_env(environ_of(settings or {}, [each.port for each in servers]))
        timeouts = config.timeouts.model_copy(update=timeouts_ns)
        with blocking_calls.allowed():  # a worker is made before its loop runs
            nodes.append(Node(config.model_copy(update={"timeouts": timeouts}), servers, context))
        return nodes[-1]

    yield start
    for node in nodes:
        await node.close()
    assert not loop.faults
