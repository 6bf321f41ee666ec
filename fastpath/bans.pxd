from libc.stdint cimport int64_t, uint64_t
from posix.types cimport pid_t


cdef enum:  # the numbers of `Standing`
    WELCOME = 0
    PRICED = 1
    DELAYED = 2
    LIMITED = 3
    TARPIT = 4
    BANNED = 5


cdef struct Entry:
    uint64_t version  # one more with each key that the slot gets
    uint64_t term  # until_ns << 3 | the standing


cdef struct Slots:
    uint64_t k0
    uint64_t k1
    uint64_t *header
    uint64_t *keys
    Entry *entries


cdef class BanTable:
    cdef Slots slots
    cdef pid_t recovered_by
    cdef Py_buffer memory

    cdef int look_up(self, bytes address, int64_t now_ns) noexcept
