from libc.stdint cimport int64_t, uint64_t


cdef struct Cell:  # one aggregate
    uint64_t words[2][64]  # a generation each


cdef class DistinctTable:
    cdef uint64_t k0
    cdef uint64_t k1
    cdef uint64_t *header
    cdef uint64_t *keys
    cdef uint64_t *states
    cdef Cell *cells
    cdef Py_buffer memory

    cpdef void add(self, uint64_t aggregate, uint64_t subject_hash, int64_t now_ns) except *
