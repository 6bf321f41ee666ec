# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
ASCII armor (RFC 9580 section 6) to bytes, as it comes.

Implementations disagree about what may stand around and between the blocks: some skip text, some find armor in it that
others do not see. So nothing but white space may, and no keyserver can find a key that was not seen here. The checksum
is optional, and wrong ones are to be ignored (section 6.1): it is skipped.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from proxy.hkp.certs import BadUpload

cdef enum State:
    OUTSIDE
    BEGIN
    HEADER
    BODY
    PADDED  # a quantum ended in `=`: no data may come
    CHECKSUM
    AFTER_CHECKSUM
    END

cdef enum:
    MOST_LINE_BYTES = 80
    MOST_HEADER_BYTES = 8192  # of all headers of a block
    MOST_CHECKSUM_BYTES = 4
    SPACE = 64  # classes of characters that are not one of the 64 digits
    NEWLINE = 65
    PADDING = 66
    DASH = 67
    BAD = 255

cdef unsigned char CLASS[256]


cdef void _fill() noexcept:
    cdef int c
    for c in range(256):
        CLASS[c] = BAD
    for c in range(26):
        CLASS[65 + c] = c
        CLASS[97 + c] = 26 + c
    for c in range(10):
        CLASS[48 + c] = 52 + c
    CLASS[43], CLASS[47], CLASS[61], CLASS[45], CLASS[10] = 62, 63, PADDING, DASH, NEWLINE
    CLASS[32] = CLASS[9] = CLASS[13] = SPACE


_fill()

KINDS = (b"PGP PUBLIC KEY BLOCK", b"PGP SIGNATURE")  # a bare revocation is the one or the other
SECRET_KINDS = (b"PGP PRIVATE KEY BLOCK", b"PGP SECRET KEY BLOCK")
SECRET_TEXT = (
    "This upload holds a SECRET key, which nobody but you may have. The keyserver did not get it; "
    "but revoke the key if others can have seen it on its way, and send only what gpg --export writes."
)


cdef int malformed() except -1:
    raise BadUpload(422, "The ASCII armor of the key is damaged; send again what gpg --armor --export writes.")


cdef class ArmorReader:
    """Decodes armored blocks, fed in pieces."""

    cdef int state
    cdef int line_size
    cdef unsigned char line[MOST_LINE_BYTES]
    cdef bytes kind
    cdef int header_bytes
    cdef bint blank  # nothing but spaces in this line so far
    cdef bint colon
    cdef bint gap  # a space behind something in this line
    cdef int digits  # of the quantum, 0..3
    cdef int padding  # that the quantum still wants
    cdef unsigned int word
    cdef int checksum
    cdef readonly object fault

    def feed(self, bytes data not None):
        cdef const unsigned char *at = <const unsigned char *>PyBytes_AS_STRING(data)
        cdef list pieces = []
        try:
            if self.fault is None:
                self.read(at, at + PyBytes_GET_SIZE(data), pieces)
        except BadUpload as bad:
            self.fault = bad
        return pieces

    def finish(self):
        cdef list pieces = []
        if self.state == END:
            self.step(10, pieces)
        if self.state != OUTSIDE:
            raise BadUpload(422, "The ASCII armor is not complete: its last line is missing.")
        return pieces

    cdef int read(self, const unsigned char *at, const unsigned char *end, list pieces) except -1:
        while at < end:
            if self.state == BODY:
                at = self.body(at, end, pieces)
            if at < end:
                self.step(at[0], pieces)
                at += 1
        return 0

    cdef const unsigned char *body(
        self, const unsigned char *at, const unsigned char *end, list pieces
    ) except NULL:
        """Decode digits in lines until something else comes, or the piece ends; return where."""
        cdef bytes out = PyBytes_FromStringAndSize(NULL, 3 * ((end - at) // 4) + 3)
        cdef unsigned char *begin = <unsigned char *>PyBytes_AS_STRING(out)
        cdef unsigned char *to = begin
        cdef unsigned char kind
        cdef unsigned int a, b, c, d
        while at < end:
            if self.digits == 0 and not self.gap:
                while end - at >= 4:
                    a, b, c, d = CLASS[at[0]], CLASS[at[1]], CLASS[at[2]], CLASS[at[3]]
                    if (a | b | c | d) > 63:
                        break
                    to[0] = a << 2 | b >> 4
                    to[1] = (b << 4 | c >> 2) & 255
                    to[2] = (c << 6 | d) & 255
                    to += 3
                    at += 4
                    self.blank = False
                if at == end:
                    break
            kind = CLASS[at[0]]
            if kind > NEWLINE or (kind < 64 and self.gap):
                break
            at += 1
            if kind == SPACE:
                self.gap = not self.blank
            elif kind == NEWLINE:
                self.gap = False
                self.blank = True
            else:
                self.blank = False
                self.word = self.word << 6 | kind
                self.digits += 1
                if self.digits == 4:
                    self.digits = 0
                    to[0], to[1], to[2] = self.word >> 16 & 255, self.word >> 8 & 255, self.word & 255
                    to += 3
        if to != begin:
            pieces.append(out[:to - begin])
        return at

    cdef int pad(self, list pieces) except -1:
        """Take the first `=` of a quantum: its bytes are complete, and the data ends."""
        if self.digits == 2:
            pieces.append(bytes([self.word >> 4 & 255]))
        else:
            pieces.append(bytes([self.word >> 10 & 255, self.word >> 2 & 255]))
        self.padding = 3 - self.digits
        self.digits = 0
        self.blank = False
        self.state = PADDED
        return 0

    cdef int other(self, unsigned char kind) except -1:
        """Take what is no digit, in the data or behind it."""
        if kind == SPACE:
            self.gap = not self.blank
        elif kind == NEWLINE:
            self.gap = False
            self.blank = True
        elif kind < 64 and self.state == BODY:
            raise BadUpload(
                422, "There are spaces within the armor; was each + of the key sent as %2B, as forms need it?"
            )
        elif not self.blank or self.digits or self.padding:
            malformed()
        elif kind == DASH:
            self.state = END
            self.line[0] = 45
            self.line_size = 1
        elif kind == PADDING and self.state != AFTER_CHECKSUM:
            self.state = CHECKSUM
            self.checksum = 0
        else:
            malformed()
        return 0

    cdef int step(self, unsigned char c, list pieces) except -1:
        """Take one byte that is no digit of the data."""
        cdef unsigned char kind = CLASS[c]
        if self.state == OUTSIDE:
            self.outside(kind)
        elif self.state == BEGIN:
            if self.in_line(c):
                self.begin()
        elif self.state == HEADER:
            self.header(c, kind)
        elif self.state == CHECKSUM:
            self.in_checksum(kind)
        elif self.state == END:
            if self.in_line(c):
                self.end()
                pieces.append(None)
        elif kind == PADDING and self.digits >= 2:
            self.pad(pieces)
        elif kind == PADDING and self.padding:
            self.padding -= 1
        else:
            self.other(kind)
        return 0

    cdef int outside(self, unsigned char kind) except -1:
        if kind == DASH:
            self.state = BEGIN
            self.line[0] = 45
            self.line_size = 1
        elif kind != SPACE and kind != NEWLINE:
            raise BadUpload(
                422, "This is not an armored key, or there is text beside it; send what gpg --armor --export writes."
            )
        return 0

    cdef bint in_line(self, unsigned char c) except -1:
        """Take a byte of a line that is kept; true at its end."""
        if c == 10:
            return True
        if self.line_size == MOST_LINE_BYTES:
            malformed()
        self.line[self.line_size] = c
        self.line_size += 1
        return False

    cdef int begin(self) except -1:
        cdef bytes line = PyBytes_FromStringAndSize(<char *>self.line, self.line_size).rstrip(b" \t\r")
        self.line_size = 0
        if not line.startswith(b"-----BEGIN ") or not line.endswith(b"-----"):
            malformed()
        self.kind = line.removeprefix(b"-----BEGIN ").removesuffix(b"-----")
        if self.kind in SECRET_KINDS:
            raise BadUpload(422, SECRET_TEXT)
        if self.kind not in KINDS:
            raise BadUpload(422, "This is something else than a public key; send what gpg --armor --export writes.")
        self.state = HEADER
        self.header_bytes = 0
        self.blank = True
        self.colon = False
        return 0

    cdef int header(self, unsigned char c, unsigned char kind) except -1:
        """Take a byte of the headers, which end with an empty line."""
        self.header_bytes += 1
        if self.header_bytes > MOST_HEADER_BYTES:
            malformed()
        if kind == NEWLINE:
            if self.blank:
                self.state = BODY
                self.gap = False
            elif not self.colon:
                raise BadUpload(422, "The empty line between the head of the armor and its data is missing.")
            self.blank = True
            self.colon = False
        elif kind != SPACE:
            self.blank = False
            self.colon = self.colon or c == 58
        return 0

    cdef int in_checksum(self, unsigned char kind) except -1:
        if kind < 64 and self.checksum < MOST_CHECKSUM_BYTES:
            self.checksum += 1
        elif kind == NEWLINE:
            self.blank = True
            self.gap = False
            self.state = AFTER_CHECKSUM
        elif kind != SPACE:
            malformed()
        return 0

    cdef int end(self) except -1:
        cdef bytes line = PyBytes_FromStringAndSize(<char *>self.line, self.line_size).rstrip(b" \t\r")
        self.line_size = 0
        if line != b"-----END %b-----" % self.kind:
            malformed()
        self.state = OUTSIDE
        return 0
