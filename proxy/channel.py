"""The child's end of the channel to the supervisor: configurations come in, its end means that the supervisor died."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from proxy.config import Config

if TYPE_CHECKING:
    import socket
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

PREFIX_BYTES = 4


class Channel:
    """Reads messages: 4 bytes of length, then JSON `{"generation": n, "environ": {...}}`."""

    def __init__(
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        *,
        reload: Callable[[Config, int], None],
        orphaned: Callable[[], None],
    ) -> None:
        """`reload` gets each new configuration and its generation; `orphaned` is called once, at the end."""
        self._loop = loop
        self._sock = sock
        self._reload = reload
        self._orphaned = orphaned
        self._buffer = b""
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._readable)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._sock.fileno())
            self._orphaned()
            return
        self._buffer += data
        while (message := self._next()) is not None:
            parsed = json.loads(message)
            self._reload(Config.from_env(parsed["environ"], try_files=False), parsed["generation"])

    def _next(self) -> bytes | None:
        size = int.from_bytes(self._buffer[:PREFIX_BYTES])
        end = PREFIX_BYTES + size
        if len(self._buffer) < max(end, PREFIX_BYTES + 1):
            return None
        message, self._buffer = self._buffer[PREFIX_BYTES:end], self._buffer[end:]
        return message
