# cython: language_level=3str, cdivision=True
# cdivision: what is divided is never negative, so C and Python agree
"""How many subjects an aggregate asked for: exact sets that become sketches, in shared memory, without locks.

    header: EVICTED, UNTRACKED | keys | states | cells: two generations of 64 words

`_distinct_py.py` is the specification of what is counted; `ways.pxd` says how an aggregate gets its way.

State of a way: epoch (15 bits), number of the generation (17), changes in the last generation (16), in this one
(16). The epoch is one more with each generation, two more with each owner and each pause of a generation; its
parity says which half of the cell is this generation's, the other one is the last one's.

A word belongs to one epoch (`sketch.pxd`), and one of another epoch is an empty one. So a new generation and an
eviction are a single compare-and-swap of the state each, after which the old words mean nothing; nothing is ever
erased, and a process killed anywhere leaves a whole table.

Epochs return after 16,383 owners; of words that nobody has written since then a newcomer may take some subjects
for known. When they return, an aggregate forgets its last generation.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from fastpath._atomic cimport add as count_up
from fastpath._atomic cimport keyed_hash, load, map_words, read_secret, scale, swap, unmap
from fastpath.sketch cimport (
    HELD, KNOWN, LANE, LANE_BITS, LANES, TOP_RANK, WORDS, Half, is_mark, look, pour, remember,
)
from fastpath.ways cimport ATTEMPTS, WAYS, seek, take

from fastpath._distinct_py import EXACT, MAX_RANK, REGISTERS, WINDOW_NS, check_look
from fastpath._distinct_py import estimate as estimate_of
from fastpath._gcra_py import MAX_OFFSET_NS

cdef enum:
    SETS = 2_048
    HEADER_WORDS = 8
    EVICTED = 0  # words of the header
    UNTRACKED = 1
    FIRST_EPOCH = 2  # 0 is that of untouched words
    EPOCHS = 32_768
    MOST_CHANGES = 0xF000  # of a generation; the rest of the 16 bits is for those who count at the same time

cdef extern from *:
    """
    #define HKP_GENERATION_NS ((uint64_t)21600000000000)
    """
    const uint64_t GENERATION_NS "HKP_GENERATION_NS"  # known to the compiler: a division by it is a multiplication

cdef int64_t MAX_NOW_NS = MAX_OFFSET_NS

assert (WORDS, WORDS * LANES, TOP_RANK) == (EXACT, REGISTERS, MAX_RANK)
assert GENERATION_NS == WINDOW_NS
assert MAX_OFFSET_NS // WINDOW_NS < 2**17

LAYOUT = {"ways": WAYS, "header_bytes": 8 * HEADER_WORDS, "cell_bytes": sizeof(Cell)}
DISTINCT_BYTES = 8 * HEADER_WORDS + SETS * WAYS * (16 + sizeof(Cell))


# The state of a way.

cdef inline uint64_t generation_at(int64_t now_ns) noexcept nogil:
    return <uint64_t>now_ns // GENERATION_NS


cdef inline uint64_t epoch_of(uint64_t state) noexcept nogil:
    return state >> 49


cdef inline uint64_t changes_of(uint64_t state) noexcept nogil:
    """How much a way knows, about: what it would lose."""
    return (state & 0xFFFF) + (state >> 16 & 0xFFFF)


cdef inline uint64_t stated(uint64_t epoch, uint64_t generation, uint64_t last_changes) noexcept nogil:
    """Return a state in which nothing has changed yet; the epoch may have come to its end."""
    if epoch >= EPOCHS:
        epoch -= EPOCHS - FIRST_EPOCH
    return epoch << 49 | (generation & 0x1FFFF) << 32 | last_changes << 16


cdef inline uint64_t turned(uint64_t state, uint64_t generation) noexcept nogil:
    """Return the state as it is in a generation; time never goes back."""
    cdef uint64_t its = state >> 32 & 0x1FFFF
    if generation <= its:
        return state
    if generation == its + 1:
        return stated(epoch_of(state) + 1, generation, state & 0xFFFF)
    return stated(epoch_of(state) + 2, generation, 0)


cdef inline uint64_t vacated(uint64_t state, uint64_t generation) noexcept nogil:
    """Return the state of a newcomer, to whom no word of the cell means anything."""
    return stated(epoch_of(state) + 2, generation, 0)


cdef inline bint is_vacant(uint64_t state, uint64_t generation) noexcept nogil:
    """Whether somebody has made a way ready for a newcomer already; who does it again may take his first subject."""
    return epoch_of(state) >= FIRST_EPOCH and state == stated(epoch_of(state), generation, 0)


cdef inline void note_change(uint64_t *state) noexcept nogil:
    if load(state) & 0xFFFF < MOST_CHANGES:
        count_up(state, 1)


cdef inline Half this_half(Cell *cell, uint64_t state) noexcept nogil:
    cdef Half half
    half.epoch = epoch_of(state)
    half.words = cell.words[half.epoch & 1]
    return half


cdef inline Half last_half(Cell *cell, uint64_t state) noexcept nogil:
    cdef Half half
    half.epoch = epoch_of(state) - 1
    half.words = cell.words[half.epoch & 1]
    return half


cdef int count_marks(Half this, Half last) noexcept nogil:
    """Return how many marks are in either of two sets."""
    cdef uint64_t word
    cdef int i, marks = 0
    for i in range(WORDS):
        marks += is_mark(load(this.words + i), this.epoch)
        word = load(last.words + i)
        marks += is_mark(word, last.epoch) and look(this, word & HELD).kind != KNOWN
    return marks


cdef double count(Half this, Half last) except -1:
    """Return how many subjects are known."""
    cdef uint64_t sketch[WORDS]
    cdef int counts[TOP_RANK + 1]
    cdef int i, lane
    memset(sketch, 0, sizeof(sketch))
    memset(counts, 0, sizeof(counts))
    if not pour(this, sketch) | pour(last, sketch):
        return count_marks(this, last)
    for i in range(WORDS):
        for lane in range(LANES):
            counts[min(<int>(sketch[i] >> LANE_BITS * lane & LANE), TOP_RANK)] += 1
    return estimate_of(counts)


# The ways of a set.

cdef inline void move_in(DistinctTable table, uint64_t first, uint64_t aggregate, uint64_t generation) noexcept:
    """Give an aggregate a way, a free one or that of the one which knows least, unless somebody comes in between."""
    cdef uint64_t *states = table.states + first
    cdef uint64_t *keys = table.keys + first
    cdef int way, best = max(0, seek(keys, 0))
    cdef uint64_t least = load(states + best), state, seen
    for way in range(WAYS if load(keys + best) else 0):
        state = load(states + way)
        if changes_of(turned(state, generation)) < changes_of(turned(least, generation)):
            best = way
            least = state
    seen = load(keys + best)
    if seen == aggregate:
        return
    if not (seen == 0 and is_vacant(least, generation)) and not swap(states + best, least, vacated(least, generation)):
        return
    if take(keys, best, seen, aggregate) and seen != 0 and changes_of(turned(least, generation)):
        count_up(table.header + EVICTED, 1)


cdef void enter(DistinctTable table, uint64_t first, uint64_t aggregate, uint64_t mark, int64_t now_ns) noexcept:
    cdef uint64_t generation = generation_at(now_ns), seen, state
    cdef uint64_t *at
    cdef int way, tries
    for tries in range(ATTEMPTS):
        way = seek(table.keys + first, aggregate)
        if way < 0:
            move_in(table, first, aggregate, generation)
            continue
        at = table.states + first + way
        seen = load(at)
        state = turned(seen, generation)
        if (state == seen or swap(at, seen, state)) and load(table.keys + first + way) == aggregate:
            if remember(this_half(table.cells + first + way, state), mark):
                note_change(at)
            if epoch_of(load(at)) == epoch_of(state):  # else it was turned, or vacated, before the change was noted
                return
    count_up(table.header + UNTRACKED, 1)


cdef inline int check(uint64_t aggregate, int64_t now_ns) except -1:
    if not (aggregate != 0 and 0 <= now_ns <= MAX_NOW_NS):
        check_look(aggregate, 0, now_ns)
    return 0


cdef class DistinctTable:

    def __cinit__(self, memory, bytes secret not None):
        read_secret(secret, &self.k0, &self.k1)
        map_words(&self.memory, memory, "the distinct subjects", DISTINCT_BYTES)
        self.header = <uint64_t *>self.memory.buf
        self.keys = self.header + HEADER_WORDS
        self.states = self.keys + SETS * WAYS
        self.cells = <Cell *>(self.states + SETS * WAYS)

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

    cpdef void add(self, uint64_t aggregate, uint64_t subject_hash, int64_t now_ns) except *:
        check(aggregate, now_ns)
        cdef uint64_t hash = keyed_hash(self.k0, self.k1, aggregate)
        cdef uint64_t mark = keyed_hash(self.k0, self.k1, subject_hash ^ hash) >> 16
        enter(self, scale(hash, SETS) * WAYS, aggregate, mark, now_ns)

    def estimate(self, uint64_t aggregate, int64_t now_ns):
        check(aggregate, now_ns)
        cdef uint64_t first = self.place(aggregate), state
        cdef int way = seek(self.keys + first, aggregate)
        if way < 0:
            return 0.0
        state = turned(load(self.states + first + way), generation_at(now_ns))
        return count(this_half(self.cells + first + way, state), last_half(self.cells + first + way, state))

    def sketch(self, uint64_t aggregate, int64_t now_ns):
        check(aggregate, now_ns)
        cdef uint64_t first = self.place(aggregate), state
        cdef uint64_t sketch[WORDS]
        cdef int way = seek(self.keys + first, aggregate), i
        memset(sketch, 0, sizeof(sketch))
        if way >= 0:
            state = turned(load(self.states + first + way), generation_at(now_ns))
            pour(this_half(self.cells + first + way, state), sketch)
            pour(last_half(self.cells + first + way, state), sketch)
        ranks = [min(<int>(sketch[i // LANES] >> LANE_BITS * (i % LANES) & LANE), TOP_RANK) for i in range(REGISTERS)]
        return bytes(ranks)

    def place(self, uint64_t aggregate):
        return scale(keyed_hash(self.k0, self.k1, aggregate), SETS) * WAYS
