"""Subjects that were dear, and the few places that there are for each of them, as in `proxy.http.exchange`.

What costs much more than others of its class, or is very large, is found out by its first answer; who asked before
that was let through. Left out: what dear answers are charged, because nobody here asks for them often.
"""

from collections import deque
from heapq import heapreplace

from bench.scenarios.upstream import COSTS, NOTHING, Cost
from proxy.hkp.operation import Operation
from proxy.http.turnstile import WAITING_TIMES
from proxy.policy.policy import Cap
from proxy.replay.charges import DEAR_TOKENS, SERVICE_US, SIZE_BYTES, USUAL_TIMES


def is_dear(kind: int, cost: Cost) -> bool:
    """Tell whether an answer was dear for its class, if the keyserver is as quick as it was measured."""
    excess_us = max(0, cost.service_us - USUAL_TIMES * COSTS.get(kind, NOTHING).service_us)
    return max(excess_us // SERVICE_US, cost.size_bytes // SIZE_BYTES) >= DEAR_TOKENS


class Line:
    """Who waits for a place of one subject."""

    def __init__(self, cap: Cap) -> None:
        """All places are free."""
        self._free_ns = [0] * cap.client  # the clients of this cap are subjects
        self._most = WAITING_TIMES * cap.client
        self._queue_ns = cap.queue_ns
        self._starts_ns: deque[int] = deque()  # of those who wait

    def enter(self, at_ns: int, service_ns: int) -> int | None:
        """Return how long one has to wait for a place; None if there is no room, or it would be too long."""
        while self._starts_ns and self._starts_ns[0] <= at_ns:
            self._starts_ns.popleft()
        start_ns = max(at_ns, self._free_ns[0])
        if start_ns > at_ns:
            if len(self._starts_ns) >= self._most or start_ns - at_ns > self._queue_ns:
                return None
            self._starts_ns.append(start_ns)
        heapreplace(self._free_ns, start_ns + service_ns)
        return start_ns - at_ns


class Dear:
    """What is known to be dear."""

    def __init__(self, cap: Cap | None) -> None:
        """`cap`: of all who ask for one subject; None: there is none."""
        self._cap = cap
        self._since_ns: dict[str, int] = {}
        self._lines: dict[str, Line] = {}

    def enter(self, subject: str, at_ns: int, cost: Cost) -> int | None:
        """Return how long a request has to wait, mostly 0; None if it is turned away."""
        since_ns = self._since_ns.get(subject)
        if self._cap is None or since_ns is None or at_ns < since_ns:
            return 0
        return self._lines.setdefault(subject, Line(self._cap)).enter(at_ns, cost.service_us * 1000)

    def note(self, operation: Operation, at_ns: int, cost: Cost) -> None:
        """Remember what was dear, from the time on when its answer had come."""
        if is_dear(operation.kind, cost):
            self._since_ns.setdefault(operation.subject, at_ns + cost.service_us * 1000)
