"""What the request path of one worker works with: settings, the present policy, shared memory, upstreams, clients."""

from libc.stdint cimport int64_t, uint64_t

from fastpath.clock cimport monotonic_ns
from fastpath.keys cimport client_key
from fastpath.table cimport ClientTable
from proxy.http.client cimport ClientConnection
from proxy.http.pool cimport Upstreams
from proxy.http.refusal cimport Refusals
from proxy.http.stream cimport Stream
from proxy.policy.judge cimport Client
from proxy.telemetry.recorder cimport Recorder

import os

from proxy.http.turnstile import Turnstile
from proxy.policy.networks import network_set
from proxy.policy.policy import CLASS_NAMES

SWEEP_SECONDS = 0.25
cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"  # an IPv4 address on a socket that takes both kinds


cdef class Guard:

    def __init__(
        self, loop, config, *, policy, classify, ClientTable table not None, leases, Upstreams upstreams not None,
        Recorder recorder not None,
    ):
        self.loop = loop
        self.table = table
        self.upstreams = upstreams
        self.recorder = recorder
        self.turnstiles = tuple([Turnstile(loop, leases, bucket) for bucket in range(len(CLASS_NAMES))])
        self.connections = set()
        self.request_id = int.from_bytes(os.urandom(8), "little")
        self.reload(config, policy, classify)

    def reload(self, config, policy, classify):
        self.policy = policy
        self.checks = policy.checks
        self.classify = classify
        self.trusted = network_set(config.trusted_proxies)
        self.use_forwarded = config.forwarded_header == "forwarded"
        self.head_bytes = config.http.head_bytes
        self.target_bytes = config.http.target_bytes
        self.body_bytes = config.http.body_bytes
        self.head_ns = config.timeouts.head_ns
        self.body_ns = config.timeouts.body_ns
        self.keepalive_ns = config.timeouts.keepalive_ns
        self.write_ns = config.timeouts.write_ns
        self.most_parked = config.parked
        self.most_connections = config.connections
        self.refusals = Refusals(config.ratelimit_headers)

    cpdef admit(self, int fd, bytes peer):
        cdef Stream stream = Stream(self.loop, fd)
        if len(self.connections) >= self.most_connections:
            self.recorder.connection_refused()
            return  # nobody holds the stream, so its descriptor is closed now
        if peer.startswith(MAPPED):
            peer = peer[12:]
        cdef ClientConnection connection = ClientConnection(self, stream, peer)
        stream.protocol = connection
        self.connections.add(connection)
        try:
            connection.begin()
        except Exception as error:  # our bug: it costs this connection, not the worker
            self.loop.call_exception_handler({"message": "a connection was given up", "exception": error})
            stream.abort()

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
        late = []
        for connection in self.connections:
            if connection.deadline_ns < now_ns:
                late.append(connection)
        for connection in late:
            try:
                connection.expire()
            except Exception as error:  # our bug: it costs this connection, not the sweep
                self.loop.call_exception_handler({"message": "a connection was given up", "exception": error})
                connection.stream.abort()
        self.upstreams.expire(now_ns)
        self.recorder.gauges(len(self.connections), self.parked)

    def say_goodbye(self):
        self.draining = True

    def drain(self):
        cdef ClientConnection connection
        self.say_goodbye()
        for connection in list(self.connections):
            connection.drain()
        self.upstreams.close()
