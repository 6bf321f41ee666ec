"""The client table, the specification: what a request pays, to whom, and what is said of it.

The compiled twin (`table.pyx`) keeps the same state in shared memory; one contract suite runs on both. The
twin here evicts over the whole table, the compiled one within a set of eight; everything else is equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from fastpath._gcra_py import MAX_BURST, MAX_OFFSET_NS, Decision, Limit, Mode, charge, check_shift, refund, shift, spend

BUCKETS = 12
TOTAL = 0
MOST_TIMES = 16  # tokens of its class that a request may cost


def check_limits(limits: Sequence[Limit | None]) -> tuple[Limit | None, ...]:
    """Return `limits` as a tuple; ValueError unless there is one for each bucket."""
    if len(limits) != BUCKETS:
        raise ValueError(f"{len(limits)} limits, not {BUCKETS}")
    return tuple(limits)


def check_spend(key: int, bucket: int, price: int, now_ns: int, times: int = 1) -> None:
    """Raise ValueError unless all are in range: the caller's bug, never the client's."""
    if not 0 < key < 2**64:
        raise ValueError(f"key {key} not in 1..2**64-1")
    if not TOTAL < bucket < BUCKETS:
        raise ValueError(f"bucket {bucket} not in 1..{BUCKETS - 1} (0, the total, is always charged)")
    if not 0 <= price <= MAX_BURST:
        raise ValueError(f"price {price} not in 0..{MAX_BURST}")
    if not 0 <= now_ns <= MAX_OFFSET_NS:
        raise ValueError(f"now_ns {now_ns} not in 0..{MAX_OFFSET_NS}")
    if not 1 <= times <= MOST_TIMES:
        raise ValueError(f"times {times} not in 1..{MOST_TIMES}")


def check_bucket(bucket: int) -> None:
    """Raise ValueError unless there is such a bucket."""
    if not 0 <= bucket < BUCKETS:
        raise ValueError(f"bucket {bucket} not in 0..{BUCKETS - 1}")


class LimitSet:
    """The limits of one policy, one for each bucket; None: the bucket is not limited."""

    def __init__(self, limits: Sequence[Limit | None]) -> None:
        """Take 12 limits, the total first; ValueError for another number."""
        self.limits = check_limits(limits)


class Spending(NamedTuple):
    """What the weightier of the two limits of a request says."""

    bucket: int
    allowed: bool
    shadow: bool
    wait_ns: int
    remaining: int
    retry_after_ns: int
    reset_after_ns: int


class _Bill(NamedTuple):
    """What one request owes to one bucket, and what the limit says to it."""

    bucket: int
    cost: int
    limit: Limit
    decision: Decision

    @property
    def enforced(self) -> bool:
        return self.limit.mode is Mode.ENFORCE

    @property
    def objects(self) -> bool:
        return self.enforced and not self.decision.allowed

    @property
    def weight(self) -> tuple[bool, bool, int, int]:
        """Enforced before shadow, refused before delayed, the longer time; of equals the class."""
        decision = self.decision
        return self.enforced, not decision.allowed, decision.wait_ns + decision.retry_after_ns, self.bucket

    def report(self) -> Spending | None:
        """Return what there is to say; None if the limit has nothing against the request, now."""
        decision = self.decision
        if decision.allowed and not decision.wait_ns:
            return None
        return Spending(
            bucket=self.bucket,
            allowed=not self.objects,
            shadow=not self.enforced,
            wait_ns=decision.wait_ns,
            remaining=decision.remaining,
            retry_after_ns=decision.retry_after_ns,
            reset_after_ns=decision.reset_after_ns,
        )


@dataclass(slots=True)
class _Client:
    expiry_ns: int
    tats: list[int] = field(default_factory=lambda: [0] * BUCKETS)


class ClientTable:
    """A table of `capacity` clients in a dict; the methods are described in `table.pyi`."""

    def __init__(self, capacity: int) -> None:
        """Take the number of clients, at least 1."""
        self.capacity = capacity
        self.evictions = 0
        self._clients: dict[int, _Client] = {}

    def spend(  # noqa: PLR0913, PLR0917 - what a request is, as the compiled twin takes it
        self, limits: LimitSet, key: int, bucket: int, price: int, now_ns: int, times: int = 1
    ) -> Spending | None:
        """Take `price` tokens of the total and `times` of `bucket`, or neither."""
        check_spend(key, bucket, price, now_ns, times)
        if not (costs := _costs(limits, bucket, price, times)):
            return None
        client = self._client(key, now_ns)
        bills = [_Bill(b, cost, limit, spend(limit, client.tats[b], cost, now_ns)) for b, cost, limit in costs]
        if not any(bill.objects for bill in bills):
            for bill in bills:
                _pay(client, bill)
        told = [bill for bill in bills if bill.report()]
        return max(told, key=lambda bill: bill.weight).report() if told else None

    def refund(  # noqa: PLR0913, PLR0917 - likewise
        self, limits: LimitSet, key: int, bucket: int, price: int, now_ns: int, times: int = 1
    ) -> None:
        """Give back what a request paid that was never served."""
        check_spend(key, bucket, price, now_ns, times)
        if client := self._clients.get(key):
            for b, cost, limit in _costs(limits, bucket, price, times):
                client.tats[b] = refund(limit, client.tats[b], cost, now_ns)

    def charge(self, limits: LimitSet, key: int, tokens: int, now_ns: int, bucket: int = TOTAL) -> None:
        """Take tokens of a bucket after the fact, perhaps into debt."""
        check_bucket(bucket)
        limit, client = limits.limits[bucket], self._clients.get(key)
        if client and limit is not None and limit.mode is not Mode.OFF and tokens > 0:
            client.tats[bucket] = charge(limit, client.tats[bucket], tokens, now_ns)
            client.expiry_ns = max(client.expiry_ns, client.tats[bucket])

    def give_back(self, limits: LimitSet, key: int, tokens: int, now_ns: int) -> None:
        """Give tokens of the total back."""
        limit, client = limits.limits[TOTAL], self._clients.get(key)
        if client and limit is not None and limit.mode is not Mode.OFF and tokens > 0:
            client.tats[TOTAL] = refund(limit, client.tats[TOTAL], min(tokens, limit.burst), now_ns)

    def add(self, key: int, bucket: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """Take, or give back, what was spent elsewhere."""
        check_bucket(bucket)
        check_shift(key, delta_ns, most_ns, now_ns)
        if delta_ns > 0 or key in self._clients:
            client = self._client(key, now_ns)
            client.tats[bucket] = shift(client.tats[bucket], delta_ns, most_ns, now_ns)
            client.expiry_ns = max(client.expiry_ns, client.tats[bucket])

    def peek(self, key: int) -> tuple[int, ...] | None:
        """Return the TATs of a client, ns; None if it has no slot."""
        client = self._clients.get(key)
        return tuple(client.tats) if client else None

    def used(self, now_ns: int) -> int:
        """Return the number of clients that still owe something."""
        return sum(client.expiry_ns > now_ns for client in self._clients.values())

    def _client(self, key: int, now_ns: int) -> _Client:
        if key not in self._clients:
            if len(self._clients) == self.capacity:
                self._evict(now_ns)
            self._clients[key] = _Client(now_ns)
        return self._clients[key]

    def _evict(self, now_ns: int) -> None:
        victim = min(self._clients, key=lambda key: self._clients[key].expiry_ns)
        self.evictions += self._clients.pop(victim).expiry_ns > now_ns


def _costs(limits: LimitSet, bucket: int, price: int, times: int) -> list[tuple[int, int, Limit]]:
    """Return bucket, tokens and limit of each bucket that accounts; a price is clipped to the burst."""
    total, own = limits.limits[TOTAL], limits.limits[bucket]
    bills = ((TOTAL, price, total), (bucket, _own_cost(own, times) if own else 0, own))
    return [(b, min(cost, limit.burst), limit) for b, cost, limit in bills if limit and limit.mode is not Mode.OFF]


def _own_cost(limit: Limit, times: int) -> int:
    """Return what a request costs in its class.

    A limit that delays makes one who asks for one thing after the other wait, and never refuses him. So it stays: no
    request costs more than comes back within the longest delay.
    """
    if not limit.max_delay_ns:
        return times
    return max(1, min(times, limit.max_delay_ns // limit.emission_interval_ns))


def _pay(client: _Client, bill: _Bill) -> None:
    if bill.decision.allowed:
        client.tats[bill.bucket] = bill.decision.tat_ns
    client.expiry_ns = max(client.expiry_ns, bill.decision.tat_ns)
