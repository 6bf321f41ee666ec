"""Claims: what a request of a strict class wants of the buckets that all nodes have together, and what becomes of it.

A worker has taken the tokens from the buckets of its node. It claims them of the cluster before the request goes on,
and the analyst answers. Both are one message each, of a size that is known, and each side checks what the other says:

    claim   number, since, until, then for each bucket: which, token, full, cost, burst, room
    answer  number, decision, bucket, after, reset

All times are ns; `since` and `until` are CLOCK_MONOTONIC, which all processes of a node have in common.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.policy.budgets import BudgetKind

if TYPE_CHECKING:
    from fastpath import Limit

MOST_TAKES: Final = 16  # of one claim
MOST_NS: Final = 2**60  # of any time: 36 years
_CLAIM: Final = struct.Struct("<Qqq")
_TAKE: Final = struct.Struct("<BQqqqqq")
_ANSWER: Final = struct.Struct("<QBBqq")
_LAST: Final = max(BudgetKind)
CLAIM_BYTES: Final = _CLAIM.size + MOST_TAKES * _TAKE.size
ANSWER_BYTES: Final = _ANSWER.size


class Decision(IntEnum):
    """What the cluster says to a claim."""

    GRANTED = 0
    REFUSED = 1
    NONE = 2  # the store is out of reach, or says what cannot be


class Take(NamedTuple):
    """What is claimed of one bucket.

    Args:
        number: Of a class, or a `BudgetKind`.
        key: Of the client, or of the bucket.
        token_ns: How long one token takes to come back.
        full_ns: Of the limit as a whole: burst and longest delay.
        cost_ns: What the request takes.
        burst_ns: How far the bucket may be emptied for this request to go on at once.
        room_ns: And how far for it to go on at all.

    """

    number: int
    key: int
    token_ns: int
    full_ns: int
    cost_ns: int
    burst_ns: int
    room_ns: int

    @property
    def sound(self) -> bool:
        """Whether there can be such a one."""
        if not 0 < self.token_ns <= self.full_ns <= MOST_NS or self.key == 0:
            return False
        return 0 < self.burst_ns <= self.room_ns <= self.full_ns and 0 < self.cost_ns <= self.room_ns


class Claim(NamedTuple):
    """What a request claims.

    Args:
        number: That its answer has as well.
        since_ns: When the tokens were taken from the buckets of the node.
        until_ns: When the worker goes on without an answer.
        takes: From which buckets; each once.

    """

    number: int
    since_ns: int
    until_ns: int
    takes: tuple[Take, ...]


class Answer(NamedTuple):
    """What becomes of a claim.

    Args:
        number: Of the claim.
        decision: A `Decision`.
        bucket: `Take.number` of the bucket that says so; of those that grant it, the one for which to wait longest.
        after_ns: Granted: how long to wait for the tokens. Refused: after which time they would be there.
        reset_ns: How long the bucket takes to be full.

    """

    number: int
    decision: int
    bucket: int = 0
    after_ns: int = 0
    reset_ns: int = 0


def take_of(limit: Limit, number: int, key: int, cost_ns: int) -> Take:
    """Return what is taken from a bucket by a request that may empty it as far as its limit says."""
    burst_ns, room_ns = limit.burst_offset_ns, limit.burst_offset_ns + limit.max_delay_ns
    return Take(number, key, limit.emission_interval_ns, room_ns, cost_ns, burst_ns, room_ns)


def write_claim(claim: Claim) -> bytes:
    """Return a claim as a message; of more than MOST_TAKES buckets the first."""
    takes = (_TAKE.pack(*take) for take in claim.takes[:MOST_TAKES])
    return _CLAIM.pack(claim.number, claim.since_ns, claim.until_ns) + b"".join(takes)


def read_claim(data: bytes) -> Claim:
    """Return the claim in a message; ValueError if it is none."""
    count, rest = divmod(len(data) - _CLAIM.size, _TAKE.size)
    if rest or not 1 <= count <= MOST_TAKES:
        raise ValueError(f"a claim of {len(data)} bytes")
    number, since_ns, until_ns = _CLAIM.unpack_from(data)
    takes = tuple(Take(*fields) for fields in _TAKE.iter_unpack(data[_CLAIM.size :]))
    if not 0 <= since_ns <= until_ns <= MOST_NS or not all(take.sound for take in takes):
        raise ValueError("a claim that cannot be")
    if len({take[:2] for take in takes}) < count:
        raise ValueError("a claim that names a bucket twice")
    return Claim(number, since_ns, until_ns, takes)


def write_answer(answer: Answer) -> bytes:
    """Return an answer as a message."""
    return _ANSWER.pack(*answer)


def read_answer(data: bytes) -> Answer:
    """Return the answer in a message; ValueError if it is none."""
    if len(data) != ANSWER_BYTES:
        raise ValueError(f"an answer of {len(data)} bytes")
    answer = Answer(*_ANSWER.unpack(data))
    times_are_sound = 0 <= answer.after_ns <= MOST_NS and 0 <= answer.reset_ns <= MOST_NS
    if answer.decision not in tuple(Decision) or answer.bucket > _LAST or not times_are_sound:
        raise ValueError("an answer that cannot be")
    return answer
