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

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.string cimport memchr, memcmp

from proxy.http.fields cimport (
    AUTHORITY, KIND, NO_BODY_LENGTH, TARGET, TOKEN, VALUE, Field, Fields, end_of_head, refuse, same_word, strncasecmp,
)

from proxy.http.fields import CHUNKED, NO_LENGTH, HeadError

cdef enum:
    MAX_METHOD = 32

# One for the process: 5 KB that need not be cleared for each head. A head is read in one go, never from two threads.
cdef Fields FIELDS_OF_PROCESS = Fields()


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
        cf_connecting_ip, true_client_ip, x_real_ip: Likewise; more than one are no address then.
        accept: Value of the first Accept, or None.
        content_type: Value of Content-Type, or None.
        encoded: There is a Content-Encoding.
        special: The answer may be for this client alone: a range, a condition, a cookie, credentials, an Origin.
        size: Bytes of the head in the buffer it was read from.
    """


cdef bytes _joined(bytes before, Field *field):
    cdef bytes value = field.value[:field.value_len]
    return value if before is None else before + b", " + value


cdef int _take_host(RequestHead head, Field *field) except -1:
    cdef Py_ssize_t i
    if head.host is not None:
        refuse(400, "more than one Host")
    for i in range(field.value_len):
        if not KIND[<unsigned char>field.value[i]] & AUTHORITY:
            refuse(400, "malformed Host")
    head.host = field.value[:field.value_len]
    return 0


cdef int _take_request_field(RequestHead head, Fields fields, Field *field) except -1:
    """Act on one field of a request: read what matters here, drop what must not go further."""
    cdef const char *name = field.name
    cdef Py_ssize_t n = field.name_len
    if memchr(name, 95, n) != NULL:
        field.kept = False
    elif n == 4 and same_word(name, n, b"host", 4):
        _take_host(head, field)
    elif n == 6 and same_word(name, n, b"accept", 6):
        if head.accept is None:
            head.accept = field.value[:field.value_len]
    elif n == 12 and same_word(name, n, b"content-type", 12):
        if head.content_type is not None:
            refuse(400, "more than one Content-Type")
        head.content_type = field.value[:field.value_len]
    elif n == 6 and same_word(name, n, b"expect", 6):
        field.kept = False
        if not same_word(field.value, field.value_len, b"100-continue", 12):
            refuse(417, "unknown expectation")
        head.expects_continue = head.minor == 1
    elif n == 9 and same_word(name, n, b"forwarded", 9):
        field.kept = False
        head.forwarded = _joined(head.forwarded, field)
    elif n == 10 and same_word(name, n, b"connection", 10):
        fields.connection(field)
    elif n == 14 and same_word(name, n, b"content-length", 14):
        fields.content_length(field)
    elif n == 17 and same_word(name, n, b"transfer-encoding", 17):
        fields.transfer_encoding(field)
    elif n == 16 and same_word(name, n, b"content-encoding", 16):
        head.encoded = True
    elif _makes_special(name, n):
        head.special = True
    elif n == 15 and same_word(name, n, b"x-forwarded-for", 15):
        field.kept = False
        head.forwarded_for = _joined(head.forwarded_for, field)
    elif n == 17 and same_word(name, n, b"x-forwarded-proto", 17):
        field.kept = False
        head.forwarded_proto = field.value[:field.value_len]
    elif _take_client_address(head, field) or _never_forwarded(name, n):
        field.kept = False
    return 0


cdef bint _makes_special(const char *name, Py_ssize_t n) noexcept:
    """Whether the answer may depend on more than the target."""
    return (
        n == 5 and same_word(name, n, b"range", 5)
        or n == 6 and (same_word(name, n, b"cookie", 6) or same_word(name, n, b"origin", 6))
        or n == 13 and same_word(name, n, b"authorization", 13)
        or n > 3 and same_word(name, 3, b"if-", 3)
    )


cdef bint _take_client_address(RequestHead head, Field *field) except -1:
    """Read a field in which some proxies name the client and nothing else; false for any other field."""
    cdef const char *name = field.name
    cdef Py_ssize_t n = field.name_len
    if n == 9 and same_word(name, n, b"x-real-ip", 9):
        head.x_real_ip = _joined(head.x_real_ip, field)
    elif n == 14 and same_word(name, n, b"true-client-ip", 14):
        head.true_client_ip = _joined(head.true_client_ip, field)
    elif n == 16 and same_word(name, n, b"cf-connecting-ip", 16):
        head.cf_connecting_ip = _joined(head.cf_connecting_ip, field)
    else:
        return False
    return True


cdef bint _never_forwarded(const char *name, Py_ssize_t n) noexcept nogil:
    """Hop-by-hop fields, `Proxy` (httpoxy), client addresses that only we may state, and our own names."""
    if n == 2:
        return same_word(name, n, b"te", 2)
    if n == 5:
        return same_word(name, n, b"proxy", 5)
    if n == 7:
        return same_word(name, n, b"trailer", 7) or same_word(name, n, b"upgrade", 7)
    if n == 10:
        return same_word(name, n, b"keep-alive", 10)
    if n == 11:
        return same_word(name, n, b"x-client-ip", 11)
    if n == 14 and same_word(name, n, b"http2-settings", 14):
        return True
    if n == 16 and same_word(name, n, b"proxy-connection", 16):
        return True
    if n == 19 and (same_word(name, n, b"proxy-authorization", 19) or same_word(name, n, b"x-cluster-client-ip", 19)):
        return True
    if n == 12 and same_word(name, n, b"x-request-id", 12):
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
    if head.method == "CONNECT":  # in whatever form: what a server says to it may turn the connection into a tunnel
        refuse(400, "this is no proxy to anywhere else")
    if at[0] == 47:
        head.target = PyUnicode_DecodeASCII(at, n, NULL)
    elif n == 1 and at[0] == 42 and head.method == "OPTIONS":
        head.target = "/"
    elif n > 7 and strncasecmp(at, b"http://", 7) == 0:
        at += 7
        slash = at
        while slash < end and slash[0] != 47 and slash[0] != 63:
            if not KIND[<unsigned char>slash[0]] & AUTHORITY:
                refuse(400, "malformed authority")
            slash += 1
        if slash == at:
            refuse(400, "no authority in the target")
        head.authority = at[:slash - at]
        head.target = PyUnicode_DecodeASCII(slash, end - slash, NULL)
        if slash == end or slash[0] == 63:
            head.target = "/" + head.target
    else:
        refuse(400, "malformed target")
    return 0


cdef const char *_take_request_line(
    RequestHead head, const char *at, const char *end, Py_ssize_t target_most
) except NULL:
    """Read `METHOD SP target SP HTTP/1.x CRLF`; return the start of the first field."""
    cdef const char *start = at
    while KIND[<unsigned char>at[0]] & TOKEN and at - start <= MAX_METHOD:
        at += 1
    if at == start or at[0] != 32:
        refuse(400, "malformed method")
    head.method = _method(start, at - start)
    at += 1
    start = at
    while KIND[<unsigned char>at[0]] & TARGET:
        at += 1
    if at == start or at[0] != 32:
        refuse(400, "malformed target")
    if at - start > target_most:
        refuse(414, "target too long")
    _take_target(head, start, at - start)
    at += 1
    if end - at < 10 or memcmp(at, b"HTTP/", 5) != 0 or at[6] != 46 or at[8] != 13 or at[9] != 10:
        refuse(400, "malformed version")
    if at[5] != 49 or not (at[7] == 48 or at[7] == 49):
        refuse(505 if 48 <= at[5] <= 57 and 48 <= at[7] <= 57 else 400, "HTTP version not supported")
    head.minor = at[7] - 48
    return at + 10


cdef Py_ssize_t _leading_crlf(const char *at, Py_ssize_t size) noexcept:
    """One empty line before the request line is forgiven (RFC 9112 section 2.2)."""
    return 2 if size >= 2 and at[0] == 13 and at[1] == 10 else 0


cpdef RequestHead read_request(bytes buffer, Py_ssize_t head_most, Py_ssize_t target_most, Py_ssize_t begin=0):
    """
    Read the request head at `begin` in `buffer`.

    Args:
        buffer: Bytes received so far.
        head_most: Most bytes of a head; more is 431.
        target_most: Most bytes of a target; more is 414.
        begin: Offset of the head in `buffer`.

    Returns:
        RequestHead, or None if the head is not complete yet.

    Raises:
        HeadError: With the status to refuse it with (400, 414, 417, 431, 505).

    Source: RFC 9112 sections 2 to 6.
    """
    if buffer is None:
        raise TypeError("buffer is None")
    if not 0 <= begin <= PyBytes_GET_SIZE(buffer):
        raise ValueError(f"begin {begin} not in 0..{len(buffer)}")
    cdef const char *start = PyBytes_AS_STRING(buffer) + begin
    cdef Py_ssize_t size = PyBytes_GET_SIZE(buffer) - begin
    cdef Py_ssize_t skipped = _leading_crlf(start, size)
    cdef const char *at = start + skipped
    size -= skipped
    if size > target_most + MAX_METHOD and memchr(at, 32, MAX_METHOD + 1) != NULL \
            and memchr(at, 10, target_most + MAX_METHOD) == NULL:
        refuse(414, "target too long")
    cdef const char *end = end_of_head(at, size, head_most)
    if end == NULL:
        return None
    cdef RequestHead head = RequestHead()
    at = _take_request_line(head, at, end, target_most)
    cdef Fields fields = FIELDS_OF_PROCESS
    fields.read(at, end - 2)
    cdef int i
    for i in range(fields.count):
        _take_request_field(head, fields, &fields.fields[i])
    if head.host is None and head.minor == 1:
        refuse(400, "no Host")
    if head.authority is not None and head.host is not None and head.authority.lower() != head.host.lower():
        refuse(400, "target and Host disagree")
    fields.settle_framing(head.minor)
    if fields.nominated_count:
        fields.drop_nominated()
    head.length = 0 if fields.length == NO_BODY_LENGTH else fields.length
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
        refuse(400, "malformed status line")
    if not (49 <= at[9] <= 53 and 48 <= at[10] <= 57 and 48 <= at[11] <= 57):
        refuse(400, "malformed status")
    head.minor = at[7] - 48
    head.status = (at[9] - 48) * 100 + (at[10] - 48) * 10 + (at[11] - 48)
    at += 12
    if at[0] != 32 and at[0] != 13:
        refuse(400, "malformed status line")
    while KIND[<unsigned char>at[0]] & VALUE:
        at += 1
    if at[0] != 13 or at[1] != 10:
        refuse(400, "malformed reason")
    return at + 2


cdef int _take_reply_field(Fields fields, Field *field) except -1:
    cdef const char *name = field.name
    cdef Py_ssize_t n = field.name_len
    if n == 14 and same_word(name, n, b"content-length", 14):
        fields.content_length(field)
    elif n == 17 and same_word(name, n, b"transfer-encoding", 17):
        fields.transfer_encoding(field)
    elif n == 10 and same_word(name, n, b"connection", 10):
        fields.connection(field)
    elif (
        (n == 10 and same_word(name, n, b"keep-alive", 10))
        or (n == 7 and (same_word(name, n, b"upgrade", 7) or same_word(name, n, b"trailer", 7)))
        or (n == 16 and same_word(name, n, b"proxy-connection", 16))
        or (n == 18 and same_word(name, n, b"proxy-authenticate", 18))
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
    cdef const char *end = end_of_head(start, PyBytes_GET_SIZE(buffer), head_most)
    if end == NULL:
        return None
    cdef ReplyHead head = ReplyHead()
    cdef const char *at = _take_status_line(head, start, end)
    cdef Fields fields = FIELDS_OF_PROCESS
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
