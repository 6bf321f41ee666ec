# cython: language_level=3str
"""Concurrency caps that survive a killed worker: places that are held, not counters that are incremented.

A lease is one word: tag of (bucket, key), 40 bits, never 0 | worker, 8 bits | low 16 bits of the worker's
generation. The supervisor bumps the generation of a worker when it starts it anew; from then on every word of
the old one is dead and may be taken by anybody. Nothing has to be cleaned up, and a worker killed at any
instruction costs at most the places that it held, until its successor starts.

Totals. Each bucket has 256 words; a cap of n uses the first n, each of which has one holder: exact.

Clients. A key has a set of 16 words, shared with other keys. Claim first (compare-and-swap), count one's own
tag then: of two racing claimants at least one sees the other, so never more than the cap hold a lease. Both
may see the other and both go away; callers queue and try again. So they do when the set is full of other
clients' leases.

A handle is made of both positions and 32 bits of the tag, so that releasing it twice does not free a
successor's place.
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath._atomic cimport keyed_hash, load, map_words, read_secret, scale, swap, unmap

cdef enum:
    BUCKETS = 12
    TOTAL_WORDS = 256
    SETS = 4096
    SET_WORDS = 16
    CLIENT_BITS = 17  # positions of a handle: 0 none, else index + 1
    TOTAL_BITS = 13
    TAG_SHIFT = 24

LEASE_BYTES = 8 * (BUCKETS * TOTAL_WORDS + SETS * SET_WORDS)
MAX_CLIENT_CAP = SET_WORDS
MAX_TOTAL_CAP = TOTAL_WORDS
CLIENT_BUSY = -1
TOTAL_BUSY = -2


cdef class Leases:
    cdef uint64_t *totals
    cdef uint64_t *clients
    cdef uint64_t *generations
    cdef uint64_t workers
    cdef uint64_t k0
    cdef uint64_t k1
    cdef uint64_t mine  # low 24 bits of every word that this worker writes
    cdef Py_buffer memory
    cdef Py_buffer generation_memory

    def __cinit__(self, memory, generations, int worker, bytes secret not None):
        read_secret(secret, &self.k0, &self.k1)
        map_words(&self.generation_memory, generations, "the generations", 8)
        self.workers = self.generation_memory.len // 8
        if not 0 <= worker < <int>self.workers <= 256:
            raise ValueError(f"worker {worker} not in 0..{self.workers - 1} (at most 256 workers)")
        map_words(&self.memory, memory, "the leases", LEASE_BYTES)
        self.generations = <uint64_t *>self.generation_memory.buf
        self.totals = <uint64_t *>self.memory.buf
        self.clients = self.totals + BUCKETS * TOTAL_WORDS
        self.mine = <uint64_t>worker << 16 | load(self.generations + worker) & 0xFFFF

    def __dealloc__(self):
        unmap(&self.memory)
        unmap(&self.generation_memory)

    def acquire(self, int bucket, uint64_t key, int client_cap, int total_cap):
        _check(bucket, client_cap, total_cap)
        cdef uint64_t hash = keyed_hash(self.k0, self.k1, key) + <uint64_t>bucket
        cdef uint64_t word
        cdef int64_t client = 0, total = 0
        hash = keyed_hash(self.k0, self.k1, hash)
        word = (hash & 0xFFFFFFFFFF or 1) << TAG_SHIFT | self.mine
        if client_cap:
            client = self.take_client(hash, word, client_cap)
            if client == 0:
                return -1
        if total_cap:
            total = self.take(self.totals, bucket * TOTAL_WORDS, total_cap, word)
            if total == 0:
                self.free(self.clients, client, word)
                return -2
        return (word >> TAG_SHIFT & 0xFFFFFFFF) << (CLIENT_BITS + TOTAL_BITS) | total << CLIENT_BITS | client

    def release(self, uint64_t handle):
        cdef int64_t client = handle & ((1 << CLIENT_BITS) - 1)
        cdef int64_t total = handle >> CLIENT_BITS & ((1 << TOTAL_BITS) - 1)
        if client > SETS * SET_WORDS or total > BUCKETS * TOTAL_WORDS or handle >> 62:
            raise ValueError(f"{handle} is not a handle")
        cdef uint64_t word = handle >> (CLIENT_BITS + TOTAL_BITS) << TAG_SHIFT | self.mine
        self.free(self.totals, total, word)
        self.free(self.clients, client, word)

    cdef inline bint alive(self, uint64_t word) noexcept nogil:
        cdef uint64_t worker = word >> 16 & 0xFF
        if word == 0 or worker >= self.workers:
            return False
        return load(self.generations + worker) & 0xFFFF == word & 0xFFFF

    cdef int64_t take(self, uint64_t *words, int64_t first, int64_t count, uint64_t word) noexcept nogil:
        """Own one of `count` words; returns its position + 1, or 0."""
        cdef uint64_t seen
        cdef int64_t at
        for at in range(first, first + count):
            seen = load(words + at)
            while not self.alive(seen):
                if swap(words + at, seen, word):
                    return at + 1
                seen = load(words + at)
        return 0

    cdef int64_t take_client(self, uint64_t hash, uint64_t word, int cap) noexcept nogil:
        cdef int64_t first = scale(hash, SETS) * SET_WORDS
        if self.held(first, word) >= cap:
            return 0
        cdef int64_t position = self.take(self.clients, first, SET_WORDS, word)
        if position and self.held(first, word) > cap:
            self.free(self.clients, position, word)
            return 0
        return position

    cdef int held(self, int64_t first, uint64_t word) noexcept nogil:
        """Count the leases of one client in its set."""
        cdef uint64_t seen
        cdef int64_t at
        cdef int count = 0
        for at in range(first, first + SET_WORDS):
            seen = load(self.clients + at)
            count += seen >> TAG_SHIFT == word >> TAG_SHIFT and self.alive(seen)
        return count

    cdef void free(self, uint64_t *words, int64_t position, uint64_t word) noexcept nogil:
        """Free a place if it is still held with this word (a handle has 32 bits of its tag)."""
        cdef uint64_t mask = 0xFFFFFFFFFFFFFF
        if position:
            seen = load(words + position - 1)
            if seen & mask == word & mask:
                swap(words + position - 1, seen, 0)


cdef int _check(int bucket, int client_cap, int total_cap) except -1:
    if not 0 <= bucket < BUCKETS:
        raise ValueError(f"bucket {bucket} not in 0..{BUCKETS - 1}")
    if not 0 <= client_cap <= SET_WORDS:
        raise ValueError(f"client_cap {client_cap} not in 0..{SET_WORDS}")
    if not 0 <= total_cap <= TOTAL_WORDS:
        raise ValueError(f"total_cap {total_cap} not in 0..{TOTAL_WORDS}")
    return 0
