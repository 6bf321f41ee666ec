# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
The `keytext` of a form (application/x-www-form-urlencoded), decoded as it comes.

Strict where servers differ, so that what is read here is what the keyserver reads: one `keytext` and not a second
one, whatever the case of its letters; `&` between fields and no bare `;`; an escape has two digits.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from proxy.hkp.certs import BadUpload

cdef enum:
    NAME
    KEYTEXT
    OTHER
    MOST_NAME_BYTES = 64
    MOST_OTHER_BYTES = 4096  # of one field that is not the key
    MOST_FIELDS = 32
    KEYTEXT_SIZE = 7
    ENDS = 1  # what is not itself in a form
    NO_DIGIT = 255

cdef unsigned char SPECIAL[256]
cdef unsigned char DIGIT[256]


cdef void _fill() noexcept:
    cdef int c
    for c in range(256):
        SPECIAL[c] = ENDS if c == 38 or c == 59 or c == 37 or c == 43 or c == 61 else 0  # & ; % + =
        DIGIT[c] = NO_DIGIT
    for c in range(10):
        DIGIT[48 + c] = c
    for c in range(6):
        DIGIT[65 + c] = DIGIT[97 + c] = 10 + c


_fill()


cdef int malformed() except -1:
    raise BadUpload(400, "This is not a well-formed form.")


cdef class FormReader:
    """Finds `keytext` in a form, fed in pieces."""

    cdef int state
    cdef int escape  # what of an escape was read: 0, 1: the percent sign, 2: one digit as well
    cdef unsigned char high
    cdef int fields
    cdef bint found
    cdef unsigned char *out  # where the next byte goes, while a piece is read
    cdef readonly object fault
    cdef Py_ssize_t size  # of the name or of the other value so far
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
        if self.escape:
            malformed()
        if not self.found:
            raise BadUpload(422, "The form has no field keytext, which is where the key must be.")

    cdef int read(self, const unsigned char *at, const unsigned char *end) except -1:
        """Decode up to `end`; never more is written than was read."""
        cdef unsigned char c
        while at < end:
            if self.escape == 0 and self.state == KEYTEXT:
                while at < end and SPECIAL[at[0]] == 0:
                    self.out[0] = at[0]
                    self.out += 1
                    at += 1
                while end - at >= 3 and at[0] == 37 and (DIGIT[at[1]] | DIGIT[at[2]]) < 16:
                    self.out[0] = DIGIT[at[1]] << 4 | DIGIT[at[2]]
                    self.out += 1
                    at += 3
                if at == end or SPECIAL[at[0]] == 0:
                    continue
            c = at[0]
            at += 1
            if self.escape:
                self.digit(c)
                if self.escape:
                    continue
                self.byte(self.high)
            elif c == 37:
                self.escape = 1
            elif c == 43:
                self.byte(32)
            elif c == 38:
                self.end_field()
            elif c == 59:
                malformed()
            elif c == 61 and self.state == NAME:
                self.end_name()
            else:
                self.byte(c)
        return 0

    cdef int digit(self, unsigned char c) except -1:
        if DIGIT[c] == NO_DIGIT:
            malformed()
        if self.escape == 1:
            self.high = DIGIT[c] << 4
            self.escape = 2
        else:
            self.high |= DIGIT[c]
            self.escape = 0
        return 0

    cdef int byte(self, unsigned char c) except -1:
        """Take a decoded byte to where it belongs."""
        if self.state == KEYTEXT:
            self.out[0] = c
            self.out += 1
            return 0
        if self.size == (MOST_NAME_BYTES if self.state == NAME else MOST_OTHER_BYTES):
            raise BadUpload(413, "Another field of the form than keytext is larger than this server takes.")
        if self.state == NAME:
            self.name[self.size] = c | 32 if 65 <= c <= 90 else c
        self.size += 1
        return 0

    cdef int end_name(self) except -1:
        self.state = OTHER
        if self.size == KEYTEXT_SIZE and memcmp(self.name, <const char *>b"keytext", KEYTEXT_SIZE) == 0:
            if self.found:
                raise BadUpload(422, "The form has more than one field keytext; send all keys in one, or one by one.")
            self.found = True
            self.state = KEYTEXT
        self.size = 0
        return 0

    cdef int end_field(self) except -1:
        self.fields += 1
        if self.fields > MOST_FIELDS:
            raise BadUpload(413, "The form has more fields than this server takes.")
        self.state = NAME
        self.size = 0
        return 0
