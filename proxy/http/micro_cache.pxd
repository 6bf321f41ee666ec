from libc.stdint cimport int64_t, uint64_t

from fastpath.cache cimport Hit, ReplyCache
from fastpath.epochs cimport Epochs
from proxy.http.exchange cimport Exchange
from proxy.http.head cimport ReplyHead
from proxy.policy.subjects cimport Subjects


cdef class MicroCache:
    cdef object loop
    cdef ReplyCache replies
    cdef Epochs epochs
    cdef Subjects subjects
    cdef dict waiting  # by key of the request: [number of the flight, exchanges]
    cdef int waiters
    cdef object timer
    cdef bint on
    cdef int64_t[12] kept_ns  # by class
    cdef int64_t missing_ns

    cdef bint covers(self, Exchange exchange) except -1
    cdef int ask(self, Exchange exchange) except -1
    cdef int keep(self, Exchange exchange, ReplyHead reply, bytes body) except -1
    cdef int give_up(self, Exchange exchange) except -1
    cdef int leave(self, Exchange exchange) except -1
    cdef int uploaded(self, object found) except -1
    cdef int _settle(self, uint64_t key) except -1
    cdef int _arm(self) except -1
