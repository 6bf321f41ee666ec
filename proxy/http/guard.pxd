from libc.stdint cimport int64_t, uint64_t

from fastpath.costs cimport CostMemory
from fastpath.table cimport ClientTable
from fastpath.tarpit cimport Tarpit
from proxy.http.admission cimport Admission
from proxy.http.client cimport ClientConnection
from proxy.http.entrance cimport Entrance
from proxy.http.micro_cache cimport MicroCache
from proxy.http.pool cimport Upstreams
from proxy.http.refusal cimport Refusals
from proxy.http.tls cimport Tls
from proxy.policy.judge cimport Client
from proxy.policy.misses cimport Misses
from proxy.policy.subjects cimport Subjects
from proxy.telemetry.recorder cimport Recorder


cdef class Guard:
    cdef readonly object loop
    cdef readonly ClientTable table
    cdef readonly Upstreams upstreams
    cdef readonly Recorder recorder
    cdef readonly Subjects subjects
    cdef readonly tuple turnstiles
    cdef readonly Admission admission
    cdef readonly Tarpit tarpit
    cdef readonly Tls tls  # None without a certificate
    cdef readonly set connections
    cdef readonly MicroCache cache
    cdef CostMemory costs
    cdef int64_t[12] usual_us  # what the keyserver needs for most requests of a class
    cdef readonly tuple fat_caps  # on requests for a dear subject: of one client, of all
    cdef readonly object contents  # judges what was found in bodies
    cdef readonly object claims  # asks the cluster; None: no class is strict
    cdef readonly int strict  # which classes are: bit by OperationClass
    cdef readonly object bodies  # the memory for those that are being read
    cdef list late  # connections and arrivals that are past their deadlines
    cdef readonly dict arrivals  # who came first is first
    cdef int64_t shed_ns
    cdef public int parked
    cdef readonly bint draining
    cdef uint64_t request_id
    # From the configuration; see `reload`.
    cdef readonly object policy
    cdef readonly tuple checks
    cdef readonly Misses misses
    cdef readonly object classify
    cdef readonly object reader_for
    cdef readonly bint uploads_in_shadow
    cdef readonly object trusted
    cdef readonly str forwarded_header
    cdef readonly frozenset canaries
    cdef readonly tuple trap_prefixes
    cdef readonly str ban_refusal
    cdef readonly bint tarpit_open
    cdef readonly Py_ssize_t head_bytes
    cdef readonly Py_ssize_t target_bytes
    cdef readonly int64_t body_bytes
    cdef readonly int64_t head_ns
    cdef readonly int64_t body_ns
    cdef readonly int64_t keepalive_ns
    cdef readonly int64_t write_ns
    cdef readonly int64_t handshake_ns
    cdef readonly int64_t proxy_header_ns
    cdef readonly int most_parked
    cdef readonly Py_ssize_t most_connections
    cdef readonly Refusals refusals

    cpdef admit(self, int fd, bytes peer, Entrance entrance)
    cdef bint enter(self, int fd, bytes peer, uint64_t network, int source, bint encrypted) except -1
    cdef int serve(self, int fd, bytes peer, uint64_t network, int source, bint encrypted) except -1
    cdef int turn_away(self, int fd, int reason, bytes peer, int source, bint encrypted) except -1
    cdef bint _holds_banned(self, int fd, int source) except -1
    cdef bint _asks_for_trap(self, int fd) except -1
    cdef bint _has_room(self, int64_t now_ns) except -1
    cdef Py_ssize_t _shed_arrivals(self, Py_ssize_t most) except -1
    cdef int _expire(self, list late) except -1
    cdef uint64_t next_request_id(self) noexcept
    cpdef Client client_of(self, bytes address, int source)
    cdef bint trusts(self, bytes peer)
