from libc.stdint cimport int64_t, uint64_t

from fastpath.gcra cimport Rate
from fastpath.slots cimport BUCKETS, Table


cdef class LimitSet:
    cdef Rate rates[BUCKETS]


cdef class Spending:
    cdef readonly int bucket
    cdef readonly bint allowed
    cdef readonly bint shadow
    cdef readonly int64_t wait_ns
    cdef readonly int64_t remaining
    cdef readonly int64_t retry_after_ns
    cdef readonly int64_t reset_after_ns


cdef class ClientTable:
    cdef Table table
    cdef Py_buffer memory

    cpdef Spending spend(self, LimitSet limits, uint64_t key, int bucket, int64_t price, int64_t now_ns)
