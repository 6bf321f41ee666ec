"""What answers really cost, charged afterwards and asked for in advance the next time, as in `proxy.http.exchange`.

What a log does not tell of an answer, its time or its size, is not charged. Answers that would have come out of the
cache are charged, if the log is not that of a guard: of dear ones that is too much, never too little.
"""

from collections import defaultdict
from typing import Final

from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Operation
from proxy.policy.judge import Client
from proxy.replay.line import Line
from proxy.replay.node import Node

# As in exchange.pyx, which keeps them for itself.
SERVICE_US: Final = 1000
SIZE_BYTES: Final = 65_536
DEAR_TOKENS: Final = 5
LEAST_BYTES: Final = 2 * SIZE_BYTES  # smaller answers cost no more than their price
USUAL_TIMES: Final = 2
FIRST_USUAL_US: Final = 100_000
MOST_DEAR: Final = 32_768  # as many as the memory has room for
_MOST_CHARGE: Final = 300
_MOST_OF_GET: Final = 20
_UP_PART: Final = 8
_DOWN_PART: Final = 64
_SUBJECTS: Final = frozenset({OperationClass.CERT, OperationClass.IDENTITY, OperationClass.WORDS})


class Charges:
    """Of one node."""

    def __init__(self, node: Node) -> None:
        """Nothing was dear yet."""
        self._node = node
        self._dear: set[str] = set()  # a fast look before the one into the memory
        self._usual_us: defaultdict[int, int] = defaultdict(lambda: FIRST_USUAL_US)

    def price(self, operation: Operation, now_ns: int) -> int:
        """Return what a request has to pay in advance because its answer was dear; 0 if it was not."""
        if operation.subject not in self._dear:
            return 0
        cost = self._node.costs.look_up(self._node.subjects.word_of(operation.subject), now_ns)
        if cost is None:
            self._dear.discard(operation.subject)
            return 0
        return min(_most(operation.kind), _tokens(cost.service_us, cost.size_bytes))

    def settle(self, client: Client, line: Line, operation: Operation, paid: int | None, now_ns: int) -> None:
        """Charge what an answer cost beyond its price.

        Args:
            client: Who asked.
            line: The request, which was let through.
            operation: What it asked for.
            paid: What it paid in advance, tokens; None: it is exempt.
            now_ns: When it is answered.

        """
        dear = operation.subject in self._dear
        excess_us = self._excess_us(operation.kind, line.service_us, dear=dear)
        tokens = _tokens(excess_us, line.size_bytes)
        if tokens <= 1 and not dear:
            return
        if paid is not None and tokens > paid:
            charge = min(tokens - paid, _most(operation.kind))
            self._node.tables.clients.charge(client.compiled, client.key, charge, now_ns)
        if operation.kind in _SUBJECTS and (tokens >= DEAR_TOKENS or dear):
            if len(self._dear) >= MOST_DEAR:
                self._dear.clear()
            self._dear.add(operation.subject)
            word = self._node.subjects.word_of(operation.subject)
            self._node.costs.note(word, excess_us, line.size_bytes, now_ns)

    def _excess_us(self, kind: int, service_us: int, *, dear: bool) -> int:
        """Return how much longer an answer took than others of its class; what is slow for all is nobody's fault."""
        if not service_us:
            return 0
        usual_us = self._usual_us[kind]
        if not dear:
            step = usual_us // _UP_PART + 1 if service_us > usual_us else -(usual_us // _DOWN_PART)
            self._usual_us[kind] = usual_us + step
        return max(0, service_us - USUAL_TIMES * usual_us)


def _most(kind: int) -> int:
    return _MOST_OF_GET if kind == OperationClass.CERT else _MOST_CHARGE


def _tokens(service_us: int, size_bytes: int) -> int:
    """Return what an answer is worth: by the time that it took, or its size, whichever is more."""
    return max(service_us // SERVICE_US, size_bytes // SIZE_BYTES)
