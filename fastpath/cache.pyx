# cython: language_level=3str
"""The replies that the workers of a node keep for a moment, and the flights that fetch them: one for each key.

    header, a line: lines ever reserved of the log | cells, 8 in a line | the log of replies

`flights.pxd` has the cells and the argument why a key has one flight at a time; `reply_log.pxd` has the log and
the argument why nobody is given bytes that are not of his reply. They meet in one step: a reply is written to
the log first, where nobody knows of it, and then one compare-and-swap turns its flight's cell from FLIGHT to
KEPT. So whoever was waiting sees the flight or the reply and never neither, and a flight that has been
invalidated, or has a new leader, keeps nothing. A writer killed before that step leaves lines that no cell
names; one that is stopped before it and goes on a lap later spoils replies, which are then absent.

A cell only says where to look. A reply that is expired, lapped, spoilt, or has not both keys, is none: who finds
it becomes its cell's next leader.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t

from fastpath._atomic cimport load, map_words, prefetch, read_secret, swap, unmap
from fastpath.flights cimport (
    FLIGHT, FLIGHT_TICKS, KEPT, PROVISIONAL, TAG_MASK, TICK_BITS, WAYS, Place, alive, become, begin, claim, identify,
    kept_word, kind_of, place_of, position_of, seek, vacate,
)
from fastpath.reply_log cimport (
    LARGEST, LARGEST_PART, LINE_BYTES, Record, append, make_keys, read_data, read_head,
)

cdef enum:
    LEAST_SETS = 512
    # Of the log for each set. A certificate takes 2 to 3 KiB: with 1 KiB for each cell hardly one set in a hundred
    # gets more than it has room for before the log has gone round.
    SET_DATA_BYTES = 8_192
    ATTEMPTS = 64  # each is lost to somebody who got on

cdef int64_t TICKET_NS = <int64_t>(FLIGHT_TICKS + 1) << TICK_BITS

LARGEST_REPLY = LARGEST
LEAST_DATA_BYTES = 1 << 20
MOST_DATA_BYTES = 1 << 36
FLIGHT_NS = 60_000_000_000
LAYOUT = {"ways": WAYS, "header_bytes": LINE_BYTES, "line_bytes": LINE_BYTES, "record_bytes": sizeof(Record)}

assert sizeof(Record) == LINE_BYTES == 8 * WAYS
assert <int64_t>FLIGHT_TICKS << TICK_BITS >= FLIGHT_NS


cdef inline uint64_t sets_of(uint64_t data_bytes) noexcept:
    return max(<uint64_t>LEAST_SETS, data_bytes // SET_DATA_BYTES)


def cache_bytes(int64_t data_bytes):
    if not LEAST_DATA_BYTES <= data_bytes <= MOST_DATA_BYTES:
        raise ValueError(f"data_bytes {data_bytes} not in {LEAST_DATA_BYTES}..{MOST_DATA_BYTES}")
    return LINE_BYTES * (1 + sets_of(data_bytes) + data_bytes // LINE_BYTES)


def largest_reply(int64_t data_bytes):
    return min(LARGEST, data_bytes // LARGEST_PART)


def used_bytes(memory, int64_t data_bytes):
    cdef Py_buffer view
    cdef uint64_t lines
    map_words(&view, memory, "the replies", cache_bytes(data_bytes))
    lines = load(<uint64_t *>view.buf)
    unmap(&view)
    return LINE_BYTES * min(lines, <uint64_t>data_bytes // LINE_BYTES)


@cython.freelist(64)
@cython.final
cdef class Hit:
    pass


@cython.freelist(64)
@cython.final
@cython.no_gc_clear  # the memory must be there at the end
cdef class Ticket:

    def __dealloc__(self):
        abandon(self)

    @property
    def tracked(self):
        return self.flight != 0


cdef inline Ticket ticket_of(ReplyCache cache, uint64_t *cell, uint64_t flight):
    cdef Ticket ticket = Ticket.__new__(Ticket)
    ticket.cache, ticket.cell, ticket.flight = cache, cell, flight
    return ticket


cdef inline void abandon(Ticket ticket) noexcept:
    """Free the cell of a flight, unless it is no longer that flight's."""
    if ticket.flight:
        swap(ticket.cell, ticket.flight, 0)
        ticket.flight = 0


cdef inline bint in_time(Ticket ticket, int64_t now_ns) noexcept:
    return load(ticket.cell) == ticket.flight and now_ns - ticket.since_ns < TICKET_NS


cdef class ReplyCache:

    def __cinit__(self, memory, int64_t data_bytes, generations, int worker, bytes secret not None):
        size = cache_bytes(data_bytes)
        read_secret(secret, &self.log.k0, &self.log.k1)
        map_words(&self.generation_memory, generations, "the generations", 8)
        self.cells.workers = self.generation_memory.len // 8
        if not 0 <= worker < <int>self.cells.workers <= 256:
            raise ValueError(f"worker {worker} not in 0..{self.cells.workers - 1} (at most 256 workers)")
        map_words(&self.memory, memory, "the replies", size)
        self.log.head = self.cells.head = <uint64_t *>self.memory.buf
        self.cells.words = self.log.head + WAYS
        self.cells.sets = sets_of(data_bytes)
        self.cells.k0, self.cells.k1 = self.log.k0, self.log.k1
        self.cells.generations = <uint64_t *>self.generation_memory.buf
        identify(&self.cells, worker)
        self.log.data = <char *>(self.cells.words + self.cells.sets * WAYS)
        self.log.lines = data_bytes // LINE_BYTES
        self.log.largest = self.largest = largest_reply(data_bytes)
        make_keys(&self.log)

    def __dealloc__(self):
        unmap(&self.memory)
        unmap(&self.generation_memory)

    cdef void approach(self, uint64_t key) noexcept:
        """Have the cells of a key brought near, which is about to be looked up."""
        prefetch(place_of(&self.cells, key).ways)

    cpdef object look_up(self, uint64_t key, uint64_t check, int64_t now_ns):
        cdef Ticket ticket = None
        cdef Place place = place_of(&self.cells, key)
        cdef uint64_t *cell
        cdef uint64_t seen = 0, flight = 0
        cdef int tries
        for tries in range(ATTEMPTS):
            cell = seek(&place, &seen)
            if cell != NULL and kind_of(seen) == KEPT:
                hit = self.read(seen, key, check, now_ns)
                if hit is not None:
                    return hit
            elif cell != NULL and alive(&self.cells, seen, now_ns):
                return become(seen, FLIGHT)
            if flight == 0:
                flight = begin(&self.cells, place.tag, now_ns)
                if flight == 0:
                    break
            if cell == NULL or kind_of(seen) == PROVISIONAL:
                cell = claim(&self.cells, &place, flight, now_ns)
            elif not swap(cell, seen, flight):
                continue
            if cell != NULL:
                ticket = ticket_of(self, cell, flight)
                ticket.key, ticket.check, ticket.since_ns = key, check, now_ns
                return ticket
        return ticket_of(self, NULL, 0)

    cpdef bint put(
        self, Ticket ticket, bytes data, int64_t expires_ns, int64_t now_ns, uint64_t note=0
    ) except -1:
        if ticket is None or data is None or ticket.cache is not self:
            raise TypeError("a ticket of this cache, and bytes, are wanted")
        cdef uint64_t flight = ticket.flight, position
        cdef Record record
        if flight == 0 or len(data) > self.largest or expires_ns <= now_ns or not in_time(ticket, now_ns):
            abandon(ticket)
            return False
        record.key, record.check, record.size = ticket.key, ticket.check, len(data)
        record.stored_ns, record.expires_ns, record.note = now_ns, expires_ns, note
        position = append(&self.log, &record, PyBytes_AS_STRING(data))
        ticket.flight = 0
        return swap(ticket.cell, flight, kept_word(flight & TAG_MASK, position))

    cpdef void give_up(self, Ticket ticket) except *:
        if ticket is None or ticket.cache is not self:
            raise TypeError("a ticket of this cache is wanted")
        abandon(ticket)

    cpdef void invalidate(self, uint64_t key) noexcept:
        cdef Place place = place_of(&self.cells, key)
        vacate(&place)

    def place(self, uint64_t key):
        cdef Place place = place_of(&self.cells, key)
        return place.ways - self.cells.words, place.tag

    cdef Hit read(self, uint64_t kept, uint64_t key, uint64_t check, int64_t now_ns):
        """Return the reply that a KEPT cell names; None if it is of no use."""
        cdef Record record
        cdef Hit hit
        if not read_head(&self.log, position_of(&self.cells, kept), &record):
            return None
        if record.key != key or record.check != check or record.expires_ns <= now_ns:
            return None
        hit = Hit.__new__(Hit)
        hit.data = PyBytes_FromStringAndSize(NULL, record.size)
        hit.stored_ns, hit.expires_ns, hit.note = record.stored_ns, record.expires_ns, record.note
        hit.age_ns = max(0, <int64_t>(<uint64_t>now_ns - <uint64_t>record.stored_ns))  # noise has any, modulo 2^64
        return hit if read_data(&self.log, &record, PyBytes_AS_STRING(hit.data)) else None
