"""The fixtures of the request path, for tests that send it hostile bytes."""

from tests.proxy.http.conftest import pytest_asyncio_loop_factories, start

__all__ = ["pytest_asyncio_loop_factories", "start"]
