"""Small pieces of heads as bytes: `%` on bytes would cost more than the rest of the head."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf


cdef inline bytes length_field(long long length):
    """Return `Content-Length: N` CRLF."""
    cdef char text[48]
    cdef int size = snprintf(text, sizeof(text), b"Content-Length: %lld\r\n", length)
    return PyBytes_FromStringAndSize(text, size)


cdef inline bytes hex16(uint64_t number):
    """Return a number as 16 hexadecimal digits."""
    cdef bytes out = PyBytes_FromStringAndSize(NULL, 16)
    cdef char *at = PyBytes_AS_STRING(out) + 16
    cdef int i, digit
    for i in range(16):
        digit = number & 15
        at -= 1
        at[0] = 48 + digit if digit < 10 else 87 + digit
        number >>= 4
    return out


cdef inline bytes chunk_head(Py_ssize_t size):
    """Return the line that begins a chunk."""
    cdef char text[24]
    cdef int length = snprintf(text, sizeof(text), b"%zx\r\n", size)
    return PyBytes_FromStringAndSize(text, length)
