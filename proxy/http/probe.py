"""Whether a keyserver answers: the active half of the health checks."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from proxy.http.proxy_header import LOCAL_HEADER

if TYPE_CHECKING:
    from proxy.settings.addresses import Address

MOST_LINE_BYTES = 4096
_ALIVE = re.compile(rb"HTTP/1\.[01] [1-4][0-9]{2}[ \r\n]")


async def answers(address: Address, path: str, *, seconds: float, introduce: bool) -> bool:
    """Return whether the server at `address` answers a GET of `path` with a status below 500.

    Args:
        address: Of the server.
        path: In origin form.
        seconds: The longest time for all of it.
        introduce: Begin with a PROXY header, which says that nobody else is spoken for.

    """
    request = f"GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n".encode()
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(address.host, address.port, limit=MOST_LINE_BYTES)
            try:
                writer.write((LOCAL_HEADER if introduce else b"") + request)
                return _ALIVE.match(await reader.readline()) is not None
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):  # ValueError: the line is too long
        return False
