# cython: language_level=3str
"""The table of clients in shared memory: who has how many tokens left, exact across the workers of a node.

`slots.pxd` has the layout and the argument why no interleaving breaks it; `bills.pxd` has how a request pays;
`_table_py.py` is the specification of what. One crossing for each request; a request to which no limit objects allocates nothing.

Loops. A payment that loses a compare-and-swap lost it to another payment that went through, so the loops of
`pay`, `give_back`, `add` and `raise_expiry` are lock-free: the system moves on whenever one of them turns. The
search for a slot is bounded (ATTEMPTS), because a claim of a killed worker does not go away while the
caller's `now_ns` stands still.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastpath._atomic cimport (
    add, keyed_hash, load, load_time, map_words, read_secret, swap_time, unmap,
)
from fastpath.bills cimport (
    Bill, give_back, own_cost, raise_expiry, rank, settle, weightier,
)
from fastpath.gcra cimport OFF, Rate, charged, rate_of, shifted
from fastpath.slots cimport (
    ABSENT, BUCKETS, CONFIRMED, EVICTED, HEADER_WORDS, PENDING, PRESENT, UNTRACKED, WAYS, Found, Place, Slot,
    Table, find, first_way, insert, kind_of, same, tag_of,
)

from fastpath._gcra_py import MAX_BURST, MAX_OFFSET_NS, check_shift
from fastpath._table_py import MOST_TIMES, check_bucket, check_limits, check_spend

cdef enum:
    ATTEMPTS = 256
    PATIENCE = 32  # of these, how often to look whether somebody else confirms the key before competing

cdef int64_t MAX_PRICE = MAX_BURST
cdef int TIMES = MOST_TIMES
cdef int64_t MAX_NOW_NS = MAX_OFFSET_NS

assert sizeof(Slot) == 128

LAYOUT = {"ways": WAYS, "header_bytes": 8 * HEADER_WORDS, "slot_bytes": sizeof(Slot), "key_bytes": 8}


def table_bytes(clients):
    return 8 * HEADER_WORDS + -(-clients // WAYS) * WAYS * (8 + sizeof(Slot))


def hash_key(uint64_t key, bytes secret not None):
    cdef uint64_t k0, k1
    read_secret(secret, &k0, &k1)
    return keyed_hash(k0, k1, key)


cdef class LimitSet:

    def __cinit__(self, limits):
        memset(self.rates, 0, sizeof(self.rates))
        for bucket, limit in enumerate(check_limits(limits)):
            if limit is not None and limit.mode != OFF:
                self.rates[bucket] = rate_of(limit)

    def cost_ns(self, int bucket, int times):
        check_bucket(bucket)
        cdef Rate *rate = &self.rates[bucket]
        return 0 if rate.mode == OFF else min(own_cost(rate, times), rate.burst) * rate.interval_ns


@cython.freelist(64)
cdef class Spending:
    pass


cdef inline void write_bill(Bill *bill, LimitSet limits, int bucket, int64_t cost) noexcept:
    bill.rate = &limits.rates[bucket]
    bill.bucket = bucket
    bill.cost = min(cost, bill.rate.burst)


cdef inline bint locate(
    Table *table, uint64_t key, uint64_t hash, int64_t now_ns, int *tries, Place *place
) noexcept nogil:
    """Find the slot of a client or give it one; false after too many tries: a set full of fresh claims."""
    cdef Found found
    while tries[0] < ATTEMPTS:
        tries[0] += 1
        found = find(table, key, hash, place)
        if found == PRESENT:
            return True
        if found == PENDING and tries[0] < PATIENCE:
            continue
        if insert(table, key, hash, now_ns, place):
            return True
    return False


cdef inline bint charge(Table *table, uint64_t key, Bill *total, Bill *own, int64_t now_ns) noexcept nogil:
    cdef uint64_t hash = keyed_hash(table.k0, table.k1, key)
    cdef Place place
    cdef int tries = 0
    cdef bint paid
    while locate(table, key, hash, now_ns, &tries, &place):
        paid = settle(total, own, place.slot, now_ns)
        if same(&place, key):
            if paid:
                raise_expiry(place.slot, max(total.outcome.tat_ns, own.outcome.tat_ns))
            return True
    add(table.header + UNTRACKED, 1)
    return False


cdef inline bint valid(uint64_t key, int bucket, int64_t price, int64_t now_ns, int times) noexcept nogil:
    """`check_spend` without the words, which say what is wrong."""
    if not (key != 0 and 0 < bucket < BUCKETS and 0 <= price <= MAX_PRICE and 0 <= now_ns <= MAX_NOW_NS):
        return False
    return 1 <= times <= TIMES


cdef class ClientTable:

    def __cinit__(self, memory, bytes secret not None):
        read_secret(secret, &self.table.k0, &self.table.k1)
        map_words(&self.memory, memory, "the client table", table_bytes(1))
        if (self.memory.len - 8 * HEADER_WORDS) % (WAYS * (8 + sizeof(Slot))):
            raise ValueError(f"memory of the client table: {self.memory.len} bytes, no whole sets")
        self.table.sets = (self.memory.len - 8 * HEADER_WORDS) // (WAYS * (8 + sizeof(Slot)))
        self.table.header = <uint64_t *>self.memory.buf
        self.table.keys = self.table.header + HEADER_WORDS
        self.table.slots = <Slot *>(self.table.keys + self.table.sets * WAYS)

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def capacity(self):
        return self.table.sets * WAYS

    @property
    def evictions(self):
        return load(self.table.header + EVICTED)

    @property
    def untracked(self):
        return load(self.table.header + UNTRACKED)

    cpdef Spending spend(
        self, LimitSet limits, uint64_t key, int bucket, int64_t price, int64_t now_ns, int times=1
    ):
        if limits is None:
            raise TypeError("limits is None")
        if not valid(key, bucket, price, now_ns, times):
            check_spend(key, bucket, price, now_ns, times)
        cdef Bill total, own
        write_bill(&total, limits, 0, price)
        write_bill(&own, limits, bucket, own_cost(&limits.rates[bucket], times))
        cdef const Bill *told
        if total.rate.mode == OFF and own.rate.mode == OFF:
            return None
        if not charge(&self.table, key, &total, &own, now_ns):
            return None
        told = weightier(&total, &own)
        return report(told.bucket, told.rate, &told.outcome, now_ns) if rank(told) else None

    def refund(
        self, LimitSet limits not None, uint64_t key, int bucket, int64_t price, int64_t now_ns, int times=1
    ):
        check_spend(key, bucket, price, now_ns, times)
        cdef Bill total, own
        write_bill(&total, limits, 0, price)
        write_bill(&own, limits, bucket, own_cost(&limits.rates[bucket], times))
        cdef Place place
        if find(&self.table, key, keyed_hash(self.table.k0, self.table.k1, key), &place) == PRESENT:
            give_back(total.rate, &place.slot.tat_ns[0], total.cost, now_ns)
            give_back(own.rate, &place.slot.tat_ns[bucket], own.cost, now_ns)

    cpdef int charge(self, LimitSet limits, uint64_t key, int64_t tokens, int64_t now_ns, int bucket=0) except -1:
        if not 0 <= bucket < BUCKETS:
            check_bucket(bucket)
        cdef Rate *rate = &limits.rates[bucket]
        cdef Place place
        cdef int64_t seen_ns, owed_ns
        if rate.mode == OFF or tokens <= 0:
            return 0
        if find(&self.table, key, keyed_hash(self.table.k0, self.table.k1, key), &place) != PRESENT:
            return 0
        while True:
            seen_ns = load_time(&place.slot.tat_ns[bucket])
            owed_ns = charged(rate, seen_ns, tokens, now_ns)
            if swap_time(&place.slot.tat_ns[bucket], seen_ns, owed_ns):
                break
        raise_expiry(place.slot, owed_ns)
        return 0

    cpdef int give_back(self, LimitSet limits, uint64_t key, int64_t tokens, int64_t now_ns) except -1:
        cdef Rate *rate = &limits.rates[0]
        cdef Place place
        if tokens > 0 and find(&self.table, key, keyed_hash(self.table.k0, self.table.k1, key), &place) == PRESENT:
            give_back(rate, &place.slot.tat_ns[0], min(tokens, rate.burst), now_ns)
        return 0

    def add(self, uint64_t key, int bucket, int64_t delta_ns, int64_t most_ns, int64_t now_ns):
        check_bucket(bucket)
        check_shift(key, delta_ns, most_ns, now_ns)
        cdef uint64_t hash = keyed_hash(self.table.k0, self.table.k1, key)
        cdef Place place
        cdef int64_t seen_ns, wanted_ns
        cdef int tries = 0
        if delta_ns <= 0 and find(&self.table, key, hash, &place) != PRESENT:
            return
        while locate(&self.table, key, hash, now_ns, &tries, &place):
            while True:
                seen_ns = load_time(&place.slot.tat_ns[bucket])
                wanted_ns = shifted(seen_ns, delta_ns, most_ns, now_ns)
                if swap_time(&place.slot.tat_ns[bucket], seen_ns, wanted_ns):
                    break
            if same(&place, key):
                raise_expiry(place.slot, wanted_ns)
                return
        add(self.table.header + UNTRACKED, 1)

    cdef int64_t tat(self, uint64_t key, int bucket) noexcept:
        """Return the TAT of one bucket of a client; 0 if there is none."""
        cdef uint64_t hash = keyed_hash(self.table.k0, self.table.k1, key)
        cdef Place place
        cdef int64_t tat_ns
        while find(&self.table, key, hash, &place) == PRESENT:
            tat_ns = load_time(&place.slot.tat_ns[bucket])
            if same(&place, key):
                return tat_ns
        return 0

    def peek(self, uint64_t key):
        cdef uint64_t hash = keyed_hash(self.table.k0, self.table.k1, key)
        cdef Place place
        while find(&self.table, key, hash, &place) == PRESENT:
            tats = tuple([load_time(&place.slot.tat_ns[bucket]) for bucket in range(BUCKETS)])
            if same(&place, key):
                return tats
        return None

    def used(self, int64_t now_ns):
        cdef uint64_t i, count = 0
        cdef const Slot *slot
        with nogil:
            for i in range(self.table.sets * WAYS):
                slot = self.table.slots + i
                if load(self.table.keys + i) and kind_of(load(&slot.state)) == CONFIRMED:
                    count += load_time(&slot.expiry_ns) > now_ns
        return count

    def place(self, uint64_t key):
        cdef uint64_t hash = keyed_hash(self.table.k0, self.table.k1, key)
        return first_way(&self.table, hash), tag_of(hash) >> 2
