"""What the request path of one worker works with: settings, the present policy, shared memory, upstreams, clients."""

from libc.stdint cimport int64_t, uint64_t

from fastpath.clock cimport monotonic_ns
from fastpath.costs cimport CostMemory
from fastpath.keys cimport client_key
from fastpath.table cimport ClientTable
from fastpath.tarpit cimport Tarpit
from proxy.http.admission cimport WELCOME, Admission
from proxy.http.client cimport ClientConnection
from proxy.http.entrance cimport EITHER, Arrival, Entrance
from proxy.http.entrance cimport TLS as ALWAYS_TLS
from proxy.http.micro_cache cimport MicroCache
from proxy.http.pool cimport Upstreams
from proxy.http.refusal cimport Refusals
from proxy.http.stream cimport Stream
from proxy.http.tls cimport Tls, TlsStream
from proxy.policy.judge cimport Client
from proxy.policy.subjects cimport Subjects
from proxy.telemetry.recorder cimport Recorder

import os
from itertools import islice
from operator import attrgetter

from fastpath import Mode, network_key
from proxy.hkp.traps import canary_subjects, trap_prefixes
from proxy.http.address import Source
from proxy.http.intake import BodyStore
from proxy.http.turnstile import Turnstile
from proxy.policy.actions import TurnedAway
from proxy.policy.networks import network_set
from proxy.policy.policy import CLASS_NAMES

cdef extern from *:
    """
    #include <sys/types.h>
    #include <sys/socket.h>
    #include <unistd.h>
    """
    ssize_t recv(int fd, void *buffer, size_t size, int flags) nogil
    int setsockopt(int fd, int level, int name, const void *value, unsigned int size) nogil
    int close_fd "close"(int fd) nogil
    cdef struct linger:
        int l_onoff
        int l_linger
    enum:
        MSG_PEEK
        MSG_DONTWAIT
        SOL_SOCKET
        SO_LINGER

cdef enum:
    SHED_PART = 16  # one in so many of the connections that wait makes room for others
    EXPIRED_AT_ONCE = 8
    LOOK_BYTES = 32

cdef int64_t SHED_NS = 100_000_000  # not more often: it looks at all connections
SWEEP_SECONDS = 0.25
REST_SECONDS = 0.004
cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"  # an IPv4 address on a socket that takes both kinds
cdef int _PEER = Source.PEER
cdef int _FULL = TurnedAway.FULL
cdef int _BANNED = TurnedAway.BANNED
cdef int _UNTRUSTED = TurnedAway.UNTRUSTED
_shed_order = attrgetter("shed_order")


cdef class Guard:

    def __init__(
        self, loop, config, *, policy, classify, readers, contents, MicroCache cache not None, CostMemory costs not None, ClientTable table not None, leases, Upstreams upstreams not None,
        Subjects subjects not None, Recorder recorder not None, Admission admission not None, Tarpit tarpit not None, Tls tls=None,
        claims=None,
    ):
        self.loop = loop
        self.table = table
        self.upstreams = upstreams
        self.recorder = recorder
        self.subjects = subjects
        self.turnstiles = tuple([Turnstile(loop, leases, bucket) for bucket in range(len(CLASS_NAMES))])
        self.admission = admission
        self.tarpit = tarpit
        self.tls = tls
        self.connections = set()
        self.late = []
        self.bodies = BodyStore(config.http.body_store_bytes)
        self.arrivals = {}
        self.request_id = int.from_bytes(os.urandom(8), "little")
        self.contents = contents
        self.claims = claims
        self.strict = 0 if claims is None else claims.kinds
        self.cache = cache
        self.costs = costs
        for kind in range(len(CLASS_NAMES)):
            self.usual_us[kind] = 100_000  # more than any keyserver should need; it comes down with the first answers
        self.reload(config, policy, classify, readers)

    def reload(self, config, policy, classify, readers):
        self.policy = policy
        self.checks = policy.checks
        self.misses = policy.misses
        self.classify = classify
        self.reader_for = readers
        self.cache.reload(config)
        self.fat_caps = policy.fat_caps
        self.uploads_in_shadow = policy.uploads_mode is Mode.SHADOW
        self.bodies.most_bytes = config.http.body_store_bytes
        self.trusted = network_set(config.trusted_proxies)
        self.admission.reload(config, policy, self.trusted)
        self.forwarded_header = config.forwarded_header
        self.canaries = frozenset() if config.traps.mode == "off" else canary_subjects(config.traps.subjects)
        self.trap_prefixes = tuple([prefix.lower().encode("ascii") for prefix in trap_prefixes(config.traps)])
        self.ban_refusal = config.bans.refusal
        self.tarpit_open = config.tarpit.mode != "off"
        self.head_bytes = config.http.head_bytes
        self.target_bytes = config.http.target_bytes
        self.body_bytes = config.http.body_bytes
        self.head_ns = config.timeouts.head_ns
        self.body_ns = config.timeouts.body_ns
        self.keepalive_ns = config.timeouts.keepalive_ns
        self.write_ns = config.timeouts.write_ns
        self.handshake_ns = config.timeouts.handshake_ns
        self.proxy_header_ns = config.timeouts.proxy_header_ns
        self.most_parked = config.parked
        self.most_connections = config.connections
        self.refusals = Refusals(config.ratelimit_headers)

    cpdef admit(self, int fd, bytes peer, Entrance entrance):
        cdef uint64_t network
        cdef bint encrypted = entrance.scheme == ALWAYS_TLS
        if peer.startswith(MAPPED):
            peer = peer[12:]
        if entrance.proxy_header or not entrance.direct:
            if not self.trusts(peer):
                self.turn_away(fd, _UNTRUSTED, peer, _PEER, encrypted)
                return
        network = network_key(peer)
        if entrance.proxy_header:  # who it is for is not known yet
            if self._has_room(monotonic_ns()):
                Arrival(self, entrance, fd, peer, 0).begin()
            else:
                self.turn_away(fd, _FULL, peer, _PEER, encrypted)
        elif self.enter(fd, peer, network, _PEER, encrypted):
            if entrance.scheme == EITHER:
                Arrival(self, entrance, fd, peer, network).begin()
            else:
                self.serve(fd, peer, network, _PEER, encrypted)

    cdef bint enter(self, int fd, bytes peer, uint64_t network, int source, bint encrypted) except -1:
        """Count a connection of `peer` in; false if it is turned away, and its descriptor closed."""
        cdef int64_t now_ns = monotonic_ns()
        cdef uint64_t key = client_key(peer)
        cdef int reason = self.admission.enter(peer, key, network, now_ns)
        if reason == WELCOME and not self._has_room(now_ns):
            self.admission.leave(key, network)
            reason = _FULL
        if reason == WELCOME:
            return True
        self.turn_away(fd, reason, peer, source, encrypted)
        return False

    cdef int serve(self, int fd, bytes peer, uint64_t network, int source, bint encrypted) except -1:
        """Serve a connection that has been counted in; owns the descriptor."""
        cdef ClientConnection connection
        cdef Stream stream = TlsStream(self.loop, fd, self.tls, network) if encrypted else Stream(self.loop, fd)
        try:
            connection = ClientConnection(self, stream, peer, source, network, encrypted)
            stream.protocol = connection
            self.connections.add(connection)
        except BaseException:  # the stream closes the descriptor
            self.admission.leave(client_key(peer), network)
            raise
        try:
            connection.begin()
        except Exception as error:  # our bug: it costs this connection, not the worker
            self.loop.call_exception_handler({"message": "a connection was given up", "exception": error})
            stream.abort()
        return 0

    cdef int turn_away(self, int fd, int reason, bytes peer, int source, bint encrypted) except -1:
        """Do not take a connection on: close it, or leave it to the tarpit."""
        cdef bint held = reason == _BANNED and self._holds_banned(fd, source)
        if not held:
            close_fd(fd)
        return self.recorder.turned_away(reason, peer, source, encrypted, held)

    cdef bint _holds_banned(self, int fd, int source) except -1:
        """Do with a banned client's connection what the operator chose; false if it is to be closed."""
        cdef linger at_once
        if self.ban_refusal == "tarpit":
            return source == _PEER and self._asks_for_trap(fd) and self.tarpit.hold(fd, monotonic_ns(), False)
        if self.ban_refusal == "reset":
            at_once.l_onoff = 1
            at_once.l_linger = 0
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once))
        return False

    cdef bint _asks_for_trap(self, int fd) except -1:
        """Whether a plain request waits there that no client of a keyserver sends."""
        cdef char seen[LOOK_BYTES]
        cdef ssize_t n = recv(fd, seen, LOOK_BYTES, MSG_PEEK | MSG_DONTWAIT)
        if n <= 0 or not self.tarpit_open:
            return False
        target = seen[:n].lower().partition(b" ")[2]
        return target.startswith(self.trap_prefixes)

    cdef bint _has_room(self, int64_t now_ns) except -1:
        """Whether one more connection may be open; if not, those that wait longest for their client make room."""
        cdef ClientConnection connection
        cdef Py_ssize_t most, shed
        if len(self.connections) + len(self.arrivals) < self.most_connections:
            return True
        if now_ns - self.shed_ns < SHED_NS:
            return False
        self.shed_ns = now_ns
        waiting = [each for each in self.connections if (<ClientConnection>each).may_be_shed()]
        waiting.sort(key=_shed_order)
        most = (len(waiting) + SHED_PART - 1) // SHED_PART
        for connection in waiting[:most]:
            connection.stream.abort()
        shed = self._shed_arrivals(max(len(self.arrivals) // SHED_PART, 0 if waiting else 1))
        return len(waiting) + shed > 0

    cdef Py_ssize_t _shed_arrivals(self, Py_ssize_t most) except -1:
        """Drop strangers among those that came first; return how many."""
        cdef Arrival arrival
        cdef Py_ssize_t dropped = 0
        for arrival in list(islice(self.arrivals, most)):
            if arrival.may_be_shed():
                arrival.drop()
                dropped += 1
        return dropped

    cdef uint64_t next_request_id(self) noexcept:
        self.request_id += 1
        return self.request_id

    cdef bint trusts(self, bytes peer):
        return not self.trusted.empty and self.trusted.get(peer) is not None

    cpdef Client client_of(self, bytes address, int source):
        return Client(address, client_key(address), source, self.policy.profile(address))

    def sweep(self):
        cdef int64_t now_ns = monotonic_ns()
        cdef ClientConnection connection
        cdef Arrival arrival
        if not self.late:
            for connection in self.connections:
                if connection.deadline_ns < now_ns:
                    self.late.append(connection)
            for arrival in self.arrivals:
                if arrival.deadline_ns < now_ns:
                    self.late.append(arrival)
            self._expire_some()
        self.upstreams.expire(now_ns)
        if self.tls is not None:
            self.tls.standing.forget_some()
        self.recorder.gauges(len(self.connections), self.parked, self.tarpit.held)

    def _expire_some(self):
        """
        End a few of those that are late, and more after a rest.

        Connections that were begun together are late together. All in one go they cost milliseconds, in which not only
        this worker's clients wait but also whoever shares its core: a process that works without rest is interrupted
        by the kernel's clock only, 4 ms later.
        """
        cdef Py_ssize_t some = max(EXPIRED_AT_ONCE, len(self.late) // 64)
        self._expire(self.late[-some:])
        del self.late[-some:]
        if self.late:
            self.loop.call_later(REST_SECONDS, self._expire_some)

    cdef int _expire(self, list late) except -1:
        cdef ClientConnection connection
        cdef int64_t now_ns = monotonic_ns()
        for each in late:
            if isinstance(each, Arrival):
                (<Arrival>each).drop()
                continue
            connection = each
            if connection.deadline_ns >= now_ns or connection not in self.connections:  # it has said something, or gone
                continue
            try:
                connection.expire()
            except Exception as error:  # our bug: it costs this connection, not the sweep
                self.loop.call_exception_handler({"message": "a connection was given up", "exception": error})
                connection.stream.abort()
        return 0

    def usual_time_us(self, int kind):
        return self.usual_us[kind]

    def say_goodbye(self):
        self.draining = True

    def drain(self):
        cdef ClientConnection connection
        self.say_goodbye()
        for connection in list(self.connections):
            connection.drain()
        for arrival in list(self.arrivals):
            (<Arrival>arrival).drop()
        self.tarpit.close()
        self.upstreams.close()
