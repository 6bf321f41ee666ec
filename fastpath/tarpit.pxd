from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t


cdef struct Held:  # one connection, 16 bytes; times in ms, modulo 2**32
    int32_t fd
    uint32_t due_ms  # when it is looked at again
    uint32_t end_ms  # when it is closed
    uint16_t weight_kib  # kernel memory accounted for it
    uint16_t at  # next byte of the reply, or SILENT


cdef class Tarpit:
    cdef Held *entries
    cdef readonly int held
    cdef readonly int64_t kernel_bytes
    cdef int room
    cdef int most
    cdef int mode
    cdef int cursor
    cdef int64_t most_kernel_bytes
    cdef uint32_t interval_ms
    cdef uint32_t hold_ms
    cdef uint64_t random

    cpdef bint hold(self, int fd, int64_t now_ns, bint silent=*) noexcept
    cpdef int turn(self, int64_t now_ns) noexcept
    cdef uint32_t draw(self, uint32_t below) noexcept
    cdef uint32_t pause_ms(self) noexcept
    cdef bint has_room(self) noexcept
    cdef bint resize(self, int room) noexcept
    cdef bint keep(self, Held *entry, uint32_t now_ms) noexcept
    cdef bint drip(self, Held *entry) noexcept
    cdef bint weigh_again(self, Held *entry) noexcept
    cdef void drop(self, int index) noexcept
    cdef void release(self) noexcept
