from libc.stdint cimport int64_t, uint64_t


cdef struct Toll:  # what a subject cost the upstream; a Cost in C
    int64_t service_us
    int64_t size_bytes
    int64_t age_ns


cdef struct Cell


cdef class CostMemory:
    cdef Cell *cells
    cdef Py_buffer memory

    cpdef void note(self, uint64_t subject_hash, int64_t service_us, int64_t size_bytes, int64_t now_ns) noexcept
    cdef void approach(self, uint64_t subject_hash) noexcept nogil
    cdef bint find(self, uint64_t subject_hash, int64_t now_ns, Toll *toll) noexcept nogil
