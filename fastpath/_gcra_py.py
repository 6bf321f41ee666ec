"""GCRA, the specification: what a limit is and what one request does to the bucket of one client.

The compiled twin (`gcra.pyx`, and the table that inlines it) must give the same answers; the property tests
compare them. A bucket is one integer, the theoretical arrival time (TAT): the moment at which the bucket will
be full again. Nothing has to run for tokens to come back, which is why a bucket fits one word of shared
memory and one compare-and-swap. Times are ns of CLOCK_MONOTONIC, below 2**61 (73 years of uptime), so that no
sum leaves an int64.

Source: GCRA as virtual scheduling, ITU-T I.371.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

MAX_BURST = 1_000_000
MAX_PERIOD_NS = 366 * 86_400 * 10**9
MAX_DELAY_NS = 3_600 * 10**9
MAX_OFFSET_NS = 2**61  # now + a state of one limit + the cost under another stay below 2**63


class Mode(IntEnum):
    """What a limit does when it is exceeded."""

    OFF = 0  # nothing is accounted
    SHADOW = 1  # accounted and reported, refuses nobody
    ENFORCE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A bucket of `burst` tokens into which `count` tokens flow per period.

    Args:
        name: Shown in errors and metrics; not empty.
        burst: Capacity, tokens, 1..1_000_000.
        count: Tokens per period, 1..period_ns.
        period_ns: Length of the period, ns, 1..366 days.
        max_delay_ns: A request that comes at most this much too early is delayed, not refused; 0..1 hour.
        mode: Whether it is enforced.

    Raises:
        ValueError: A value is out of its range; the message names the limit, the value and the range.

    """

    name: str
    burst: int
    count: int
    period_ns: int
    max_delay_ns: int = 0
    mode: Mode = Mode.ENFORCE

    def __post_init__(self) -> None:
        """Check the ranges on which the arithmetic of both twins relies."""
        if not self.name:
            raise ValueError("name of a limit is empty")
        self._check("burst", self.burst, 1, MAX_BURST)
        self._check("period_ns", self.period_ns, 1, MAX_PERIOD_NS)
        self._check("count", self.count, 1, self.period_ns)
        self._check("max_delay_ns", self.max_delay_ns, 0, MAX_DELAY_NS)
        self._check("burst_offset_ns", self.burst_offset_ns, 1, MAX_OFFSET_NS)

    def _check(self, what: str, value: int, least: int, most: int) -> None:
        if not least <= value <= most:
            raise ValueError(f"{what} {value} not in {least}..{most} of limit {self.name!r}")

    @property
    def emission_interval_ns(self) -> int:
        """Time in which one token flows in, ns; rounded up, so that the rate is never exceeded."""
        return -(-self.period_ns // self.count)

    @property
    def burst_offset_ns(self) -> int:
        """Time in which an empty bucket fills, ns."""
        return self.burst * self.emission_interval_ns


class Decision(NamedTuple):
    """What one limit says to one request, and the state to store."""

    allowed: bool
    wait_ns: int  # allowed, but only after this time; 0: at once
    remaining: int  # tokens left
    retry_after_ns: int  # denied: the same request would be allowed after this time; 0 if allowed
    reset_after_ns: int  # time until the bucket is full
    tat_ns: int  # state to store; unchanged in effect by a denied request


def check_cost(limit: Limit, cost: int) -> None:
    """Raise ValueError unless `cost` is in 0..burst: the caller's bug, never the client's."""
    if not 0 <= cost <= limit.burst:
        raise ValueError(f"cost {cost} not in 0..{limit.burst} of limit {limit.name!r}")


def spend(limit: Limit, tat_ns: int, cost: int, now_ns: int) -> Decision:
    """Take `cost` tokens from the bucket in state `tat_ns`, at once or by queueing for them. Pure.

    A request that comes too early by no more than `max_delay_ns` is allowed with a wait: its tokens are taken
    now, so that its place in the queue is its own. One that comes earlier still is denied and pays nothing.

    Args:
        limit: Validated by its constructor.
        tat_ns: Stored state, ns, >= 0; 0 if there is no bucket.
        cost: Tokens, 0..limit.burst; 0 peeks.
        now_ns: ns, 0..2**61.

    Returns:
        Decision; its `tat_ns` is the state to store.

    Raises:
        ValueError: cost out of range.

    """
    check_cost(limit, cost)
    start_ns = max(tat_ns, now_ns)
    wanted_ns = start_ns + cost * limit.emission_interval_ns
    excess_ns = wanted_ns - now_ns - limit.burst_offset_ns
    allowed = excess_ns <= limit.max_delay_ns
    state_ns = wanted_ns if allowed else start_ns
    room_ns = max(0, limit.burst_offset_ns - (state_ns - now_ns))  # negative in a queue, or once a limit is lowered
    return Decision(
        allowed=allowed,
        wait_ns=max(0, excess_ns) if allowed else 0,
        remaining=room_ns // limit.emission_interval_ns,
        retry_after_ns=0 if allowed else excess_ns - limit.max_delay_ns,
        reset_after_ns=state_ns - now_ns,
        tat_ns=state_ns,
    )


def refund(limit: Limit, tat_ns: int, cost: int, now_ns: int) -> int:
    """Give back `cost` tokens that were taken and never used. Pure.

    Args:
        limit: The limit they were taken from.
        tat_ns: Stored state, ns.
        cost: Tokens, 0..limit.burst.
        now_ns: ns, 0..2**61.

    Returns:
        State to store, ns. A bucket is never more than full: what flowed back is not given twice.

    Raises:
        ValueError: cost out of range.

    """
    check_cost(limit, cost)
    return min(tat_ns, max(now_ns, tat_ns - cost * limit.emission_interval_ns))


def charge(limit: Limit, tat_ns: int, cost: int, now_ns: int) -> int:
    """Take `cost` tokens after the fact, whether they are there or not. Pure.

    Args:
        limit: The limit they are taken from.
        tat_ns: Stored state, ns.
        cost: Tokens, >= 0.
        now_ns: ns, 0..2**61.

    Returns:
        State to store, ns. The bucket goes at most one more burst below empty, whatever it cost; a state that is
        further below (of a larger limit) stays as it is.

    """
    start_ns = max(tat_ns, now_ns)
    deepest_ns = now_ns + 2 * limit.burst_offset_ns
    return max(start_ns, min(start_ns + cost * limit.emission_interval_ns, deepest_ns))


def shift(tat_ns: int, delta_ns: int, most_ns: int, now_ns: int) -> int:
    """Move the state of a bucket by what was spent, or given back, elsewhere. Pure.

    Args:
        tat_ns: Stored state, ns.
        delta_ns: How much; negative: given back. -2**61..2**61.
        most_ns: No state goes further ahead of `now_ns` by this, 0..2**61; one that is further ahead already stays.
        now_ns: ns, 0..2**61.

    Returns:
        State to store, ns. A bucket is never more than full.

    """
    start_ns = max(tat_ns, now_ns)
    if delta_ns < 0:
        return max(start_ns + delta_ns, now_ns) if tat_ns > now_ns else tat_ns
    return max(start_ns, min(start_ns + delta_ns, now_ns + most_ns))


def check_shift(key: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
    """Raise ValueError unless all are in range: the caller's bug."""
    if not 0 < key < 2**64:
        raise ValueError(f"key {key} not in 1..2**64-1")
    if not -MAX_OFFSET_NS <= delta_ns <= MAX_OFFSET_NS:
        raise ValueError(f"delta_ns {delta_ns} not in -{MAX_OFFSET_NS}..{MAX_OFFSET_NS}")
    if not 0 <= most_ns <= MAX_OFFSET_NS:
        raise ValueError(f"most_ns {most_ns} not in 0..{MAX_OFFSET_NS}")
    if not 0 <= now_ns <= MAX_OFFSET_NS:
        raise ValueError(f"now_ns {now_ns} not in 0..{MAX_OFFSET_NS}")
