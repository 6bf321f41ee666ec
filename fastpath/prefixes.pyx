# cython: language_level=3str
"""Which of a million networks an address lies in: a set in memory, and one in shared memory that is swapped while read.

How a set is laid out and searched is told in `prefix_tree.pxd`; `prefix_build.py` makes it.

Book. Two halves, so that there is always one to read: generation n stands on half n % 2. The writer fills the half
that nobody is sent to, a piece at a time, then says the new number, then gives the pages of the other half back to
the kernel. A reader takes the number, searches, and takes the number again: if it is the same one, nobody had begun to
write there, for the writer says n + 1 before it touches the half of n. A reader that was overtaken tries again; that
takes a whole publication during one look-up, so after four times it answers that it knows nothing.

A writer killed at any instruction leaves the generation before, whole; its successor fills the same half again.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath._atomic cimport load, map_words, peek_word, store, unmap
from fastpath.prefix_tree cimport (
    MAGIC, MOST_PREFIXES as MOST, MOST_RANGES, NODE, Plan, find_packed, plan_set, read_plan, rounded
)

from mmap import PAGESIZE
from typing import NamedTuple

cdef extern from *:
    """
    #define hkp_read_fence() __atomic_thread_fence(__ATOMIC_ACQUIRE)
    #define hkp_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)
    """
    void read_fence "hkp_read_fence"() noexcept nogil
    void fence "hkp_fence"() noexcept nogil

cdef extern from "<sys/mman.h>" nogil:
    enum: MADV_REMOVE
    int madvise(void *address, size_t size, int advice)

cdef enum:
    PIECE = 524_288  # copied in about a quarter of a millisecond
    MOST_TRIES = 4
    SLACK = 2_048  # what levels of both families, rounded to lines, take more than those of one

cdef uint64_t PAGE = PAGESIZE

NODE_KEYS = NODE
MOST_PREFIXES = MOST
MAGIC_WORD = MAGIC


class Layout(NamedTuple):
    levels4: list
    values4: int
    levels6: list
    lows6: int
    values6: int
    size: int


cdef inline int check_size(Py_ssize_t size) except -1:
    if size != 4 and size != 16:
        raise ValueError(f"address has {size} bytes, not 4 or 16")
    return 0


def layout(uint64_t ranges4, uint64_t ranges6):
    cdef Plan plan
    if not 1 <= ranges4 <= MOST_RANGES or not 1 <= ranges6 <= MOST_RANGES:
        raise ValueError(f"{ranges4} and {ranges6} ranges, not 1..{MOST_RANGES}")
    plan_set(&plan, ranges4, ranges6)
    levels4 = [(plan.four.starts[level], plan.four.counts[level]) for level in range(plan.four.levels)]
    levels6 = [(plan.six.starts[level], plan.six.counts[level]) for level in range(plan.six.levels)]
    return Layout(levels4, plan.values4, levels6, plan.lows6, plan.values6, plan.size)


cdef class PrefixSet:

    def __cinit__(self, memory):
        PyObject_GetBuffer(memory, &self.memory, PyBUF_SIMPLE)
        if <size_t>self.memory.buf % 8:
            raise ValueError("memory of prefixes does not begin at a multiple of 8 bytes")
        if not read_plan(&self.plan, <const char *>self.memory.buf, self.memory.len):
            raise ValueError("not a set of prefixes, or not a whole one")

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def prefixes(self):
        return self.plan.prefixes

    cdef uint32_t find(self, const unsigned char *packed, Py_ssize_t size) noexcept:
        """As `look_up`; the size is 4 or 16."""
        return find_packed(<const char *>self.memory.buf, &self.plan, packed, size)

    cpdef uint32_t look_up(self, bytes address) except? 0xFFFFFFFF:
        cdef Py_ssize_t size = len(address)
        check_size(size)
        return self.find(address, size)


def _half_bytes(uint64_t capacity):
    if not 1 <= capacity <= MOST:
        raise ValueError(f"capacity {capacity} not in 1..{MOST} prefixes")
    return rounded(layout(1, 2 * capacity + 1).size + SLACK, PAGE)


def prefix_bytes(capacity):
    return PAGESIZE + 2 * _half_bytes(capacity)


cdef class PrefixBook:

    def __cinit__(self, memory, uint64_t capacity):
        map_words(&self.memory, memory, "the prefixes", prefix_bytes(capacity))
        self.generation_word = <uint64_t *>self.memory.buf
        self.half_bytes = _half_bytes(capacity)
        self.turn_to(0)

    def __dealloc__(self):
        unmap(&self.memory)

    @property
    def generation(self):
        return load(self.generation_word)

    @property
    def prefixes(self):
        self.turn_to(load(self.generation_word))
        return self.plan.prefixes

    cdef char *half_of(self, uint64_t generation) noexcept:
        return <char *>self.memory.buf + PAGE + generation % 2 * self.half_bytes

    cdef int turn_to(self, uint64_t generation) noexcept:
        self.half = self.half_of(generation)
        self.planned = generation
        return read_plan(&self.plan, self.half, self.half_bytes)

    cdef uint32_t find(self, const unsigned char *packed, Py_ssize_t size) noexcept:
        """As `look_up`; the size is 4 or 16."""
        cdef uint64_t generation
        cdef uint32_t value
        cdef int tries
        for tries in range(MOST_TRIES):
            generation = load(self.generation_word)
            if generation != self.planned:
                self.turn_to(generation)
            value = find_packed(self.half, &self.plan, packed, size)
            read_fence()
            if peek_word(self.generation_word) == generation:
                return value
        return 0

    cpdef uint32_t look_up(self, bytes address) except? 0xFFFFFFFF:
        cdef Py_ssize_t size = len(address)
        check_size(size)
        return self.find(address, size)

    def publish(self, built):
        source = PrefixSet(built)
        if source.plan.size > self.half_bytes:
            raise ValueError(f"set of {source.plan.size} bytes, not 0..{self.half_bytes}")
        return self._publishing(source)

    def _publishing(self, PrefixSet source):
        cdef uint64_t at, number = load(self.generation_word) + 1
        fence()  # the last number stands there before anything that is written now
        for at in range(0, source.plan.size, PIECE):
            memcpy(self.half_of(number) + at, <const char *>source.memory.buf + at, min(<uint64_t>PIECE, source.plan.size - at))
            yield
        store(self.generation_word, number)
        for at in range(0, self.half_bytes, PIECE):
            yield
            self.give_back(self.half_of(number + 1) + at, min(<uint64_t>PIECE, self.half_bytes - at))

    cdef int give_back(self, char *start, uint64_t size) noexcept:
        """Let the kernel have the whole pages in a piece; where the memory is not of a kind to do so it keeps them."""
        cdef uint64_t first = rounded(<uint64_t>start, PAGE), end = (<uint64_t>start + size) // PAGE * PAGE
        return madvise(<void *>first, end - first, MADV_REMOVE) if first < end else 0
