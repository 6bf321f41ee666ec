from libc.stdint cimport uint32_t, uint64_t

from fastpath.prefix_tree cimport Plan


cdef class PrefixSet:
    cdef Plan plan
    cdef Py_buffer memory

    cdef uint32_t find(self, const unsigned char *packed, Py_ssize_t size) noexcept
    cpdef uint32_t look_up(self, bytes address) except? 0xFFFFFFFF


cdef class PrefixBook:
    cdef Plan plan  # of the generation that was looked at last
    cdef uint64_t planned  # its number
    cdef const char *half  # and where it stands
    cdef uint64_t *generation_word
    cdef uint64_t half_bytes
    cdef Py_buffer memory

    cdef char *half_of(self, uint64_t generation) noexcept
    cdef int turn_to(self, uint64_t generation) noexcept
    cdef int give_back(self, char *start, uint64_t size) noexcept
    cdef uint32_t find(self, const unsigned char *packed, Py_ssize_t size) noexcept
    cpdef uint32_t look_up(self, bytes address) except? 0xFFFFFFFF
