from libc.stdint cimport int64_t, uint64_t

from fastpath.bans cimport BanTable
from fastpath.crowd cimport Crowd

cdef enum:
    WELCOME = -1


cdef class Admission:
    cdef BanTable bans
    cdef Crowd crowd
    cdef object policy
    cdef object trusted
    cdef bint bans_hold
    cdef int most_of_client
    cdef int most_of_network

    cdef int enter(self, bytes peer, uint64_t key, uint64_t network, int64_t now_ns) except -2
    cdef int leave(self, uint64_t key, uint64_t network) except -1
    cdef bint _untouchable(self, bytes peer) except -1
