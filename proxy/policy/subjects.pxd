from libc.stdint cimport uint64_t


cdef class Subjects:
    cdef uint64_t k0
    cdef uint64_t k1

    cdef uint64_t word(self, str text) except? 0
    cdef uint64_t counted(self, int kind, str subject) except? 0
    cdef uint64_t certificate(self, str digits) except? 0
    cdef uint64_t domain(self, int kind, str subject) except? 0
