# cython: language_level=3str
"""What fat subjects cost the upstream when they were last asked for, in memory shared by the workers of a node.

    sets of 8 cells; a cell: subject ^ stirred(time, cost) | time | cost: service in µs, 32 bits, and bytes, 32 bits

A subject has one set, from its hash, which has to be a keyed one. Only what is fat is remembered; most subjects
never are, so most look-ups read a set of zeros. All zero is empty, and untouched pages stay unmapped.

No locks. Any process may write any cell at any time, word by word. A reader takes the three words for a
subject's only if the first one says so in the light of the other two; words of two writers, or of one that
was killed or stopped between them, say so for one subject in 2^64. So a race makes a cell nobody's, and loses a
price until the next answer; it never gives one subject the price of another. (Hyatt, Mann: A lock-less
transposition table.)

Who is forgotten. A newcomer takes a cell that is empty or a day old, else the one that has least left of its
weight, which counts service time as bytes (5 ms are 64 KiB) and fades to nothing within the day. So the
fattest stay, a flood of others shares what is left of each set, and the newest is always in.

Races of two that note one subject may write it twice; the next `note` of it leaves one, and look-ups take the
newer.
"""

from typing import NamedTuple

from libc.stdint cimport UINT32_MAX, UINT64_MAX, int64_t, uint64_t

from fastpath._atomic cimport load, map_words, prefetch, put_word, scale, unmap

cdef enum:
    WAYS = 8
    SETS = 4096
    FAT_US = 5_000
    FAT_BYTES = 65_536
    LINE_BYTES = 64  # a set is three

cdef int64_t DAY_NS = 86_400_000_000_000
cdef int64_t AHEAD_NS = 1_000_000_000  # by which another worker's clock may be ahead

cdef struct Cell:
    uint64_t sealed  # the subject, disguised
    uint64_t noted_ns
    uint64_t cost  # 0: the cell is empty

CELLS = SETS * WAYS
COST_MEMORY_BYTES = SETS * WAYS * sizeof(Cell)
LEAST_SERVICE_US = FAT_US
LEAST_SIZE_BYTES = FAT_BYTES
TTL_NS = DAY_NS


class Cost(NamedTuple):
    service_us: int
    size_bytes: int
    age_ns: int


cdef inline uint64_t saturated(int64_t value) noexcept nogil:
    return <uint64_t>min(max(value, 0), <int64_t>UINT32_MAX)


cdef inline uint64_t stirred(uint64_t noted_ns, uint64_t cost) noexcept nogil:
    """Mix two words to one that tells nothing of them (the finaliser of MurmurHash3 after each)."""
    cdef uint64_t word = noted_ns
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCDULL
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53ULL ^ cost
    word = (word ^ word >> 33) * 0xFF51AFD7ED558CCDULL
    word = (word ^ word >> 33) * 0xC4CEB9FE1A85EC53ULL
    return word ^ word >> 33


cdef inline Cell read(const Cell *cell) noexcept nogil:
    """Copy a cell, with the subject undisguised."""
    cdef Cell copy
    copy.cost = load(&cell.cost)
    if copy.cost != 0:
        copy.sealed, copy.noted_ns = load(&cell.sealed), load(&cell.noted_ns)
        copy.sealed ^= stirred(copy.noted_ns, copy.cost)
    return copy


cdef inline void write(Cell *cell, uint64_t subject, uint64_t noted_ns, uint64_t cost) noexcept nogil:
    put_word(&cell.sealed, subject ^ stirred(noted_ns, cost))
    put_word(&cell.noted_ns, noted_ns)
    put_word(&cell.cost, cost)


cdef inline int64_t age_of(const Cell *cell, int64_t now_ns) noexcept nogil:
    """Return the age of what a cell says, or -1: it says nothing that holds now. Noise has any age, modulo 2^64."""
    cdef int64_t age_ns = <int64_t>(<uint64_t>now_ns - cell.noted_ns)
    if cell.cost == 0 or not -AHEAD_NS <= age_ns < DAY_NS:
        return -1
    return max(age_ns, 0)


cdef inline uint64_t rank_of(const Cell *cell, int64_t now_ns) noexcept nogil:
    """Return what is left of a cell's weight; 0: nothing."""
    cdef int64_t age_ns = age_of(cell, now_ns)
    cdef uint64_t weight = (cell.cost >> 32) * FAT_BYTES // FAT_US + (cell.cost & UINT32_MAX)
    if age_ns < 0:
        return 0
    return 1 + (weight >> 8) * (<uint64_t>(DAY_NS - age_ns) >> 24)


cdef inline Cell *set_of(Cell *cells, uint64_t subject) noexcept nogil:
    return cells + scale(subject, SETS) * WAYS


cdef class CostMemory:

    def __cinit__(self, memory):
        map_words(&self.memory, memory, "the costs", COST_MEMORY_BYTES)
        self.cells = <Cell *>self.memory.buf

    def __dealloc__(self):
        unmap(&self.memory)

    cpdef void note(self, uint64_t subject_hash, int64_t service_us, int64_t size_bytes, int64_t now_ns) noexcept:
        cdef Cell *first = set_of(self.cells, subject_hash)
        cdef Cell *victim = first
        cdef Cell seen
        cdef uint64_t rank, least = UINT64_MAX
        cdef bint fat = service_us >= FAT_US or size_bytes >= FAT_BYTES
        cdef int way
        for way in range(WAYS):
            seen = read(first + way)
            if seen.cost != 0 and seen.sealed == subject_hash:
                put_word(&first[way].cost, 0)
                seen.cost = 0
            rank = rank_of(&seen, now_ns)
            if rank < least:
                victim, least = first + way, rank
        if fat:
            write(victim, subject_hash, now_ns, saturated(service_us) << 32 | saturated(size_bytes))

    def look_up(self, uint64_t subject_hash, int64_t now_ns):
        cdef Toll toll
        if not self.find(subject_hash, now_ns, &toll):
            return None
        return Cost(toll.service_us, toll.size_bytes, toll.age_ns)

    def entries(self, int64_t now_ns, Py_ssize_t most):
        cdef Cell seen
        cdef int64_t at, age_ns
        found = {}
        for at in range(SETS * WAYS):
            seen = read(self.cells + at)
            age_ns = age_of(&seen, now_ns)
            if age_ns >= 0 and set_of(self.cells, seen.sealed) == self.cells + at // WAYS * WAYS:
                cost = Cost(seen.cost >> 32, seen.cost & UINT32_MAX, age_ns)
                weight = cost.service_us * FAT_BYTES + cost.size_bytes * FAT_US
                found[seen.sealed] = max(found.get(seen.sealed, (0, cost)), (weight, cost))
        order = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))
        return [(subject, cost) for subject, (_, cost) in order[:max(most, 0)]]

    cdef void approach(self, uint64_t subject_hash) noexcept nogil:
        """Have the set of a subject brought near, which is about to be looked at."""
        cdef const char *first = <const char *>set_of(self.cells, subject_hash)
        prefetch(first)
        prefetch(first + LINE_BYTES)
        prefetch(first + 2 * LINE_BYTES)

    cdef bint find(self, uint64_t subject_hash, int64_t now_ns, Toll *toll) noexcept nogil:
        """Say what a subject cost, if it is remembered: the newer one if it stands twice."""
        cdef const Cell *first = set_of(self.cells, subject_hash)
        cdef Cell seen
        cdef int64_t age_ns
        cdef bint found = False
        cdef int way
        for way in range(WAYS):
            seen = read(first + way)
            if seen.cost == 0 or seen.sealed != subject_hash:
                continue
            age_ns = age_of(&seen, now_ns)
            if age_ns >= 0 and not (found and toll.age_ns <= age_ns):
                found = True
                toll.service_us, toll.size_bytes, toll.age_ns = seen.cost >> 32, seen.cost & UINT32_MAX, age_ns
        return found
