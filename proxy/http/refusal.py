"""
Refusals in the form that the client at hand can read.

gpg (HTTP/1.0) shows neither the body nor the reason, but some wrappers and people with curl do: one line of plain
text, a `application/problem+json` (RFC 9457) for those who ask for it. OpenKeychain takes "too many" and
"insufficient" in a body for an error in its query and "no keys found" for an empty answer, so those words are not
used. No score and no internal reason is told. 502 is never sent: dirmngr calls the host dead for 90 minutes; nor 503
and 504 to HTTP/1.0, which dirmngr retries five times at once.

RateLimit fields: draft-ietf-httpapi-ratelimit-headers-10, structured fields of RFC 9651.
"""

import json
from collections.abc import Sequence

from fastpath import Limit, Spending
from proxy.policy.verdict import Verdict

NANOSECONDS = 1_000_000_000
BUSY_RETRY_SECONDS = 5
UPSTREAM_RETRY_SECONDS = 10

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
_COMMON = (
    "Access-Control-Allow-Origin: *\r\n"
    "Access-Control-Expose-Headers: Retry-After, RateLimit, RateLimit-Policy, X-Request-ID\r\n"
    "Cache-Control: no-store\r\n"
)


def unavailable_status(minor: int) -> int:
    """Return the status for "no upstream answers" to an HTTP/1.`minor` client."""
    return 503 if minor else 500


def wants_problem(accept: bytes | None) -> bool:
    """Whether the client asks for problem details; browsers and gpg do not."""
    return accept is not None and b"application/problem+json" in accept


def seconds_up(duration_ns: int) -> int:
    """Return whole seconds, rounded up: who waits for them has waited long enough."""
    return -(-duration_ns // NANOSECONDS)


def refusal(
    verdict: Verdict,
    request_id: str,
    *,
    limits: Sequence[Limit | None] = (),
    fields: str = "draft",
    problem: bool = False,
    close: bool = False,
    keep_alive: bool = False,
    head_only: bool = False,
) -> bytes:
    """
    Return a complete reply that carries out a refusing `verdict`.

    Args:
        verdict: Its `status` is sent.
        request_id: Shown to the client, so that the operator can find the record.
        limits: By bucket; names the limit in the RateLimit fields.
        fields: "draft", "legacy" (X-RateLimit-*, delta seconds) or "off".
        problem: Send problem details instead of text.
        close: Announce that the connection is closed.
        keep_alive: Announce that it stays open, which HTTP/1.0 clients want to be told.
        head_only: The request was HEAD: no body, but the length it would have.
    """
    status = verdict.status
    retry_seconds = _retry_seconds(verdict)
    body = _problem(status, request_id) if problem else _text(status, retry_seconds, request_id)
    head = (
        f"HTTP/1.1 {status} {PHRASES[status]}\r\n"
        f"Content-Type: {'application/problem+json' if problem else 'text/plain; charset=utf-8'}\r\n"
        f"Content-Length: {len(body)}\r\n"
        f"{_COMMON}"
        f"X-Request-ID: {request_id}\r\n"
        f"{_retry_field(retry_seconds)}{_limit_fields(verdict, limits, fields)}"
        f"{_field('Allow', verdict.allow)}"
        f"{_field('Connection', 'close' if close else 'keep-alive' if keep_alive else '')}\r\n"
    )
    return (head if head_only else head + body).encode("latin-1")


def _retry_seconds(verdict: Verdict) -> int:
    if verdict.spending is not None:
        return max(1, seconds_up(verdict.spending.retry_after_ns))
    if verdict.status == 429:
        return BUSY_RETRY_SECONDS
    return UPSTREAM_RETRY_SECONDS if verdict.status == 503 else 0


def _field(name: str, value: str) -> str:
    return f"{name}: {value}\r\n" if value else ""


def _retry_field(seconds: int) -> str:
    return f"Retry-After: {seconds}\r\n" if seconds else ""


def _text(status: int, retry_seconds: int, request_id: str) -> str:
    retry = f" Retry after {retry_seconds} s." if retry_seconds else ""
    return f"{TEXTS[status]}{retry} Request-ID {request_id}\n"


def _problem(status: int, request_id: str) -> str:
    kind = {"type": QUOTA_EXCEEDED} if status == 429 else {}
    return json.dumps(
        kind | {"title": PHRASES[status], "status": status, "detail": TEXTS[status], "instance": f"urn:request:{request_id}"}
    )


def _limit_fields(verdict: Verdict, limits: Sequence[Limit | None], fields: str) -> str:
    """Return the RateLimit fields of the limit that refused; none where no limit did, or a shadow limit would have."""
    spending = verdict.spending
    if spending is None or fields == "off" or verdict.bucket >= len(limits):
        return ""
    limit = limits[verdict.bucket]
    if limit is None:
        return ""
    wait_seconds = max(1, seconds_up(spending.retry_after_ns))
    if fields == "legacy":
        return (
            f"X-RateLimit-Limit: {limit.burst}\r\n"
            f"X-RateLimit-Remaining: {spending.remaining}\r\n"
            f"X-RateLimit-Reset: {wait_seconds}\r\n"
        )
    window_seconds = seconds_up(limit.burst * limit.emission_interval_ns)
    return (
        f'RateLimit-Policy: "{limit.name}";q={limit.burst};w={window_seconds}\r\n'
        f'RateLimit: "{limit.name}";r={spending.remaining};t={wait_seconds}\r\n'
    )
