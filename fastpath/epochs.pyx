# cython: language_level=3str
"""Epochs: which edition of a thing is the present one, for whoever keeps what was said of it.

One counter for each of 65,536 groups of things. Who keeps an answer keeps it under the epoch of its subject; who
changes the subject advances the epoch, and all that was kept under the one before is never found again, in whichever
words it was asked for. Things that share a counter lose their answers together, which costs a request more.

A counter is one word and only ever added to, so there is no state in which a process could leave it unfinished.
"""

from libc.stdint cimport uint64_t

from fastpath._atomic cimport add, load, map_words, prefetch, unmap

cdef enum:
    GROUPS = 65_536

EPOCHS = GROUPS
EPOCH_BYTES = (GROUPS + 8) * 8  # the counters, and a line: how often any of them was advanced


cdef class Epochs:

    def __cinit__(self, memory):
        map_words(&self.memory, memory, "the epochs", EPOCH_BYTES)
        self.counters = <uint64_t *>self.memory.buf

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def advanced(self):
        return load(self.counters + GROUPS)

    cdef void approach(self, uint64_t thing) noexcept nogil:
        """Have the counter of a thing brought near, which is about to be read."""
        prefetch(self.counters + thing % GROUPS)

    cpdef uint64_t of(self, uint64_t thing) noexcept:
        return load(self.counters + thing % GROUPS)

    cpdef void advance(self, uint64_t thing) noexcept:
        add(self.counters + thing % GROUPS, 1)
        add(self.counters + GROUPS, 1)
