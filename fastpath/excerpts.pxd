from libc.stdint cimport uint8_t, uint64_t


cdef packed struct Excerpt:
    uint64_t client
    uint8_t text[64]


cdef class Excerpts:
    cdef uint64_t *words
    cdef Excerpt *entries
    cdef Py_buffer memory

    cpdef bint write(self, uint64_t client, bytes text) except -1
