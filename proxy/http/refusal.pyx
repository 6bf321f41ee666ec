"""
Refusals in the form that the client at hand can read.

gpg (HTTP/1.0) shows neither the body nor the reason, but some wrappers and people with curl do: one line of plain
text, or `application/problem+json` (RFC 9457) for those who ask for it. OpenKeychain takes "too many" and
"insufficient" in a body for an error in its query and "no keys found" for an empty answer, so those words are not
used. No score and no internal reason is told. 502 is never sent: dirmngr calls the host dead for 90 minutes; nor 503
and 504 to HTTP/1.0, which dirmngr retries five times at once.

RateLimit fields: draft-ietf-httpapi-ratelimit-headers-10, structured fields of RFC 9651.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint64_t
from libc.stdio cimport snprintf

from fastpath.table cimport Spending
from proxy.http.text cimport hex16, length_field
from proxy.policy.judge cimport Verdict

import json
from functools import lru_cache

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
    429: "Rate limit reached for this address.",
    431: "The request header is larger than this server takes.",
    500: "The keyserver cannot be reached at the moment.",
    501: "This keyserver does not offer this operation.",
    503: "The keyserver cannot be reached at the moment.",
    505: "This HTTP version is not supported.",
}

QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
COMMON = (
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Expose-Headers: Retry-After, RateLimit, RateLimit-Policy, X-Request-ID\r\n"
    "Cache-Control: no-store\r\n"
)


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


@lru_cache(maxsize=1024)
def constant_part(int status, bint problem, bint close, bint keep_alive, str allow, policy):
    """Return the lines of a refusal that do not change from one request to the next: at most a few dozen sets."""
    kind = "application/problem+json" if problem else "text/plain; charset=utf-8"
    connection = "close" if close else "keep-alive" if keep_alive else ""
    return (
        f"HTTP/1.1 {status} {PHRASES[status]}\r\nContent-Type: {kind}\r\n{COMMON}{policy}"
        f"{line('Allow', allow)}{line('Connection', connection)}X-Request-ID: "
    ).encode("latin-1")


def line(str name, str value):
    """Return a header line, or nothing for an empty value."""
    return f"{name}: {value}\r\n" if value else ""


@lru_cache(maxsize=1024)
def policy_line(limit, str fields):
    """Return the line that tells what a limit allows."""
    if fields == "legacy":
        return f"X-RateLimit-Limit: {limit.burst}\r\n"
    window = seconds_up(limit.burst * limit.emission_interval_ns)
    return f'RateLimit-Policy: "{limit.name}";q={limit.burst};w={window}\r\n'


cdef bytes state_line(str name, Spending spending, long long retry, str fields):
    """Return the lines that tell what is left; limit names are short plain words of ours."""
    cdef char text[160]
    cdef bytes spelled = name.encode("ascii")
    cdef long long remaining = spending.remaining
    cdef int size
    if fields == "legacy":
        size = snprintf(
            text, sizeof(text), b"X-RateLimit-Remaining: %lld\r\nX-RateLimit-Reset: %lld\r\n", remaining, retry
        )
    else:
        size = snprintf(
            text, sizeof(text), b'RateLimit: "%s";r=%lld;t=%lld\r\n', <const char *>spelled, remaining, retry
        )
    return PyBytes_FromStringAndSize(text, min(size, <int>sizeof(text) - 1))


cdef bytes retry_line(long long retry):
    cdef char text[48]
    return PyBytes_FromStringAndSize(text, snprintf(text, sizeof(text), b"Retry-After: %lld\r\n", retry))


cdef bytes plain_body(int status, int64_t retry, bytes request_id):
    wait = f" Retry after {retry} s." if retry else ""
    return f"{TEXTS[status]}{wait} Request-ID ".encode("ascii") + request_id + b"\n"


def problem_body(int status, bytes request_id):
    """Return problem details (RFC 9457)."""
    kind = {"type": QUOTA_EXCEEDED} if status == 429 else {}
    instance = "urn:request:" + request_id.decode("ascii")
    about = {"title": PHRASES[status], "status": status, "detail": TEXTS[status], "instance": instance}
    return json.dumps(kind | about).encode("ascii")


cpdef bytes refusal(
    Verdict verdict, uint64_t request_id, tuple limits=(), str fields="draft", bint problem=False, bint close=False,
    bint keep_alive=False, bint head_only=False
):
    cdef int status = verdict.status
    cdef int64_t retry = retry_seconds(verdict)
    cdef bytes shown_id = hex16(request_id)
    cdef Spending spending = verdict.spending
    limit = limits[spending.bucket] if spending is not None and fields != "off" and limits else None
    policy = policy_line(limit, fields) if limit is not None else ""
    cdef bytes body = problem_body(status, shown_id) if problem else plain_body(status, retry, shown_id)
    return b"".join((
        constant_part(status, problem, close, keep_alive, verdict.allow, policy),
        shown_id,
        b"\r\n",
        retry_line(retry) if retry else b"",
        state_line(limit.name, spending, retry, fields) if limit is not None else b"",
        length_field(len(body)),
        b"\r\n",
        b"" if head_only else body,
    ))
