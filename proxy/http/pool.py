"""
Keyservers as one worker sees them: pools of kept-alive connections, and the choice among several upstreams.

A request goes to the upstream that is up and has the fewest requests of this worker in flight. When all are down they
are tried all the same: a false alarm must not become an outage. A connection that cannot be made sends the request on
to the next upstream, since nothing of it has been sent.
"""

from __future__ import annotations

import socket
from collections import deque
from errno import EINPROGRESS
from typing import TYPE_CHECKING, NamedTuple

from fastpath.clock import monotonic_ns
from proxy.http.stream import Stream
from proxy.http.upstream import UpstreamConnection

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from proxy.settings.kinds import Address
    from proxy.http.exchange import Exchange
    from proxy.http.health import Health

MOST_WAITING = 4096  # requests of one worker that wait for a free connection
Endpoint = tuple[int, tuple[str, int]]  # address family, socket address


class PoolRules(NamedTuple):
    """Bounds of the connections to one upstream; times in ns."""

    connections: int
    idle: int
    connect_ns: int
    first_byte_ns: int
    idle_ns: int  # between two pieces of a reply
    keep_ns: int  # unused in the pool


class Connecting:
    """A connection being made, for one exchange."""

    __slots__ = ("_exchange", "_sock", "_upstream", "deadline_ns")

    def __init__(self, upstream: Upstream, exchange: Exchange, endpoint: Endpoint) -> None:
        """Begin; raises OSError if it fails at once."""
        self._upstream = upstream
        self._exchange = exchange
        self.deadline_ns = monotonic_ns() + upstream.rules.connect_ns
        family, address = endpoint
        self._sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._sock.connect_ex(address)
        if code not in (0, EINPROGRESS):
            self._sock.close()
            raise OSError(code, "connect failed")
        upstream.loop.add_writer(self._sock.fileno(), self._connected)

    def _connected(self) -> None:
        self._upstream.loop.remove_writer(self._sock.fileno())
        code = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._sock.close()
            self._upstream.connect_failed(self, self._exchange)
            return
        stream = Stream(self._upstream.loop, self._sock.detach())
        connection = UpstreamConnection(self._upstream, stream)
        stream.protocol = connection
        self._upstream.connected(self, connection, self._exchange)

    def expire(self) -> None:
        """Give up: it takes too long."""
        self._upstream.loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._upstream.connect_failed(self, self._exchange)


class Upstream:
    """One keyserver."""

    def __init__(self, pool: Upstreams, address: Address, health: Health) -> None:
        """`health` is shared with the other processes; `endpoints` come from the resolver."""
        self.pool = pool
        self.loop = pool.loop
        self.rules = pool.rules
        self.health = health
        self.address = address
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.host = f"{host}:{address.port}".encode("ascii")
        self.endpoints: tuple[Endpoint, ...] = ()
        self.idle: list[UpstreamConnection] = []
        self.connections: set[UpstreamConnection] = set()
        self.connecting: set[Connecting] = set()
        self.outstanding = 0
        self.turn = 0

    @property
    def full(self) -> bool:
        """Whether no further connection may be opened."""
        return len(self.connections) + len(self.connecting) >= self.rules.connections

    def connect(self, exchange: Exchange) -> None:
        """Open a connection for `exchange`; the endpoints of a name take turns."""
        self.outstanding += 1
        try:
            self.turn += 1
            endpoint = self.endpoints[self.turn % len(self.endpoints)]
            self.connecting.add(Connecting(self, exchange, endpoint))
        except (OSError, ZeroDivisionError):
            self.connect_failed(None, exchange)

    def connected(self, connecting: Connecting, connection: UpstreamConnection, exchange: Exchange) -> None:
        """Use the new connection, for `exchange` if it still wants it."""
        self.connecting.discard(connecting)
        self.connections.add(connection)
        connection.stream.resume_reading()
        if exchange.finished:
            self.keep(connection)
        else:
            connection.start(exchange)

    def connect_failed(self, connecting: Connecting | None, exchange: Exchange) -> None:
        """Count the failure and send the request elsewhere."""
        if connecting is not None:
            self.connecting.discard(connecting)
        self.outstanding -= 1
        self.health.failed(monotonic_ns())
        if not exchange.finished:
            exchange.tried += (self,)
            self.pool.dispatch(exchange)

    def keep(self, connection: UpstreamConnection) -> None:
        """Take back a connection that may serve again; give it to who waits, or keep it."""
        self.outstanding -= 1
        connection.used = True
        connection.deadline_ns = monotonic_ns() + self.rules.keep_ns
        self.health.succeeded()
        if self.pool.waiting and self.pool.serve_waiting(connection):
            return
        if len(self.idle) >= self.rules.idle:
            connection.stream.close()
        else:
            self.idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """Forget a closed connection; who waits for one may open another."""
        self.connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.pool.waiting:
            self.loop.call_soon(self.pool.redispatch)

    def expire(self, now_ns: int) -> None:
        """Close what is too old."""
        for connection in [each for each in self.connections if each.deadline_ns < now_ns]:
            connection.expire()
        for connecting in [each for each in self.connecting if each.deadline_ns < now_ns]:
            connecting.expire()

    def close(self) -> None:
        """Close the idle connections."""
        for connection in self.idle[:]:
            connection.stream.close()


class Upstreams:
    """All keyservers."""

    def __init__(self, loop: AbstractEventLoop, rules: PoolRules) -> None:
        """`all` is filled by the worker."""
        self.loop = loop
        self.rules = rules
        self.all: tuple[Upstream, ...] = ()
        self.waiting: deque[tuple[Exchange, int]] = deque()  # with the time when it gives up, ns

    def dispatch(self, exchange: Exchange) -> None:
        """Send the request over an idle connection or a new one, or let it wait for one."""
        upstream = self.all[0] if len(self.all) == 1 and not exchange.tried else self._choose(exchange)
        if upstream is None:
            exchange.upstream_failed()
        elif upstream.idle and exchange.attempts == 0:
            upstream.outstanding += 1
            upstream.idle.pop().start(exchange)
        elif not upstream.full:
            upstream.connect(exchange)
        elif len(self.waiting) < MOST_WAITING:
            self.waiting.append((exchange, monotonic_ns() + self.rules.first_byte_ns))
        else:
            exchange.upstream_failed()

    def _choose(self, exchange: Exchange) -> Upstream | None:
        """Return the upstream with the fewest requests in flight, those that are up first; None if all were tried."""
        now_ns = monotonic_ns()
        untried = [each for each in self.all if each not in exchange.tried]
        if not untried:
            return None
        return min(untried, key=lambda each: (not each.health.up(now_ns), each.outstanding))

    def serve_waiting(self, connection: UpstreamConnection) -> bool:
        """Give a free connection to the request that waits longest."""
        while self.waiting:
            exchange, _ = self.waiting.popleft()
            if not exchange.finished:
                connection.upstream.outstanding += 1
                connection.start(exchange)
                return True
        return False

    def redispatch(self) -> None:
        """Try again for the request that waits longest: a connection may be opened now."""
        if self.waiting:
            exchange, _ = self.waiting.popleft()
            if not exchange.finished:
                self.dispatch(exchange)

    def expire(self, now_ns: int) -> None:
        """End what has taken too long."""
        for upstream in self.all:
            upstream.expire(now_ns)
        while self.waiting and (self.waiting[0][1] < now_ns or self.waiting[0][0].finished):
            exchange, _ = self.waiting.popleft()
            if not exchange.finished:
                exchange.upstream_failed()

    def close(self) -> None:
        """Close the idle connections."""
        for upstream in self.all:
            upstream.close()
