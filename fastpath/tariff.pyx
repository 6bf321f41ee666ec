# cython: language_level=3str
"""The tariff: how many tokens of its class a request costs just now, by class; all zero: one, as ever.

The analyst alone writes; workers read one word for each request. A word holds the tokens, less one, in its four
lowest bits, and above them until when. So a price and its end are never torn apart, and a price ends by itself when
the analyst, who has to say it again and again, does not any more.
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath._atomic cimport load, map_words, store, unmap
from fastpath.slots cimport BUCKETS

from fastpath._gcra_py import MAX_OFFSET_NS
from fastpath._table_py import MOST_TIMES

cdef enum:
    TIMES_BITS = 4
    TIMES_MASK = 15

cdef int64_t MAX_UNTIL_NS = MAX_OFFSET_NS >> 2  # with the tokens it fills a word; 18 years after the machine's start

TARIFF_BYTES = BUCKETS * 8

assert MOST_TIMES == 1 << TIMES_BITS


cdef class Tariff:

    def __cinit__(self, memory):
        map_words(&self.memory, memory, "the tariff", TARIFF_BYTES)
        self.words = <uint64_t *>self.memory.buf

    def __dealloc__(self):
        unmap(&self.memory)

    cpdef int times(self, int kind, int64_t now_ns) except -1:
        cdef uint64_t word
        if not 0 <= kind < BUCKETS:
            raise ValueError(f"kind {kind} not in 0..{BUCKETS - 1}")
        word = load(self.words + kind)
        return 1 + <int>(word & TIMES_MASK) if <int64_t>(word >> TIMES_BITS) > now_ns else 1

    def set(self, int kind, int times, int64_t until_ns):
        if not 0 <= kind < BUCKETS:
            raise ValueError(f"kind {kind} not in 0..{BUCKETS - 1}")
        if not 1 <= times <= MOST_TIMES:
            raise ValueError(f"times {times} not in 1..{MOST_TIMES}")
        if not 0 <= until_ns <= MAX_UNTIL_NS:
            raise ValueError(f"until_ns {until_ns} not in 0..{MAX_UNTIL_NS}")
        store(self.words + kind, <uint64_t>until_ns << TIMES_BITS | <uint64_t>(times - 1))
