"""The step `record`: one record in the worker's ring and one stroke in its counters, for every request."""

from __future__ import annotations

from typing import TYPE_CHECKING
from zlib import crc32

from proxy.hkp.operation import OperationClass
from proxy.policy.verdict import Action

if TYPE_CHECKING:
    from fastpath import Counters, Ring
    from proxy.http.exchange import Exchange
    from proxy.policy.policy import Client
    from proxy.policy.verdict import Verdict

METHODS = ("OTHER", "GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "PATCH")
_METHOD_NUMBERS = {name: number for number, name in enumerate(METHODS)}
NO_UPSTREAM = 255
FLAG_HTTP_1_0 = 1
NOT_OBSERVED = -1
SHADOW = 6  # added to an action that a limit in shadow mode would have taken


class Recorder:
    """Writes the records and counters of one worker."""

    def __init__(self, ring: Ring, counters: Counters) -> None:
        """Both are this worker's own: it is their only writer."""
        self._ring = ring
        self._counters = counters

    def record(self, exchange: Exchange, now_ns: int, upstream_ns: int, added_ns: int) -> None:
        """Record a finished exchange; times in ns, NOT_OBSERVED where there was none."""
        operation, verdict, client, head = exchange.operation, exchange.verdict, exchange.client, exchange.head
        subject = operation.subject.encode("utf-8", "surrogateescape")
        wait_ns = exchange.wait_ns
        action = verdict.shadow + SHADOW if verdict.shadow else verdict.action
        self._ring.write(
            now_ns,
            client.key,
            exchange.request_id,
            crc32(subject),
            max(0, upstream_ns) // 1000,
            wait_ns // 1000,
            (now_ns - exchange.started_ns) // 1000,
            exchange.received,
            exchange.sent,
            exchange.status,
            operation.kind,
            action,
            verdict.reason,
            client.source,
            _METHOD_NUMBERS.get(head.method, 0),
            0 if head.minor else FLAG_HTTP_1_0,
            NO_UPSTREAM if exchange.attempts == 0 else 0,
            client.address,
            subject,
        )
        self._counters.record(
            operation.kind,
            action,
            exchange.status,
            exchange.decided_ns - exchange.started_ns,
            added_ns,
            upstream_ns,
            wait_ns or NOT_OBSERVED,
        )

    def record_unread(self, client: Client, verdict: Verdict, request_id: int, sent: int, now_ns: int) -> None:
        """Record a request whose head was refused."""
        kind = OperationClass.UNKNOWN
        self._ring.write(
            now_ns, client.key, request_id, 0, 0, 0, 0, 0, sent, verdict.status, kind, verdict.action, verdict.reason,
            client.source, 0, 0, NO_UPSTREAM, client.address, b"",
        )  # fmt: skip
        self._counters.record(kind, verdict.action, verdict.status, NOT_OBSERVED, NOT_OBSERVED, NOT_OBSERVED, NOT_OBSERVED)

    def connection_refused(self) -> None:
        """Count a connection that found no room."""
        self._counters.record(
            OperationClass.UNKNOWN, Action.DROP, 0, NOT_OBSERVED, NOT_OBSERVED, NOT_OBSERVED, NOT_OBSERVED
        )

    def gauges(self, *, connections: int, parked: int) -> None:
        """Publish how many connections are open and how many requests wait."""
        self._counters.set_connections(connections)
        self._counters.set_parked(parked)
