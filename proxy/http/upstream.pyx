"""
The upstream side: one connection to a keyserver, which reads replies and hands them to the exchange.

Replies are held to the same framing rules as requests: one that is malformed, or longer than it said, ends the
connection, and what was read of it is never taken for the reply to another request.
"""

from libc.stdint cimport INT64_MAX, int64_t

from fastpath.clock cimport monotonic_ns
from proxy.http.exchange cimport Exchange
from proxy.http.head cimport ReplyHead, read_reply
from proxy.http.pool cimport Upstream
from proxy.http.stream cimport Stream

from proxy.http.body import CloseDecoder, decoder_for
from proxy.http.chunks import ChunkError
from proxy.http.head import NO_LENGTH, HeadError

cdef enum:
    MOST_HEAD_BYTES = 65536
    MOST_INTERIM = 8  # 1xx replies before the real one
    _NO_LENGTH = -1

assert NO_LENGTH == _NO_LENGTH


cdef class UpstreamConnection:

    def __cinit__(self, Upstream upstream, Stream stream):
        self.upstream = upstream
        self.stream = stream
        self.buffer = b""
        self.deadline_ns = INT64_MAX

    cdef int start(self, Exchange exchange) except -1:
        """Send the request of `exchange`; its reply has to begin within `first_byte`."""
        self.exchange = exchange
        self.interim = 0
        self.deadline_ns = monotonic_ns() + self.upstream.pool.first_byte_ns
        return exchange.send_to(self)

    cdef int rest(self, int64_t until_ns) except -1:
        """Wait in the pool for the next exchange."""
        self.used = True
        self.deadline_ns = until_ns
        return 0

    # Stream protocol.

    def data_received(self, bytes data not None):
        """Take a piece of a reply; bytes that nobody asked for end the connection."""
        cdef Exchange exchange = self.exchange
        cdef int64_t first_byte_ns
        cdef ReplyHead head
        if exchange is None:
            self.stream.abort()
            return
        if self.decoder is not None:
            self._body_received(exchange, data)
            return
        first_byte_ns = monotonic_ns()
        try:
            head = self._final_head(self.buffer + data if self.buffer else data)
        except HeadError:
            self._give_up()
            return
        if head is not None:
            rest, self.buffer = self.buffer, b""
            self._head_received(exchange, head, rest, first_byte_ns)

    cdef ReplyHead _final_head(self, bytes data):
        """Return the head of the reply, what follows it in `buffer`; interim replies (1xx) are dropped."""
        cdef ReplyHead head = read_reply(data, MOST_HEAD_BYTES)
        while head is not None:
            data = data[head.size:]
            if head.status >= 200:
                break
            self.interim += 1
            if head.status == 101 or _announces_body(head) or self.interim > MOST_INTERIM:
                raise HeadError(400, "unwanted interim reply")
            head = read_reply(data, MOST_HEAD_BYTES)
        self.buffer = data
        return head

    cdef int _head_received(self, Exchange exchange, ReplyHead head, bytes rest, int64_t first_byte_ns) except -1:
        cdef long long length = head.length
        cdef bytes payload
        self.reusable = head.keep_alive
        if head.status == 204 or head.status == 304 or exchange.head.method == "HEAD":
            length = 0
            # A body is announced that must not come. If it does, it must not be taken for the next reply.
            self.reusable = self.reusable and not _announces_body(head)
        elif length == _NO_LENGTH:
            self.reusable = False
        if length == len(rest):
            self._release(exchange)
            return exchange.reply_whole(head, rest, first_byte_ns)
        decoder = decoder_for(length)
        try:
            payload = decoder.feed(rest) if rest else b""
        except ChunkError:
            return self._give_up()
        if decoder.done:
            self.reusable = self.reusable and not decoder.rest
            self._release(exchange)
            return exchange.reply_whole(head, payload, first_byte_ns)
        self.decoder = decoder
        self.deadline_ns = monotonic_ns() + self.upstream.pool.idle_ns
        return exchange.reply_started(head, payload, first_byte_ns)

    cdef int _body_received(self, Exchange exchange, bytes data) except -1:
        cdef bytes payload
        try:
            payload = self.decoder.feed(data)
        except ChunkError:
            return self._give_up()
        if payload:
            exchange.reply_data(payload)
        if self.exchange is not exchange:  # the client went away
            return 0
        if self.decoder.done:
            self.reusable = self.reusable and not self.decoder.rest
            self._release(exchange)
            return exchange.reply_ended()
        if not self.paused:
            self.deadline_ns = monotonic_ns() + self.upstream.pool.idle_ns
        return 0

    cdef int _release(self, Exchange exchange) except -1:
        """Part from `exchange`, whose reply is complete, and go back to the pool if that is safe."""
        self.exchange = None
        self.decoder = None
        exchange.upstream = None
        self.upstream.health.succeeded()
        if self.paused:
            self.resume_reading()
        if self.reusable and self.stream.backlog_bytes == 0:
            self.upstream.keep(self)
        else:
            self.upstream.outstanding -= 1
            self.stream.close()
        return 0

    def eof_received(self):
        """The upstream closed: the end of a reply without a length, or a failure."""
        cdef Exchange exchange = self.exchange
        if exchange is not None and isinstance(self.decoder, CloseDecoder):
            self._release(exchange)
            exchange.reply_ended()
            return
        self.stream.abort()

    def pause_writing(self):
        """A body is on its way, all of which is kept anyhow."""

    def resume_writing(self):
        """See `pause_writing`."""

    def connection_lost(self, error):
        """Tell the exchange, unless it was done; a request that may be repeated gets another chance."""
        cdef Exchange exchange = self.exchange
        self.exchange = None
        self.upstream.lost(self)
        if exchange is None:
            return
        self.upstream.outstanding -= 1
        if not self.used and not self.hopeless:
            self.upstream.health.failed(monotonic_ns())
        if self.decoder is None and not self.buffer and not self.hopeless and exchange.repeatable():
            exchange.repeat(self)
        else:
            exchange.upstream_failed()

    # For the exchange and the pool.

    cdef int pause_reading(self) except -1:
        """Leave the reply with the upstream while the client is slow."""
        self.paused = True
        self.deadline_ns = INT64_MAX
        self.stream.pause_reading()
        return self.upstream.stalled(self)

    cdef int yield_place(self) except -1:
        """Break off for the sake of others: its client does not read."""
        cdef Exchange exchange = self.exchange
        cdef Stream client
        if exchange is not None:
            client = exchange.connection.stream
            client.reset()
        return 0

    cdef int resume_reading(self) except -1:
        """Go on reading."""
        self.paused = False
        self.upstream.slow.pop(self, None)
        self.deadline_ns = monotonic_ns() + self.upstream.pool.idle_ns
        self.stream.resume_reading()
        return 0

    cdef int abandon(self) except -1:
        """Break off: nobody wants the reply any more."""
        self.exchange = None
        self.upstream.outstanding -= 1
        self.stream.abort()
        return 0

    cdef int expire(self) except -1:
        """The deadline passed: the upstream hangs, or the idle connection is old."""
        if self.exchange is not None:
            return self._give_up()
        self.stream.abort()
        return 0

    cdef int _give_up(self) except -1:
        """End a connection over which nothing sensible comes; its request is not repeated, lest it do so again."""
        self.hopeless = True
        self.upstream.health.failed(monotonic_ns())
        self.stream.abort()
        return 0


cdef bint _announces_body(ReplyHead head) noexcept:
    """Whether a head speaks of a body."""
    return head.length != _NO_LENGTH and head.length != 0
