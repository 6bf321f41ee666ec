from libc.stdint cimport int64_t

from proxy.http.exchange cimport Exchange
from proxy.http.stream cimport Stream
from proxy.http.upstream cimport UpstreamConnection


cdef class Connecting:
    cdef Upstream upstream
    cdef Exchange exchange
    cdef object sock
    cdef list untried  # endpoints
    cdef bint blameless  # it was not for the upstream that no connection could be made
    cdef readonly int64_t deadline_ns

    cdef int begin(self, Upstream upstream, Exchange exchange) except -1
    cdef int _try_next(self) except -1
    cdef int expire(self) except -1


cdef class Upstream:
    cdef readonly Upstreams pool
    cdef readonly object address
    cdef readonly int index
    cdef readonly object health
    cdef readonly bytes host
    cdef public tuple endpoints
    cdef list idle
    cdef set connections
    cdef set connecting
    cdef dict slow  # connections whose clients do not read, who stalled first is first
    cdef public int outstanding
    cdef int turn

    cdef bint full(self)
    cdef int stalled(self, UpstreamConnection connection) except -1
    cdef int connect(self, Exchange exchange) except -1
    cdef int connected(self, Connecting connecting, Stream stream, Exchange exchange, bint introduced) except -1
    cdef int connect_failed(self, Connecting connecting, Exchange exchange) except -1
    cdef int keep(self, UpstreamConnection connection) except -1
    cdef int lost(self, UpstreamConnection connection) except -1
    cdef int expire(self, int64_t now_ns) except -1


cdef class Upstreams:
    cdef readonly object loop
    cdef readonly tuple all
    cdef readonly object waiting
    # Bounds for each upstream; times in ns.
    cdef readonly int most_connections
    cdef readonly int most_idle
    cdef readonly bint introduces  # each connection begins with a PROXY header
    cdef readonly int most_slow
    cdef readonly int64_t connect_ns
    cdef readonly int64_t first_byte_ns
    cdef readonly int64_t idle_ns
    cdef readonly int64_t keep_ns

    cdef bint sending  # `redispatch` is at work

    cpdef dispatch(self, Exchange exchange)
    cdef int forget(self, Exchange exchange) except -1
    cdef bint _send(self, Exchange exchange) except -1
    cdef Upstream _choose(self, Exchange exchange)
    cdef bint _serve_waiting(self, UpstreamConnection connection) except -1
