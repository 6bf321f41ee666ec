# cython: language_level=3str
"""Nested prefixes flattened to ranges: the addresses at which the longest match changes, in order.

The rows are gone through by their first address, the shorter prefix first. Those that hold the present address lie on
a stack, each inside the one below it. A row begins a range with its value; a row that is taken off begins one behind
its last address, with the value of what is under it. Of ranges that begin at one address the last one counts, and one
that says what the one before it says is left out.

Two equal prefixes meet on top of the stack: the later one replaces the earlier. So lengths only grow on the stack and
it holds 129 rows at most, also if the rows are not in order.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    typedef unsigned __int128 hkp_u128;
    """
    ctypedef unsigned long long uint128 "hkp_u128"  # C does the arithmetic; only halves are ever made Python's

cdef enum:
    MOST_NESTED = 129

cdef struct Row:
    uint64_t high
    uint64_t low
    uint32_t length
    uint32_t value

cdef struct Range:
    uint64_t high
    uint64_t low
    uint64_t value

cdef struct Open:
    uint128 after  # the address behind the last one; 0: there is none
    uint32_t length
    uint32_t value

ROW_BYTES = sizeof(Row)
RANGE_BYTES = sizeof(Range)


cdef inline uint128 address_of(const Row *row) noexcept nogil:
    return <uint128>row.high << 64 | row.low


cdef inline uint128 size_of(uint32_t length) noexcept nogil:
    """How many addresses a prefix has; those of /0 are one more than fits, which gives 0."""
    if length == 0:
        return 0
    return <uint128>1 << (128 - length)


cdef inline uint64_t begin(Range *ranges, uint64_t count, uint128 start, uint64_t value) noexcept nogil:
    """Begin a range behind `count` others, at or after the start of the last one; return how many there are then."""
    cdef uint64_t high = <uint64_t>(start >> 64), low = <uint64_t>start
    if count and ranges[count - 1].high == high and ranges[count - 1].low == low:
        count -= 1
    if count and ranges[count - 1].value == value:
        return count
    ranges[count] = Range(high, low, value)
    return count + 1


cdef uint64_t flatten_rows(const Row *rows, uint64_t size, Range *ranges) noexcept nogil:
    cdef Open stack[MOST_NESTED]
    cdef int depth = 1
    cdef uint64_t i, count = begin(ranges, 0, 0, 0)
    cdef uint128 start
    stack[0] = Open(0, 0, 0)  # everything, of which nothing is known; as a /0 would be, it is replaced by one
    for i in range(size):
        start = address_of(rows + i)
        while depth > 1 and stack[depth - 1].after and stack[depth - 1].after <= start:
            depth -= 1
            count = begin(ranges, count, stack[depth].after, stack[depth - 1].value)
        while depth and stack[depth - 1].length >= rows[i].length:
            depth -= 1
        stack[depth] = Open(start + size_of(rows[i].length), rows[i].length, rows[i].value)
        depth += 1
        count = begin(ranges, count, start, rows[i].value)
    while depth > 1:
        depth -= 1
        if stack[depth].after:
            count = begin(ranges, count, stack[depth].after, stack[depth - 1].value)
    return count


cdef bint lengths_fit(const Row *rows, uint64_t size) noexcept nogil:
    cdef uint64_t i
    for i in range(size):
        if rows[i].length > 128:
            return False
    return True


def flatten(rows, ranges):
    cdef Py_buffer given, made
    cdef uint64_t size, count
    PyObject_GetBuffer(rows, &given, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(ranges, &made, PyBUF_WRITABLE)
        try:
            size = given.len // sizeof(Row)
            if <uint64_t>made.len < (2 * size + 1) * sizeof(Range):
                raise ValueError(f"room for {made.len // sizeof(Range)} ranges, not {2 * size + 1}")
            if not lengths_fit(<const Row *>given.buf, size):
                raise ValueError("a prefix is longer than 128 bits")
            with nogil:
                count = flatten_rows(<const Row *>given.buf, size, <Range *>made.buf)
            return count
        finally:
            PyBuffer_Release(&made)
    finally:
        PyBuffer_Release(&given)
