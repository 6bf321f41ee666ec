from libc.stdint cimport int64_t, uint64_t

from proxy.http.guard cimport Guard


cdef enum Scheme:
    PLAIN
    TLS
    EITHER


cdef class Entrance:
    cdef readonly Scheme scheme
    cdef readonly bint proxy_header
    cdef readonly bint direct


cdef class Arrival:
    cdef Guard guard
    cdef Entrance entrance
    cdef bytes peer
    cdef int source
    cdef uint64_t network  # around the peer, if the connection has been counted in; else 0
    cdef int fd
    cdef bint watched
    cdef bint named
    cdef ssize_t seen  # bytes that were there at the last look, and were too few
    cdef readonly int64_t deadline_ns

    cdef int begin(self) except -1
    cdef int _look(self) except -1
    cdef bint _read_proxy_header(self, bytes data) except -1
    cdef int _wait_for(self, int octets) except -1
    cdef int _unwatch(self) except -1
    cdef int _welcome(self, bint encrypted) except -1
    cdef bint may_be_shed(self) except -1
    cdef int drop(self) except -1
