"""
The upstream side: one connection to a keyserver, which reads replies and hands them to the exchange.

Replies are held to the same framing rules as requests: one that is malformed, or longer than it said, ends the
connection, and what was read of it is never taken for the reply to another request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.clock import monotonic_ns
from proxy.http.body import CloseDecoder, Decoder, decoder_for
from proxy.http.chunks import ChunkError
from proxy.http.head import NO_LENGTH, HeadError, ReplyHead, read_reply

if TYPE_CHECKING:
    from proxy.http.exchange import Exchange
    from proxy.http.pool import Upstream
    from proxy.http.stream import Stream

MOST_HEAD_BYTES = 65536
MOST_INTERIM = 8  # 1xx replies before the real one
NEVER = (1 << 63) - 1


class UpstreamConnection:
    """The protocol of one connection to an upstream; serves one exchange at a time."""

    def __init__(self, upstream: Upstream, stream: Stream) -> None:
        """The stream is connected."""
        self.upstream = upstream
        self.stream = stream
        self.host = upstream.host
        self.exchange: Exchange | None = None
        self.decoder: Decoder | None = None
        self.reusable = False
        self.interim = 0
        self.buffer = b""
        self.used = False  # served an exchange before the present one
        self.paused = False
        self.deadline_ns = NEVER

    def start(self, exchange: Exchange) -> None:
        """Send the request of `exchange`."""
        self.exchange = exchange
        self.interim = 0
        self.deadline_ns = monotonic_ns() + self.upstream.rules.first_byte_ns
        exchange.send_to(self)

    # Stream protocol.

    def data_received(self, data: bytes) -> None:
        """Take a piece of a reply; bytes that nobody asked for end the connection."""
        exchange = self.exchange
        if exchange is None:
            self.stream.abort()
            return
        if self.decoder is not None:
            self._body_received(exchange, data)
            return
        first_byte_ns = monotonic_ns()
        if self.buffer:
            data = self.buffer + data
        try:
            head = self._final_head(data)
        except HeadError:
            self.stream.abort()
            return
        if head is not None:
            rest = self.buffer
            self.buffer = b""
            self._head_received(exchange, head, rest, first_byte_ns)

    def _final_head(self, data: bytes) -> ReplyHead | None:
        """Return the head of the reply, what follows it in `buffer`; interim replies (1xx) are dropped."""
        while (head := read_reply(data, MOST_HEAD_BYTES)) is not None:
            data = data[head.size :]
            if head.status >= 200:
                break
            self.interim += 1
            if head.status == 101 or self.interim > MOST_INTERIM:
                raise HeadError(400, "unwanted interim reply")
        self.buffer = data
        return head

    def _head_received(self, exchange: Exchange, head: ReplyHead, rest: bytes, first_byte_ns: int) -> None:
        length = head.length
        if exchange.head.method == "HEAD" or head.status == 204 or head.status == 304:
            length = 0
        self.reusable = head.keep_alive and length != NO_LENGTH
        if 0 <= length <= len(rest):
            self.reusable = self.reusable and length == len(rest)
            self._release(exchange)
            exchange.reply_whole(head, rest[:length], first_byte_ns)
            return
        decoder = decoder_for(length)
        try:
            payload = decoder.feed(rest) if rest else b""
        except ChunkError:
            self.stream.abort()
            return
        if decoder.done:
            self.reusable = self.reusable and not decoder.rest
            self._release(exchange)
            exchange.reply_whole(head, payload, first_byte_ns)
            return
        self.decoder = decoder
        self.deadline_ns = monotonic_ns() + self.upstream.rules.idle_ns
        exchange.reply_started(head, payload, first_byte_ns)

    def _body_received(self, exchange: Exchange, data: bytes) -> None:
        decoder = self.decoder
        if decoder is None:
            return
        try:
            payload = decoder.feed(data)
        except ChunkError:
            self.stream.abort()
            return
        if payload:
            exchange.reply_data(payload)
        if self.exchange is not exchange:
            return
        if decoder.done:
            self.reusable = self.reusable and not decoder.rest
            self._release(exchange)
            exchange.reply_ended()
        elif not self.paused:
            self.deadline_ns = monotonic_ns() + self.upstream.rules.idle_ns

    def _release(self, exchange: Exchange) -> None:
        """Part from `exchange`, whose reply is complete, and go back to the pool if that is safe."""
        self.exchange = None
        self.decoder = None
        exchange.upstream = None
        if self.reusable and (exchange.decoder is None or exchange.decoder.done) and not self.stream.backlog_bytes:
            self.upstream.keep(self)
        else:
            self.upstream.outstanding -= 1
            self.stream.close()

    def eof_received(self) -> None:
        """The upstream closed: the end of a reply without a length, or a failure."""
        exchange = self.exchange
        if exchange is not None and isinstance(self.decoder, CloseDecoder):
            self._release(exchange)
            exchange.reply_ended()
            return
        self.stream.abort()

    def pause_writing(self) -> None:
        """Stop reading the upload: the upstream takes it slower than it comes."""
        if self.exchange is not None:
            self.exchange.connection.stream.pause_reading()

    def resume_writing(self) -> None:
        """Let the upload go on."""
        if self.exchange is not None:
            self.exchange.connection.feed_body()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell the exchange, unless it was done; a repeatable request gets one more chance."""
        self.upstream.lost(self)
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        self.upstream.outstanding -= 1
        if self.decoder is None and not self.buffer and self.used and exchange.repeatable:
            exchange.upstream = None
            self.upstream.pool.dispatch(exchange)
        else:
            exchange.upstream_failed()

    # For the exchange.

    def pause_reading(self) -> None:
        """Leave the reply with the upstream while the client is slow."""
        self.paused = True
        self.deadline_ns = NEVER
        self.stream.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        self.paused = False
        self.deadline_ns = monotonic_ns() + self.upstream.rules.idle_ns
        self.stream.resume_reading()

    def abandon(self) -> None:
        """Break off: nobody wants the reply any more."""
        self.exchange = None
        self.upstream.outstanding -= 1
        self.stream.abort()

    def expire(self) -> None:
        """The deadline passed: the upstream hangs, or the idle connection is old."""
        if self.exchange is not None and self.decoder is None:
            self.upstream.health.failed(monotonic_ns())
        self.used = False  # a request that hung is not repeated
        self.stream.abort()
