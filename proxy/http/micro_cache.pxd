from libc.stdint cimport int64_t, uint64_t

from fastpath.cache cimport Hit, ReplyCache
from fastpath.epochs cimport Epochs
from proxy.http.exchange cimport Exchange
from proxy.http.head cimport ReplyHead
from proxy.http.parcel cimport Parcel, Shelf
from proxy.policy.subjects cimport Subjects


cdef class MicroCache:
    cdef object loop
    cdef ReplyCache replies
    cdef Epochs epochs
    cdef Subjects subjects
    cdef readonly Shelf shelf
    cdef object parcels  # weakly: large replies that are being sent, by key of the request
    cdef object writers  # exchanges with more of a parcel to write, in turn
    cdef bint writing  # the next turn of theirs is due
    cdef dict waiting  # by key of the request: [number of the flight, exchanges]
    cdef int waiters
    cdef object timer
    cdef bint on
    cdef int64_t[12] kept_ns  # by class
    cdef int64_t missing_ns

    cdef bint covers(self, Exchange exchange) except -1
    cdef int ask(self, Exchange exchange) except -1
    cdef uint64_t _edition(self, Exchange exchange) except? 0
    cdef int _wait(self, Exchange exchange, uint64_t number) except -1
    cdef int _arm(self) except -1
    cdef int _settle(self, uint64_t key) except -1
    cdef int _go_on_with(self, Exchange exchange, Hit hit) except -1
    cdef int leave(self, Exchange exchange) except -1
    cdef Parcel capture(self, Exchange exchange, ReplyHead reply)
    cdef int keep(self, Exchange exchange, ReplyHead reply, bytes body, Parcel parcel) except -1
    cdef int give_up(self, Exchange exchange) except -1
    cdef int _land(self, Exchange exchange) except -1
    cdef int64_t _time_of(self, Exchange exchange, ReplyHead reply) except -1
    cdef int _serve(self, Exchange exchange, Hit hit) except -1
    cdef Parcel _parcel_of(self, Exchange exchange, Hit hit, Py_ssize_t head_bytes)
    cdef int write_later(self, Exchange exchange) except -1
    cdef int uploaded(self, Exchange exchange) except -1
