"""
The subjects of one aggregate in one generation: 64 words of shared memory, a set that becomes a sketch.

`_distinct_py.py` is the specification of marks and registers.

A word says itself what it is: epoch (15 bits), whether it holds registers (1), a mark or 8 registers (48). The
epoch says whose it is and of which time (`distinct.pyx`). So nothing is ever erased: a word of another epoch is
an empty one, whoever wrote it.

To add a subject is a single compare-and-swap of one word. A set is a hash table with linear probing; when all of
its words are full it becomes a sketch word by word, and as long as it is neither the one nor the other, every
word still says the truth: a mark that is not converted yet was seen, a register was reached. Whoever comes upon
the mixture (HALFWAY) finishes the work, any number of processes at once: registers only grow, and of equal marks
come equal registers. A process killed there may lose marks that it had overwritten with the registers of others;
these subjects will be new once more.

Late writers. A process stopped before its compare-and-swap may write a word of an epoch that is over where
another one has begun: at worst one word of the new epoch is lost, a subject or 8 registers, which come back as
they came: by requests. A sketch with a mark in it is HALFWAY again.

Content that no writer wrote leads to a wrong answer at worst: indices are masked, loops are bounded.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memset

from fastpath._atomic cimport load, swap
from fastpath.ways cimport ATTEMPTS

cdef extern from *:
    """
    #define HKP_HELD (((uint64_t)1 << 48) - 1)
    #define HKP_SKETCH ((uint64_t)1 << 48)
    """
    const uint64_t HELD "HKP_HELD"  # the bits of a mark, or of registers
    const uint64_t SKETCH "HKP_SKETCH"  # the bit that says which
    int trailing_zeros "__builtin_ctzll"(unsigned long long word) noexcept nogil


cdef enum:
    WORDS = 64  # of a generation
    LANES = 8  # registers in a word
    LANE_BITS = 6
    LANE = 63
    TOP_RANK = 40

cdef enum Kind:
    KNOWN
    ROOM  # not there, and here is an empty word
    FULL  # not there, and no word is empty
    HALFWAY  # marks and registers
    LOWER  # the register is below the rank of the mark


cdef struct Look:
    Kind kind
    uint64_t *word  # where to write
    uint64_t seen  # what stands there


cdef struct Half:  # a generation: its words, and the epoch that they must have
    uint64_t *words
    uint64_t epoch


cdef inline bint is_mark(uint64_t word, uint64_t epoch) noexcept nogil:
    return word >> 48 == epoch << 1


cdef inline uint64_t registers_of(uint64_t word, uint64_t epoch) noexcept nogil:
    """Return the registers of a word; none if it holds something else."""
    return word & HELD if word >> 48 == (epoch << 1 | 1) else 0


cdef inline int lane_of(uint64_t mark) noexcept nogil:
    return (mark >> 6 & 7) * LANE_BITS


cdef inline uint64_t rank_of(uint64_t mark) noexcept nogil:
    return 1 + trailing_zeros(mark >> 9 | <uint64_t>1 << (TOP_RANK - 1))


cdef inline uint64_t raised(uint64_t registers, int lane, uint64_t rank) noexcept nogil:
    if (registers >> lane & LANE) >= rank:
        return registers
    return registers & ~(<uint64_t>LANE << lane) | rank << lane


cdef inline uint64_t higher(uint64_t some, uint64_t others) noexcept nogil:
    """Return the higher of each two registers."""
    cdef int lane
    for lane in range(LANES):
        some = raised(some, lane * LANE_BITS, others >> lane * LANE_BITS & LANE)
    return some


cdef inline Look look(Half half, uint64_t mark) noexcept nogil:
    """Look for a mark from its home on; the home of a mark in a set is its word in a sketch."""
    cdef Look found
    cdef int i
    for i in range(WORDS):
        found.word = half.words + (mark + <uint64_t>i) % WORDS
        found.seen = load(found.word)
        if found.seen >> 49 != half.epoch:
            found.kind = ROOM
            return found
        if found.seen & SKETCH:
            if i != 0:
                found.kind = HALFWAY
            elif (found.seen >> lane_of(mark) & LANE) >= rank_of(mark):
                found.kind = KNOWN
            else:
                found.kind = LOWER
            return found
        if found.seen & HELD == mark:
            found.kind = KNOWN
            return found
    found.kind = FULL
    return found


cdef inline void install(uint64_t *word, uint64_t epoch, uint64_t registers) noexcept nogil:
    """Turn a word into registers, or raise those that it has; not if it is another epoch's."""
    cdef uint64_t seen, wanted
    while True:
        seen = load(word)
        wanted = epoch << 49 | SKETCH | higher(registers_of(seen, epoch), registers)
        if seen >> 49 != epoch or seen == wanted or swap(word, seen, wanted):
            return


cdef inline bint pour(Half half, uint64_t *sketch) noexcept nogil:
    """Raise the registers of a sketch to those of a generation; returns whether that is one itself, even in part."""
    cdef bint sketched = False
    cdef uint64_t word
    cdef int i
    for i in range(WORDS):
        word = load(half.words + i)
        if is_mark(word, half.epoch):
            sketch[word % WORDS] = raised(sketch[word % WORDS], lane_of(word), rank_of(word & HELD))
        elif word >> 49 == half.epoch:
            sketch[i] = higher(sketch[i], word & HELD)
            sketched = True
    return sketched


cdef inline void convert(Half half) noexcept nogil:
    """Make a sketch of a full set, or of what somebody else has left of it."""
    cdef uint64_t sketch[WORDS]
    cdef int i
    memset(sketch, 0, sizeof(sketch))
    pour(half, sketch)
    for i in range(WORDS):
        install(half.words + i, half.epoch, sketch[i])


cdef inline bint remember(Half half, uint64_t mark) noexcept nogil:
    """Write a mark; false if it was known, or nobody lets us."""
    cdef Look found
    cdef uint64_t wanted
    cdef int tries
    for tries in range(ATTEMPTS):
        found = look(half, mark)
        if found.kind == KNOWN:
            return False
        if found.kind == ROOM:
            wanted = half.epoch << 49 | mark
        elif found.kind == LOWER:
            wanted = half.epoch << 49 | SKETCH | raised(found.seen & HELD, lane_of(mark), rank_of(mark))
        else:
            convert(half)
            continue
        if swap(found.word, found.seen, wanted):
            return True
    return False
