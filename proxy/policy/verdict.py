"""What was decided about a request, as a value: the step `judge` makes it, the step `act` carries it out."""

from dataclasses import dataclass
from enum import IntEnum

from fastpath import Spending


class Action(IntEnum):
    """What is done with a request; the numbers are those of the record ring and of the counters."""

    ALLOW = 0
    DELAY = 1
    LIMIT = 2
    DENY = 3
    TARPIT = 4
    DROP = 5


class Reason(IntEnum):
    """Why; for the operator only, never told to a client."""

    NONE = 0
    LIMIT = 1  # a bucket is empty, or the wait for it too long
    BUSY = 2  # no place became free among those that the class may hold at once
    ALLOWED_NETWORK = 3
    UNKNOWN = 4  # no operation of a keyserver
    METHOD = 5
    SWITCHED_OFF = 6  # the operator does not offer it
    TOO_SHORT = 7  # word search
    PEERS_ONLY = 8
    MALFORMED = 9
    TOO_LARGE = 10
    TIMEOUT = 11  # the client was too slow
    UPSTREAM = 12  # none could answer
    GONE = 13  # the client left before it had its answer
    CROWDED = 14  # more parked requests or connections than the operator allows


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    Outcome for a request.

    Attributes:
        action: ALLOW: now; DELAY: after `wait_ns`; LIMIT: 429; DENY: `status`.
        reason: For records and explain.
        status: HTTP status of a refusal; 0 where the request goes on.
        wait_ns: Of a delay, ns.
        bucket: Index of the limit that decided; 0 is the total.
        spending: Its figures, where a limit decided.
        shadow: What would have been done, had a limit in shadow mode been enforced; ALLOW if the same.
        allow: Methods that the path knows, for 405.
    """

    action: Action
    reason: Reason = Reason.NONE
    status: int = 0
    wait_ns: int = 0
    bucket: int = 0
    spending: Spending | None = None
    shadow: Action = Action.ALLOW
    allow: str = ""


ALLOW = Verdict(Action.ALLOW)
BUSY = Verdict(Action.LIMIT, Reason.BUSY, status=429)
CROWDED = Verdict(Action.LIMIT, Reason.CROWDED, status=429)
EXEMPT = Verdict(Action.ALLOW, Reason.ALLOWED_NETWORK)
PEERS_ONLY = Verdict(Action.DENY, Reason.PEERS_ONLY, status=403)
