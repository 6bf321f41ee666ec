"""
How a client finds, or gets, its slot in the shared table, without locks.

Layout. A set is 8 ways: their keys in one cache line (`keys`), and a slot of 128 bytes for each (`slots`; the
state, the expiry and the first buckets share a line). All zero is an empty table, so untouched pages stay
unmapped.

State word of a slot, the only authority on it: kind (2 bits), tag of the key's hash (20), stamp of the claim
(22, units of 16.8 ms), version (20, one more at each claim).

    FREE -> CLAIMED -> PROVISIONAL -> CONFIRMED -> (evicted) CLAIMED ...

CLAIMED: the claimant alone resets the slot and stores the key.
PROVISIONAL: the key stands, others may object.
CONFIRMED: lookups trust it. Every step is a compare-and-swap of the word that the claimant wrote before.

A key never lives in two ways. A claimant publishes (PROVISIONAL) before it scans the set for its key, so of
two claimants at least one sees the other. It gives way to a CONFIRMED twin and knocks a PROVISIONAL one out;
whoever was knocked out fails to confirm and starts again. Two may knock each other out; both start again, a
bounded number of times.

A killed claimant leaves a CLAIMED or PROVISIONAL slot. Nobody trusts it, nobody waits for it (a twin is
knocked out), and after a second it may be claimed like any other.

Evicted while in use. A spender remembers the state word with the slot and looks again after it has paid
(`same`). Unchanged: the payment came before the eviction. Changed: it starts again, and what it paid, or took
back, may stand in the bucket of the new owner: the price of one request for one eviction, at most.

Stopped, not killed. A claimant that is stopped for more than a second between two particular instructions
may, when it goes on, reset or rename the slot of a new owner. Its confirmation fails; the tag, which belongs
to the owner's key, keeps the renamed slot from being found. Harm: one client's debts are forgotten once.
"""

from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint64_t

from fastpath._atomic cimport (
    add, keyed_hash, load, load_time, prefetch, put_time, put_word, scale, store, swap,
)


cdef enum:
    WAYS = 8
    BUCKETS = 12
    HEADER_WORDS = 8  # before the keys: one line for the counts
    EVICTED = 0  # words of the header
    UNTRACKED = 1

cdef enum Kind:
    FREE
    CLAIMED
    PROVISIONAL
    CONFIRMED

cdef enum Found:
    ABSENT
    PENDING  # another process is about to confirm it
    PRESENT


cdef struct Slot:
    uint64_t state
    int64_t expiry_ns  # the latest of the TATs: nothing is owed after it
    int64_t tat_ns[12]
    uint64_t reserved[2]  # for the analyst's verdict


cdef struct Table:
    uint64_t sets
    uint64_t k0
    uint64_t k1
    uint64_t *header
    uint64_t *keys
    Slot *slots


cdef struct Place:  # a slot, as long as its state word is unchanged
    Slot *slot
    uint64_t *key
    uint64_t state


cdef inline uint64_t tag_of(uint64_t hash) noexcept nogil:
    return (hash & 0xFFFFF) << 2  # the set comes from the high bits


cdef inline uint64_t first_way(const Table *table, uint64_t hash) noexcept nogil:
    return scale(hash, table.sets) * WAYS


cdef inline Kind kind_of(uint64_t state) noexcept nogil:
    return <Kind>(state & 3)


cdef inline bint says(uint64_t state, Kind kind, uint64_t tag) noexcept nogil:
    return state & 0x3FFFFF == tag | <uint64_t>kind


cdef inline uint64_t become(uint64_t state, Kind kind) noexcept nogil:
    return state & ~<uint64_t>3 | <uint64_t>kind


cdef inline uint64_t claim_word(uint64_t seen, uint64_t tag, int64_t now_ns) noexcept nogil:
    cdef uint64_t stamp = (<uint64_t>now_ns >> 24) & 0x3FFFFF
    return ((seen >> 44) + 1) << 44 | stamp << 22 | tag | <uint64_t>CLAIMED


cdef inline bint abandoned(uint64_t state, int64_t now_ns) noexcept nogil:
    """Whether a claim is more than a second (60 units) from now; either way, because the stamp wraps."""
    cdef uint64_t age = ((<uint64_t>now_ns >> 24) - (state >> 22)) & 0x3FFFFF
    return 60 < age < 0x400000 - 60


cdef inline bint same(const Place *place, uint64_t key) noexcept nogil:
    return load(&place.slot.state) == place.state and load(place.key) == key


cdef inline Found find(const Table *table, uint64_t key, uint64_t hash, Place *place) noexcept nogil:
    cdef uint64_t first = first_way(table, hash), tag = tag_of(hash)
    cdef Found found = ABSENT
    cdef int way
    for way in range(WAYS):
        if load(table.keys + first + way) == key:
            place.slot = table.slots + first + way
            place.key = table.keys + first + way
            place.state = load(&place.slot.state)
            if says(place.state, CONFIRMED, tag):
                return PRESENT
            if says(place.state, PROVISIONAL, tag):
                found = PENDING
    return found


cdef inline int64_t standing(const Slot *slot, uint64_t state, int64_t now_ns) noexcept nogil:
    """How much a slot deserves to stay: its expiry; INT64_MAX: it is being claimed and must stay."""
    if kind_of(state) == FREE:
        return INT64_MIN
    if kind_of(state) == CONFIRMED:
        return min(load_time(&slot.expiry_ns), INT64_MAX - 1)
    return INT64_MIN + 1 if abandoned(state, now_ns) else INT64_MAX


cdef inline bint choose_untouched(const Table *table, uint64_t first, Place *place) noexcept nogil:
    """Find a way that never had a key without touching the slots of the others; false if there is none."""
    cdef int way
    for way in range(WAYS):
        if load(table.keys + first + way) == 0:
            place.slot = table.slots + first + way
            place.key = table.keys + first + way
            place.state = load(&place.slot.state)
            if kind_of(place.state) == FREE:
                return True
    return False


cdef inline bint choose(const Table *table, uint64_t first, int64_t now_ns, Place *place) noexcept nogil:
    """Find the way that deserves least to stay: free, abandoned, idle, least in debt; false: all claimed."""
    cdef int64_t least = INT64_MAX, rank
    cdef uint64_t state
    cdef int way
    if choose_untouched(table, first, place):
        return True
    for way in range(WAYS):
        prefetch(table.slots + first + way)
    for way in range(WAYS):
        state = load(&table.slots[first + way].state)
        rank = standing(table.slots + first + way, state, now_ns)
        if rank < least:
            least = rank
            place.slot = table.slots + first + way
            place.key = table.keys + first + way
            place.state = state
    return least < INT64_MAX


cdef inline void reset(Slot *slot, int64_t now_ns) noexcept nogil:
    """Make the slot a new client's: it owes nothing, and counts as seen now when a victim is chosen."""
    cdef int i
    for i in range(BUCKETS):
        put_time(&slot.tat_ns[i], 0)
    put_word(&slot.reserved[0], 0)
    put_word(&slot.reserved[1], 0)
    put_time(&slot.expiry_ns, now_ns)


cdef inline bint alone(
    const Table *table, const Place *mine, uint64_t first, uint64_t key, uint64_t tag
) noexcept nogil:
    """Whether no other way holds the key, once the provisional ones are knocked out."""
    cdef uint64_t state
    cdef uint64_t *word
    cdef int way
    for way in range(WAYS):
        word = &table.slots[first + way].state
        while word != &mine.slot.state and load(table.keys + first + way) == key:
            state = load(word)
            if says(state, CONFIRMED, tag):
                return False
            if not says(state, PROVISIONAL, tag) or swap(word, state, become(state, FREE)):
                break
    return True


cdef inline bint advance(Place *place, Kind kind) noexcept nogil:
    """Take my claim one step on; false if it is no longer mine."""
    cdef uint64_t wanted = become(place.state, kind)
    if not swap(&place.slot.state, place.state, wanted):
        return False
    place.state = wanted
    return True


cdef inline bint claim(Table *table, Place *place, uint64_t tag, int64_t now_ns) noexcept nogil:
    """Turn the chosen slot out and make it mine to reset; counts the eviction of a client that still owed."""
    cdef bint owed = kind_of(place.state) == CONFIRMED and load_time(&place.slot.expiry_ns) > now_ns
    cdef uint64_t wanted = claim_word(place.state, tag, now_ns)
    if not swap(&place.slot.state, place.state, wanted):
        return False
    place.state = wanted
    if owed:
        add(table.header + EVICTED, 1)
    return True


cdef inline bint insert(
    Table *table, uint64_t key, uint64_t hash, int64_t now_ns, Place *place
) noexcept nogil:
    """Give the key a slot; false if somebody was faster somewhere: look again."""
    cdef uint64_t first = first_way(table, hash), tag = tag_of(hash)
    if not choose(table, first, now_ns, place) or not claim(table, place, tag, now_ns):
        return False
    reset(place.slot, now_ns)
    if load(&place.slot.state) != place.state:  # I was stopped for more than a second and robbed
        return False
    store(place.key, key)
    if not advance(place, PROVISIONAL):
        return False
    if not alone(table, place, first, key, tag):
        advance(place, FREE)
        return False
    return advance(place, CONFIRMED)
