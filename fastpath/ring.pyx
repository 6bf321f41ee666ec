# cython: language_level=3str
"""A ring of records: one worker writes, the analyst reads, nobody waits.

    line 0    head: records ever written; lost: records that found the ring full   (the writer's)
    line 1    tail: records ever read                                              (the reader's)
    then      8192 records of `record.RECORD_FORMAT`; or fewer, a power of two

A worker has two of them: one for requests, and a small one for knocks, the connections that are not taken on. Those
come as fast as somebody likes to connect. With a ring of their own they take no place from a request's record, nobody
who looks at requests has to tell them apart, and its size is all that bounds them: the analyst reads it each 0.1 s, so
1,280 knocks a second leave a record. The others find it full, which costs less than to write; all are counted
(`Counters.turned_away`).

The writer stores a record and then releases `head`; the reader acquires `head`, copies, and then releases
`tail`. Whatever stands in these words, nobody leaves the memory: a position is always taken modulo the size. If
they make no sense (more than that between them) the reader skips to `head`, which is the state after reading
everything.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport UINT32_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath._atomic cimport add, load_acquire, map_words, peek_word, store_release, unmap

from fastpath.record import RECORD_BYTES, records

cdef enum:
    RECORDS = 8192
    KNOCKS = 128
    HEAD = 0  # words
    LOST = 1
    TAIL = 8
    HEADER_BYTES = 128
    LIMITED = 2  # the action
    SEEN = 1024


RING_RECORDS = RECORDS
RING_BYTES = HEADER_BYTES + RECORDS * sizeof(Entry)
KNOCK_RECORDS = KNOCKS
KNOCK_BYTES = HEADER_BYTES + KNOCKS * sizeof(Entry)

assert sizeof(Entry) == RECORD_BYTES


cdef inline uint32_t saturated(int64_t value) noexcept nogil:
    if value < 0:
        return 0
    return <uint32_t>value if value <= UINT32_MAX else UINT32_MAX


cdef inline int write_address(Entry *entry, bytes address) except -1:
    cdef const unsigned char *data = address
    memset(entry.address, 0, 16)
    if len(address) == 16:
        memcpy(entry.address, data, 16)
    elif len(address) == 4:
        memset(entry.address + 10, 0xFF, 2)
        memcpy(entry.address + 12, data, 4)
    else:
        raise ValueError(f"address has {len(address)} bytes, not 4 or 16")
    return 0


cdef inline int write_subject(Entry *entry, bytes subject) except -1:
    cdef const unsigned char *data = subject
    cdef Py_ssize_t size = min(len(subject), SUBJECT)
    memcpy(entry.subject, data, size)
    memset(entry.subject + size, 0, SUBJECT - size)
    return 0


cdef inline int write_fingerprint(Entry *entry, bytes fingerprint) except -1:
    if len(fingerprint) == FINGERPRINT:
        memcpy(entry.fingerprint, <const unsigned char *>fingerprint, FINGERPRINT)
    elif len(fingerprint) == 0:
        memset(entry.fingerprint, 0, FINGERPRINT)
    else:
        raise ValueError(f"fingerprint has {len(fingerprint)} bytes, not 0 or {FINGERPRINT}")
    return 0


def notable(bytes block not None):
    cdef Py_ssize_t count = len(block) // <Py_ssize_t>sizeof(Entry), i
    cdef const Entry *entries = <const Entry *>PyBytes_AS_STRING(block)
    cdef const Entry *entry
    cdef uint64_t seen[SEEN]
    cdef uint64_t mark
    kept = []
    memset(seen, 0, sizeof(seen))
    for i in range(count):
        entry = entries + i
        if entry.reason == 0:
            continue
        if entry.action == LIMITED:
            mark = entry.client * 0x9E3779B97F4A7C15ULL ^ <uint64_t>entry.operation << 8 ^ entry.reason
            if seen[mark >> 54] == mark:
                continue
            seen[mark >> 54] = mark
        kept.append(PyBytes_FromStringAndSize(<const char *>entry, sizeof(Entry)))
    return b"".join(kept)


cdef class Ring:

    def __cinit__(self, memory, uint64_t size=RECORDS):
        if size == 0 or size & (size - 1) or size > RECORDS:
            raise ValueError(f"size {size} is no power of two up to {RECORDS}")
        map_words(&self.memory, memory, "a ring", HEADER_BYTES + size * sizeof(Entry))
        self.size = size
        self.words = <uint64_t *>self.memory.buf
        self.entries = <Entry *>(<char *>self.memory.buf + HEADER_BYTES)

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def lost(self):
        return peek_word(self.words + LOST)

    cpdef bint write(
        self, int64_t time_ns, uint64_t client, uint64_t request_id, uint64_t subject_hash,
        int64_t upstream_us, int64_t wait_us, int64_t total_us, int64_t received, int64_t sent,
        uint16_t status, uint8_t operation, uint8_t action, uint8_t reason, uint8_t source, uint8_t method,
        uint8_t flags, uint8_t upstream, bytes address, bytes subject, bytes fingerprint,
    ) except -1:
        if address is None or subject is None or fingerprint is None:
            raise TypeError("address, subject or fingerprint is None")
        cdef uint64_t head = peek_word(self.words + HEAD)
        cdef Entry *entry = self.entries + (head & (self.size - 1))
        if head - load_acquire(self.words + TAIL) >= self.size:
            add(self.words + LOST, 1)
            return False
        write_address(entry, address)
        write_subject(entry, subject)
        write_fingerprint(entry, fingerprint)
        entry.time_ns, entry.client, entry.request_id = time_ns, client, request_id
        entry.subject_hash = subject_hash
        entry.upstream_us, entry.wait_us = saturated(upstream_us), saturated(wait_us)
        entry.total_us = saturated(total_us)
        entry.received, entry.sent = saturated(received), saturated(sent)
        entry.status, entry.operation, entry.action = status, operation, action
        entry.reason, entry.source, entry.method = reason, source, method
        entry.flags, entry.upstream = flags, upstream
        store_release(self.words + HEAD, head + 1)
        return True

    def drain(self, uint64_t most):
        return records(self.take(most))

    cpdef bytes take(self, uint64_t most):
        cdef uint64_t tail = peek_word(self.words + TAIL), head = load_acquire(self.words + HEAD)
        cdef uint64_t count = min(head - tail, most)
        cdef uint64_t first = tail & (self.size - 1)
        if head - tail > self.size:
            store_release(self.words + TAIL, head)
            return b""
        cdef uint64_t before_end = min(count, self.size - first)
        cdef bytes copied = self.copy(first, before_end)
        if before_end < count:
            copied += self.copy(0, count - before_end)
        store_release(self.words + TAIL, tail + count)
        return copied

    cdef bytes copy(self, uint64_t first, uint64_t count):
        return PyBytes_FromStringAndSize(<char *>(self.entries + first), count * sizeof(Entry))
