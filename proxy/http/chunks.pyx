# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Strict decoder of the chunked coding (RFC 9112 section 7.1).

A state machine over single bytes for what frames the data, memcpy for the data itself. Extensions and trailers are
read, bounded and thrown away: nobody in this trade uses them, and they are where desynchronisation hides.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from proxy.http.fields cimport KIND, TOKEN, VALUE

cdef enum:
    SIZE_FIRST
    SIZE
    EXTENSION
    SIZE_LF
    DATA
    DATA_CR
    DATA_LF
    TRAILER_START
    TRAILER_NAME
    TRAILER
    TRAILER_LF
    LAST_LF
    DONE
    MAX_SIZE_DIGITS = 15
    MAX_EXTENSION_BYTES = 1024
    MAX_TRAILER_BYTES = 8192


class ChunkError(ValueError):
    """Malformed or unbounded chunked coding."""


cdef inline int _hex(unsigned char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    if 97 <= (c | 32) <= 102:
        return (c | 32) - 87
    return -1


cdef class ChunkDecoder:
    """
    Decodes one message body, fed in pieces.

    Attributes:
        done: The last chunk and its trailer have been read.
        rest: Once done: the bytes after the body.
    """

    cdef int state
    cdef int digits
    cdef long long left
    cdef Py_ssize_t extension
    cdef Py_ssize_t trailer
    cdef readonly bint done
    cdef readonly bytes rest

    def __cinit__(self):
        self.state = SIZE_FIRST
        self.rest = b""

    def feed(self, bytes data not None):
        """
        Return the payload bytes in `data`, maybe none.

        Raises:
            ChunkError: The coding is malformed, or an extension or trailer is too long.
        """
        cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef const unsigned char *end = at + PyBytes_GET_SIZE(data)
        cdef list pieces = []
        cdef Py_ssize_t n
        while at < end and self.state != DONE:
            if self.state == DATA:
                n = min(self.left, end - at)
                pieces.append(PyBytes_FromStringAndSize(<const char *>at, n))
                at += n
                self.left -= n
                if self.left == 0:
                    self.state = DATA_CR
            else:
                if not self.step(at[0]):
                    raise ChunkError("malformed chunked coding")
                at += 1
        if self.state == DONE:
            self.done = True
            self.rest = PyBytes_FromStringAndSize(<const char *>at, end - at)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    cdef bint step(self, unsigned char c) noexcept nogil:
        """Take one framing byte; false if it may not stand here."""
        if self.state <= SIZE:
            return self.size_byte(c)
        if self.state == EXTENSION:
            self.extension += 1
            if c == 13:
                self.state = SIZE_LF
                return True
            return (c == 9 or 32 <= c != 127) and self.extension <= MAX_EXTENSION_BYTES
        if self.state == SIZE_LF:
            self.state = TRAILER_START if self.left == 0 else DATA
            return c == 10
        if self.state == DATA_CR:
            self.state = DATA_LF
            return c == 13
        if self.state == DATA_LF:
            self.state = SIZE_FIRST
            self.digits = 0
            self.left = 0
            return c == 10
        return self.trailer_byte(c)

    cdef bint size_byte(self, unsigned char c) noexcept nogil:
        cdef int digit = _hex(c)
        if digit >= 0:
            self.state = SIZE
            self.digits += 1
            if self.digits > MAX_SIZE_DIGITS:
                return False
            self.left = self.left * 16 + digit
            return True
        if self.state == SIZE_FIRST:
            return False
        if c == 13:
            self.state = SIZE_LF
            return True
        self.state = EXTENSION
        return c == 59

    cdef bint trailer_byte(self, unsigned char c) noexcept nogil:
        self.trailer += 1
        if self.trailer > MAX_TRAILER_BYTES:
            return False
        if self.state == TRAILER_START:
            self.state = LAST_LF if c == 13 else TRAILER_NAME
            return c == 13 or KIND[c] & TOKEN != 0
        if self.state == TRAILER_NAME:
            if c == 58:
                self.state = TRAILER
            return c == 58 or KIND[c] & TOKEN != 0
        if self.state == LAST_LF:
            self.state = DONE
            return c == 10
        elif self.state == TRAILER_LF:
            self.state = TRAILER_START
            return c == 10
        elif c == 13:
            self.state = TRAILER_LF
        else:
            return KIND[c] & VALUE != 0
        return True
