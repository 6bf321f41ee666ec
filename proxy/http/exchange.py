"""
One request and its reply: gather, decide, act.

    read head > identify > classify > judge > act > relay > settle > record

`ClientConnection` reads the head and makes an `Exchange`; `Exchange.run` is the rest of the way. It ends in `_finish`,
exactly once, whatever happens: reply relayed, refused, upstream lost, client gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.clock import monotonic_ns
from proxy.hkp.operation import BadTarget, Operation, OperationClass
from proxy.http.body import LAST_CHUNK, Decoder, chunk, decoder_for
from proxy.http.chunks import ChunkError
from proxy.http.head import CHUNKED, NO_LENGTH, ReplyHead, RequestHead
from proxy.http.refusal import refusal, unavailable_status, wants_problem
from proxy.http.turnstile import NO_LEASE
from proxy.policy.policy import Facts
from proxy.policy.verdict import ALLOW, BUSY, CROWDED, EXEMPT, Action, Reason, Verdict

if TYPE_CHECKING:
    from asyncio import TimerHandle

    from proxy.http.client import ClientConnection
    from proxy.http.guard import Guard
    from proxy.http.pool import Upstream
    from proxy.http.upstream import UpstreamConnection
    from proxy.policy.policy import Client

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
NO_OPERATION = Operation(OperationClass.UNKNOWN, "", 0, b"")
NOTHING_OBSERVED = -1

# Where an exchange stands.
JUDGING, WAITING, SENDING, RELAYING, FINISHED = range(5)


class Exchange:
    """
    A request on its way, and the reply to it.

    Times are CLOCK_MONOTONIC, ns. `decoder` takes the request body apart while it comes; None without one.
    """

    def __init__(self, guard: Guard, connection: ClientConnection, head: RequestHead) -> None:
        """`head` has just been read from `connection`."""
        self.guard = guard
        self.connection = connection
        self.head = head
        self.operation: Operation = NO_OPERATION
        self.verdict: Verdict = ALLOW
        self.client: Client = connection.client
        self.request_id = guard.next_request_id()
        self.phase = JUDGING
        self.status = 0
        self.decoder: Decoder | None = None if head.length == 0 else decoder_for(head.length)
        self.upstream: UpstreamConnection | None = None
        self.timer: TimerHandle | None = None
        self.lease = NO_LEASE
        self.queued = False
        self.attempts = 0  # times it was sent
        self.tried: tuple[Upstream, ...] = ()  # could not be connected to
        self.chunked = False  # the reply goes out chunked
        self.reusable = head.keep_alive
        self.received = 0
        self.sent = 0
        self.started_ns = monotonic_ns()
        self.decided_ns = self.started_ns
        self.wait_ns = 0
        self.sent_ns = 0
        self.relay_ns = 0

    # identify > classify > judge > act

    def run(self) -> None:
        """Take the request from its head to the upstream, to a wait or to a refusal."""
        guard = self.guard
        head = self.head
        self.client = self.connection.identify(head)
        if head.length > guard.body_bytes:
            self._refuse(Verdict(Action.DENY, Reason.TOO_LARGE, 413))
            return
        try:
            self.operation = guard.classify(head.method, head.target)
        except BadTarget:
            self._refuse(Verdict(Action.DENY, Reason.MALFORMED, 400))
            return
        verdict = guard.policy.judge(Facts(self.client, self.operation), self.started_ns)
        self.decided_ns = monotonic_ns()
        self._act(verdict)

    def _act(self, verdict: Verdict) -> None:
        self.verdict = verdict
        if verdict.action is Action.ALLOW:
            self._enter()
        elif verdict.action is Action.DELAY:
            self._park(verdict.wait_ns)
        else:
            self._refuse(verdict)

    def _park(self, wait_ns: int) -> None:
        """Wait for the tokens that are reserved; the connection is watched, so that a client that leaves is noticed."""
        guard = self.guard
        if guard.parked >= guard.most_parked:
            self._refund()
            self._refuse(CROWDED)
            return
        guard.parked += 1
        self.phase = WAITING
        self.wait_ns = wait_ns
        self.timer = guard.loop.call_later(wait_ns / 1e9, self._unpark)
        self.connection.watch()

    def _unpark(self) -> None:
        self.timer = None
        self.guard.parked -= 1
        self._enter()

    def _enter(self) -> None:
        """Find a place among the requests of this class, where their number is capped."""
        cap = self.client.profile.caps[self.operation.kind]
        if cap is None or self.verdict is EXEMPT:
            self._dispatch()
            return
        self.phase = WAITING
        self.queued = True
        self.connection.watch()
        self.guard.turnstiles[self.operation.kind].enter(self, self.client.key, cap)

    def entered(self) -> None:
        """Go on: the turnstile found a place."""
        self._dispatch()

    def turned_away(self) -> None:
        """Give up, or go on if the cap is only in shadow mode: no place became free in time."""
        cap = self.client.profile.caps[self.operation.kind]
        if cap is not None and not cap.enforced:
            self.verdict = Verdict(Action.ALLOW, Reason.BUSY, shadow=Action.LIMIT)
            self._dispatch()
            return
        self._refund()
        self._refuse(BUSY)

    # To the upstream.

    def _dispatch(self) -> None:
        self.phase = SENDING
        self.guard.upstreams.dispatch(self)

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent once more after a connection died without a reply (RFC 9110 section 9.2.2)."""
        return self.decoder is None and self.head.method in SAFE_METHODS and self.attempts < 2

    def request_bytes(self, default_host: bytes) -> bytes:
        """Return the head as it is sent upstream: canonical target, kept fields, and what we say of the client."""
        head = self.head
        host = head.host
        framing = b""
        if head.length == CHUNKED:
            framing = b"Transfer-Encoding: chunked\r\n"
        elif head.length or head.method == "POST" or head.method == "PUT":
            framing = b"Content-Length: %d\r\n" % head.length
        return b"".join(
            (
                head.method.encode("ascii"),
                b" ",
                self.operation.target,
                b" HTTP/1.1\r\n",
                head.block,
                b"" if host is not None else b"Host: " + default_host + b"\r\n",
                self.connection.forwarding(self.client, head),
                b"X-Forwarded-Host: ",
                default_host if host is None else host,
                b"\r\nX-Request-ID: %016x\r\n" % self.request_id,
                self.guard.via[head.minor],
                framing,
                b"\r\n",
            )
        )

    def send_to(self, upstream: UpstreamConnection) -> None:
        """Send the request over `upstream`, which waits for its reply from now on."""
        self.upstream = upstream
        self.attempts += 1
        self.sent_ns = monotonic_ns()
        upstream.stream.write(self.request_bytes(upstream.host))
        if self.decoder is not None:
            if self.head.expects_continue and self.received == 0:
                self.connection.stream.write(CONTINUE)
            self.connection.feed_body()

    def body_received(self, data: bytes) -> bytes:
        """Pass on a piece of the request body; return what comes after its end."""
        decoder, upstream = self.decoder, self.upstream
        if decoder is None or upstream is None:
            return data
        try:
            payload = decoder.feed(data)
        except ChunkError:
            self._fail(Verdict(Action.DENY, Reason.MALFORMED, 400))
            return b""
        self.received += len(payload)
        if self.received > self.guard.body_bytes:
            self._fail(Verdict(Action.DENY, Reason.TOO_LARGE, 413))
            return b""
        if self.head.length != CHUNKED:
            upstream.stream.write(payload)
        elif payload:
            upstream.stream.write(chunk(payload))
        if not decoder.done:
            return b""
        if self.head.length == CHUNKED:
            upstream.stream.write(LAST_CHUNK)
        return decoder.rest

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.phase == FINISHED

    @property
    def waiting(self) -> bool:
        """Whether it is parked or queued."""
        return self.phase == WAITING

    @property
    def wants_body(self) -> bool:
        """Whether more of the request body is to come, and the upstream is there to take it."""
        return self.upstream is not None and self.decoder is not None and not self.decoder.done

    # From the upstream.

    def reply_whole(self, reply: ReplyHead, body: bytes, first_byte_ns: int) -> None:
        """Relay a reply that came in one piece, which is nearly every one."""
        if self.decoder is not None and not self.decoder.done:
            self.reusable = False
        fields = self._whole_fields(reply, len(body))
        self._write(b"".join((reply.block, fields, b"\r\n", body)) if self.head.method != "HEAD" else b"".join((reply.block, fields, b"\r\n")))
        self.status = reply.status
        self.relay_ns = monotonic_ns() - first_byte_ns
        self._finish()

    def _whole_fields(self, reply: ReplyHead, body_bytes: int) -> bytes:
        """Return the fields that we add to a reply whose length is known."""
        via = self.guard.via[reply.minor]
        status = reply.status
        if self.head.method == "HEAD" or status == 304:
            length = b"Content-Length: %d\r\n" % reply.length if reply.length >= 0 else b""
        elif status == 204:
            length = b""
        else:
            length = b"Content-Length: %d\r\n" % body_bytes
        return via + length + self._connection_field()

    def _connection_field(self) -> bytes:
        if self.guard.draining:
            self.reusable = False
        if not self.reusable:
            return b"Connection: close\r\n"
        return b"" if self.head.minor else b"Connection: keep-alive\r\n"

    def reply_started(self, reply: ReplyHead, payload: bytes, first_byte_ns: int) -> None:
        """Relay the head of a reply whose body is still coming, and what there is of the body."""
        self.phase = RELAYING
        self.status = reply.status
        if self.decoder is not None and not self.decoder.done:
            self.reusable = False
        if reply.length >= 0:
            framing = b"Content-Length: %d\r\n" % reply.length
        elif self.head.minor:
            self.chunked = True
            framing = b"Transfer-Encoding: chunked\r\n"
        else:
            self.reusable = False  # HTTP/1.0 knows no chunks: the end of the connection ends the body
            framing = b""
        piece = chunk(payload) if self.chunked and payload else payload
        via = self.guard.via[reply.minor]
        self._write(b"".join((reply.block, via, framing, self._connection_field(), b"\r\n", piece)))
        self.relay_ns = monotonic_ns() - first_byte_ns

    def reply_data(self, payload: bytes) -> None:
        """Relay a piece of the body."""
        self._write(chunk(payload) if self.chunked else payload)

    def reply_ended(self) -> None:
        """Finish: the body is complete."""
        if self.chunked:
            self._write(LAST_CHUNK)
        self._finish()

    def upstream_failed(self) -> None:
        """Answer for an upstream that cannot be reached, or broke off."""
        self.upstream = None
        if self.phase == RELAYING:
            self.verdict = Verdict(self.verdict.action, Reason.UPSTREAM, wait_ns=self.verdict.wait_ns)
            self.reusable = False
            self._finish(broken=True)
            return
        self._refund()
        status = unavailable_status(self.head.minor)
        self._refuse(Verdict(self.verdict.action, Reason.UPSTREAM, status, wait_ns=self.verdict.wait_ns))

    def _write(self, data: bytes) -> None:
        self.sent += len(data)
        self.connection.stream.write(data)

    # Ends.

    def _fail(self, verdict: Verdict) -> None:
        """Refuse a request whose body turned out bad, part of which the upstream has already."""
        if self.upstream is not None:
            self.upstream.abandon()
            self.upstream = None
        if self.phase == RELAYING:
            self.verdict = verdict
            self._finish(broken=True)
        else:
            self._refuse(verdict)

    def _refuse(self, verdict: Verdict) -> None:
        """Answer without the upstream."""
        self.verdict = verdict
        self.status = verdict.status
        head = self.head
        if self.guard.draining or (self.decoder is not None and not self.decoder.done):
            self.reusable = False
        self._write(
            refusal(
                verdict,
                f"{self.request_id:016x}",
                limits=self.client.profile.limits,
                fields=self.guard.ratelimit_headers,
                problem=wants_problem(head.accept),
                close=not self.reusable,
                keep_alive=self.reusable and head.minor == 0,
                head_only=head.method == "HEAD",
            )
        )
        self._finish()

    def body_timed_out(self) -> None:
        """Give up on a client that stopped sending its body."""
        self._fail(Verdict(Action.DENY, Reason.TIMEOUT, 408))

    def client_gone(self) -> None:
        """Let go of everything: there is nobody to answer."""
        if self.phase == FINISHED:
            return
        if self.phase == WAITING:
            self._refund()
        self.verdict = Verdict(self.verdict.action, Reason.GONE, wait_ns=self.verdict.wait_ns)
        if self.upstream is not None:
            self.upstream.abandon()
            self.upstream = None
        self.reusable = False
        self._finish()

    def _refund(self) -> None:
        """Give back the tokens of a request that was never sent."""
        if self.verdict is not EXEMPT and self.attempts == 0:
            operation, client = self.operation, self.client
            self.guard.table.refund(
                client.profile.compiled, client.key, operation.kind, operation.price, monotonic_ns()
            )

    def _finish(self, *, broken: bool = False) -> None:
        """Settle, record, and hand the connection back."""
        self.phase = FINISHED
        self.upstream = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
            self.guard.parked -= 1
        if self.queued:
            self.queued = False
            self.guard.turnstiles[self.operation.kind].leave(self)
        self._record()
        self.connection.finished(self, broken)

    def _record(self) -> None:
        guard, verdict, operation = self.guard, self.verdict, self.operation
        now_ns = monotonic_ns()
        upstream_ns = now_ns - self.sent_ns if self.sent_ns else NOTHING_OBSERVED
        added_ns = NOTHING_OBSERVED
        if self.relay_ns:
            added_ns = self.sent_ns - self.started_ns - self.wait_ns + self.relay_ns
        guard.recorder.record(self, now_ns, upstream_ns, max(0, added_ns) if self.relay_ns else added_ns)
