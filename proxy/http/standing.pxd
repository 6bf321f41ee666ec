from libc.stdint cimport uint64_t

cdef enum:
    CELL_BITS = 17
    CELLS = 1 << CELL_BITS


cdef class Standing:
    cdef signed char[CELLS] credit
    cdef uint64_t k0
    cdef uint64_t k1
    cdef int next_cell

    cpdef bint in_debt(self, uint64_t network) noexcept
    cpdef int note(self, uint64_t network, bint finished) noexcept
    cpdef int forget_some(self) noexcept
    cdef int _cell(self, uint64_t network) noexcept
