"""
Refusals in the form that the client at hand can read.

gpg (HTTP/1.0) shows neither the body nor the reason, but some wrappers and people with curl do: one line of plain
text, or `application/problem+json` (RFC 9457) for those who ask for it. OpenKeychain takes "too many" and
"insufficient" in a body for an error in its query and "no keys found" for an empty answer, so those words are not
used. No score and no internal reason is told. 502 is never sent: dirmngr calls the host dead for 90 minutes; nor 503
and 504 to HTTP/1.0, which dirmngr retries five times at once.

RateLimit fields: draft-ietf-httpapi-ratelimit-headers-10, structured fields of RFC 9651.
"""

from libc.stdint cimport int64_t, uint64_t

from fastpath.table cimport Spending
from proxy.http.text cimport Text, begin, finish, put, put_chars, put_hex16, put_number
from proxy.policy.judge cimport Verdict

import json

cdef enum:
    BUSY_RETRY_SECONDS = 5
    UPSTREAM_RETRY_SECONDS = 10

cdef int64_t NANOSECONDS = 1_000_000_000

PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    417: "Expectation Failed",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}

TEXTS = {
    400: "The request is malformed.",
    403: "This operation is not open to this address.",
    404: "Not found.",
    405: "This method is not allowed here.",
    408: "The request took longer than this server waits.",
    413: "The upload is larger than this server takes.",
    414: "The request target is longer than this server takes.",
    417: "The expectation cannot be met.",
    422: "The upload holds what this server does not take.",
    429: "Rate limit reached for this address.",
    431: "The request header is larger than this server takes.",
    500: "The keyserver cannot be reached at the moment.",
    501: "This keyserver does not offer this operation.",
    503: "The keyserver cannot be reached at the moment.",
    505: "This HTTP version is not supported.",
}

PROBLEMS = "https://iana.org/assignments/http-problem-types#"
PROBLEM_TYPES = {429: PROBLEMS + "quota-exceeded", 503: PROBLEMS + "temporary-reduced-capacity"}
cdef dict _TEXTS = {status: text.encode("ascii") for status, text in TEXTS.items()}
EXPOSED = {
    "draft": "RateLimit, RateLimit-Policy, ",
    "legacy": "X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, ",
    "off": "",
}


cpdef int unavailable_status(int minor) noexcept:
    """Return the status for "no upstream answers" to an HTTP/1.`minor` client."""
    return 503 if minor else 500


cpdef bint wants_problem(bytes accept):
    """Whether the client asks for problem details; browsers and gpg do not."""
    return accept is not None and b"application/problem+json" in accept


cpdef int64_t seconds_up(int64_t duration_ns) noexcept:
    """Return whole seconds, rounded up: who waits for them has waited long enough."""
    return (duration_ns + NANOSECONDS - 1) // NANOSECONDS


cdef int64_t retry_seconds(Verdict verdict) noexcept:
    if verdict.spending is not None:
        return max(1, seconds_up(verdict.spending.retry_after_ns))
    if verdict.status == 429:
        return BUSY_RETRY_SECONDS
    return UPSTREAM_RETRY_SECONDS if verdict.status == 503 else 0


cdef int put_plain(Text *text, int status, str said, int64_t retry, uint64_t request_id) except -1:
    """Write the one line of a plain body."""
    put(text, said.encode("ascii") if said else _TEXTS[status])
    if retry:
        put(text, b" Retry after ")
        put_number(text, retry)
        put(text, b" s.")
    put(text, b" Request-ID ")
    put_hex16(text, request_id)
    put(text, b"\n")
    return 0


cdef bytes problem_body(int status, str said, int64_t retry, uint64_t request_id, limit):
    """Return problem details (RFC 9457); the title is no status phrase, since "Too Many" means another thing to some."""
    about = {"type": PROBLEM_TYPES[status]} if status in PROBLEM_TYPES else {}
    about |= {
        "title": TEXTS[status].rstrip("."),
        "status": status,
        "detail": f"{said or TEXTS[status]} Retry after {retry} s." if retry else said or TEXTS[status],
        "instance": f"urn:request:{request_id:016x}",
    }
    if limit is not None:
        about["violated-policies"] = [limit.name]
    return json.dumps(about).encode("ascii")


def _line(name, value):
    return f"{name}: {value}\r\n" if value else ""


cdef class Refusals:

    def __init__(self, str fields not None):
        self.fields = fields
        self.heads = {}
        self.policies = {}

    cpdef bytes reply(
        self, Verdict verdict, uint64_t request_id, tuple limits=(), bint problem=False, bint close=False,
        bint keep_alive=False, bint head_only=False
    ):
        cdef int64_t retry = retry_seconds(verdict)
        cdef Text text, body
        limit = limits[verdict.spending.bucket] if verdict.spending is not None and limits else None
        begin(&body)
        if problem:
            put(&body, problem_body(verdict.status, verdict.text, retry, request_id, limit))
        else:
            put_plain(&body, verdict.status, verdict.text, retry, request_id)
        begin(&text)
        put(&text, self._head(verdict.status, problem, close, keep_alive, verdict.allow))
        put_hex16(&text, request_id)
        if retry:
            put(&text, b"\r\nRetry-After: ")
            put_number(&text, retry)
        put(&text, b"\r\nContent-Length: ")
        put_number(&text, body.size)
        put(&text, b"\r\n")
        if limit is not None and self.fields != "off":
            self._put_state(&text, verdict.spending, limit, retry)
        put(&text, b"\r\n")
        if not head_only:
            put_chars(&text, body.data, body.size)
        return finish(&text)

    cdef bytes _head(self, int status, bint problem, bint close, bint keep_alive, str allow):
        """Return the lines that do not change from one refusal to the next, up to the value of X-Request-ID."""
        cdef int key = -1 if allow else status << 3 | problem << 2 | close << 1 | keep_alive
        head = self.heads.get(key)
        if head is None:
            kind = "application/problem+json" if problem else "text/plain; charset=utf-8"
            connection = "close" if close else "keep-alive" if keep_alive else ""
            head = (
                f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: {kind}\r\n"
                "Access-Control-Allow-Origin: *\r\n"
                f"Access-Control-Expose-Headers: Retry-After, {EXPOSED[self.fields]}X-Request-ID\r\n"
                "Cache-Control: no-store\r\n"
                f"{_line('Allow', allow)}{_line('Connection', connection)}X-Request-ID: "
            ).encode("latin-1")
            if key >= 0:
                self.heads[key] = head
        return head

    cdef int _put_state(self, Text *text, Spending spending, limit, int64_t retry) except -1:
        """Write what the limit allows and what is left; limit names are plain words of ours."""
        put(text, self._policy(limit))
        put_number(text, spending.remaining)
        put(text, b"\r\nX-RateLimit-Reset: " if self.fields == "legacy" else b";t=")
        put_number(text, retry)
        put(text, b"\r\n")
        return 0

    cdef bytes _policy(self, object limit):
        """Return the line that tells what a limit allows, and the beginning of the one that tells what is left."""
        known = self.policies.get(id(limit))
        if known is not None:
            return known[1]
        if self.fields == "legacy":
            line = f"X-RateLimit-Limit: {limit.burst}\r\nX-RateLimit-Remaining: "
        else:
            window = seconds_up(limit.burst * limit.emission_interval_ns)
            line = f'RateLimit-Policy: "{limit.name}";q={limit.burst};w={window}\r\nRateLimit: "{limit.name}";r='
        self.policies[id(limit)] = (limit, line.encode("ascii"))  # holding it keeps its id its own
        return self.policies[id(limit)][1]
