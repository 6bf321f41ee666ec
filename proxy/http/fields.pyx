# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Field lines: what requests and replies have in common.

The strictness that the theory in `head.pyx` asks for stands here: where a head ends, what a line may be made of, and
how a body is framed.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memchr, memcpy

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len)

# How a body is delimited, where it is not by a length >= 0.
NO_LENGTH = NO_BODY_LENGTH
CHUNKED = CHUNKED_BODY

cdef enum:
    MAX_LENGTH_DIGITS = 15


cdef void _fill_kinds() noexcept:
    cdef int c
    for c in range(256):
        KIND[c] = 0
        if c == 9 or (c >= 32 and c != 127):
            KIND[c] |= VALUE
        if 33 <= c < 127 and c != 35:  # no fragment
            KIND[c] |= TARGET
    for c in b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        KIND[c] |= TOKEN
    for c in b"-._~:[]0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz":
        KIND[c] |= AUTHORITY


_fill_kinds()


class HeadError(ValueError):
    """A head that is refused; `status` is the HTTP status that says why."""

    def __init__(self, status, why):
        super().__init__(why)
        self.status = status


cdef object refuse(int status, str why):
    raise HeadError(status, why)


cdef class Fields:
    cdef int read(self, const char *at, const char *end) except -1:
        """Split [at, end), CRLF-terminated lines, into fields; nothing is classified yet."""
        cdef const char *line_end
        cdef const char *stop
        cdef Field *field
        self.count = self.nominated_count = 0
        self.has_length = self.has_coding = self.close = self.keep = False
        self.length = NO_BODY_LENGTH
        while at < end:
            if self.count == MAX_FIELDS:
                refuse(431, "too many header fields")
            line_end = <const char *>memchr(at, 13, end - at)
            if line_end == NULL or line_end + 1 >= end or line_end[1] != 10:
                refuse(400, "a line does not end in CRLF")
            field = &self.fields[self.count]
            field.name = at
            while KIND[<unsigned char>at[0]] & TOKEN:
                at += 1
            field.name_len = at - field.name
            if field.name_len == 0 or at[0] != 58:
                refuse(400, "malformed header name")
            at += 1
            while at[0] == 32 or at[0] == 9:
                at += 1
            stop = line_end
            while stop > at and ((stop - 1)[0] == 32 or (stop - 1)[0] == 9):
                stop -= 1
            field.value = at
            field.value_len = stop - at
            while at < stop:
                if not KIND[<unsigned char>at[0]] & VALUE:
                    refuse(400, "control character in a header value")
                at += 1
            field.end = line_end + 2
            field.kept = True
            self.count += 1
            at = field.end
        return 0

    cdef int content_length(self, Field *field) except -1:
        cdef Py_ssize_t i
        if self.has_length:
            refuse(400, "more than one Content-Length")
        if not 0 < field.value_len <= MAX_LENGTH_DIGITS:
            refuse(400, "malformed Content-Length")
        self.length = 0
        for i in range(field.value_len):
            if not 48 <= field.value[i] <= 57:
                refuse(400, "malformed Content-Length")
            self.length = self.length * 10 + (field.value[i] - 48)
        self.has_length = True
        field.kept = False
        return 0

    cdef int transfer_encoding(self, Field *field) except -1:
        if self.has_coding:
            refuse(400, "more than one Transfer-Encoding")
        if not same_word(field.value, field.value_len, b"chunked", 7):
            refuse(400, "transfer coding other than chunked")
        self.has_coding = True
        field.kept = False
        return 0

    cdef int connection(self, Field *field) except -1:
        """Read the tokens of a Connection field: close, keep-alive, or the name of a field to drop."""
        cdef const char *at = field.value
        cdef const char *end = at + field.value_len
        cdef const char *start
        field.kept = False
        while at < end:
            start = at
            while at < end and KIND[<unsigned char>at[0]] & TOKEN:
                at += 1
            if same_word(start, at - start, b"close", 5):
                self.close = True
            elif same_word(start, at - start, b"keep-alive", 10):
                self.keep = True
            elif at > start:
                if self.nominated_count == MAX_NOMINATED:
                    refuse(400, "too many Connection options")
                self.nominated[self.nominated_count].name = start
                self.nominated[self.nominated_count].name_len = at - start
                self.nominated_count += 1
            while at < end and (at[0] == 32 or at[0] == 9):
                at += 1
            if at < end:
                if at[0] != 44:
                    refuse(400, "malformed Connection")
                at += 1
                while at < end and (at[0] == 32 or at[0] == 9):
                    at += 1
        return 0

    cdef void drop_nominated(self) noexcept:
        """
        Drop the fields that Connection names as hop-by-hop; never Host, nor Content-Type: an upload was read by it, and
        without it the keyserver might read another one.
        """
        cdef int i, j
        for i in range(self.nominated_count):
            if same_word(self.nominated[i].name, self.nominated[i].name_len, b"host", 4) \
                    or same_word(self.nominated[i].name, self.nominated[i].name_len, b"content-type", 12):
                continue
            for j in range(self.count):
                if same_word(self.fields[j].name, self.fields[j].name_len, self.nominated[i].name, self.nominated[i].name_len):
                    self.fields[j].kept = False

    cdef int settle_framing(self, int minor) except -1:
        """Leave in `length` the one way in which the body is delimited, or refuse (RFC 9112 section 6.3)."""
        if self.has_coding:
            if self.has_length:
                refuse(400, "both Content-Length and Transfer-Encoding")
            if minor == 0:
                refuse(400, "Transfer-Encoding in HTTP/1.0")
            self.length = CHUNKED_BODY
        return 0

    cdef bint keeps_alive(self, int minor) noexcept:
        if self.close:
            return False
        return minor == 1 or self.keep

    cdef bytes block(self, const char *start_line, Py_ssize_t start_line_len):
        """Return `start_line` and the kept lines, unchanged and in their order."""
        cdef Py_ssize_t size = start_line_len
        cdef int i
        for i in range(self.count):
            if self.fields[i].kept:
                size += self.fields[i].end - self.fields[i].name
        cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
        cdef char *to = PyBytes_AS_STRING(out)
        if start_line_len:
            memcpy(to, start_line, start_line_len)
            to += start_line_len
        for i in range(self.count):
            if self.fields[i].kept:
                memcpy(to, self.fields[i].name, self.fields[i].end - self.fields[i].name)
                to += self.fields[i].end - self.fields[i].name
        return out


cdef const char *end_of_head(const char *at, Py_ssize_t size, Py_ssize_t most) except? NULL:
    """Return one past the empty line that ends the head, or NULL if it has not come yet; bare LFs are refused."""
    cdef const char *found = <const char *>memmem(at, size, b"\r\n\r\n", 4)
    cdef const char *end = found + 4 if found != NULL else at + size
    cdef const char *lf = at
    while True:
        lf = <const char *>memchr(lf, 10, end - lf)
        if lf == NULL:
            break
        if lf == at or (lf - 1)[0] != 13:
            refuse(400, "bare LF")
        lf += 1
    if end - at > most:
        refuse(431, "header fields too large")
    return end if found != NULL else NULL
