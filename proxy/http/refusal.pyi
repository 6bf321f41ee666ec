"""Refusals in the form that the client at hand can read; the theory is in `refusal.pyx`."""

from collections.abc import Sequence

from fastpath import Limit
from proxy.policy.judge import Verdict

PHRASES: dict[int, str]
TEXTS: dict[int, str]
PROBLEM_TYPES: dict[int, str]

def unavailable_status(minor: int) -> int:
    """Return the status for "no upstream answers" to an HTTP/1.`minor` client."""

def wants_problem(accept: bytes | None) -> bool:
    """Whether the client asks for problem details; browsers and gpg do not."""

def seconds_up(duration_ns: int) -> int:
    """Return whole seconds, rounded up: who waits for them has waited long enough."""

class Refusals:
    """Writes refusals for one configuration."""

    def __init__(self, fields: str) -> None:
        """`fields`: RateLimit fields to send: "draft", "legacy" (X-RateLimit-*, delta seconds) or "off"."""

    def reply(
        self,
        verdict: Verdict,
        request_id: int,
        limits: Sequence[Limit | None] = (),
        problem: bool = False,
        close: bool = False,
        keep_alive: bool = False,
        head_only: bool = False,
    ) -> bytes:
        """Return a complete reply that carries out a refusing `verdict`.

        Args:
            verdict: Its `status` is sent.
            request_id: Shown to the client, so that the operator can find the record.
            limits: A tuple, by bucket; names the limit in the RateLimit fields.
            problem: Send problem details instead of text.
            close: Announce that the connection is closed.
            keep_alive: Announce that it stays open, which HTTP/1.0 clients want to be told.
            head_only: The request was HEAD: no body, but the length it would have.

        """
