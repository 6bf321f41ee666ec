# cython: language_level=3str
"""Buckets by any 64-bit key, for the limits that are not per client: networks, targets, classes, the whole node.

    header: EVICTED, UNTRACKED | sets of 8 ways, two lines each: their keys, their TATs

A bucket is a TAT (`_gcra_py.py`), and `_buckets_py.py` is the specification of what is paid. A TAT in the past
owes nothing, exactly as an empty way does. So a newcomer may simply take over the way of a bucket that is full:
one compare-and-swap of the key, and there is nothing to erase. Only if all eight owe, the one that owes least is
forgiven first. `ways.pxd` has the argument why no interleaving and no killed process breaks this.

A newcomer that takes over a TAT of the past may see a clock that is some ns behind it: it then owes these ns.

Loops. A payment that loses a compare-and-swap lost it to another payment that went through: lock-free. Payments
that find their key gone start again, a bounded number of times; then the request goes on unaccounted, counted.

Content that no writer wrote leads to a wrong answer at worst: every index comes from a hash or a way.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint64_t
from libc.string cimport memcpy

from fastpath._atomic cimport (
    add, keyed_hash, load, load_time, map_words, read_secret, scale, swap_time, unmap,
)
from fastpath.gcra cimport ENFORCE, OFF, Outcome, Rate, charged, decide, given_back, rate_of, shifted
from fastpath.table cimport Spending, report
from fastpath.ways cimport ATTEMPTS, WAYS, seek, take

from fastpath._buckets_py import check_budget, check_payment
from fastpath._gcra_py import MAX_BURST, MAX_OFFSET_NS, check_shift

cdef enum:
    SETS = 131_072
    HEADER_WORDS = 8
    EVICTED = 0  # words of the header
    UNTRACKED = 1

cdef int64_t MAX_COST = MAX_BURST
cdef int64_t MAX_NOW_NS = MAX_OFFSET_NS

assert sizeof(Set) == 128

LAYOUT = {"ways": WAYS, "header_bytes": 8 * HEADER_WORDS, "set_bytes": sizeof(Set)}
BUCKET_TABLE_BYTES = 8 * HEADER_WORDS + SETS * sizeof(Set)


def hash_text(bytes text not None, bytes secret not None):
    cdef uint64_t words[2]
    cdef const unsigned char *data = text
    cdef const unsigned char *key = secret
    if len(secret) != sizeof(words):
        read_secret(secret, words, words + 1)  # says what is wrong
    memcpy(words, key, sizeof(words))  # as `read_secret`, in a tenth of its time: this is asked for each request
    return hash_bytes(words[0], words[1], data, len(text))


def bucket_key(uint64_t kind, uint64_t a, uint64_t b=0):
    return mix(kind, a, b)


cdef class Budget:

    def __cinit__(self, limit, int kind):
        check_budget(limit, kind)
        self.rate = rate_of(limit)
        self.kind = kind

    @property
    def burst_ns(self):
        return self.rate.offset_ns

    @property
    def room_ns(self):
        return self.rate.offset_ns + self.rate.max_delay_ns

    @property
    def enforced(self):
        return self.rate.mode == ENFORCE


cdef inline Set *set_of(BucketTable table, uint64_t key) noexcept:
    return table.sets + scale(keyed_hash(table.k0, table.k1, key), SETS)


cdef inline int cheapest(const Set *set, int64_t *tat_ns) noexcept nogil:
    """Return the way that may go: a free one, else the one that owes least; writes its TAT."""
    cdef int way, best = seek(set.keys, 0)
    cdef int64_t seen_ns
    if best >= 0:
        tat_ns[0] = load_time(set.tat_ns + best)
        return best
    tat_ns[0] = INT64_MAX
    best = 0
    for way in range(WAYS):
        seen_ns = load_time(set.tat_ns + way)
        if seen_ns < tat_ns[0]:
            tat_ns[0] = seen_ns
            best = way
    return best


cdef inline void move_in(Set *set, uint64_t key, uint64_t *header, int64_t now_ns) noexcept nogil:
    """Give a key a way, and turn out who had it, unless somebody comes in between."""
    cdef int64_t tat_ns
    cdef int way = cheapest(set, &tat_ns)
    cdef uint64_t seen = load(set.keys + way)
    if seen == key or load_time(set.tat_ns + way) != tat_ns:  # from here on `seen` has this TAT, or has moved out
        return
    if tat_ns > now_ns and not swap_time(set.tat_ns + way, tat_ns, 0):
        return
    if take(set.keys, way, seen, key) and tat_ns > now_ns and seen != 0:
        add(header + EVICTED, 1)


cdef inline int locate(Set *set, uint64_t key, uint64_t *header, int64_t now_ns, int *tries) noexcept nogil:
    """Return the way of a key, which gets one if it has none; -1 after too many tries, counted."""
    cdef int way
    while tries[0] < ATTEMPTS:
        tries[0] += 1
        way = seek(set.keys, key)
        if way >= 0:
            return way
        move_in(set, key, header, now_ns)
    add(header + UNTRACKED, 1)
    return -1


cdef inline Outcome pay(const Rate *rate, int64_t *tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    """Take the tokens unless the limit says no; the outcome says which."""
    cdef int64_t seen_ns
    cdef Outcome outcome
    while True:
        seen_ns = load_time(tat_ns)
        outcome = decide(rate, seen_ns, cost, now_ns)
        if not outcome.allowed or swap_time(tat_ns, seen_ns, outcome.tat_ns):
            return outcome


cdef inline void owe(const Rate *rate, int64_t *tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    cdef int64_t seen_ns
    while True:
        seen_ns = load_time(tat_ns)
        if swap_time(tat_ns, seen_ns, charged(rate, seen_ns, cost, now_ns)):
            return


cdef inline void give_back(const Rate *rate, int64_t *tat_ns, int64_t cost, int64_t now_ns) noexcept nogil:
    cdef int64_t seen_ns
    while True:
        seen_ns = load_time(tat_ns)
        if swap_time(tat_ns, seen_ns, given_back(rate, seen_ns, cost, now_ns)):
            return


cdef inline int check(Budget budget, uint64_t key, int64_t cost, int64_t now_ns) except -1:
    if budget is None:
        raise TypeError("budget is None")
    if not (key != 0 and 0 <= cost <= MAX_COST and 0 <= now_ns <= MAX_NOW_NS):
        check_payment(key, cost, now_ns)
    return 0


cdef class BucketTable:

    def __cinit__(self, memory, bytes secret not None):
        read_secret(secret, &self.k0, &self.k1)
        map_words(&self.memory, memory, "the buckets", BUCKET_TABLE_BYTES)
        self.header = <uint64_t *>self.memory.buf
        self.sets = <Set *>(self.header + HEADER_WORDS)

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def capacity(self):
        return SETS * WAYS

    @property
    def evictions(self):
        return load(self.header + EVICTED)

    @property
    def untracked(self):
        return load(self.header + UNTRACKED)

    cpdef Spending spend(self, Budget budget, uint64_t key, int64_t cost, int64_t now_ns):
        check(budget, key, cost, now_ns)
        cdef Set *set = set_of(self, key)
        cdef Outcome outcome
        cdef int way, tries = 0
        if budget.rate.mode == OFF:
            return None
        while True:
            way = locate(set, key, self.header, now_ns, &tries)
            if way < 0:
                return None
            outcome = pay(&budget.rate, set.tat_ns + way, min(cost, budget.rate.burst), now_ns)
            if load(set.keys + way) == key:
                return report(budget.kind, &budget.rate, &outcome, now_ns) if outcome.excess_ns > 0 else None

    cpdef void refund(self, Budget budget, uint64_t key, int64_t cost, int64_t now_ns) except *:
        check(budget, key, cost, now_ns)
        cdef Set *set = set_of(self, key)
        cdef int way = seek(set.keys, key)
        if way >= 0 and budget.rate.mode != OFF:
            give_back(&budget.rate, set.tat_ns + way, min(cost, budget.rate.burst), now_ns)

    cpdef void charge(self, Budget budget, uint64_t key, int64_t cost, int64_t now_ns) except *:
        check(budget, key, cost, now_ns)
        cdef Set *set = set_of(self, key)
        cdef int way, tries = 0
        while budget.rate.mode != OFF:
            way = locate(set, key, self.header, now_ns, &tries)
            if way < 0:
                return
            owe(&budget.rate, set.tat_ns + way, cost, now_ns)
            if load(set.keys + way) == key:
                return

    def add(self, uint64_t key, int64_t delta_ns, int64_t most_ns, int64_t now_ns):
        check_shift(key, delta_ns, most_ns, now_ns)
        cdef Set *set = set_of(self, key)
        cdef int64_t seen_ns
        cdef int way, tries = 0
        if delta_ns <= 0 and seek(set.keys, key) < 0:
            return
        while True:
            way = locate(set, key, self.header, now_ns, &tries)
            if way < 0:
                return
            while True:
                seen_ns = load_time(set.tat_ns + way)
                if swap_time(set.tat_ns + way, seen_ns, shifted(seen_ns, delta_ns, most_ns, now_ns)):
                    break
            if load(set.keys + way) == key:
                return

    cdef int64_t tat(self, uint64_t key) noexcept:
        """Return the TAT of a bucket; -1 if it has no place."""
        cdef Set *set = set_of(self, key)
        cdef int way = seek(set.keys, key) if key else -1
        cdef int64_t tat_ns
        while way >= 0:
            tat_ns = load_time(set.tat_ns + way)
            if load(set.keys + way) == key:
                return tat_ns
            way = seek(set.keys, key)
        return -1

    def peek(self, uint64_t key):
        cdef int64_t tat_ns = self.tat(key)
        return None if tat_ns < 0 else tat_ns

    def place(self, uint64_t key):
        return scale(keyed_hash(self.k0, self.k1, key), SETS)
