# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""
Strict reader of HTTP/1 request and reply heads.

Theory. A proxy is safe when it and the server behind it can never disagree on where a message ends. So a head has
one meaning or none: every line ends in CRLF, names are tokens directly before the colon, there is one framing field
at most, and what is forwarded is built anew from what was understood, never copied through. One pass marks each
field line as kept or dropped; a second pass copies the kept runs. Hop-by-hop fields, forwarding fields (rebuilt by
us) and names with `_` (CGI servers read `X_Forwarded_For` as `X-Forwarded-For`) are dropped.

Sources: RFC 9112 (syntax, framing), RFC 9110 section 7.6 (hop-by-hop), CONVENTIONS of the HKP servers.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memchr, memcmp, memcpy

cdef extern from "string.h" nogil:
    void *memmem(const void *haystack, size_t haystack_len, const void *needle, size_t needle_len)
    int strncasecmp(const char *a, const char *b, size_t n)

# How a body is delimited, where it is not by a length >= 0.
NO_LENGTH = -1
CHUNKED = -2
cdef enum:
    _NO_LENGTH = -1
    _CHUNKED = -2
    MAX_FIELDS = 100
    MAX_METHOD = 32
    MAX_LENGTH_DIGITS = 15
    MAX_NOMINATED = 16

# What a byte may be part of.
cdef enum:
    TOKEN = 1
    VALUE = 2
    TARGET = 4
    AUTHORITY = 8

cdef unsigned char KIND[256]


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


cdef struct Field:
    const char *name
    Py_ssize_t name_len
    const char *value
    Py_ssize_t value_len
    const char *end  # one past the CRLF
    bint kept


cdef inline bint _is(const char *text, Py_ssize_t length, const char *word, Py_ssize_t word_len) noexcept nogil:
    return length == word_len and strncasecmp(text, word, word_len) == 0


cdef object _refuse(int status, str why):
    raise HeadError(status, why)


cdef class _Fields:
    """What the field lines of a head say of its framing and its connection."""

    cdef Field fields[MAX_FIELDS]
    cdef int count
    cdef long long length
    cdef bint has_length
    cdef bint has_coding
    cdef bint close
    cdef bint keep
    cdef Field nominated[MAX_NOMINATED]
    cdef int nominated_count

    cdef int read(self, const char *at, const char *end) except -1:
        """Split [at, end), CRLF-terminated lines, into fields; nothing is classified yet."""
        cdef const char *line_end
        cdef const char *stop
        cdef Field *field
        self.count = self.nominated_count = 0
        self.has_length = self.has_coding = self.close = self.keep = False
        self.length = _NO_LENGTH
        while at < end:
            if self.count == MAX_FIELDS:
                _refuse(431, "too many header fields")
            line_end = <const char *>memchr(at, 13, end - at)
            if line_end == NULL or line_end + 1 >= end or line_end[1] != 10:
                _refuse(400, "a line does not end in CRLF")
            field = &self.fields[self.count]
            field.name = at
            while KIND[<unsigned char>at[0]] & TOKEN:
                at += 1
            field.name_len = at - field.name
            if field.name_len == 0 or at[0] != 58:
                _refuse(400, "malformed header name")
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
                    _refuse(400, "control character in a header value")
                at += 1
            field.end = line_end + 2
            field.kept = True
            self.count += 1
            at = field.end
        return 0

    cdef int content_length(self, Field *field) except -1:
        cdef Py_ssize_t i
        if self.has_length:
            _refuse(400, "more than one Content-Length")
        if not 0 < field.value_len <= MAX_LENGTH_DIGITS:
            _refuse(400, "malformed Content-Length")
        self.length = 0
        for i in range(field.value_len):
            if not 48 <= field.value[i] <= 57:
                _refuse(400, "malformed Content-Length")
            self.length = self.length * 10 + (field.value[i] - 48)
        self.has_length = True
        field.kept = False
        return 0

    cdef int transfer_encoding(self, Field *field) except -1:
        if self.has_coding:
            _refuse(400, "more than one Transfer-Encoding")
        if not _is(field.value, field.value_len, b"chunked", 7):
            _refuse(400, "transfer coding other than chunked")
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
            if _is(start, at - start, b"close", 5):
                self.close = True
            elif _is(start, at - start, b"keep-alive", 10):
                self.keep = True
            elif at > start:
                if self.nominated_count == MAX_NOMINATED:
                    _refuse(400, "too many Connection options")
                self.nominated[self.nominated_count].name = start
                self.nominated[self.nominated_count].name_len = at - start
                self.nominated_count += 1
            while at < end and (at[0] == 32 or at[0] == 9):
                at += 1
            if at < end:
                if at[0] != 44:
                    _refuse(400, "malformed Connection")
                at += 1
                while at < end and (at[0] == 32 or at[0] == 9):
                    at += 1
        return 0

    cdef void drop_nominated(self) noexcept:
        """Drop the fields that Connection names as hop-by-hop; never Host, which nobody may take away."""
        cdef int i, j
        for i in range(self.nominated_count):
            if _is(self.nominated[i].name, self.nominated[i].name_len, b"host", 4):
                continue
            for j in range(self.count):
                if _is(self.fields[j].name, self.fields[j].name_len, self.nominated[i].name, self.nominated[i].name_len):
                    self.fields[j].kept = False

    cdef int settle_framing(self, int minor) except -1:
        """Leave in `length` the one way in which the body is delimited, or refuse (RFC 9112 section 6.3)."""
        if self.has_coding:
            if self.has_length:
                _refuse(400, "both Content-Length and Transfer-Encoding")
            if minor == 0:
                _refuse(400, "Transfer-Encoding in HTTP/1.0")
            self.length = _CHUNKED
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
        memcpy(to, start_line, start_line_len)
        to += start_line_len
        for i in range(self.count):
            if self.fields[i].kept:
                memcpy(to, self.fields[i].name, self.fields[i].end - self.fields[i].name)
                to += self.fields[i].end - self.fields[i].name
        return out


# One for the process: 5 KB that need not be cleared for each head. A head is read in one go, never from two threads.
cdef _Fields _FIELDS = _Fields()


cdef const char *_end_of_head(const char *at, Py_ssize_t size, Py_ssize_t most) except? NULL:
    """Return one past the empty line that ends the head, or NULL if it has not come yet; bare LFs are refused."""
    cdef const char *found = <const char *>memmem(at, size, b"\r\n\r\n", 4)
    cdef const char *end = found + 4 if found != NULL else at + size
    cdef const char *lf = at
    while True:
        lf = <const char *>memchr(lf, 10, end - lf)
        if lf == NULL:
            break
        if lf == at or (lf - 1)[0] != 13:
            _refuse(400, "bare LF")
        lf += 1
    if end - at > most:
        _refuse(431, "header fields too large")
    return end if found != NULL else NULL


cdef class RequestHead:
    """
    A request head that has one meaning.

    Attributes:
        method: Token, case as sent.
        target: Origin form, starts with "/", visible ASCII; "/" for `OPTIONS *`.
        minor: 0 or 1, of HTTP/1.x.
        length: Bytes of the body; 0 where there is none; CHUNKED.
        keep_alive: Whether the client lets the connection be used again.
        expects_continue: It waits for `100 Continue` before it sends the body.
        host: Value of Host, or None.
        block: Lines that may be forwarded (Host among them), each with its CRLF.
        forwarded_for, forwarded, forwarded_proto: Values joined by ", ", or None.
        accept: Value of the first Accept, or None.
        size: Bytes of the head in the buffer it was read from.
    """


cdef bytes _joined(bytes before, Field *field):
    cdef bytes value = field.value[:field.value_len]
    return value if before is None else before + b", " + value


cdef int _take_host(RequestHead head, Field *field) except -1:
    cdef Py_ssize_t i
    if head.host is not None:
        _refuse(400, "more than one Host")
    for i in range(field.value_len):
        if not KIND[<unsigned char>field.value[i]] & AUTHORITY:
            _refuse(400, "malformed Host")
    head.host = field.value[:field.value_len]
    return 0


cdef int _take_request_field(RequestHead head, _Fields fields, Field *field) except -1:
    """Act on one field of a request: read what matters here, drop what must not go further."""
    cdef const char *name = field.name
    cdef Py_ssize_t n = field.name_len
    if memchr(name, 95, n) != NULL:
        field.kept = False
    elif n == 4 and _is(name, n, b"host", 4):
        _take_host(head, field)
    elif n == 6 and _is(name, n, b"accept", 6):
        if head.accept is None:
            head.accept = field.value[:field.value_len]
    elif n == 6 and _is(name, n, b"expect", 6):
        field.kept = False
        if not _is(field.value, field.value_len, b"100-continue", 12):
            _refuse(417, "unknown expectation")
        head.expects_continue = head.minor == 1
    elif n == 9 and _is(name, n, b"forwarded", 9):
        field.kept = False
        head.forwarded = _joined(head.forwarded, field)
    elif n == 10 and _is(name, n, b"connection", 10):
        fields.connection(field)
    elif n == 14 and _is(name, n, b"content-length", 14):
        fields.content_length(field)
    elif n == 17 and _is(name, n, b"transfer-encoding", 17):
        fields.transfer_encoding(field)
    elif n == 15 and _is(name, n, b"x-forwarded-for", 15):
        field.kept = False
        head.forwarded_for = _joined(head.forwarded_for, field)
    elif n == 17 and _is(name, n, b"x-forwarded-proto", 17):
        field.kept = False
        head.forwarded_proto = field.value[:field.value_len]
    elif _never_forwarded(name, n):
        field.kept = False
    return 0


cdef bint _never_forwarded(const char *name, Py_ssize_t n) noexcept nogil:
    """Hop-by-hop fields, `Proxy` (httpoxy), client addresses that only we may state, and our own names."""
    if n == 2:
        return _is(name, n, b"te", 2)
    if n == 5:
        return _is(name, n, b"proxy", 5)
    if n == 7:
        return _is(name, n, b"trailer", 7) or _is(name, n, b"upgrade", 7)
    if n == 9:
        return _is(name, n, b"x-real-ip", 9)
    if n == 10:
        return _is(name, n, b"keep-alive", 10)
    if n == 11:
        return _is(name, n, b"x-client-ip", 11)
    if n == 14 and _is(name, n, b"true-client-ip", 14):
        return True
    if n == 14 and _is(name, n, b"http2-settings", 14):
        return True
    if n == 16 and (_is(name, n, b"cf-connecting-ip", 16) or _is(name, n, b"proxy-connection", 16)):
        return True
    if n == 19 and (_is(name, n, b"proxy-authorization", 19) or _is(name, n, b"x-cluster-client-ip", 19)):
        return True
    if n == 12 and _is(name, n, b"x-request-id", 12):
        return True
    if n > 12 and strncasecmp(name, b"x-forwarded-", 12) == 0:
        return True
    return n > 11 and strncasecmp(name, b"x-hkpguard-", 11) == 0


cdef str _method(const char *at, Py_ssize_t n):
    if n == 3 and memcmp(at, b"GET", 3) == 0:
        return "GET"
    if n == 4 and memcmp(at, b"POST", 4) == 0:
        return "POST"
    return PyUnicode_DecodeASCII(at, n, NULL)


cdef int _take_target(RequestHead head, const char *at, Py_ssize_t n) except -1:
    """Set `target` to the origin form, and `authority` if it came in absolute form."""
    cdef const char *end = at + n
    cdef const char *slash
    if at[0] == 47:
        head.target = PyUnicode_DecodeASCII(at, n, NULL)
    elif n == 1 and at[0] == 42 and head.method == "OPTIONS":
        head.target = "/"
    elif n > 7 and strncasecmp(at, b"http://", 7) == 0:
        at += 7
        slash = at
        while slash < end and slash[0] != 47 and slash[0] != 63:
            if not KIND[<unsigned char>slash[0]] & AUTHORITY:
                _refuse(400, "malformed authority")
            slash += 1
        if slash == at:
            _refuse(400, "no authority in the target")
        head.authority = at[:slash - at]
        head.target = PyUnicode_DecodeASCII(slash, end - slash, NULL)
        if slash == end or slash[0] == 63:
            head.target = "/" + head.target
    else:
        _refuse(400, "malformed target")
    return 0


cdef const char *_take_request_line(
    RequestHead head, const char *at, const char *end, Py_ssize_t target_most
) except NULL:
    """Read `METHOD SP target SP HTTP/1.x CRLF`; return the start of the first field."""
    cdef const char *start = at
    while KIND[<unsigned char>at[0]] & TOKEN and at - start <= MAX_METHOD:
        at += 1
    if at == start or at[0] != 32:
        _refuse(400, "malformed method")
    head.method = _method(start, at - start)
    at += 1
    start = at
    while KIND[<unsigned char>at[0]] & TARGET:
        at += 1
    if at == start or at[0] != 32:
        _refuse(400, "malformed target")
    if at - start > target_most:
        _refuse(414, "target too long")
    _take_target(head, start, at - start)
    at += 1
    if end - at < 10 or memcmp(at, b"HTTP/", 5) != 0 or at[6] != 46 or at[8] != 13 or at[9] != 10:
        _refuse(400, "malformed version")
    if at[5] != 49 or not (at[7] == 48 or at[7] == 49):
        _refuse(505 if 48 <= at[5] <= 57 and 48 <= at[7] <= 57 else 400, "HTTP version not supported")
    head.minor = at[7] - 48
    return at + 10


cdef Py_ssize_t _leading_crlf(const char *at, Py_ssize_t size) noexcept:
    """One empty line before the request line is forgiven (RFC 9112 section 2.2)."""
    return 2 if size >= 2 and at[0] == 13 and at[1] == 10 else 0


cpdef RequestHead read_request(bytes buffer, Py_ssize_t head_most, Py_ssize_t target_most):
    """
    Read the request head at the start of `buffer`.

    Args:
        buffer: Bytes received so far.
        head_most: Most bytes of a head; more is 431.
        target_most: Most bytes of a target; more is 414.

    Returns:
        RequestHead, or None if the head is not complete yet.

    Raises:
        HeadError: With the status to refuse it with (400, 414, 417, 431, 505).

    Source: RFC 9112 sections 2 to 6.
    """
    if buffer is None:
        raise TypeError("buffer is None")
    cdef const char *start = PyBytes_AS_STRING(buffer)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer)
    cdef Py_ssize_t skipped = _leading_crlf(start, size)
    cdef const char *at = start + skipped
    size -= skipped
    if size > target_most + MAX_METHOD and memchr(at, 32, MAX_METHOD + 1) != NULL \
            and memchr(at, 10, target_most + MAX_METHOD) == NULL:
        _refuse(414, "target too long")
    cdef const char *end = _end_of_head(at, size, head_most)
    if end == NULL:
        return None
    cdef RequestHead head = RequestHead()
    at = _take_request_line(head, at, end, target_most)
    cdef _Fields fields = _FIELDS
    fields.read(at, end - 2)
    cdef int i
    for i in range(fields.count):
        _take_request_field(head, fields, &fields.fields[i])
    if head.host is None and head.minor == 1:
        _refuse(400, "no Host")
    if head.authority is not None and head.host is not None and head.authority.lower() != head.host.lower():
        _refuse(400, "target and Host disagree")
    fields.settle_framing(head.minor)
    if fields.nominated_count:
        fields.drop_nominated()
    head.length = 0 if fields.length == _NO_LENGTH else fields.length
    head.keep_alive = fields.keeps_alive(head.minor)
    head.block = fields.block(NULL, 0)
    head.size = end - start
    return head


cdef class ReplyHead:
    """
    A reply head of the upstream.

    Attributes:
        status: 100..599.
        minor: 0 or 1, of HTTP/1.x.
        length: Bytes of the body; CHUNKED; NO_LENGTH where the end of the connection ends it.
        keep_alive: Whether the upstream lets the connection be used again.
        block: `HTTP/1.1 <status> <reason>` CRLF and the lines that may be relayed, each with its CRLF.
        size: Bytes of the head in the buffer it was read from.
    """


cdef const char *_take_status_line(ReplyHead head, const char *at, const char *end) except NULL:
    """Read `HTTP/1.x SP 3DIGIT [SP reason] CRLF`; return the start of the first field."""
    if end - at < 14 or memcmp(at, b"HTTP/1.", 7) != 0 or not 48 <= at[7] <= 49 or at[8] != 32:
        _refuse(400, "malformed status line")
    if not (49 <= at[9] <= 53 and 48 <= at[10] <= 57 and 48 <= at[11] <= 57):
        _refuse(400, "malformed status")
    head.minor = at[7] - 48
    head.status = (at[9] - 48) * 100 + (at[10] - 48) * 10 + (at[11] - 48)
    at += 12
    if at[0] != 32 and at[0] != 13:
        _refuse(400, "malformed status line")
    while KIND[<unsigned char>at[0]] & VALUE:
        at += 1
    if at[0] != 13 or at[1] != 10:
        _refuse(400, "malformed reason")
    return at + 2


cdef int _take_reply_field(_Fields fields, Field *field) except -1:
    cdef const char *name = field.name
    cdef Py_ssize_t n = field.name_len
    if n == 14 and _is(name, n, b"content-length", 14):
        fields.content_length(field)
    elif n == 17 and _is(name, n, b"transfer-encoding", 17):
        fields.transfer_encoding(field)
    elif n == 10 and _is(name, n, b"connection", 10):
        fields.connection(field)
    elif (
        (n == 10 and _is(name, n, b"keep-alive", 10))
        or (n == 7 and (_is(name, n, b"upgrade", 7) or _is(name, n, b"trailer", 7)))
        or (n == 16 and _is(name, n, b"proxy-connection", 16))
        or (n == 18 and _is(name, n, b"proxy-authenticate", 18))
    ):
        field.kept = False
    return 0


cpdef ReplyHead read_reply(bytes buffer, Py_ssize_t head_most):
    """
    Read the reply head at the start of `buffer`.

    Args:
        buffer: Bytes received from the upstream so far.
        head_most: Most bytes of a head.

    Returns:
        ReplyHead, or None if the head is not complete yet.

    Raises:
        HeadError: The upstream does not speak HTTP/1 as we understand it; `status` means nothing here.

    Source: RFC 9112 sections 4 to 6.
    """
    if buffer is None:
        raise TypeError("buffer is None")
    cdef const char *start = PyBytes_AS_STRING(buffer)
    cdef const char *end = _end_of_head(start, PyBytes_GET_SIZE(buffer), head_most)
    if end == NULL:
        return None
    cdef ReplyHead head = ReplyHead()
    cdef const char *at = _take_status_line(head, start, end)
    cdef _Fields fields = _FIELDS
    fields.read(at, end - 2)
    cdef int i
    for i in range(fields.count):
        _take_reply_field(fields, &fields.fields[i])
    fields.settle_framing(head.minor)
    if fields.nominated_count:
        fields.drop_nominated()
    head.length = fields.length
    head.keep_alive = fields.keeps_alive(head.minor)
    cdef bytes line = b"HTTP/1.1" + start[8:at - start]
    head.block = fields.block(PyBytes_AS_STRING(line), PyBytes_GET_SIZE(line))
    head.size = end - start
    return head
