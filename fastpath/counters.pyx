# cython: language_level=3str
"""What a worker counts, in shared memory: one block for each, written by it alone, summed by the analyst.

With a single writer a plain aligned store is enough: a reader sees the old or the new value of a word, never
half of one. A sum over words is not one moment's, which no metric needs.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastpath._atomic cimport map_words, peek_word, put_word, unmap

from fastpath.snapshot import BOUNDS_NS, Histogram, Snapshot

cdef enum:
    OPERATIONS = 12
    ACTIONS = 12  # 6 and the same 6 in shadow
    STATUSES = 600
    TURNED_AWAY = 8
    CACHE_USES = 4
    CLAIMED = 6
    BOUNDS = 15  # the longest list of bounds
    HISTOGRAM = BOUNDS + 2  # counts, the last for what is beyond the bounds, and the sum
    SUM = BOUNDS + 1

cdef enum:
    DECISION
    ADDED
    UPSTREAM
    DELAYED
    CLAIM
    KINDS


cdef struct Block:
    uint64_t connections  # gauges
    uint64_t tarpit_held
    uint64_t parked
    uint64_t unused[1]
    uint64_t cache[CACHE_USES]  # requests, by what the cache was to them
    uint64_t turned_away[TURNED_AWAY]  # connections, by reason
    uint64_t requests[OPERATIONS * ACTIONS]
    uint64_t responses[STATUSES]
    uint64_t decision[HISTOGRAM]
    uint64_t added[HISTOGRAM]
    uint64_t delayed[HISTOGRAM]
    uint64_t claims[CLAIMED]  # by what became of them
    uint64_t claim[HISTOGRAM]
    uint64_t upstream[OPERATIONS * HISTOGRAM]


COUNTER_BYTES = sizeof(Block)

cdef int64_t bounds[KINDS][BOUNDS]
cdef int sizes[KINDS]
for kind, name in ((DECISION, "decision"), (ADDED, "added"), (UPSTREAM, "upstream"), (DELAYED, "delayed"), (CLAIM, "claim")):
    sizes[kind] = len(BOUNDS_NS[name])
    for i, bound in enumerate(BOUNDS_NS[name]):
        bounds[kind][i] = bound


cdef inline void increase(uint64_t *word, uint64_t by) noexcept nogil:
    put_word(word, peek_word(word) + by)


cdef inline void observe(uint64_t *histogram, int kind, int64_t value_ns) noexcept nogil:
    """Count a value in the first bucket whose bound is not below it; a negative value was not observed."""
    cdef int i = 0
    if value_ns < 0:
        return
    while i < sizes[kind] and bounds[kind][i] < value_ns:
        i += 1
    increase(histogram + i, 1)
    increase(histogram + SUM, value_ns)


cdef class Counters:

    def __cinit__(self, memory):
        map_words(&self.memory, memory, "the counters", COUNTER_BYTES)
        self.block = <Block *>self.memory.buf

    def __dealloc__(self):
        unmap(&self.memory)

    def start(self):
        put_word(&self.block.connections, 0)
        put_word(&self.block.tarpit_held, 0)
        put_word(&self.block.parked, 0)

    cpdef int record(
        self, int operation, int action, int status,
        int64_t decision_ns, int64_t added_ns, int64_t upstream_ns, int64_t wait_ns, int cache_use=0,
    ) except -1:
        if not 0 <= operation < OPERATIONS or not 0 <= action < ACTIONS:
            raise ValueError(f"operation {operation} or action {action} not in 0..11")
        if not 0 <= cache_use < CACHE_USES:
            raise ValueError(f"cache_use {cache_use} not in 0..{CACHE_USES - 1}")
        increase(&self.block.cache[cache_use], 1)
        increase(&self.block.requests[operation * ACTIONS + action], 1)
        increase(&self.block.responses[status if 0 <= status < STATUSES else 0], 1)
        observe(self.block.decision, DECISION, decision_ns)
        observe(self.block.added, ADDED, added_ns)
        observe(&self.block.upstream[operation * HISTOGRAM], UPSTREAM, upstream_ns)
        observe(self.block.delayed, DELAYED, wait_ns)
        return 0

    cpdef int turned_away(self, int reason) except -1:
        if not 0 <= reason < TURNED_AWAY:
            raise ValueError(f"reason {reason} not in 0..{TURNED_AWAY - 1}")
        increase(&self.block.turned_away[reason], 1)
        return 0

    def claimed(self, int outcome, int64_t waited_ns=-1):
        if not 0 <= outcome < CLAIMED:
            raise ValueError(f"outcome {outcome} not in 0..{CLAIMED - 1}")
        increase(&self.block.claims[outcome], 1)
        observe(self.block.claim, CLAIM, waited_ns)

    def set_connections(self, uint64_t count):
        put_word(&self.block.connections, count)

    def set_tarpit_held(self, uint64_t count):
        put_word(&self.block.tarpit_held, count)

    def set_parked(self, uint64_t count):
        put_word(&self.block.parked, count)

    def snapshot(self):
        cdef Block *block = self.block
        cdef int i
        return Snapshot(
            requests=[_words(&block.requests[i * ACTIONS], ACTIONS) for i in range(OPERATIONS)],
            responses=_words(block.responses, STATUSES),
            decision=_histogram(block.decision, DECISION),
            added=_histogram(block.added, ADDED),
            upstream=[_histogram(&block.upstream[i * HISTOGRAM], UPSTREAM) for i in range(OPERATIONS)],
            delayed=_histogram(block.delayed, DELAYED),
            connections=peek_word(&block.connections),
            tarpit_held=peek_word(&block.tarpit_held),
            parked=peek_word(&block.parked),
            turned_away=_words(block.turned_away, TURNED_AWAY),
            cache=_words(block.cache, CACHE_USES),
            claims=_words(block.claims, CLAIMED),
            claim=_histogram(block.claim, CLAIM),
        )


cdef list _words(const uint64_t *words, int count):
    cdef int i
    return [peek_word(&words[i]) for i in range(count)]


cdef object _histogram(const uint64_t *words, int kind):
    return Histogram(_words(words, sizes[kind] + 1), peek_word(&words[SUM]))
