"""
Who fetches a reply: cells in shared memory that are kept replies or flights, one flight for a key, without locks.

Layout. A set is 8 cells in a line. A cell is one word, and every step is one compare-and-swap of it, so nothing
is ever half done. All zero is empty.

    bits   0..1  kind: FREE, PROVISIONAL, FLIGHT, KEPT
           2..23 tag, from the keyed hash of the key, which also chooses the set
    flight 24..31 worker  32..37 its generation  38..47 tick (2^30 ns) of the begin  48..63 serial in that tick
    kept   24..63 position of the reply in the log, which alone says whether it is one (`reply_log.pxd`)

Keys that share set and tag (2^-22 of a set's) share a cell: they turn each other's replies out and wait for
each other's flights. Without the secret nobody can look for such keys.

One flight. A tag has at most one cell that is FLIGHT or KEPT.
- If it has one that is of no use (the reply expired, lapped, spoilt, of another key; the flight's worker dead or
  its time over), the new leader swaps its flight into that very cell: there are not more of them afterwards.
- If it has none, the leader swaps PROVISIONAL into the cell that deserves least to stay, then looks at all
  others, and then swaps PROVISIONAL to FLIGHT. If it sees the tag FLIGHT or KEPT, or PROVISIONAL in a lower
  cell, it takes its word back and looks up anew. What is PROVISIONAL in a higher cell, or dead, it swaps to FREE;
  if that fails it looks up anew too.

Suppose that two claimants come through, in cells i < j. Either i was published before j's owner looked there; then
it saw it, and went back. Or i's owner looks at j after j was published, and sees FLIGHT, and goes back; or it sees
PROVISIONAL and swaps it to FREE, and j cannot become FLIGHT. Of those who try, the one in the lowest cell comes
through, so a look-up that sees a living PROVISIONAL may say that it is in flight.

No flight is taken for another. Words of two flights differ: a worker of one generation has one `Cells`, which
gives no serial twice in a tick; a tick comes again after 1024 (1100 s), and a ticket is worth nothing after 57.
So once anybody has taken a flight's word away (an invalidation, or a new leader because the worker was dead or
the time over), the put of the old leader fails, however long it was stopped.

Killed at any instruction. A word of its own is left, which is void with the worker's generation or its time.
Until then the key is in flight; nobody can know better. (If a living worker holds a ticket for 1100 s, and
nobody has asked for the key since its time was over, its flight seems to live for another minute.)

Invalidation frees the cells of the tag. A flight that is claimed behind its back has not been given to its
leader yet, so that one asks the upstream after the upload that is the reason.

Bounded. A flight turns out what is free, then the dead, then the oldest reply of the set, and never a living
flight. If there are 8 of them, or after too many lost races, there is no flight: the caller asks for itself.
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath._atomic cimport keyed_hash, load, scale, swap


cdef enum:
    WAYS = 8
    TAG_MASK = 0xFFFFFC  # in its place
    WORKER_SHIFT = 24
    GENERATION_SHIFT = 32
    TICK_SHIFT = 38
    GENERATIONS = 64
    TICKS = 1024
    SERIAL_SHIFT = 48
    POSITION_SHIFT = 24
    SERIALS = 65_536
    TICK_BITS = 30  # of a time
    FLIGHT_TICKS = 56  # of this age a flight still lives: it has 60.1 to 61.2 s
    AHEAD_TICKS = 2  # by which another worker's clock may be ahead of mine

cdef enum Kind:
    FREE
    PROVISIONAL
    FLIGHT
    KEPT


cdef struct Cells:
    uint64_t *words
    uint64_t sets
    uint64_t k0
    uint64_t k1
    const uint64_t *head  # of the log: positions before it are taken
    const uint64_t *generations
    uint64_t workers
    uint64_t mine  # bits 24..37 of this worker's flights
    uint64_t tick  # of its last flight
    uint64_t serial  # of its next one in that tick


cdef struct Place:
    uint64_t *ways
    uint64_t tag


cdef inline Place place_of(const Cells *cells, uint64_t key) noexcept nogil:
    cdef uint64_t hash = keyed_hash(cells.k0, cells.k1, key)
    cdef Place place
    place.ways = cells.words + scale(hash, cells.sets) * WAYS
    place.tag = hash << 2 & TAG_MASK  # the set comes from the high bits
    return place


cdef inline Kind kind_of(uint64_t word) noexcept nogil:
    return <Kind>(word & 3)


cdef inline uint64_t become(uint64_t word, Kind kind) noexcept nogil:
    return word & ~<uint64_t>3 | <uint64_t>kind


cdef inline bint bears(uint64_t word, uint64_t tag) noexcept nogil:
    return word & TAG_MASK == tag and kind_of(word) != FREE


cdef inline uint64_t kept_word(uint64_t tag, uint64_t position) noexcept nogil:
    return position << POSITION_SHIFT | tag | <uint64_t>KEPT


cdef inline uint64_t position_of(const Cells *cells, uint64_t word) noexcept nogil:
    """Return the position that a KEPT cell names the low 40 bits of: the last one before the head."""
    cdef uint64_t head = load(cells.head)
    return head - ((head << POSITION_SHIFT) - (word >> POSITION_SHIFT << POSITION_SHIFT) >> POSITION_SHIFT)


cdef inline uint64_t tick_of(int64_t time_ns) noexcept nogil:
    return <uint64_t>time_ns >> TICK_BITS


cdef inline void identify(Cells *cells, uint64_t worker) noexcept nogil:
    """Read the generation of this worker, once."""
    cells.mine = (load(cells.generations + worker) % GENERATIONS) << GENERATION_SHIFT | worker << WORKER_SHIFT


cdef inline bint alive(const Cells *cells, uint64_t word, int64_t now_ns) noexcept nogil:
    """Whether the worker of a flight still lives in that generation, and the flight's time is not over."""
    cdef uint64_t worker = word >> WORKER_SHIFT & 0xFF, age = (tick_of(now_ns) - (word >> TICK_SHIFT)) % TICKS
    if worker >= cells.workers or (load(cells.generations + worker) ^ word >> GENERATION_SHIFT) % GENERATIONS:
        return False
    return age <= FLIGHT_TICKS or age >= TICKS - AHEAD_TICKS


cdef inline uint64_t begin(Cells *cells, uint64_t tag, int64_t now_ns) noexcept nogil:
    """Return the word of a new flight; 0 if no serial is left in this tick."""
    cdef uint64_t tick = tick_of(now_ns)
    if tick > cells.tick:
        cells.tick, cells.serial = tick, 0
    if cells.serial == SERIALS:
        return 0
    cells.serial += 1
    tick = cells.tick % TICKS << TICK_SHIFT
    return (cells.serial - 1) << SERIAL_SHIFT | tick | cells.mine | tag | <uint64_t>FLIGHT


cdef inline uint64_t *seek(const Place *place, uint64_t *seen) noexcept nogil:
    """Find the cell of a tag and what stands there, FLIGHT or KEPT before PROVISIONAL; NULL if it has none."""
    cdef uint64_t *found = NULL
    cdef uint64_t word
    cdef int way
    for way in range(WAYS):
        word = load(place.ways + way)
        if bears(word, place.tag):
            found, seen[0] = place.ways + way, word
            if kind_of(word) != PROVISIONAL:
                return found
    return found


cdef inline uint64_t merit(const Cells *cells, uint64_t word, int64_t now_ns) noexcept nogil:
    """How much a cell deserves to go; 0: it must stay."""
    cdef uint64_t most = <uint64_t>1 << 40
    if kind_of(word) == KEPT:
        return 1 + load(cells.head) - position_of(cells, word)
    if kind_of(word) == FREE:
        return most + 2
    return 0 if alive(cells, word, now_ns) else most + 1


cdef inline uint64_t *choose(const Cells *cells, const Place *place, int64_t now_ns, uint64_t *seen) noexcept nogil:
    """Find the cell that deserves least to stay, and what stands there; NULL if all fly."""
    cdef uint64_t *chosen = NULL
    cdef uint64_t word, rank, most = 0
    cdef int way
    for way in range(WAYS):
        word = load(place.ways + way)
        rank = merit(cells, word, now_ns)
        if rank > most:
            chosen, seen[0], most = place.ways + way, word, rank
    return chosen


cdef inline bint alone(const Cells *cells, const Place *place, uint64_t *own, int64_t now_ns) noexcept nogil:
    """Whether no other cell claims the tag, once those that have to give way to mine are freed."""
    cdef uint64_t *cell
    cdef uint64_t seen
    cdef int way
    for way in range(WAYS):
        cell = place.ways + way
        seen = load(cell)
        if cell == own or not bears(seen, place.tag):
            continue
        if kind_of(seen) != PROVISIONAL or cell < own and alive(cells, seen, now_ns):
            return False
        if not swap(cell, seen, 0):
            return False
    return True


cdef inline uint64_t *claim(Cells *cells, const Place *place, uint64_t flight, int64_t now_ns) noexcept nogil:
    """Give a flight a cell where its tag has none; NULL if all fly, or somebody was faster somewhere."""
    cdef uint64_t seen, provisional = become(flight, PROVISIONAL)
    cdef uint64_t *cell = choose(cells, place, now_ns, &seen)
    if cell == NULL or not swap(cell, seen, provisional):
        return NULL
    if alone(cells, place, cell, now_ns) and swap(cell, provisional, flight):
        return cell
    swap(cell, provisional, 0)
    return NULL


cdef inline void vacate(const Place *place) noexcept nogil:
    """Free all cells of a tag."""
    cdef uint64_t seen
    cdef int way
    for way in range(WAYS):
        seen = load(place.ways + way)
        while bears(seen, place.tag) and not swap(place.ways + way, seen, 0):
            seen = load(place.ways + way)
