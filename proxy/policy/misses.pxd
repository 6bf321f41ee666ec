from libc.stdint cimport int64_t, uint64_t

from fastpath.buckets cimport BucketTable, Budget
from fastpath.table cimport ClientTable, Spending
from proxy.policy.judge cimport Client


cdef class Misses:
    cdef readonly object limit
    cdef ClientTable clients
    cdef BucketTable buckets
    cdef Budget budget
    cdef int per_hit
    cdef int surcharge

    cpdef int note(self, Client client, int kind, str subject, int status, int64_t now_ns) except -1
