# cython: language_level=3str
"""What was seen lately: a memory of pairs of words in shared memory, exact while it lasts.

Sets of 8 cells of one word each, a cache line:  tag of the pair's hash, 48 bits | time of the sighting, 16 bits

A budget of distinct subjects must know of each single request whether its subject is new. A sketch cannot tell: once
a HyperLogLog has a thousand subjects it is left unchanged by two thirds of all new ones, and whoever has used up his
budget goes on with these (measured with `bench scenarios`: 94 % of a scrape). It says how many there were
(`distinct.pyx`), these cells say which.

Time is counted in units of 69 s, of which 16 bits hold 52 days; a cell that is older may look young again, once. A pair
that is not there takes the place of the oldest of its set. So only as many sightings as there are cells drive one out,
and each of them had to pay.

Each step is one load or one compare-and-swap of one word, and any content is a valid memory. A lost race forgets a
sighting: it is paid again.
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath._atomic cimport keyed_hash, load, map_words, prefetch, read_secret, scale, swap, unmap
from fastpath.buckets cimport mix

cdef enum:
    WAYS = 8
    SETS = 262_144
    TIME_BITS = 16
    UNIT_SHIFT = 36
    TIME_MASK = 0xFFFF
    AHEAD = 12  # pairs of many that are brought near before they are looked at

SIGHTING_BYTES = SETS * WAYS * 8
UNIT_NS = <int64_t>1 << UNIT_SHIFT
LONGEST_NS = <int64_t>(TIME_MASK // 2) << UNIT_SHIFT


cdef inline uint64_t unit_of(int64_t now_ns) noexcept nogil:
    return (<uint64_t>now_ns >> UNIT_SHIFT) & TIME_MASK


cdef inline uint64_t age(uint64_t cell, uint64_t unit) noexcept nogil:
    """Return how many units ago a cell was written; an empty one is older than all."""
    return (unit - cell) & TIME_MASK if cell >> TIME_BITS else TIME_MASK + 1


cdef class Sightings:

    def __cinit__(self, memory, bytes secret not None):
        read_secret(secret, &self.k0, &self.k1)
        map_words(&self.memory, memory, "the sightings", SIGHTING_BYTES)
        self.cells = <uint64_t *>self.memory.buf

    def __dealloc__(self):
        unmap(&self.memory)

    cdef uint64_t *set_of(self, uint64_t where, uint64_t what, uint64_t *tag) noexcept nogil:
        cdef uint64_t hash = keyed_hash(self.k0, self.k1, mix(0, where, what))
        tag[0] = (hash & ~<uint64_t>TIME_MASK) | (<uint64_t>1 << TIME_BITS)  # never 0
        return self.cells + WAYS * scale(keyed_hash(self.k1, self.k0, hash), SETS)

    cdef void approach(self, uint64_t where, uint64_t what) noexcept nogil:
        """Have the set of a pair brought near, which is about to be looked at."""
        cdef uint64_t tag
        prefetch(self.set_of(where, what, &tag))

    cpdef bint seen(self, uint64_t where, uint64_t what, int64_t window_ns, int64_t now_ns) except -1:
        cdef uint64_t tag, cell, unit = unit_of(now_ns)
        cdef uint64_t *cells = self.set_of(where, what, &tag)
        cdef int way
        for way in range(WAYS):
            cell = load(cells + way)
            if cell & ~<uint64_t>TIME_MASK == tag:
                return age(cell, unit) <= (<uint64_t>window_ns >> UNIT_SHIFT) + 1
        return False

    cpdef int add(self, uint64_t where, uint64_t what, int64_t now_ns) except -1:
        cdef uint64_t tag, cell, seen = 0, unit = unit_of(now_ns)
        cdef uint64_t *cells = self.set_of(where, what, &tag)
        cdef int way, oldest = 0
        for way in range(WAYS):
            cell = load(cells + way)
            if cell & ~<uint64_t>TIME_MASK == tag:
                swap(cells + way, cell, tag | unit)
                return 0
            if way == 0 or age(cell, unit) > age(seen, unit):
                oldest, seen = way, cell
        swap(cells + oldest, seen, tag | unit)
        return 0

    def unseen(self, uint64_t where, tuple whats not None, int64_t window_ns, int64_t now_ns):
        cdef Py_ssize_t number, count = 0
        for number in range(len(whats)):
            self._approach_next(where, whats, number)
            count += not self.seen(where, whats[number], window_ns, now_ns)
        return count

    def add_all(self, uint64_t where, tuple whats not None, int64_t now_ns):
        cdef Py_ssize_t number
        for number in range(len(whats)):
            self._approach_next(where, whats, number)
            self.add(where, whats[number], now_ns)

    cdef int _approach_next(self, uint64_t where, tuple whats, Py_ssize_t number) except -1:
        """Have the set of a later one brought near: each is elsewhere, and to wait for memory is nearly all of the work."""
        if number + AHEAD < len(whats):
            self.approach(where, whats[number + AHEAD])
        return 0
