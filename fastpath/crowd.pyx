# cython: language_level=3str
"""How many connections a client, or its network, holds at this moment, over all workers.

    2 rows | 65_536 buckets | a cell of 16 bits for each worker

A key has a bucket in each row, from the halves of one keyed hash; a worker adds to its own cell in both. What a
worker holds is at most the lesser of its two cells: others that share one bucket with the key hardly ever share
the other (a count-min sketch: Cormode, Muthukrishnan 2005). So a count is never too low, and too high only if
both buckets are shared; the lesser is taken for each worker, which is at least as good as for the sum.

A cell has one writer, so a plain store is enough, and nothing is lost if a worker is killed: its successor
zeroes its cells (`start`). Until then the dead one's connections still count. Cells saturate; a worker that
held more than 65_535 connections in a bucket counts too few of them while they leave, and never below 0.
"""

from libc.stdint cimport uint16_t, uint64_t

from fastpath._atomic cimport keyed_hash, map_words, read_secret, unmap

cdef extern from *:  # macros of `_atomic.pxd`, for 16 bits
    uint16_t peek_cell "hkp_relaxed"(const uint16_t *cell) noexcept nogil
    void put_cell "hkp_put"(uint16_t *cell, uint16_t value) noexcept nogil

cdef enum:
    ROWS = 2
    BUCKETS = 65_536
    MOST = 65_535  # of a cell
    MAX_WORKERS = 256


def crowd_bytes(int workers):
    if not 1 <= workers <= MAX_WORKERS:
        raise ValueError(f"workers {workers} not in 1..{MAX_WORKERS}")
    return ROWS * BUCKETS * workers * sizeof(uint16_t)


cdef inline void add_one(uint16_t *cell) noexcept nogil:
    cdef uint16_t value = peek_cell(cell)
    if value < MOST:
        put_cell(cell, value + 1)


cdef inline void take_one(uint16_t *cell) noexcept nogil:
    cdef uint16_t value = peek_cell(cell)
    if value > 0:
        put_cell(cell, value - 1)


cdef inline uint16_t *first_cell(Crowd crowd, uint64_t hash) noexcept:
    """Return the bucket of the first row, the cell of worker 0."""
    return crowd.cells + (hash >> 48) * crowd.workers


cdef inline uint16_t *second_cell(Crowd crowd, uint64_t hash) noexcept:
    return crowd.cells + (BUCKETS + (hash >> 32 & 0xFFFF)) * crowd.workers


cdef class Crowd:

    def __cinit__(self, memory, int workers, int worker, bytes secret not None):
        size = crowd_bytes(workers)
        if not 0 <= worker < workers:
            raise ValueError(f"worker {worker} not in 0..{workers - 1}")
        read_secret(secret, &self.k0, &self.k1)
        map_words(&self.memory, memory, "the crowd", size)
        self.cells = <uint16_t *>self.memory.buf
        self.workers = workers
        self.worker = worker

    def __dealloc__(self):
        unmap(&self.memory)

    def start(self):
        cdef uint64_t bucket
        cdef uint16_t *cell
        with nogil:
            for bucket in range(ROWS * BUCKETS):
                cell = self.cells + bucket * self.workers + self.worker
                if peek_cell(cell):  # a line that others write is left alone
                    put_cell(cell, 0)

    cpdef void enter(self, uint64_t key) noexcept:
        cdef uint64_t hash = keyed_hash(self.k0, self.k1, key)
        add_one(first_cell(self, hash) + self.worker)
        add_one(second_cell(self, hash) + self.worker)

    cpdef void leave(self, uint64_t key) noexcept:
        cdef uint64_t hash = keyed_hash(self.k0, self.k1, key)
        take_one(first_cell(self, hash) + self.worker)
        take_one(second_cell(self, hash) + self.worker)

    cpdef int count(self, uint64_t key) noexcept:
        cdef uint64_t hash = keyed_hash(self.k0, self.k1, key)
        cdef const uint16_t *first = first_cell(self, hash)
        cdef const uint16_t *second = second_cell(self, hash)
        cdef uint64_t worker
        cdef int total = 0
        for worker in range(self.workers):
            total += min(peek_cell(first + worker), peek_cell(second + worker))
        return total
