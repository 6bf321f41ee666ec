# cython: language_level=3str
"""Texts out of uploads, on their way from one worker to the analyst: a small ring, beside that of the records.

    line 0    head: excerpts ever written          (the writer's)
    line 1    tail: excerpts ever read             (the reader's)
    then      256 excerpts: the client's key, 64 bytes of text filled up with 0

Texts are what people have written of themselves. So the reader wipes what it has read, and what finds no room is not
written at all. The words work as in `ring.pyx`.
"""

from libc.stdint cimport uint64_t
from libc.string cimport memcpy, memset

from fastpath._atomic cimport load_acquire, map_words, peek_word, store_release, unmap

cdef enum:
    EXCERPTS = 256  # a power of two
    HEAD = 0  # words
    TAIL = 8
    HEADER_BYTES = 128
    TEXT = 64

EXCERPT_BYTES = HEADER_BYTES + EXCERPTS * sizeof(Excerpt)


cdef class Excerpts:

    def __cinit__(self, memory):
        map_words(&self.memory, memory, "excerpts", EXCERPT_BYTES)
        self.words = <uint64_t *>self.memory.buf
        self.entries = <Excerpt *>(<char *>self.memory.buf + HEADER_BYTES)

    def __dealloc__(self):
        unmap(&self.memory)

    cpdef bint write(self, uint64_t client, bytes text) except -1:
        if text is None:
            raise TypeError("text is None")
        cdef uint64_t head = peek_word(self.words + HEAD)
        if head - load_acquire(self.words + TAIL) >= EXCERPTS:
            return False
        cdef Excerpt *entry = self.entries + head % EXCERPTS
        cdef Py_ssize_t size = min(len(text), TEXT)
        entry.client = client
        memcpy(entry.text, <const unsigned char *>text, size)
        memset(entry.text + size, 0, TEXT - size)
        store_release(self.words + HEAD, head + 1)
        return True

    def take(self):
        cdef uint64_t tail = peek_word(self.words + TAIL), head = load_acquire(self.words + HEAD)
        cdef Excerpt *entry
        found = []
        if head - tail > EXCERPTS:  # they make no sense
            tail = head
        while tail != head:
            entry = self.entries + tail % EXCERPTS
            found.append((entry.client, (<char *>entry.text)[:TEXT].rstrip(b"\0")))
            memset(entry, 0, sizeof(Excerpt))
            tail += 1
        store_release(self.words + TAIL, tail)
        return found
