# cython: language_level=3str
"""
What was paid from budgets of which no record can tell: one worker writes it down, the analyst reads it, nobody waits.

    line 0    head: notes ever written     (the writer's)
    line 1    tail: notes ever read        (the reader's)
    then      4096 notes

It works like the ring of records (`ring.pyx`). Who finds it full leaves his note out: what it would have told is found
in the bucket when somebody pays from that again.
"""

from typing import NamedTuple

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath._atomic cimport load_acquire, map_words, peek_word, store_release, unmap

cdef enum:
    NOTES = 4096  # a power of two
    HEAD = 0  # words
    TAIL = 8
    HEADER_BYTES = 128
    ADDRESS = 16


cdef struct Note:
    int64_t time_ns
    uint64_t key
    int64_t tokens
    uint8_t address[ADDRESS]
    uint8_t address_bytes
    uint8_t kind


PAYMENT_NOTES = NOTES
PAYMENT_BYTES = HEADER_BYTES + NOTES * sizeof(Note)


class Payment(NamedTuple):
    time_ns: int
    key: int
    kind: int
    tokens: int
    address: bytes


cdef class Payments:

    def __cinit__(self, memory):
        map_words(&self.memory, memory, "the payments", PAYMENT_BYTES)
        self.words = <uint64_t *>self.memory.buf
        self.notes = <Note *>(<char *>self.memory.buf + HEADER_BYTES)

    def __dealloc__(self):
        unmap(&self.memory)

    cpdef bint write(self, int64_t time_ns, uint64_t key, int kind, int64_t tokens, bytes address) except -1:
        cdef uint64_t head = peek_word(self.words + HEAD)
        cdef Note *note = self.notes + head % NOTES
        if address is None or len(address) not in (4, ADDRESS) or not 0 <= kind <= 255:
            raise ValueError(f"kind {kind}, or not an address")
        if head - load_acquire(self.words + TAIL) >= NOTES:
            return False
        note.time_ns, note.key, note.tokens, note.kind = time_ns, key, tokens, kind
        memset(note.address, 0, ADDRESS)
        memcpy(note.address, <const char *>address, len(address))
        note.address_bytes = len(address)
        store_release(self.words + HEAD, head + 1)
        return True

    def take(self, uint64_t most):
        cdef uint64_t tail = peek_word(self.words + TAIL), head = load_acquire(self.words + HEAD)
        cdef uint64_t end = tail + min(head - tail, most)
        cdef const Note *note
        taken = []
        if head - tail > NOTES:  # nobody wrote that
            tail = end = head
        while tail != end:
            note = self.notes + tail % NOTES
            address = (<const char *>note.address)[: 4 if note.address_bytes == 4 else ADDRESS]
            taken.append(Payment(note.time_ns, note.key, note.kind, note.tokens, address))
            tail += 1
        store_release(self.words + TAIL, end)
        return taken
