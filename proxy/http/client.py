"""
The client side: one connection, read head by head.

A connection serves one exchange at a time. What the client sends meanwhile is kept up to `MOST_PIPELINED_BYTES`,
then left with the kernel. Time limits are deadlines that the guard's sweep compares with the clock: a timer for
each request would cost more than the request's limits do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.clock import monotonic_ns
from proxy.http.address import Source, address_text, origin
from proxy.http.exchange import Exchange
from proxy.http.head import HeadError, RequestHead, read_request
from proxy.http.refusal import refusal
from proxy.policy.policy import Client, Policy
from proxy.policy.verdict import Action, Reason, Verdict

if TYPE_CHECKING:
    from proxy.http.guard import Guard
    from proxy.http.stream import Stream

MOST_PIPELINED_BYTES = 65536
LINGER_NS = 2_000_000_000
LINGER_BYTES = 1 << 20
NEVER = (1 << 63) - 1

# What a connection does.
IDLE, READING_HEAD, BUSY, LINGERING, CLOSING, CLOSED = range(6)


class ClientConnection:
    """The protocol of one client connection; `peer` is the socket's other side, network order."""

    def __init__(self, guard: Guard, stream: Stream, peer: bytes) -> None:
        """The stream is not read before `begin`."""
        self.guard = guard
        self.stream = stream
        self.peer = peer
        self.policy: Policy = guard.policy
        self.trusted = guard.trusts(peer)
        self.client = guard.client_of(peer, Source.PEER)
        self.fields: bytes | None = None  # X-Forwarded-For and -Proto, made once
        self.buffer = b""
        self.exchange: Exchange | None = None
        self.advancing = False
        self.state = READING_HEAD
        self.lingered = 0
        self.served = 0
        self.deadline_ns = monotonic_ns() + guard.head_ns

    def begin(self) -> None:
        """Read the first request: it came with the connection, nearly always."""
        try:
            data = self.stream.read_now()
        except OSError:
            self.stream.abort()
            return
        if data:
            self.data_received(data)
        elif data is None:
            self.stream.resume_reading()
        else:
            self.stream.abort()

    # Stream protocol.

    def data_received(self, data: bytes) -> None:
        """Take what came: of a head, of a body, of the next request, or of what nobody wants any more."""
        if self.state == LINGERING:
            self._linger(len(data))
            return
        self.buffer = self.buffer + data if self.buffer else data
        if self.exchange is None:
            self._advance()
        elif self.exchange.wants_body:
            self.feed_body()
        elif len(self.buffer) > MOST_PIPELINED_BYTES:
            self.stream.pause_reading()

    def eof_received(self) -> None:
        """The client sends no more. It may still read, unless it waits for its turn: then it is taken to be gone."""
        exchange = self.exchange
        if exchange is None or self.state == LINGERING or exchange.waiting or exchange.wants_body:
            self.stream.abort()
        else:
            exchange.reusable = False

    def pause_writing(self) -> None:
        """Stop the upstream: this client reads slower than it writes."""
        self.deadline_ns = monotonic_ns() + self.guard.write_ns
        if self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.upstream.pause_reading()

    def resume_writing(self) -> None:
        """Let the upstream go on."""
        if self.state == BUSY:
            self.deadline_ns = NEVER
        if self.exchange is not None and self.exchange.upstream is not None:
            self.exchange.upstream.resume_reading()

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the connection, and let its exchange know."""
        self.state = CLOSED
        self.guard.forget(self)
        self.buffer = b""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.client_gone()

    # Requests.

    def _advance(self) -> None:
        """Start exchanges as long as heads are complete; exchanges that end at once come back here, in a loop."""
        if self.advancing:
            return
        self.advancing = True
        while self.exchange is None and self.state < LINGERING and self._start_next():
            pass
        self.advancing = False

    def _start_next(self) -> bool:
        """Start the next exchange; False if its head is not complete."""
        guard = self.guard
        try:
            head = read_request(self.buffer, guard.head_bytes, guard.target_bytes) if self.buffer else None
        except HeadError as error:
            self._refuse_head(error)
            return False
        if head is None:
            self._await_head()
            return False
        self.buffer = self.buffer[head.size :]
        self.state = BUSY
        self.deadline_ns = NEVER
        self.served += 1
        self.exchange = Exchange(guard, self, head)
        self.exchange.run()
        return True

    def _await_head(self) -> None:
        """Wait for (the rest of) a head."""
        if self.buffer:
            if self.state != READING_HEAD:
                self.deadline_ns = monotonic_ns() + self.guard.head_ns
            self.state = READING_HEAD
        elif self.state != READING_HEAD:
            if self.guard.draining:
                self.stream.close()
                return
            self.state = IDLE
            self.deadline_ns = monotonic_ns() + self.guard.keepalive_ns
        self.stream.resume_reading()

    def _refuse_head(self, error: HeadError) -> None:
        reason = Reason.TOO_LARGE if error.status in {414, 431} else Reason.MALFORMED
        self._refuse_unread(Verdict(Action.DENY, reason, error.status))

    def _refuse_unread(self, verdict: Verdict) -> None:
        """Answer a request whose head could not be read, and close."""
        guard = self.guard
        request_id = guard.next_request_id()
        reply = refusal(verdict, f"{request_id:016x}", close=True)
        guard.recorder.record_unread(self.client, verdict, request_id, len(reply), monotonic_ns())
        self.stream.write(reply)
        self.close_gently()

    def identify(self, head: RequestHead) -> Client:
        """Return who asks: the peer, or the client that a trusted peer names."""
        guard = self.guard
        if self.policy is not guard.policy:  # reloaded meanwhile
            self.policy = guard.policy
            self.trusted = guard.trusts(self.peer)
            self.client = guard.client_of(self.peer, Source.PEER)
        if not self.trusted:
            return self.client
        address, source = origin(self.peer, head, guard.trusted, use_forwarded=guard.use_forwarded)
        return guard.client_of(address, source)

    def forwarding(self, client: Client, head: RequestHead) -> bytes:
        """Return the X-Forwarded-For and -Proto lines; the chain of a trusted peer is carried on."""
        if not self.trusted:
            if self.fields is None:
                self.fields = _fields(address_text(client.address), b"http")
            return self.fields
        hop = address_text(self.peer)
        chain = hop if client.source == Source.TRUSTED_PEER else f"{address_text(client.address)}, {hop}"
        proto = b"https" if head.forwarded_proto == b"https" else b"http"
        return _fields(chain, proto)

    def feed_body(self) -> None:
        """Pass on what there is of the request body, and ask for more."""
        exchange = self.exchange
        if exchange is None:
            return
        data, self.buffer = self.buffer, b""
        if data:
            rest = exchange.body_received(data)
            if self.exchange is not exchange:
                return
            self.buffer = rest
        if exchange.wants_body:
            self.deadline_ns = monotonic_ns() + self.guard.body_ns
            self.stream.resume_reading()
        elif self.state == BUSY:
            self.deadline_ns = NEVER

    def watch(self) -> None:
        """Notice when the client goes away while its request waits."""
        if len(self.buffer) <= MOST_PIPELINED_BYTES:
            self.stream.resume_reading()

    def finished(self, exchange: Exchange, broken: bool) -> None:  # noqa: FBT001
        """The reply is written, or will never be: go on with the next request, or close."""
        if self.exchange is not exchange:
            return
        self.exchange = None
        if broken:
            self.stream.abort()
        elif not exchange.reusable:
            if exchange.decoder is not None and not exchange.decoder.done:
                self.close_gently()
            else:
                self._close()
        else:
            self.state = IDLE
            self._advance_soon()

    def _advance_soon(self) -> None:
        self._advance()

    def _close(self) -> None:
        """Close as soon as the reply is out."""
        self.state = CLOSING
        self.deadline_ns = monotonic_ns() + self.guard.write_ns
        self.stream.close()

    def close_gently(self) -> None:
        """Close so that the reply arrives although the client is still sending (RFC 9112 section 9.6)."""
        self.state = LINGERING
        self.buffer = b""
        self.deadline_ns = monotonic_ns() + LINGER_NS
        self.stream.shutdown_write()
        self.stream.resume_reading()

    def _linger(self, size: int) -> None:
        self.lingered += size
        if self.lingered > LINGER_BYTES:
            self.stream.abort()

    def expire(self) -> None:
        """The deadline passed."""
        if self.state == READING_HEAD and (self.buffer or not self.served):
            self._refuse_unread(Verdict(Action.DENY, Reason.TIMEOUT, 408))
        elif self.state == BUSY and self.exchange is not None and self.exchange.wants_body:
            self.deadline_ns = NEVER
            self.exchange.body_timed_out()
        else:
            self.stream.abort()

    def drain(self) -> None:
        """Close the connection unless a request is on its way; that one is finished first."""
        if self.state == IDLE:
            self.stream.close()


def _fields(chain: str, proto: bytes) -> bytes:
    return b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (chain.encode("ascii"), proto)
