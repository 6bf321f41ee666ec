from libc.stdint cimport uint64_t


cdef class Epochs:
    cdef uint64_t *counters
    cdef Py_buffer memory

    cdef void approach(self, uint64_t thing) noexcept nogil
    cpdef uint64_t of(self, uint64_t thing) noexcept
    cpdef void advance(self, uint64_t thing) noexcept
