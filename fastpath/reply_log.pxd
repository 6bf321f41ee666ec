"""
Replies in a circular log of shared memory, written and read by any number of processes without locks.

    head (one word): lines ever reserved | lines of 64 bytes, used round and round

Position. A record begins at a line whose number, counted from the first one ever reserved, is never used again;
its place is that number modulo the lines there are. A writer reserves its lines (one atomic addition) before
it writes, so nobody who goes on writes where another one is writing, except a lap later.

Nobody waits for a lap. A writer that is stopped, and goes on after others have lapped it, scatters its old
bytes over newer records, and one that is killed leaves half a record. Nothing forbids that. What a reader is
given rests on one thing alone:

Seal. The writer takes it over the position, both keys, the size, both times, the note and all data, as they stand in
its own memory, before it writes. The reader first copies the record to memory of its own, and only then takes the
seal over that copy, with the position and the keys that it looks for. If both are equal the copy is, byte for
byte, what some writer meant for this position and these keys. Bytes of two records, however they are mixed, do
not have the seal of either: it is keyed with the secret of the region, and no process shows it to anybody. (NH
of 1 KiB at a time [UMAC, RFC 4418]: two texts of one length collide for one in 2^64 keys; what NH gives, and
the length, go through SipHash.) So the worst that the stopped and the killed do is to spoil records, and a
spoilt record is absent.

Lapped. `head` tells without reading it that a record has been written over; readers ask before they copy and,
cheaper than a seal, after it. No correctness rests on it.

Whatever stands in the memory, nobody leaves it: places are taken modulo the lines, sizes are checked in the
copy, and the copy is made with atomic loads, so that no compiler reads a checked word twice.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from fastpath._atomic cimport keyed_hash, load, peek_word


cdef extern from *:
    """
    #include <stddef.h>
    #include <stdint.h>
    #include <string.h>

    #define hkp_reserve(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)

    /* NH: the sum of (a + key) * (b + next key) over pairs of words; a short last pair is filled with zeros. */
    static inline void hkp_nh(const uint64_t *keys, const char *data, size_t size, uint64_t *low, uint64_t *high) {
        unsigned __int128 sum = 0;
        uint64_t pair[2];
        size_t at;
        for (at = 0; at + 16 <= size; at += 16, keys += 2) {
            memcpy(pair, data + at, 16);
            sum += (unsigned __int128)(pair[0] + keys[0]) * (pair[1] + keys[1]);
        }
        if (at < size) {
            pair[0] = pair[1] = 0;
            memcpy(pair, data + at, size - at);
            sum += (unsigned __int128)(pair[0] + keys[0]) * (pair[1] + keys[1]);
        }
        *low = (uint64_t)sum;
        *high = (uint64_t)(sum >> 64);
    }
    """
    uint64_t reserve "hkp_reserve"(uint64_t *word, uint64_t count) noexcept nogil
    void nh "hkp_nh"(
        const uint64_t *keys, const char *data, size_t size, uint64_t *low, uint64_t *high
    ) noexcept nogil


cdef enum:
    LINE_BYTES = 64
    BLOCK_BYTES = 1024  # of data for each NH
    BLOCK_WORDS = 128
    LARGEST = 1_048_576  # bytes of data in a record, in the largest log
    LARGEST_PART = 4  # and no more than this part of the log
    SEALED_BYTES = 56  # of a record's head: position to note


cdef struct Record:  # the line before the data
    uint64_t position
    uint64_t key
    uint64_t check
    uint64_t size
    int64_t stored_ns
    int64_t expires_ns
    uint64_t note  # the writer's own
    uint64_t seal


cdef struct Log:
    uint64_t *head
    char *data
    uint64_t lines
    uint64_t largest  # bytes of data in a record
    uint64_t k0
    uint64_t k1
    uint64_t block_keys[BLOCK_WORDS]


cdef inline void make_keys(Log *log) noexcept nogil:
    """Derive the keys of the seal from the secret."""
    cdef uint64_t word
    for word in range(<uint64_t>BLOCK_WORDS):
        log.block_keys[word] = keyed_hash(log.k0, ~log.k1, word)


cdef inline uint64_t stirred(const Log *log, uint64_t seal, const char *data, size_t size) noexcept nogil:
    """Take one more block into a seal."""
    cdef uint64_t low, high
    nh(log.block_keys, data, size, &low, &high)
    return keyed_hash(log.k0, log.k1, keyed_hash(log.k0, log.k1, seal ^ low) ^ high)


cdef inline uint64_t seal_of(const Log *log, const Record *record, const char *data) noexcept nogil:
    """Return the seal of a record and its data, `record.size` bytes in the caller's own memory."""
    cdef uint64_t seal = stirred(log, 0, <const char *>record, SEALED_BYTES), at = 0
    while at < record.size:
        seal = stirred(log, seal, data + at, min(<uint64_t>BLOCK_BYTES, record.size - at))
        at += BLOCK_BYTES
    return seal


cdef inline uint64_t lines_of(uint64_t size) noexcept nogil:
    return 1 + (size + LINE_BYTES - 1) // LINE_BYTES


cdef inline bint lapped(const Log *log, uint64_t position) noexcept nogil:
    """Whether a writer may have begun to write over the record there, or it was never reserved."""
    return load(log.head) - position - 1 >= log.lines


cdef inline void write(Log *log, uint64_t position, const char *data, uint64_t size) noexcept nogil:
    cdef uint64_t place = position % log.lines * LINE_BYTES
    cdef uint64_t before_end = min(size, log.lines * LINE_BYTES - place)
    memcpy(log.data + place, data, before_end)
    memcpy(log.data, data + before_end, size - before_end)


cdef inline uint64_t append(Log *log, Record *record, const char *data) noexcept nogil:
    """Write a record, all set but position and seal, and its data, at most LARGEST; returns its position."""
    record.position = reserve(log.head, lines_of(record.size))
    record.seal = seal_of(log, record, data)
    write(log, record.position, <const char *>record, LINE_BYTES)
    write(log, record.position + 1, data, record.size)
    return record.position


cdef inline bint read_head(const Log *log, uint64_t position, Record *record) noexcept nogil:
    """Copy the head of a record; false if it is no longer there. Nothing in it is to be believed yet."""
    cdef uint64_t place = position % log.lines * LINE_BYTES
    cdef const uint64_t *words = <const uint64_t *>(log.data + place)
    cdef int i
    if lapped(log, position):
        return False
    for i in range(LINE_BYTES // 8):
        (<uint64_t *>record)[i] = peek_word(words + i)
    return record.position == position and record.size <= log.largest


cdef inline bint read_data(const Log *log, const Record *record, char *data) noexcept nogil:
    """Copy the data of a record, `record.size` bytes; false if they, or its head, are not what was written."""
    cdef uint64_t place = (record.position + 1) % log.lines * LINE_BYTES
    cdef uint64_t before_end = min(record.size, log.lines * LINE_BYTES - place)
    memcpy(data, log.data + place, before_end)
    memcpy(data + before_end, log.data, record.size - before_end)
    return not lapped(log, record.position) and record.seal == seal_of(log, record, data)
