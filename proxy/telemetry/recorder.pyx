"""
The step `record`: one record in a ring of the worker's and one stroke in its counters, for every request, and for every
connection that is not taken on (a knock).
"""

from cpython.unicode cimport PyUnicode_AsUTF8String
from libc.stdint cimport int64_t, uint64_t

from fastpath.clock cimport monotonic_ns
from fastpath.counters cimport Counters
from fastpath.excerpts cimport Excerpts
from fastpath.keys cimport client_key
from fastpath.ring cimport Ring
from proxy.http.exchange cimport Exchange
from proxy.policy.judge cimport Client, Verdict

from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action
from fastpath.record import FLAG_CACHED, NO_UPSTREAM
from proxy.telemetry.numbers import FLAG_HTTP_1_0, FLAG_TLS, METHODS, SHADOW, CacheUse

cdef int _FLAG_HTTP_1_0 = FLAG_HTTP_1_0
cdef int _FLAG_CACHED = FLAG_CACHED
cdef int _FLAG_TLS = FLAG_TLS
cdef int _HIT = CacheUse.HIT
cdef int _JOINED = CacheUse.JOINED
cdef int _NO_UPSTREAM = NO_UPSTREAM
cdef int _SHADOW = SHADOW
cdef int _TARPIT = Action.TARPIT
cdef int _DROP = Action.DROP
cdef int _UNKNOWN = OperationClass.UNKNOWN
cdef dict _METHOD_NUMBERS = {name: number for number, name in enumerate(METHODS)}
cdef enum:
    NOT_OBSERVED = -1
    MOST_USER_IDS = 4  # of an upload


cdef class Recorder:

    def __init__(
        self, Ring ring not None, Ring knocks not None, Excerpts excerpts not None, Counters counters not None
    ):
        self.ring = ring
        self.knocks = knocks
        self.excerpts = excerpts
        self.counters = counters

    cdef int exchange(self, Exchange exchange, int64_t now_ns) except -1:
        cdef Verdict verdict = exchange.verdict
        cdef Client client = exchange.client
        cdef bytes subject = PyUnicode_AsUTF8String(exchange.subject)
        cdef int action = verdict.shadow + _SHADOW if verdict.shadow else verdict.action
        cdef int64_t upstream_ns = NOT_OBSERVED
        cdef int64_t added_ns = NOT_OBSERVED
        cdef int flags = 0 if exchange.head.minor else _FLAG_HTTP_1_0
        cdef int method = 1 if exchange.head.method == "GET" else _METHOD_NUMBERS.get(exchange.head.method, 0)
        if exchange.cache_use == _HIT or exchange.cache_use == _JOINED:
            flags |= _FLAG_CACHED
        if exchange.sent_ns:
            upstream_ns = now_ns - exchange.sent_ns
        if exchange.relay_ns:
            added_ns = exchange.sent_ns - exchange.ready_ns - exchange.wait_ns + exchange.relay_ns
        self.ring.write(
            now_ns, client.key, exchange.request_id, exchange.subject_word, upstream_ns // 1000, exchange.wait_ns // 1000,
            (now_ns - exchange.started_ns) // 1000, exchange.received, exchange.sent, exchange.status, exchange.kind,
            action, verdict.reason, client.source, method, flags,
            exchange.upstream_index if exchange.upstream_index >= 0 else _NO_UPSTREAM, client.address, subject,
            b"" if exchange.connection.trusted else exchange.connection.fingerprint,  # a proxy's own says nothing
        )
        self.counters.record(
            exchange.kind, action, exchange.status, exchange.decided_ns - exchange.started_ns, max(added_ns, NOT_OBSERVED),
            upstream_ns, exchange.wait_ns if exchange.wait_ns else NOT_OBSERVED, exchange.cache_use,
        )
        return 0

    cdef int unread(self, Client client, Verdict verdict, uint64_t request_id, int64_t sent, int64_t now_ns) except -1:
        self.ring.write(
            now_ns, client.key, request_id, 0, 0, 0, 0, 0, sent, verdict.status, _UNKNOWN, verdict.action, verdict.reason,
            client.source, 0, 0, _NO_UPSTREAM, client.address, b"", b"",
        )
        self.counters.record(
            _UNKNOWN, verdict.action, verdict.status, NOT_OBSERVED, NOT_OBSERVED, NOT_OBSERVED, NOT_OBSERVED
        )
        return 0

    cdef int user_ids(self, Client client, tuple certs) except -1:
        cdef int room = MOST_USER_IDS
        for cert in certs:
            for user_id in cert.user_ids[:room]:
                self.excerpts.write(client.key, user_id)
                room -= 1
            if room <= 0:
                break
        return 0

    cdef int turned_away(self, int reason, bytes peer, int source, bint encrypted, bint held) except -1:
        """A connection is not taken on; `encrypted`: it came to speak TLS, `held`: the tarpit has it."""
        self.knocks.write(
            monotonic_ns(), client_key(peer), 0, 0, 0, 0, 0, 0, 0, 0, 0, _TARPIT if held else _DROP, reason, source, 0,
            _FLAG_TLS if encrypted else 0, _NO_UPSTREAM, peer, b"", b"",
        )
        return self.counters.turned_away(reason)

    def gauges(self, connections, parked, held):
        self.counters.set_connections(connections)
        self.counters.set_parked(parked)
        self.counters.set_tarpit_held(held)
