# cython: language_level=3str, cdivision=True, initializedcheck=False
# cdivision: what is divided is never negative, so C and Python agree
"""Adds records to the panes of their clients, one after the other; what a record adds is said in `marks.py`.

    row: what is kept for the next record | the pane that is being filled | the one before it

It is a loop over records, because each finds there what the one before it of the same client has left.
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastpath.ring cimport SUBJECT, Entry

from models import marks

cdef enum:
    MANTISSA = 48  # bits of a double below the first four of its fraction
    ONE = 1023 * 16  # its exponent for 1.0, in steps
    FINGERPRINT_DIGITS = 32  # of the shortest
    RANK_DIGITS = 16
    RANK_BYTES = 8
    DOMAIN_BYTES = 32
    FOUND = 200
    NOT_FOUND = 404
    MOST_BURST = 1 << 30

cdef enum:  # families of what is searched for, which have an order each; 0: none
    FINGERPRINT = 1
    KEY_ID
    IDENTITY_TEXT
    WORDS_TEXT

cdef int CERT = marks.CERT, IDENTITY = marks.IDENTITY, WORDS = marks.WORDS, UPLOAD = marks.UPLOAD
cdef int MAIL = marks.MAIL, PREFIXLOG = marks.PREFIXLOG, STATS = marks.STATS, STATIC = marks.STATIC
cdef int UNKNOWN = marks.UNKNOWN, DELAY = marks.DELAY, SHADOW = marks.SHADOW, GET = marks.GET, POST = marks.POST
cdef int MALFORMED = marks.MALFORMED, TOO_LARGE = marks.TOO_LARGE, UNWANTED = marks.UNWANTED
cdef int TIMEOUT = marks.TIMEOUT, GONE = marks.GONE, HTTP_1_0 = marks.FLAG_HTTP_1_0
cdef uint64_t NO_HEAD = marks.NO_HEAD
cdef int SLOWEST = marks.SLOWEST
cdef int64_t REST_US = marks.REST_US

cdef uint64_t SPREAD = 0x9E3779B97F4A7C15  # 2**64 divided by the golden ratio
cdef uint64_t[4] ODD = [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93]
cdef uint8_t[256] IS_PLAIN
cdef uint8_t[256] DIGIT

for _byte in range(256):
    IS_PLAIN[_byte] = _byte in marks.PLAIN
    DIGIT[_byte] = max(b"0123456789ABCDEF".find(_byte), 0)


cdef struct Pane:  # `marks.SUMS`, `marks.PEAKS`, and a bit for each member
    int32_t requests, certs, identities, words, uploads, pages, rare, unknown
    int32_t malformed, unfinished, odd_methods, http_1_0
    int32_t searches, missed, domains, same_domain, text_bytes, odd_bytes
    int32_t key_ids, rises, falls, steps, step_octaves
    int32_t pauses, pause_octaves, pause_squares, overlaps
    int32_t upload_octaves, upload_squares
    int32_t burst, haste
    uint32_t members[8]


cdef struct Kept:  # 0: nothing
    int64_t time_ns
    int64_t requests  # since it was forgotten last
    uint64_t rank
    uint64_t domain
    int32_t burst
    uint8_t family


cdef struct Row:
    Kept kept
    Pane now
    Pane before


cdef Pane _empty
memset(&_empty, 0, sizeof(_empty))
assert tuple(<object>_empty) == (*marks.SUMS, *marks.PEAKS, "members")

PANE_BYTES = sizeof(Pane)
ROW_BYTES = sizeof(Row)


cdef inline int32_t steps_of(uint64_t value) noexcept nogil:
    """Read log2(1 + value) from the bits of the number: the same on every machine."""
    cdef double number = <double>value + 1
    cdef int64_t bits
    memcpy(&bits, &number, sizeof(bits))
    return <int32_t>((bits >> MANTISSA) - ONE)


def octaves(uint64_t value):
    return steps_of(value)


cdef void mark_kind(Pane *pane, const Entry *record) noexcept nogil:
    """Count what is asked for."""
    cdef int kind = record.operation
    cdef bint bad = record.reason == MALFORMED or record.reason == TOO_LARGE or record.reason == UNWANTED
    cdef int32_t size
    pane.requests += 1
    pane.malformed += bad
    if kind == CERT:
        pane.certs += 1
    elif kind == IDENTITY:
        pane.identities += 1
    elif kind == WORDS:
        pane.words += 1
    elif kind == UPLOAD:
        size = steps_of(record.received)
        pane.uploads += 1
        pane.upload_octaves += size
        pane.upload_squares += size * size
    elif MAIL <= kind <= PREFIXLOG:  # ADMIN and SYNC, too
        pane.rare += 1
    elif kind == STATS or kind == STATIC:
        pane.pages += 1
    elif kind == UNKNOWN:
        pane.unknown += record.subject_hash != NO_HEAD and not bad


cdef void mark_manners(Pane *pane, const Entry *record) noexcept nogil:
    """Count how it is asked for."""
    pane.unfinished += record.reason == TIMEOUT or record.reason == GONE
    pane.odd_methods += record.subject_hash != NO_HEAD and record.method != GET and record.method != POST
    pane.http_1_0 += record.flags & HTTP_1_0


cdef void mark_time(Pane *pane, Kept *kept, const Entry *record) noexcept nogil:
    """Tell pauses and bursts.

    Records of two workers may come in the wrong order where blocks meet; who ended before the one before is such a
    record, and overlaps nothing.
    """
    cdef int64_t pause_ns = record.time_ns - <int64_t>record.total_us * 1000 - kept.time_ns
    cdef int64_t pause_us = pause_ns // 1000 if pause_ns > 0 else 0
    cdef int32_t steps
    if kept.time_ns:
        steps = steps_of(pause_us)
        pane.pauses += 1
        pane.overlaps += pause_ns < 0 and record.time_ns >= kept.time_ns
        pane.pause_octaves += steps
        pane.pause_squares += steps * steps
        pane.haste = max(pane.haste, SLOWEST - steps)
        if pause_us >= REST_US:
            kept.burst = 0
    kept.time_ns = record.time_ns
    kept.burst = min(kept.burst + 1, <int32_t>MOST_BURST)
    pane.burst = max(pane.burst, kept.burst)


cdef void mark_lookup(Pane *pane, Kept *kept, const Entry *record) noexcept nogil:
    """Tell what is searched for, and whether it was there."""
    cdef const uint8_t *text = &record.subject[0]
    cdef uint64_t member = record.subject_hash * SPREAD >> 56  # one of 256 bits
    cdef uint8_t family = family_of(record)
    pane.members[member >> 5] |= <uint32_t>1 << (member & 31)
    pane.key_ids += family == KEY_ID
    mark_answer(pane, record, family)
    mark_order(pane, kept, family, rank_of_id(text) if family <= KEY_ID else rank_of_text(text))
    if family > KEY_ID:
        mark_text(pane, text, family)
    if family == IDENTITY_TEXT:
        mark_domain(pane, kept, text)


cdef inline uint8_t family_of(const Entry *record) noexcept nogil:
    if record.operation == CERT:
        return FINGERPRINT if record.subject[FINGERPRINT_DIGITS - 1] else KEY_ID
    return IDENTITY_TEXT if record.operation == IDENTITY else WORDS_TEXT


cdef inline void mark_answer(Pane *pane, const Entry *record, uint8_t family) noexcept nogil:
    """Count misses, but of fingerprints: a refresh has them for every key that was never uploaded (HKP.md 5.4)."""
    if family == FINGERPRINT or DELAY < record.action < SHADOW:
        return
    pane.searches += record.status == FOUND or record.status == NOT_FOUND
    pane.missed += record.status == NOT_FOUND


cdef inline void mark_order(Pane *pane, Kept *kept, uint8_t family, uint64_t rank) noexcept nogil:
    """Tell whether subjects come in their order, and how far ids are apart; the same one again is no step.

    Not the order of key ids: Debian's keyring is sorted by them, and who refreshes it does nothing wrong. Their
    fingerprints, by which gpg asks, are in no order.
    """
    if family == kept.family and rank != kept.rank:
        if family <= KEY_ID:
            pane.steps += 1
            pane.step_octaves += steps_of(rank - kept.rank if rank > kept.rank else kept.rank - rank)
        if family != KEY_ID:
            pane.rises += rank > kept.rank
            pane.falls += rank < kept.rank
    kept.family, kept.rank = family, rank


cdef uint64_t rank_of_id(const uint8_t *text) noexcept nogil:
    """Return a number for an id, in the order of ids: its first digits."""
    cdef uint64_t rank = 0
    cdef int place
    for place in range(RANK_DIGITS):
        rank = rank << 4 | DIGIT[text[place]]
    return rank


cdef uint64_t rank_of_text(const uint8_t *text) noexcept nogil:
    """Return a number for a text, in the order of texts: its first bytes."""
    cdef uint64_t rank = 0
    cdef int place
    for place in range(RANK_BYTES):
        rank = rank << 8 | text[place]
    return rank


cdef void mark_text(Pane *pane, const uint8_t *text, uint8_t family) noexcept nogil:
    """Tell what texts are made of: whole domains, and signs that names and addresses do not have."""
    cdef bint named = False, spaced = False
    cdef int32_t size = 0, odd = 0
    cdef int place
    for place in range(SUBJECT):
        size += text[place] != 0
        odd += not IS_PLAIN[text[place]]
        named |= text[place] == c"." or text[place] == c"@"
        spaced |= text[place] == c" "
    pane.text_bytes += size
    pane.odd_bytes += odd
    pane.domains += family == WORDS_TEXT and named and not spaced


cdef void mark_domain(Pane *pane, Kept *kept, const uint8_t *text) noexcept nogil:
    """Tell whether what comes after the `@` is as before; a word of it, never 0, as far as the record shows it."""
    cdef uint8_t[SUBJECT + DOMAIN_BYTES + 1] filled
    cdef uint64_t[4] words
    cdef uint64_t word
    cdef int at = 0
    memset(filled, 0, sizeof(filled))
    memcpy(filled, text, SUBJECT)
    while at < SUBJECT and filled[at] != c"@":
        at += 1
    memcpy(words, filled + at + 1, DOMAIN_BYTES)
    word = (words[0] * ODD[0] + words[1] * ODD[1] + words[2] * ODD[2] + words[3] * ODD[3]) | 1
    pane.same_domain += word == kept.domain
    kept.domain = word


cdef void merge(Pane *pane, const Pane *other) noexcept nogil:
    """Add another pane to a pane."""
    cdef int32_t *sums = &pane.requests
    cdef const int32_t *others = &other.requests
    cdef int place
    for place in range(&pane.burst - sums):
        sums[place] += others[place]
    pane.burst = max(pane.burst, other.burst)
    pane.haste = max(pane.haste, other.haste)
    for place in range(8):
        pane.members[place] |= other.members[place]


cdef class Panes:
    cdef Row *rows
    cdef int32_t count
    cdef int64_t pane  # requests
    cdef bytes looks
    cdef const uint8_t *is_look

    def __cinit__(self, int32_t rows, bytes looks not None):
        if not looks:
            raise ValueError("panes of no requests")
        self.pane = len(looks)
        self.looks, self.is_look = looks, looks
        self.rows = <Row *>calloc(rows, sizeof(Row))
        if self.rows == NULL:
            raise MemoryError
        self.count = rows

    def __dealloc__(self):
        free(self.rows)

    def add(self, const uint8_t[::1] records, const int32_t[::1] rows, uint8_t[::1] due, int64_t forget_ns):
        cdef Py_ssize_t size = rows.shape[0], place
        cdef const Entry *record
        if size * <Py_ssize_t>sizeof(Entry) != records.shape[0] or due.shape[0] != self.count:
            raise ValueError(f"{records.shape[0]} bytes of {size} records, {due.shape[0]} flags")
        for place in range(size):
            record = <const Entry *>&records[place * <Py_ssize_t>sizeof(Entry)]
            due[rows[place]] = self.add_one(self.at(rows[place]), record, due[rows[place]], forget_ns)

    cdef bint add_one(self, Row *row, const Entry *record, bint due, int64_t forget_ns) noexcept nogil:
        """Add a record; tell whether the row is due after it, as it may have been before."""
        cdef Kept *kept = &row.kept
        if kept.requests == 0 or record.time_ns - kept.time_ns > forget_ns:
            memset(row, 0, sizeof(Row))
            due = False
        if kept.requests % self.pane == 0:
            row.before = row.now
            memset(&row.now, 0, sizeof(Pane))
        kept.requests += 1
        mark_kind(&row.now, record)
        mark_manners(&row.now, record)
        mark_time(&row.now, kept, record)
        if CERT <= record.operation <= WORDS:
            mark_lookup(&row.now, kept, record)
        if kept.requests < self.pane:
            return due or self.is_look[kept.requests]
        return due or kept.requests % self.pane == 0

    def forget(self, const int32_t[::1] rows):
        cdef Py_ssize_t place
        for place in range(rows.shape[0]):
            self.at(rows[place]).kept.requests = 0

    def read(self, const int32_t[::1] rows):
        cdef bytearray found = bytearray(rows.shape[0] * <Py_ssize_t>sizeof(Pane))
        cdef Pane *panes = <Pane *><char *>found
        cdef Row *row
        cdef Py_ssize_t place
        for place in range(rows.shape[0]):
            row = self.at(rows[place])
            panes[place] = row.now
            merge(&panes[place], &row.before)
        return found

    cdef Row *at(self, int32_t row) except NULL:
        if not 0 <= row < self.count:
            raise IndexError(f"row {row} of {self.count}")
        return &self.rows[row]
