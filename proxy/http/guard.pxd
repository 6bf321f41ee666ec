from libc.stdint cimport int64_t, uint64_t

from fastpath.table cimport ClientTable
from proxy.http.client cimport ClientConnection
from proxy.http.pool cimport Upstreams
from proxy.http.refusal cimport Refusals
from proxy.policy.judge cimport Client
from proxy.telemetry.recorder cimport Recorder


cdef class Guard:
    cdef readonly object loop
    cdef readonly ClientTable table
    cdef readonly Upstreams upstreams
    cdef readonly Recorder recorder
    cdef readonly tuple turnstiles
    cdef readonly set connections
    cdef public int parked
    cdef readonly bint draining
    cdef uint64_t request_id
    # From the configuration; see `reload`.
    cdef readonly object policy
    cdef readonly tuple checks
    cdef readonly object classify
    cdef readonly object trusted
    cdef readonly bint use_forwarded
    cdef readonly Py_ssize_t head_bytes
    cdef readonly Py_ssize_t target_bytes
    cdef readonly int64_t body_bytes
    cdef readonly int64_t head_ns
    cdef readonly int64_t body_ns
    cdef readonly int64_t keepalive_ns
    cdef readonly int64_t write_ns
    cdef readonly int most_parked
    cdef readonly Py_ssize_t most_connections
    cdef readonly Refusals refusals

    cpdef admit(self, int fd, bytes peer)
    cdef uint64_t next_request_id(self) noexcept
    cpdef Client client_of(self, bytes address, int source)
    cdef bint trusts(self, bytes peer)
