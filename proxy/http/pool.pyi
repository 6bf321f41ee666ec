"""Keyservers as one worker sees them: pools of kept-alive connections, and the choice among several upstreams."""

from asyncio import AbstractEventLoop
from typing import TypeAlias

from proxy.config import Config
from proxy.http.health import Health
from proxy.settings.addresses import Address

Endpoint: TypeAlias = tuple[int, tuple[str, int]]
"""Address family and socket address."""

class Upstream:
    """One keyserver.

    Attributes:
        endpoints: Where it is; set by who resolves its name.
        outstanding: Requests of this worker in flight.

    """

    address: Address
    index: int
    health: Health
    host: bytes
    endpoints: tuple[Endpoint, ...]
    outstanding: int
    def close(self) -> None:
        """Close the idle connections."""

class Upstreams:
    """All keyservers, in the order in which they were added."""

    all: tuple[Upstream, ...]
    def __init__(self, loop: AbstractEventLoop, config: Config) -> None: ...
    def reload(self, config: Config) -> None:
        """Work by the bounds of a new configuration (`pool`, `timeouts`); the keyservers stay."""

    def add(self, address: Address, health: Health) -> Upstream:
        """Add a keyserver; return it."""

    def expire(self, now_ns: int) -> None:
        """End what has taken too long."""

    def close(self) -> None:
        """Close the idle connections."""
