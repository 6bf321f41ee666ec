from libc.stdint cimport int64_t, uint64_t


cdef class Sightings:
    cdef uint64_t k0
    cdef uint64_t k1
    cdef uint64_t *cells
    cdef Py_buffer memory

    cdef uint64_t *set_of(self, uint64_t where, uint64_t what, uint64_t *tag) noexcept nogil
    cdef void approach(self, uint64_t where, uint64_t what) noexcept nogil
    cdef int _approach_next(self, uint64_t where, tuple whats, Py_ssize_t number) except -1
    cpdef bint seen(self, uint64_t where, uint64_t what, int64_t window_ns, int64_t now_ns) except -1
    cpdef int add(self, uint64_t where, uint64_t what, int64_t now_ns) except -1
