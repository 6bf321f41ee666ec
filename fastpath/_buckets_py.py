"""Budgets, the specification: buckets by any key, which are spent before and charged after.

The compiled twin (`buckets.pyx`) keeps the same state in shared memory; one contract suite runs on both. The
twin here evicts over the whole table, the compiled one within a set of eight; everything else is equal.
"""

from dataclasses import dataclass

from fastpath._gcra_py import MAX_BURST, MAX_OFFSET_NS, Limit, Mode, charge, check_shift, refund, shift, spend
from fastpath._table_py import BUCKETS, Spending

MOST_OFFSET_NS = MAX_OFFSET_NS // 4  # now + a debt of twice this + a cost stay below 2**63
MAX_KIND = 255


def check_budget(limit: Limit, kind: int) -> None:
    """Raise ValueError unless the limit can be charged and the kind is no bucket of a client."""
    if not BUCKETS <= kind <= MAX_KIND:
        raise ValueError(f"kind {kind} not in {BUCKETS}..{MAX_KIND}")
    if limit.burst_offset_ns > MOST_OFFSET_NS:
        raise ValueError(f"burst_offset_ns {limit.burst_offset_ns} above {MOST_OFFSET_NS} of limit {limit.name!r}")


def check_payment(key: int, cost: int, now_ns: int) -> None:
    """Raise ValueError unless all are in range: the caller's bug, never the client's."""
    if not 0 < key < 2**64:
        raise ValueError(f"key {key} not in 1..2**64-1")
    if not 0 <= cost <= MAX_BURST:
        raise ValueError(f"cost {cost} not in 0..{MAX_BURST}")
    if not 0 <= now_ns <= MAX_OFFSET_NS:
        raise ValueError(f"now_ns {now_ns} not in 0..{MAX_OFFSET_NS}")


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit that is not per client, and what its bucket is called in a `Spending`."""

    limit: Limit
    kind: int

    def __post_init__(self) -> None:
        """Check the ranges on which the arithmetic of both twins relies."""
        check_budget(self.limit, self.kind)


class BucketTable:
    """A table of `capacity` buckets in a dict; the methods are described in `buckets.pyi`."""

    def __init__(self, capacity: int) -> None:
        """Take the number of buckets, at least 1."""
        self.capacity = capacity
        self.evictions = 0
        self._tats: dict[int, int] = {}

    def spend(self, budget: Budget, key: int, cost: int, now_ns: int) -> Spending | None:
        """Take tokens, or be refused and take none."""
        check_payment(key, cost, now_ns)
        limit = budget.limit
        if limit.mode is Mode.OFF:
            return None
        decision = spend(limit, self._tat(key, now_ns), min(cost, limit.burst), now_ns)
        if decision.allowed:
            self._tats[key] = decision.tat_ns
            if not decision.wait_ns:
                return None
        shadow = limit.mode is Mode.SHADOW
        return Spending(
            bucket=budget.kind,
            allowed=decision.allowed or shadow,
            shadow=shadow,
            wait_ns=decision.wait_ns,
            remaining=decision.remaining,
            retry_after_ns=decision.retry_after_ns,
            reset_after_ns=decision.reset_after_ns,
        )

    def refund(self, budget: Budget, key: int, cost: int, now_ns: int) -> None:
        """Give back what was spent in vain."""
        check_payment(key, cost, now_ns)
        if key in self._tats and budget.limit.mode is not Mode.OFF:
            self._tats[key] = refund(budget.limit, self._tats[key], min(cost, budget.limit.burst), now_ns)

    def charge(self, budget: Budget, key: int, cost: int, now_ns: int) -> None:
        """Take tokens after the fact, perhaps into debt."""
        check_payment(key, cost, now_ns)
        if budget.limit.mode is not Mode.OFF:
            self._tats[key] = charge(budget.limit, self._tat(key, now_ns), cost, now_ns)

    def add(self, key: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """Take, or give back, what was spent elsewhere."""
        check_shift(key, delta_ns, most_ns, now_ns)
        if delta_ns > 0 or key in self._tats:
            self._tats[key] = shift(self._tat(key, now_ns), delta_ns, most_ns, now_ns)

    def peek(self, key: int) -> int | None:
        """Return the TAT of a bucket, ns; None if there is none."""
        return self._tats.get(key)

    def _tat(self, key: int, now_ns: int) -> int:
        if key not in self._tats:
            if len(self._tats) == self.capacity:
                self._evict(now_ns)
            self._tats[key] = 0
        return self._tats[key]

    def _evict(self, now_ns: int) -> None:
        victim = min(self._tats, key=lambda key: self._tats[key])
        self.evictions += self._tats.pop(victim) > now_ns
