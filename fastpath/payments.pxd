from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef struct Note


cdef class Payments:
    cdef uint64_t *words
    cdef Note *notes
    cdef Py_buffer memory

    cpdef bint write(self, int64_t time_ns, uint64_t key, int kind, int64_t tokens, bytes address) except -1
