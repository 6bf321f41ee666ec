"""One run of a log: a node with some settings, its clients, and what becomes of them.

Not judged, because no log tells of it: what uploads hold, connections and how many there are at a time, the places of
requests that run side by side, prices under attack, groups. Traps count as such also where a browser asked.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from random import Random
from typing import Final

from proxy.config import Config
from proxy.hkp.canonical import BadTarget
from proxy.hkp.classes import OperationClass
from proxy.hkp.endpoints import LOOKUP
from proxy.hkp.operation import Operation
from proxy.policy.actions import Action, Reason
from proxy.policy.judge import ALLOW, EXEMPT, Client, Verdict
from proxy.policy.networks import Network
from proxy.replay.charges import LEAST_BYTES, Charges
from proxy.replay.detection import UNASKED, Detection
from proxy.replay.line import Line
from proxy.replay.node import START_NS, Node
from proxy.replay.pace import NEVER_NS, Pace
from proxy.replay.suspicion import Suspicion
from proxy.replay.tally import Tally

TARGETS: Final = 65_536  # whose classes are remembered
SEED: Final = 5
MALFORMED: Final = Verdict(Action.DENY, Reason.MALFORMED, 400)
_NOTHING: Final = Operation(OperationClass.UNKNOWN, "", 0, b"")
_SLIP: Final = Operation(OperationClass.WORDS, "", 0, b"")  # in a search, which is no offence
_LIMIT: Final = int(Action.LIMIT)

Classify = Callable[[str, str], Operation]
Look = Callable[[int, Line, Operation], None]
"""Sees a request: the client's key, what the log tells, what it asks for."""


class World:
    """A node that a log is played to.

    Attributes:
        node: Which judges.
        tally: What became of all.
        classify: Returns the operation of a method and a target; without a target if it has no canonical form.
        detection: By what clients are looked at.
        suspicion: What came of that; None: nobody looked.

    """

    def __init__(
        self,
        config: Config,
        exits: Iterable[Network] = (),
        *,
        patient: bool = True,
        detection: Detection = UNASKED,
    ) -> None:
        """Start with nothing remembered.

        Args:
            config: The settings.
            exits: Networks of shared exits, besides those that the settings name.
            patient: Clients that are delayed come later with all that follows; see `pace`.
            detection: The detector.

        """
        random = Random(SEED)  # noqa: S311 - the same outcome in every run
        self.node = Node(config, random.random, clients=config.table_clients, exits=exits)
        self.tally = Tally()
        self.detection = detection
        detector = detection.detector
        self.suspicion = Suspicion(self.node, detection, detector, patient=patient) if detector else None
        self.classify: Classify = lru_cache(TARGETS)(self._classified)
        self._charges = Charges(self.node)
        self._pace = Pace() if patient else None
        self._shift_ns: int | None = None  # from the time of the log to that of the node
        self._now_ns = 0

    def _classified(self, method: str, target: str) -> Operation:
        try:
            return self.node.classify(method, target) if target else _NOTHING
        except BadTarget:
            return _SLIP if target.startswith(LOOKUP) else _NOTHING

    def play(self, lines: Iterable[Line], look: Look | None = None) -> None:
        """Judge requests, which come in the order of time; `look` sees each before, as the log tells of it."""
        pace, classify, client_of = self._pace, self.classify, self.node.client
        for line in lines:
            at_ns, address, method, target = line[:4]
            client, operation = client_of(address), classify(method, target)
            if look is not None:
                look(client.key, line, operation)
            if pace is not None:
                while pace.due_ns <= at_ns:
                    self._ask_next(pace)
                if address in pace.lags and pace.holds(line):
                    continue
            self._ask(line, at_ns, client, operation)

    def end(self) -> None:
        """Judge what still waits for its time."""
        while self._pace is not None and self._pace.due_ns < NEVER_NS:
            self._ask_next(self._pace)
        if self.suspicion is not None:
            self.suspicion.look(self._now_ns)

    def _ask_next(self, pace: Pace) -> None:
        due_ns, line = pace.take()
        self._ask(line, due_ns, self.node.client(line.address), self.classify(line.method, line.target))
        pace.taken(line, due_ns)

    def _ask(self, line: Line, at_ns: int, client: Client, operation: Operation) -> None:
        """Judge one request that comes at a time, ns since 1970, and have the analyst hear of it."""
        if self._shift_ns is None:
            self._shift_ns = START_NS - at_ns
        now_ns = self._now_ns = max(self._now_ns, at_ns + self._shift_ns)
        node, key, status = self.node, client.key, line.status
        if operation.target:
            price = self._charges.price(operation, now_ns)
            verdict = node.judge(node.facts(client, operation, price), now_ns)
            if verdict.action < _LIMIT and status:
                node.note_answer(client, operation, status, now_ns)
                if price or line.service_us or line.size_bytes >= LEAST_BYTES:
                    paid = None if verdict is EXEMPT else max(price, operation.price)
                    self._charges.settle(client, line, operation, paid, now_ns + verdict.wait_ns)
        else:
            verdict = MALFORMED
        if verdict is not ALLOW:
            node.note(client, operation, verdict, now_ns)
            if verdict.wait_ns and self._pace is not None:
                self._pace.delayed(line, verdict.wait_ns, at_ns)
        if self.suspicion is not None:
            self.suspicion.note(key, operation, line, verdict, now_ns)
        self.tally.note(key, verdict, now_ns - START_NS, status)
