# cython: language_level=3str
"""What the analyst thinks of clients and networks, in shared memory: it alone writes, workers read without locks.

A region has two such tables. The one holds the bans, the other the verdicts that evidence has led to; what is said
here of bans goes for both.

    header: PRESENT, one count for each kind of keys | keys, 8 in a line | an entry for each key

Place. A key has two lines of eight slots, from the halves of one keyed hash, and stands in either of them. A
newcomer takes the one with more room, so with half of all slots in use a line is hardly ever full; nothing is
ever moved or evicted. A look-up reads two lines, whatever was written before. All zero is an empty table, and
untouched pages stay unmapped.

PRESENT has a bit for each kind of which there may be a ban. It is set before the first key of its kind is
written and cleared after the last one is erased; so a reader that sees no bit has nothing to look for, and a
writer killed in between leaves a bit too many, never one too few.

A slot. The writer raises the version, writes the term (one word: until when, and what) and the key last; it
erases by clearing the key. A prolonged ban is one store of its term. A reader loads version, key, term and the
version again. If the versions differ, the slot has been given away meanwhile, so the key had no ban for a
moment: that moment's answer is right, and nobody has to try again. If they are equal the term is the key's.

Killed writer. Between two stores the slot is free, or its ban is in force; only the counts and PRESENT may say
one too many. The next writer counts anew before its first change (`recover`), also if it has inherited the
object of another through a fork.

Content that no writer wrote leads to a wrong answer at worst: every index comes from a hash, every loop is
over a fixed number of slots.
"""

from enum import IntEnum
from typing import NamedTuple

from libc.stdint cimport int64_t, uint64_t
from posix.unistd cimport getpid

from fastpath._atomic cimport keyed_hash, load, map_words, peek_word, read_secret, scale, store, unmap
from fastpath.keys cimport MOST_PARENTS, client_key, is_key, kind_of, parents_of

from fastpath._gcra_py import MAX_OFFSET_NS

cdef enum:
    CAPACITY = 65_536
    SLOTS = 131_072
    WAYS = 8  # slots in a line
    LINES = 16_384
    HEADER_WORDS = 8
    PRESENT = 0  # words of the header; those from 1 on are counts by kind
    KINDS = 6

cdef int64_t MAX_UNTIL_NS = MAX_OFFSET_NS - 1  # with the standing it fills a word

assert 2 * CAPACITY == SLOTS == WAYS * LINES

LAYOUT = {"ways": WAYS, "header_bytes": 8 * HEADER_WORDS, "key_bytes": 8, "entry_bytes": sizeof(Entry)}
BAN_TABLE_BYTES = 8 * HEADER_WORDS + SLOTS * (8 + sizeof(Entry))


Standing = IntEnum("Standing", {name: number for number, name in enumerate(
    ("WELCOME", "PRICED", "DELAYED", "LIMITED", "TARPIT", "BANNED"))}, module=__name__)


class BanEntry(NamedTuple):
    key: int
    until_ns: int
    standing: int


cdef inline uint64_t first_line(uint64_t hash) noexcept nogil:
    return scale(hash, LINES) * WAYS


cdef inline uint64_t second_line(uint64_t hash) noexcept nogil:
    return scale(hash << 32, LINES) * WAYS


cdef inline int64_t seek(const Slots *slots, uint64_t line, uint64_t key) noexcept nogil:
    """Return the slot of a line that holds `key` (0: that is free), or -1."""
    cdef uint64_t at
    for at in range(line, line + WAYS):
        if peek_word(slots.keys + at) == key:
            return at
    return -1


cdef inline int64_t find(const Slots *slots, uint64_t key) noexcept nogil:
    """Return the slot of a key, or -1."""
    cdef uint64_t hash = keyed_hash(slots.k0, slots.k1, key)
    cdef int64_t at = seek(slots, first_line(hash), key)
    return at if at >= 0 else seek(slots, second_line(hash), key)


cdef inline uint64_t term_at(const Slots *slots, int64_t at, uint64_t key) noexcept nogil:
    """Return the term of a key that was seen in a slot; 0 if it has left it."""
    cdef const Entry *entry = slots.entries + at
    cdef uint64_t version = load(&entry.version), term
    if load(slots.keys + at) != key:
        return 0
    term = load(&entry.term)
    return term if load(&entry.version) == version else 0


cdef inline uint64_t term_of(const Slots *slots, uint64_t key) noexcept nogil:
    cdef int64_t at = find(slots, key)
    return term_at(slots, at, key) if at >= 0 else 0


cdef inline int64_t until_of(uint64_t term) noexcept nogil:
    return <int64_t>(term >> 3)


cdef inline int standing_of(uint64_t term) noexcept nogil:
    return min(<int>(term & 7), BANNED)


cdef inline bint holds(uint64_t term, int64_t now_ns) noexcept nogil:
    return term != 0 and until_of(term) > now_ns


cdef inline bint listed(const Slots *slots, uint64_t key) noexcept nogil:
    """Whether it is a key, and there may be bans of its kind."""
    return is_key(key) and load(slots.header + PRESENT) >> kind_of(key) & 1


cdef inline uint64_t extent(const Slots *slots) noexcept nogil:
    """How many slots there are to go through: none if there is no ban, lest pages become resident."""
    return SLOTS if load(slots.header + PRESENT) else 0


cdef inline uint64_t *count_of(const Slots *slots, int kind) noexcept nogil:
    return slots.header + PRESENT + kind


cdef inline void note(const Slots *slots, int kind, uint64_t count) noexcept nogil:
    """Write the count of a kind and its bit of PRESENT."""
    cdef uint64_t bit = <uint64_t>1 << kind, present = load(slots.header + PRESENT)
    store(count_of(slots, kind), count)
    store(slots.header + PRESENT, present | bit if count else present & ~bit)


cdef inline uint64_t total(const Slots *slots) noexcept nogil:
    cdef uint64_t count = 0
    cdef int kind
    for kind in range(1, KINDS):
        count += load(count_of(slots, kind))
    return count


cdef inline int free_ways(const Slots *slots, uint64_t line) noexcept nogil:
    cdef uint64_t at
    cdef int count = 0
    for at in range(line, line + WAYS):
        count += load(slots.keys + at) == 0
    return count


cdef inline bint occupy(const Slots *slots, uint64_t key, uint64_t term) noexcept nogil:
    """Write a key that is not there into the emptier of its lines; false if both are full."""
    cdef uint64_t hash = keyed_hash(slots.k0, slots.k1, key)
    cdef uint64_t first = first_line(hash), second = second_line(hash)
    cdef int64_t at = seek(slots, first if free_ways(slots, first) >= free_ways(slots, second) else second, 0)
    if at < 0:
        return False
    note(slots, kind_of(key), load(count_of(slots, kind_of(key))) + 1)
    store(&slots.entries[at].version, load(&slots.entries[at].version) + 1)
    store(&slots.entries[at].term, term)
    store(slots.keys + at, key)
    return True


cdef inline void vacate(const Slots *slots, int64_t at, uint64_t key) noexcept nogil:
    cdef uint64_t count = load(count_of(slots, kind_of(key)))
    store(slots.keys + at, 0)
    note(slots, kind_of(key), count - 1 if count else 0)


cdef void count_anew(const Slots *slots) noexcept nogil:
    """Erase what no look-up can find, and count the rest."""
    cdef uint64_t counts[KINDS]
    cdef uint64_t at, key
    cdef int kind
    for kind in range(1, KINDS):
        counts[kind] = 0
    for at in range(extent(slots)):
        key = load(slots.keys + at)
        if is_key(key) and find(slots, key) == <int64_t>at:
            counts[kind_of(key)] += 1
        elif key != 0:
            store(slots.keys + at, 0)
    for kind in range(1, KINDS):
        note(slots, kind, counts[kind])


cdef int check_ban(uint64_t key, int64_t until_ns, int standing) except -1:
    if not is_key(key):
        raise ValueError(f"{key:#x} is not a key")
    if not 0 < until_ns <= MAX_UNTIL_NS:
        raise ValueError(f"until_ns {until_ns} not in 1..{MAX_UNTIL_NS}")
    if not WELCOME < standing <= BANNED:
        raise ValueError(f"standing {standing} not in {PRICED}..{BANNED}")
    return 0


cdef class BanTable:

    def __cinit__(self, memory, bytes secret not None):
        read_secret(secret, &self.slots.k0, &self.slots.k1)
        map_words(&self.memory, memory, "the bans", BAN_TABLE_BYTES)
        self.slots.header = <uint64_t *>self.memory.buf
        self.slots.keys = self.slots.header + HEADER_WORDS
        self.slots.entries = <Entry *>(self.slots.keys + SLOTS)

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def capacity(self):
        return CAPACITY

    def recover(self):
        with nogil:
            count_anew(&self.slots)
        self.recovered_by = getpid()

    def put(self, uint64_t key, int64_t until_ns, int standing=BANNED):
        check_ban(key, until_ns, standing)
        if self.recovered_by != getpid():
            self.recover()
        cdef uint64_t term = <uint64_t>until_ns << 3 | <uint64_t>standing
        cdef int64_t at = find(&self.slots, key)
        if at >= 0:
            store(&self.slots.entries[at].term, term)
            return True
        return total(&self.slots) < CAPACITY and occupy(&self.slots, key, term)

    def remove(self, uint64_t key):
        if self.recovered_by != getpid():
            self.recover()
        cdef int64_t at = find(&self.slots, key) if listed(&self.slots, key) else -1
        if at < 0:
            return False
        vacate(&self.slots, at, key)
        return True

    def expire(self, int64_t now_ns):
        cdef uint64_t at, key
        if self.recovered_by != getpid():
            self.recover()
        with nogil:
            for at in range(extent(&self.slots)):
                key = load(self.slots.keys + at)
                if is_key(key) and until_of(load(&self.slots.entries[at].term)) <= now_ns:
                    vacate(&self.slots, at, key)

    def entries(self, int64_t now_ns):
        cdef uint64_t at, key, term
        cdef list found = []
        for at in range(extent(&self.slots)):
            key = load(self.slots.keys + at)
            term = term_at(&self.slots, at, key) if is_key(key) else 0
            if holds(term, now_ns):
                found.append(BanEntry(key, until_of(term), standing_of(term)))
        return found

    def used(self, int64_t now_ns):
        cdef uint64_t at, key, count = 0
        with nogil:
            for at in range(extent(&self.slots)):
                key = load(self.slots.keys + at)
                count += is_key(key) and holds(term_at(&self.slots, at, key), now_ns)
        return count

    def until(self, uint64_t key, int64_t now_ns):
        cdef uint64_t term = term_of(&self.slots, key) if listed(&self.slots, key) else 0
        return until_of(term) if holds(term, now_ns) else 0

    def standing(self, bytes address not None, int64_t now_ns):
        if len(address) not in (4, 16):
            raise ValueError(f"address has {len(address)} bytes, not 4 or 16")
        return self.look_up(address, now_ns)

    cdef int look_up(self, bytes address, int64_t now_ns) noexcept:
        cdef uint64_t keys[1 + MOST_PARENTS]
        cdef uint64_t present = load(self.slots.header + PRESENT), term
        cdef int i, hardest = WELCOME
        if present == 0 or address is None or len(address) != 4 and len(address) != 16:
            return WELCOME
        keys[0] = client_key(address)
        for i in range(1 + parents_of(keys[0], keys + 1)):
            if present >> kind_of(keys[i]) & 1:
                term = term_of(&self.slots, keys[i])
                if holds(term, now_ns):
                    hardest = max(hardest, standing_of(term))
        return hardest

    def place(self, uint64_t key):
        cdef uint64_t hash = keyed_hash(self.slots.k0, self.slots.k1, key)
        return first_line(hash), second_line(hash)
