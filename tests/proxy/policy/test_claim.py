"""Claims and their answers as messages: what was written is read, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import Limit
from proxy.policy.budgets import BudgetKind
from proxy.policy.claim import (
    ANSWER_BYTES,
    CLAIM_BYTES,
    MOST_NS,
    MOST_TAKES,
    Answer,
    Claim,
    Decision,
    Take,
    read_answer,
    read_claim,
    take_of,
    write_answer,
    write_claim,
)

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 10**9
TAKE = Take(4, 7, SECOND, 10 * SECOND, 2 * SECOND, 5 * SECOND, 8 * SECOND)
CLAIM = Claim(1, SECOND, 2 * SECOND, (TAKE, TAKE._replace(key=8)))
ANSWER = Answer(1, Decision.REFUSED, 4, SECOND, 10 * SECOND)


def test_what_a_limit_gives() -> None:
    """A request takes from a bucket of the size and the speed of its limit, and may wait as long as that says."""
    limit = Limit(name="x", burst=10, count=2, period_ns=SECOND, max_delay_ns=3 * SECOND)
    assert take_of(limit, 4, 7, SECOND) == (4, 7, SECOND // 2, 8 * SECOND, SECOND, 5 * SECOND, 8 * SECOND)
    assert take_of(limit, 4, 7, SECOND).sound


@pytest.mark.parametrize("count", [1, 2, MOST_TAKES])
def test_there_and_back(count: int) -> None:
    """A message is read as what was written."""
    claim = CLAIM._replace(takes=tuple(TAKE._replace(key=key + 1) for key in range(count)))
    assert read_claim(write_claim(claim)) == claim
    assert read_answer(write_answer(ANSWER)) == ANSWER


def test_the_first_of_too_many() -> None:
    """A claim has a bounded size; what has no place in it is not claimed."""
    takes = tuple(TAKE._replace(key=key + 1) for key in range(MOST_TAKES + 5))
    data = write_claim(CLAIM._replace(takes=takes))
    assert len(data) == CLAIM_BYTES
    assert read_claim(data).takes == takes[:MOST_TAKES]


@pytest.mark.parametrize(
    "changed",
    [
        {"key": 0},
        {"token_ns": 0},
        {"token_ns": -SECOND},
        {"token_ns": 11 * SECOND},
        {"full_ns": MOST_NS + 1},
        {"full_ns": 7 * SECOND},
        {"cost_ns": 0},
        {"cost_ns": -1},
        {"cost_ns": 9 * SECOND},
        {"burst_ns": 0},
        {"burst_ns": 9 * SECOND},
        {"room_ns": 0},
    ],
)
def test_takes_that_cannot_be(changed: dict[str, int]) -> None:
    """A worker whose memory is damaged cannot make the analyst reckon with nonsense."""
    with pytest.raises(ValueError, match="a claim that cannot be"):
        read_claim(write_claim(CLAIM._replace(takes=(TAKE._replace(**changed),))))


@pytest.mark.parametrize(
    "claim",
    [
        CLAIM._replace(since_ns=-1),
        CLAIM._replace(since_ns=3 * SECOND),
        CLAIM._replace(until_ns=MOST_NS + 1),
        CLAIM._replace(takes=()),
        CLAIM._replace(takes=(TAKE, TAKE)),
    ],
)
def test_claims_that_cannot_be(claim: Claim) -> None:
    """Times are in order, and each bucket is named once."""
    with pytest.raises(ValueError, match="a claim"):
        read_claim(write_claim(claim))


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER._replace(decision=3),
        ANSWER._replace(after_ns=-1),
        ANSWER._replace(reset_ns=-1),
        ANSWER._replace(bucket=max(BudgetKind) + 1),
    ],
)
def test_answers_that_cannot_be(answer: Answer) -> None:
    """There are three decisions, no time is negative, and each bucket is one that there is."""
    with pytest.raises(ValueError, match="an answer that cannot be"):
        read_answer(write_answer(answer))


@pytest.mark.parametrize("read", [read_claim, read_answer])
@given(data=st.binary(max_size=2 * CLAIM_BYTES))
def test_any_bytes(read: Callable[[bytes], Any], data: bytes) -> None:
    """Other bytes are refused, or read as something that can be."""
    try:
        found = read(data)
    except ValueError:
        return
    assert len(data) == ANSWER_BYTES or all(take.sound for take in found.takes)
