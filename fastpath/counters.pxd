from libc.stdint cimport int64_t


cdef struct Block


cdef class Counters:
    cdef Block *block
    cdef Py_buffer memory

    cpdef int record(
        self, int operation, int action, int status,
        int64_t decision_ns, int64_t added_ns, int64_t upstream_ns, int64_t wait_ns, int cache_use=*,
    ) except -1
    cpdef int turned_away(self, int reason) except -1
