"""
The client side: one connection, read head by head.

A connection serves one exchange at a time. What the client sends meanwhile is kept up to MOST_PIPELINED_BYTES, then
left with the kernel. Time limits are deadlines that the guard's sweep compares with the clock: a timer for each
request would cost more than the request's limits do.

A client that closes its side while its request is parked or queued is taken to be gone, which frees it at once. While
the upstream works on it the reply is still written: some clients close their side to say that the request is complete.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from fastpath.clock cimport monotonic_ns
from fastpath.keys cimport address_text
from proxy.http.exchange cimport Exchange
from proxy.http.guard cimport Guard
from proxy.http.head cimport RequestHead, read_request
from proxy.http.stream cimport Stream
from proxy.http.tls cimport TlsStream
from proxy.policy.judge cimport Client, Verdict

from proxy.http.address import Source, origin
from proxy.http.head import HeadError
from proxy.policy.actions import Action, Reason, TurnedAway

cdef enum:
    MOST_PIPELINED_BYTES = 65536
    EXCHANGES_PER_TURN = 32  # of one connection, so that a flood of pipelined requests starves nobody
    LINGER_BYTES = 1 << 20  # thrown away at most, of what a refused client still sends

cdef int64_t LINGER_NS = 2_000_000_000
cdef int _PEER = Source.PEER
cdef int _TRUSTED_PEER = Source.TRUSTED_PEER
cdef int _DENY = Action.DENY
cdef int _HANDSHAKE = TurnedAway.HANDSHAKE
cdef Verdict TIMEOUT = Verdict(Action.DENY, Reason.TIMEOUT, 408)


cdef class ClientConnection:

    def __cinit__(self, Guard guard, Stream stream, bytes peer, int source, uint64_t network, bint encrypted):
        self.guard = guard
        self.stream = stream
        self.peer = peer
        self.source = source
        self.network = network
        self.encrypted = encrypted
        self.fingerprint = b""
        self.policy = guard.policy
        self.trusted = self._is_trusted()
        self.client = guard.client_of(peer, source)
        self.buffer = b""
        self.state = HANDSHAKING if encrypted else READING_HEAD
        self.deadline_ns = monotonic_ns() + (guard.handshake_ns if encrypted else guard.head_ns)

    cdef int begin(self) except -1:
        """Read the first request: it came with the connection, nearly always."""
        cdef bytes data
        try:
            data = self.stream.read_now()
        except OSError:
            self.stream.abort()
            return 0
        if data is None:
            self.stream.resume_reading()
        elif data:
            self.data_received(data)
        else:
            self.stream.abort()
        return 0

    # Stream protocol.

    def handshake_done(self):
        """The connection is encrypted: now the client has the usual time for its first head."""
        self.fingerprint = (<TlsStream>self.stream).fingerprint
        self.state = READING_HEAD
        self.deadline_ns = monotonic_ns() + self.guard.head_ns

    def data_received(self, bytes data not None):
        """Take what came: of a head, of a body, of the next request, or of what nobody wants any more."""
        if self.state >= LINGERING:
            self.lingered += len(data)
            if self.lingered > LINGER_BYTES:
                self.stream.abort()
            return
        self.buffer = self.buffer + data if self.buffer else data
        if self.exchange is None:
            self._advance()
        elif self.exchange.wants_body():
            self.feed_body()
        if len(self.buffer) > MOST_PIPELINED_BYTES and self.state <= BUSY:
            self.stream.pause_reading()

    def eof_received(self):
        """The client sends no more."""
        cdef Exchange exchange = self.exchange
        if exchange is None:
            self._close()  # after the reply that may still be going out
        elif exchange.waits() or exchange.body_unfinished():
            self.stream.abort()
        else:
            exchange.reusable = False

    def pause_writing(self):
        """Stop the upstream: this client reads slower than it writes."""
        self.deadline_ns = monotonic_ns() + self.guard.write_ns
        if self.exchange is not None:
            self.exchange.pause()

    def resume_writing(self):
        """Let the upstream go on."""
        cdef Exchange exchange = self.exchange
        if exchange is None:
            self._advance()
            return
        self.deadline_ns = exchange.body_until_ns if exchange.wants_body() else INT64_MAX
        exchange.resume()

    def connection_lost(self, error):
        """Forget the connection, and let its exchange know."""
        cdef Exchange exchange = self.exchange
        if self.state == HANDSHAKING:
            self.guard.recorder.turned_away(_HANDSHAKE, self.peer, self.source, True, False)
        self.state = CLOSED
        self._leave()
        self.buffer = b""
        self.start = 0
        self.exchange = None
        if exchange is not None:
            exchange.client_gone()

    cdef int _leave(self) except -1:
        """Count the connection out, once."""
        if self in self.guard.connections:
            self.guard.connections.discard(self)
            self.guard.admission.leave(self.client.key, self.network)
        return 0

    cdef bint _is_trusted(self) except -1:
        """Whether the peer speaks for others. After a PROXY header that names nobody it speaks for itself alone: the
        forwarding fields behind that header were written by anybody."""
        return self.source != _TRUSTED_PEER and self.guard.trusts(self.peer)

    cdef bint hold(self) except -1:
        """Give the descriptor to the tarpit, and be gone; false if the tarpit has no room, or the connection is not
        the client's but that of a proxy, which would suffer for its clients."""
        cdef Guard guard = self.guard
        if self.trusted or self.source != _PEER or not guard.tarpit_open or self.stream.backlog_bytes:
            return False
        if not guard.tarpit.hold(self.stream.fd, monotonic_ns(), self.encrypted):
            self.exchange.reusable = False  # it must not hold a place here instead
            return False
        self.stream.detach()
        self.state = CLOSED
        self.exchange = None
        self._leave()
        return True

    cdef bint may_be_shed(self) except -1:
        """Whether it waits for its client to say something, and the client is nobody in particular."""
        return self.state <= READING_HEAD and not self.trusted and not self.client.exempt and not self.client.peer

    @property
    def shed_order(self):
        """Sorts those that make room for others: idle ones before those that have begun, who waits longest first."""
        cdef int64_t allowed_ns = self.guard.head_ns
        if self.state == IDLE:
            allowed_ns = self.guard.keepalive_ns
        elif self.state == HANDSHAKING:
            allowed_ns = self.guard.handshake_ns
        return self.state != IDLE, self.deadline_ns - allowed_ns

    # Requests.

    cdef int _advance(self) except -1:
        """
        Start exchanges as long as heads are complete; those that end at once come back here, in a loop.

        A client that does not read its replies gets no further ones: `resume_writing` comes back here.
        """
        cdef int turn = 0
        if self.advancing:
            return 0
        self.advancing = True
        while self.exchange is None and self.state < LINGERING and not self.stream.paused and self._start_next():
            turn += 1
            if turn == EXCHANGES_PER_TURN:
                self.guard.loop.call_soon(self._go_on)
                break
        self.advancing = False
        self._trim()
        return 0

    def _go_on(self):
        """Go on with what is in the buffer, after others had their turn."""
        if self.exchange is None and self.state < LINGERING:
            self._advance()

    cdef int _trim(self) except -1:
        """Forget the part of the buffer that has been read."""
        if self.start:
            self.buffer = self.buffer[self.start:]
            self.start = 0
        return 0

    cdef bint _start_next(self) except -1:
        """Start the next exchange; false if its head is not complete, or refused."""
        cdef Guard guard = self.guard
        cdef Exchange exchange
        cdef RequestHead head = None
        try:
            if self.start < len(self.buffer):
                head = read_request(self.buffer, guard.head_bytes, guard.target_bytes, self.start)
        except HeadError as error:
            reason = Reason.TOO_LARGE if error.status in (414, 431) else Reason.MALFORMED
            self._refuse_unread(Verdict(_DENY, reason, error.status))
            return False
        if head is None:
            self._trim()
            self._await_head()
            return False
        self.start += head.size
        if head.length != 0:
            self._trim()
        self.state = BUSY
        self.deadline_ns = INT64_MAX
        # A reference of our own: `run` may end the exchange, and C calls hold none on their object.
        exchange = (<Exchange>Exchange.__new__(Exchange)).begin(guard, self, head)
        self.exchange = exchange
        exchange.run()
        return True

    cdef int _await_head(self) except -1:
        """Wait for (the rest of) a head."""
        if self.buffer:
            if self.state != READING_HEAD:
                self.state = READING_HEAD
                self.deadline_ns = monotonic_ns() + self.guard.head_ns
        elif self.state != READING_HEAD:
            if self.guard.draining:
                return self._close()
            self.state = IDLE
            self.deadline_ns = monotonic_ns() + self.guard.keepalive_ns
        self.stream.resume_reading()
        return 0

    cdef int _refuse_unread(self, Verdict verdict) except -1:
        """Answer a request whose head could not be read, and close."""
        cdef uint64_t request_id = self.guard.next_request_id()
        cdef bytes reply = self.guard.refusals.reply(verdict, request_id, (), False, True)
        self.guard.recorder.unread(self.client, verdict, request_id, len(reply), monotonic_ns())
        self.stream.write(reply)
        return self._close_gently()

    cdef Client identify(self, RequestHead head):
        """Return who asks: the peer, or the client that a trusted peer names."""
        cdef Guard guard = self.guard
        if self.policy is not guard.policy:  # reloaded meanwhile
            self.policy = guard.policy
            self.trusted = self._is_trusted()
            self.client = guard.client_of(self.peer, self.source)
        if not self.trusted:
            return self.client
        address, source = origin(self.peer, head, guard.trusted, header=guard.forwarded_header)
        return guard.client_of(address, source)

    cdef bytes forwarding(self, Client client, RequestHead head):
        """Return the X-Forwarded-For and -Proto lines; the chain of a trusted peer is carried on."""
        if not self.trusted:
            if self.fields is None:
                self.fields = _fields(address_text(client.address), b"https" if self.encrypted else b"http")
            return self.fields
        hop = address_text(self.peer)
        chain = hop if client.source == _TRUSTED_PEER else f"{address_text(client.address)}, {hop}"
        return _fields(chain, b"https" if self.encrypted or head.forwarded_proto == b"https" else b"http")

    cdef int feed_body(self) except -1:
        """Hand over what there is of the request body, and ask for more."""
        cdef Exchange exchange = self.exchange
        cdef bytes data = self.buffer
        if exchange is None or not exchange.wants_body():
            return 0
        self.buffer = b""
        if data:
            exchange.body_received(data)
            if self.exchange is not exchange:  # refused meanwhile
                return 0
        if exchange.wants_body():
            self.deadline_ns = min(monotonic_ns() + self.guard.body_ns, exchange.body_until_ns)
            self.stream.resume_reading()
        else:
            self.deadline_ns = INT64_MAX
        return 0

    cdef int watch(self) except -1:
        """Notice when the client goes away while its request waits."""
        if len(self.buffer) <= MOST_PIPELINED_BYTES:
            self.stream.resume_reading()
        return 0

    cdef int finished(self, Exchange exchange, bint broken) except -1:
        """Go on with the next request, or close: the reply is written, or will never be."""
        if self.exchange is not exchange:
            return 0
        self.exchange = None
        if broken:
            self.stream.reset()  # so that nobody takes a reply that broke off for a complete one
        elif exchange.reusable:
            self.state = IDLE
            self._advance()
        elif exchange.body_unfinished():
            self._close_gently()
        else:
            self._close()
        return 0

    cdef int _close(self) except -1:
        """Close as soon as the reply is out."""
        self.state = CLOSING
        self.deadline_ns = monotonic_ns() + self.guard.write_ns
        self.stream.close()
        return 0

    cdef int _close_gently(self) except -1:
        """Close so that the reply arrives although the client is still sending (RFC 9112 section 9.6)."""
        self.state = LINGERING
        self.buffer = b""
        self.start = 0
        self.deadline_ns = monotonic_ns() + (LINGER_NS if self.stream.backlog_bytes == 0 else self.guard.write_ns)
        self.stream.shutdown_write()
        self.stream.resume_reading()
        return 0

    cdef int expire(self) except -1:
        """The deadline passed."""
        cdef Exchange exchange = self.exchange
        if self.state == HANDSHAKING:
            self.stream.abort()
        elif self.state == READING_HEAD and not self.buffer:
            self._close()  # browsers connect in advance; that is no offence, and 408 would answer no question
        elif self.state == READING_HEAD:
            self._refuse_unread(TIMEOUT)
        elif self.state == BUSY and exchange is not None and exchange.wants_body():
            self.deadline_ns = INT64_MAX
            exchange.body_timed_out()
        else:
            self.stream.abort()
        return 0

    cdef int drain(self) except -1:
        """Close the connection unless a request is on its way; that one is finished first."""
        if self.state == IDLE or (self.state == READING_HEAD and not self.buffer):
            self._close()
        return 0


cdef bytes _fields(str chain, bytes proto):
    return b"".join((b"X-Forwarded-For: ", chain.encode("ascii"), b"\r\nX-Forwarded-Proto: ", proto, b"\r\n"))
