from libc.stdint cimport int64_t, uint64_t


cdef class Tariff:
    cdef uint64_t *words
    cdef Py_buffer memory

    cpdef int times(self, int kind, int64_t now_ns) except -1
