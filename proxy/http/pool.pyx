"""
Keyservers as one worker sees them: pools of kept-alive connections, and the choice among several upstreams.

A request goes to the upstream that is up and has the fewest requests of this worker in flight. When all are down they
are tried all the same: a false alarm must not become an outage. A connection that cannot be made sends the request on
to the next upstream, since nothing of it has been sent.
"""

from libc.stdint cimport int64_t

from fastpath.clock cimport monotonic_ns
from proxy.http.exchange cimport FINISHED, Exchange
from proxy.http.stream cimport Stream
from proxy.http.upstream cimport UpstreamConnection

import socket
from collections import OrderedDict
from errno import EINPROGRESS

from fastpath import parse_address
from proxy.http.proxy_header import proxy_v2_header

Endpoint = tuple[int, tuple[str, int]]

cdef enum:
    MOST_WAITING = 4096  # requests of one worker that wait for a free connection


cdef class Connecting:

    cdef int begin(self, Upstream upstream, Exchange exchange) except -1:
        """Connect to the first endpoint of the upstream that takes it; the endpoints of a name take turns."""
        cdef int first
        self.upstream = upstream
        self.exchange = exchange
        upstream.connecting.add(self)
        upstream.outstanding += 1
        upstream.turn += 1
        if upstream.endpoints:
            first = upstream.turn % len(upstream.endpoints)
            self.untried = list(upstream.endpoints[first:] + upstream.endpoints[:first])
        else:
            self.untried = []
        return self._try_next()

    cdef int _try_next(self) except -1:
        while self.untried:
            family, address = self.untried.pop(0)
            try:
                self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            except OSError:  # out of descriptors: not the upstream's fault
                self.blameless = True
                break
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.sock.connect_ex(address) in (0, EINPROGRESS):
                self.deadline_ns = monotonic_ns() + self.upstream.pool.connect_ns
                self.upstream.pool.loop.add_writer(self.sock.fileno(), self._writable)
                return 0
            self.sock.close()
        return self.upstream.connect_failed(self, self.exchange)

    def _writable(self):
        cdef bytes introduction = b""
        self.upstream.pool.loop.remove_writer(self.sock.fileno())
        try:
            if self.upstream.pool.introduces:
                introduction = _introduction(self.exchange, self.sock.getpeername())
        except OSError:  # it was not connected
            pass
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            stream = Stream(self.upstream.pool.loop, self.sock.detach())
            if introduction:
                stream.write(introduction)
            self.upstream.connected(self, stream, self.exchange, len(introduction) > 0)
            return
        self.sock.close()
        self._try_next()

    cdef int expire(self) except -1:
        """Give this endpoint up: it takes too long."""
        self.upstream.pool.loop.remove_writer(self.sock.fileno())
        self.sock.close()
        return self._try_next()


cdef bytes _introduction(Exchange exchange, tuple endpoint):
    """Return the PROXY header (v2) that tells the upstream whose request follows; the client's port is not told."""
    return proxy_v2_header(exchange.client.address, 0, parse_address(endpoint[0]), endpoint[1])


cdef class Upstream:

    def __init__(self, Upstreams pool not None, address, int index, health):
        self.pool = pool
        self.address = address
        self.index = index
        self.health = health
        self.host = str(address).encode("ascii")
        self.endpoints = ()
        self.idle = []
        self.connections = set()
        self.connecting = set()
        self.slow = {}

    cdef bint full(self):
        """Whether no further connection may be opened; those that wait for their clients do not count."""
        return len(self.connections) - len(self.slow) + len(self.connecting) >= self.pool.most_connections

    cdef int stalled(self, UpstreamConnection connection) except -1:
        """
        Count a connection whose client does not read its reply among the slow ones.

        It gives up its place to others, else so many slow clients would keep everybody from the upstream. Where there
        are too many slow ones the reply that has stalled longest is broken off.
        """
        cdef UpstreamConnection oldest
        self.slow[connection] = None
        if len(self.slow) > self.pool.most_slow:
            oldest = next(iter(self.slow))
            oldest.yield_place()
        if self.pool.waiting:
            self.pool.loop.call_soon(self.pool.redispatch)
        return 0

    cdef int connect(self, Exchange exchange) except -1:
        """Open a connection for `exchange`."""
        return (<Connecting>Connecting.__new__(Connecting)).begin(self, exchange)

    cdef int connected(self, Connecting connecting, Stream stream, Exchange exchange, bint introduced) except -1:
        """Use the new connection, for `exchange` if it still wants it."""
        cdef UpstreamConnection connection = UpstreamConnection(self, stream)
        connection.introduced = introduced
        stream.protocol = connection
        self.connecting.discard(connecting)
        self.connections.add(connection)
        stream.resume_reading()
        if exchange.phase == FINISHED:
            return self.keep(connection)
        return connection.start(exchange)

    cdef int connect_failed(self, Connecting connecting, Exchange exchange) except -1:
        """Count the failure and send the request elsewhere; who waits for a connection may open another."""
        self.connecting.discard(connecting)
        if self.pool.waiting:
            self.pool.loop.call_soon(self.pool.redispatch)
        self.outstanding -= 1
        if not connecting.blameless:
            self.health.failed(monotonic_ns())
        if exchange.phase != FINISHED:
            exchange.tried += (self,)
            self.pool.dispatch(exchange)
        return 0

    cdef int keep(self, UpstreamConnection connection) except -1:
        """Take back a connection that may serve again; give it to who waits, or keep it."""
        self.outstanding -= 1
        self.slow.pop(connection, None)
        connection.rest(monotonic_ns() + self.pool.keep_ns)
        if connection.introduced or self.pool.introduces:  # it speaks for one client; a reset leaves no port occupied
            connection.stream.reset()
            return 0
        if self.pool.waiting and self.pool._serve_waiting(connection):
            return 0
        if len(self.idle) < self.pool.most_idle:
            self.idle.append(connection)
        else:
            connection.stream.close()
        return 0

    cdef int lost(self, UpstreamConnection connection) except -1:
        """Forget a closed connection; who waits for one may open another."""
        self.connections.discard(connection)
        self.slow.pop(connection, None)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.pool.waiting:
            self.pool.loop.call_soon(self.pool.redispatch)
        return 0

    cdef int expire(self, int64_t now_ns) except -1:
        """Close what is too old."""
        cdef UpstreamConnection connection
        cdef Connecting connecting
        for connection in list(self.connections):
            if connection.deadline_ns < now_ns:
                connection.expire()
        for connecting in list(self.connecting):
            if connecting.deadline_ns < now_ns:
                connecting.expire()
        return 0

    def close(self):
        """Close the idle connections."""
        cdef UpstreamConnection connection
        for connection in self.idle[:]:
            connection.stream.close()


cdef class Upstreams:

    def __init__(self, loop, config):
        self.loop = loop
        self.all = ()
        self.waiting = OrderedDict()  # the time when it gives up, of each exchange
        self.reload(config)

    def reload(self, config):
        """Work by the bounds of a new configuration; the keyservers stay."""
        self.most_connections = config.pool.connections
        self.most_idle = config.pool.idle
        if self.introduces != (config.upstream_proxy_protocol == "v2"):
            self.introduces = not self.introduces
            self.close()
        self.most_slow = config.pool.slow
        self.connect_ns = config.timeouts.connect_ns
        self.first_byte_ns = config.timeouts.first_byte_ns
        self.idle_ns = self.keep_ns = config.timeouts.upstream_idle_ns

    def add(self, address, health):
        """Add a keyserver; return it."""
        upstream = Upstream(self, address, len(self.all), health)
        self.all += (upstream,)
        return upstream

    cpdef dispatch(self, Exchange exchange):
        """Send the request, or let it wait in line for a connection."""
        if not self.waiting and self._send(exchange):
            return
        if len(self.waiting) >= MOST_WAITING:
            exchange.upstream_failed()
            return
        self.waiting[exchange] = monotonic_ns() + self.first_byte_ns
        self.redispatch()

    cdef int forget(self, Exchange exchange) except -1:
        """Let others have the place of a request that need not be sent any more."""
        self.waiting.pop(exchange, None)
        return 0

    cdef bint _send(self, Exchange exchange) except -1:
        """Send the request over an idle connection or a new one; false if none may be opened just now."""
        cdef Upstream upstream
        cdef UpstreamConnection connection
        if len(self.all) == 1 and not exchange.tried:
            upstream = self.all[0]
        else:
            upstream = self._choose(exchange)
        if upstream is None:
            exchange.upstream_failed()
        elif upstream.idle and exchange.attempts == 0:
            upstream.outstanding += 1
            connection = upstream.idle.pop()
            connection.start(exchange)
        elif not upstream.full():
            upstream.connect(exchange)
        else:
            return False
        return True

    cdef Upstream _choose(self, Exchange exchange):
        """Return the upstream with the fewest requests in flight, those that are up first; None if all were tried."""
        cdef int64_t now_ns = monotonic_ns()
        cdef Upstream upstream, best = None
        cdef bint up, best_up = False
        for upstream in self.all:
            if upstream in exchange.tried:
                continue
            up = upstream.health.up(now_ns)
            if best is None or (up, -upstream.outstanding) > (best_up, -best.outstanding):
                best, best_up = upstream, up
        return best

    cdef bint _serve_waiting(self, UpstreamConnection connection) except -1:
        """Give a free connection to the request that waits longest."""
        cdef Exchange exchange
        if not self.waiting:
            return False
        exchange = self.waiting.popitem(False)[0]
        connection.upstream.outstanding += 1
        connection.start(exchange)
        return True

    def redispatch(self):
        """Send what waits, the longest waiting first, as far as connections allow; who waits keeps its place."""
        cdef Exchange exchange
        if self.sending:
            return
        self.sending = True
        try:
            while self.waiting:
                exchange, gives_up_ns = self.waiting.popitem(False)
                if not self._send(exchange):
                    self.waiting[exchange] = gives_up_ns
                    self.waiting.move_to_end(exchange, False)
                    return
        finally:
            self.sending = False

    def expire(self, int64_t now_ns):
        """End what has taken too long."""
        cdef Upstream upstream
        cdef Exchange exchange
        for upstream in self.all:
            upstream.expire(now_ns)
        while self.waiting:
            exchange, gives_up_ns = next(iter(self.waiting.items()))
            if gives_up_ns >= now_ns:
                return
            del self.waiting[exchange]
            exchange.upstream_failed()

    def close(self):
        """Close the idle connections."""
        for upstream in self.all:
            upstream.close()
