# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
The `keytext` of a JSON object, `{"keytext": "..."}`, decoded as it comes.

The object is flat: whoever sends a key has strings, numbers and words to say, and no depth to be bounded. Armor is
ASCII; what is not comes out as `?`, which no armor can hold where it matters.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from proxy.hkp.certs import BadUpload

cdef enum State:
    START
    FIRST_NAME  # or the end of an empty object
    NEXT_NAME
    NAME
    COLON
    VALUE
    KEYTEXT
    OTHER
    LITERAL  # a number, or one of three words
    AFTER
    DONE

cdef enum:
    MOST_NAME_BYTES = 64
    MOST_OTHER_BYTES = 4096
    MOST_MEMBERS = 32
    KEYTEXT_SIZE = 7
    UNICODE_DIGITS = 4


cdef int malformed() except -1:
    raise BadUpload(400, "This is not a well-formed JSON object with the key in its member keytext.")


cdef inline bint _is_space(unsigned char c) noexcept nogil:
    return c == 32 or c == 10 or c == 13 or c == 9


cdef inline bint _is_literal(unsigned char c) noexcept nogil:
    return 48 <= c <= 57 or 97 <= c <= 122 or c == 69 or c == 43 or c == 45 or c == 46


cdef inline int _hex(unsigned char c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    return (c | 32) - 87 if 97 <= (c | 32) <= 102 else -1


cdef inline int _unescaped(unsigned char c) noexcept nogil:
    """Return what a backslash and `c` mean; -1: nothing."""
    if c == 110:
        return 10
    if c == 114:
        return 13
    if c == 116:
        return 9
    if c == 98:
        return 8
    if c == 102:
        return 12
    return c if c == 34 or c == 92 or c == 47 else -1


cdef class JsonReader:
    """Finds `keytext` in an object, fed in pieces."""

    cdef int state
    cdef bint escaped
    cdef int digits  # of a \u that are still to come
    cdef int code
    cdef int members
    cdef bint ours  # the value that comes is that of keytext
    cdef bint found
    cdef unsigned char *out  # where the next byte goes, while a piece is read
    cdef readonly object fault
    cdef Py_ssize_t size
    cdef unsigned char name[MOST_NAME_BYTES]

    def feed(self, bytes data not None):
        cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bytes out = PyBytes_FromStringAndSize(NULL, size)
        self.out = <unsigned char *>PyBytes_AS_STRING(out)
        try:
            if self.fault is None:
                self.read(at, at + size)
        except BadUpload as bad:
            self.fault = bad
        return out[:self.out - <unsigned char *>PyBytes_AS_STRING(out)]

    def finish(self):
        if self.state != DONE:
            malformed()
        if not self.found:
            raise BadUpload(422, "The object has no member keytext, which is where the key must be.")

    cdef int read(self, const unsigned char *at, const unsigned char *end) except -1:
        """Decode up to `end`; never more is written than was read."""
        while at < end:
            if self.state == KEYTEXT and not self.escaped and self.digits == 0:
                while at < end and 32 <= at[0] < 128 and at[0] != 34 and at[0] != 92:
                    self.out[0] = at[0]
                    self.out += 1
                    at += 1
                if at == end:
                    break
            if self.state == KEYTEXT or self.state == OTHER or self.state == NAME:
                self.in_string(at[0])
            elif not _is_space(at[0]) or self.state == LITERAL:
                self.between(at[0])
            at += 1
        return 0

    cdef int in_string(self, unsigned char c) except -1:
        cdef int meant
        if self.digits:
            meant = _hex(c)
            if meant < 0:
                malformed()
            self.code = self.code << 4 | meant
            self.digits -= 1
            return self.byte(self.code if self.code < 128 else 63) if self.digits == 0 else 0
        if self.escaped:
            self.escaped = False
            if c == 117:
                self.digits = UNICODE_DIGITS
                self.code = 0
                return 0
            meant = _unescaped(c)
            if meant < 0:
                malformed()
            return self.byte(meant)
        if c == 34:
            self.end_string()
            return 0
        if c < 32:
            malformed()
        if c == 92:
            self.escaped = True
            return 0
        return self.byte(c if c < 128 else 63)

    cdef int byte(self, unsigned char c) except -1:
        """Take a decoded byte to where it belongs."""
        if self.state == KEYTEXT:
            self.out[0] = c
            self.out += 1
            return 0
        if self.size == (MOST_NAME_BYTES if self.state == NAME else MOST_OTHER_BYTES):
            raise BadUpload(413, "Another member of the object than keytext is larger than this server takes.")
        if self.state == NAME:
            self.name[self.size] = c | 32 if 65 <= c <= 90 else c
        self.size += 1
        return 0

    cdef int end_string(self) except -1:
        if self.state != NAME:
            self.state = AFTER
            return 0
        self.state = COLON
        self.ours = self.size == KEYTEXT_SIZE and memcmp(self.name, <const char *>b"keytext", KEYTEXT_SIZE) == 0
        if self.ours and self.found:
            raise BadUpload(422, "The object has more than one member keytext; send all keys in one, or one by one.")
        self.found = self.found or self.ours
        return 0

    cdef int between(self, unsigned char c) except -1:
        """Take a byte outside of strings that is no space, or that ends a literal."""
        if self.state == LITERAL:
            if _is_literal(c):
                self.size += 1
                return malformed() if self.size > MOST_NAME_BYTES else 0
            self.state = AFTER
            if _is_space(c):
                return 0
        if self.state == START and c == 123:
            self.state = FIRST_NAME
        elif (self.state == FIRST_NAME or self.state == NEXT_NAME) and c == 34:
            self.members += 1
            self.size = 0
            self.state = NAME
            if self.members > MOST_MEMBERS:
                raise BadUpload(413, "The object has more members than this server takes.")
        elif self.state == COLON and c == 58:
            self.state = VALUE
            self.size = 0
        elif self.state == VALUE and c == 34:
            self.state = KEYTEXT if self.ours else OTHER
        elif self.state == VALUE and not self.ours and _is_literal(c):
            self.state = LITERAL
        elif self.state == AFTER and c == 44:
            self.state = NEXT_NAME
        elif (self.state == AFTER or self.state == FIRST_NAME) and c == 125:
            self.state = DONE
        else:
            malformed()
        return 0
