"""Keyservers as one worker sees them: pools of kept-alive connections, and the choice among several upstreams."""

from asyncio import AbstractEventLoop
from typing import TypeAlias

from proxy.http.health import Health
from proxy.settings.kinds import Address

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
    def __init__(
        self,
        loop: AbstractEventLoop,
        *,
        most_connections: int,
        most_idle: int,
        connect_ns: int,
        first_byte_ns: int,
        idle_ns: int,
        keep_ns: int,
    ) -> None:
        """Take the bounds for each upstream; times in ns.

        Args:
            loop: Of this worker.
            most_connections: Connections to one upstream.
            most_idle: Of these, unused ones that are kept.
            connect_ns: Until a connection is made.
            first_byte_ns: Until a reply begins; also, how long a request waits for a free connection.
            idle_ns: Between two pieces of a reply.
            keep_ns: How long an unused connection is kept.

        """

    def add(self, address: Address, health: Health) -> Upstream:
        """Add a keyserver; return it."""

    def expire(self, now_ns: int) -> None:
        """End what has taken too long."""

    def close(self) -> None:
        """Close the idle connections."""
