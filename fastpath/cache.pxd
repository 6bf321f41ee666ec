from libc.stdint cimport int64_t, uint64_t

from fastpath.flights cimport Cells
from fastpath.reply_log cimport Log


cdef class Hit:
    cdef readonly bytes data
    cdef readonly int64_t age_ns
    cdef readonly int64_t stored_ns
    cdef readonly int64_t expires_ns
    cdef readonly uint64_t note


cdef class Ticket:
    cdef ReplyCache cache
    cdef uint64_t *cell
    cdef uint64_t flight  # its word in the cell; 0: there is none
    cdef uint64_t key
    cdef uint64_t check
    cdef int64_t since_ns


cdef class ReplyCache:
    cdef Cells cells
    cdef Log log
    cdef readonly Py_ssize_t largest
    cdef Py_buffer memory
    cdef Py_buffer generation_memory

    cdef void approach(self, uint64_t key) noexcept
    cpdef object look_up(self, uint64_t key, uint64_t check, int64_t now_ns)
    cpdef bint put(self, Ticket ticket, bytes data, int64_t expires_ns, int64_t now_ns, uint64_t note=*) except -1
    cpdef void give_up(self, Ticket ticket) except *
    cpdef void invalidate(self, uint64_t key) noexcept
    cdef Hit read(self, uint64_t kept, uint64_t key, uint64_t check, int64_t now_ns)
