from libc.stdint cimport uint16_t, uint64_t


cdef class Crowd:
    cdef uint16_t *cells
    cdef uint64_t workers
    cdef uint64_t worker
    cdef uint64_t k0
    cdef uint64_t k1
    cdef Py_buffer memory

    cpdef void enter(self, uint64_t key) noexcept
    cpdef void leave(self, uint64_t key) noexcept
    cpdef int count(self, uint64_t key) noexcept
