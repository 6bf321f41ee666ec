"""
Assembling heads: a buffer of fixed size on the C stack, so that a head costs one allocation and not twenty.

What goes into a `Text` is ours and short (numbers, constant lines). `fits` says whether all of it found room; what
comes from a client or an upstream is put together with `b"".join`.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy


cdef enum:
    TEXT_BYTES = 2048


cdef struct Text:
    int size
    bint fits
    char data[TEXT_BYTES]


cdef inline void begin(Text *text) noexcept nogil:
    text.size = 0
    text.fits = True


cdef inline void put_chars(Text *text, const char *data, Py_ssize_t size) noexcept nogil:
    if text.size + size > TEXT_BYTES:
        text.fits = False
        return
    memcpy(text.data + text.size, data, size)
    text.size += size


cdef inline void put(Text *text, bytes piece) noexcept:
    put_chars(text, PyBytes_AS_STRING(piece), PyBytes_GET_SIZE(piece))


cdef inline void put_number(Text *text, int64_t number) noexcept nogil:
    """Write a number >= 0 in decimal."""
    cdef char digits[20]
    cdef int at = 20
    while True:
        at -= 1
        digits[at] = <char>(48 + number % 10)
        number //= 10
        if number <= 0:
            break
    put_chars(text, digits + at, 20 - at)


cdef inline void put_hex16(Text *text, uint64_t number) noexcept nogil:
    """Write a number as 16 hexadecimal digits."""
    cdef char digits[16]
    cdef int i, digit
    for i in range(16):
        digit = (number >> (60 - 4 * i)) & 15
        digits[i] = <char>(48 + digit if digit < 10 else 87 + digit)
    put_chars(text, digits, 16)


cdef inline bytes finish(Text *text):
    if not text.fits:
        raise ValueError("a head of ours is longer than it can be")
    return PyBytes_FromStringAndSize(text.data, text.size)


cdef inline bytes hex16(uint64_t number):
    """Return a number as 16 hexadecimal digits."""
    cdef Text text
    begin(&text)
    put_hex16(&text, number)
    return finish(&text)


cdef inline bytes length_field(int64_t length):
    """Return `Content-Length: N` CRLF."""
    cdef Text text
    begin(&text)
    put_chars(&text, b"Content-Length: ", 16)
    put_number(&text, length)
    put_chars(&text, b"\r\n", 2)
    return finish(&text)


cdef inline bytes chunk_head(uint64_t size):
    """Return the line that begins a chunk."""
    cdef char line[18]
    cdef int at = 16
    cdef int digit
    line[16] = 13
    line[17] = 10
    while True:
        at -= 1
        digit = size & 15
        line[at] = <char>(48 + digit if digit < 10 else 87 + digit)
        size >>= 4
        if size == 0:
            break
    return PyBytes_FromStringAndSize(line + at, 18 - at)
