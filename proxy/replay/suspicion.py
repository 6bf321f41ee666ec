"""What the models make of the requests of a run, and what follows; in virtual time.

    requests -> records -> ml-abuse-detector -> Evidence -> Fusion -> table of verdicts | the worst: an offence

It is the part of `proxy.plugins.slot` and `proxy.verdicts` that decides, without their tasks and events. A look costs
a millisecond whatever it is at, and the analyst's ten a second would take longer than all else. So what is found in a
request is found LATE_NS or FEWEST requests later, whichever is more, and never more than LATEST_NS or MOST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import Standing
from models.steps import whole
from proxy import cold_watch
from proxy.plugins.slot import attributed
from proxy.policy.fusion import MOST_CASES, Fusion, fuse
from proxy.policy.ladder import is_client
from proxy.replay.detection import NAME
from proxy.replay.recorder import recorded

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    from proxy.hkp.operation import Operation
    from proxy.plugins.ml_abuse import MlAbuseDetector
    from proxy.policy.fusion import Case, Change, Evidence
    from proxy.policy.judge import Verdict
    from proxy.replay.detection import Detection
    from proxy.replay.line import Line
    from proxy.replay.node import Node
    from proxy.replay.recorder import Asked

FEWEST: Final = 512
MOST: Final = 2048
LATE_NS: Final = 10_000_000_000
LATEST_NS: Final = 900_000_000_000


class Accusation(NamedTuple):
    """The worst that was found of a client; in shadow mode what it would have had."""

    standing: Standing
    log_odds: float
    reasons: tuple[str, ...]  # the weightiest first


class Suspicion:
    """Of one node.

    Attributes:
        accused: Clients that had, or would have had, a standing other than WELCOME.

    """

    def __init__(self, node: Node, detection: Detection, detector: MlAbuseDetector, *, patient: bool = True) -> None:
        """Suspect nobody; `patient`: see `recorded`."""
        self._node = node
        self._patient = patient
        self._detection = detection
        self._detector = detector
        self._fusion = Fusion(node.tables.verdicts)
        self._asked: list[Asked] = []
        self._begun_ns = 0
        self.accused: dict[int, Accusation] = {}

    def note(self, client: int, operation: Operation, line: Line, verdict: Verdict, now_ns: int) -> None:
        """Take note of a request that was judged; what follows from it may be in force when this returns."""
        asked = self._asked
        if not asked:
            self._begun_ns = now_ns
        asked.append((now_ns, client, operation, line, verdict))
        count, age_ns = len(asked), now_ns - self._begun_ns
        if count >= MOST or (age_ns >= LATE_NS and (count >= FEWEST or age_ns >= LATEST_NS)):
            self.look(now_ns)

    def look(self, now_ns: int) -> None:
        """Look at the requests that nobody has looked at yet."""
        self._follow(self._fusion.turn(now_ns), now_ns)
        self._node.tables.verdicts.expire(now_ns)
        if not self._asked:
            return
        found = self._found(recorded(self._asked, self._node.subjects, patient=self._patient), now_ns)
        self._asked.clear()
        settings, mode = self._detection.settings, self._detection.mode
        evidence = attributed(NAME, found, settings, mode, now_ns) if found else []
        self._follow(self._fusion.hear(evidence, now_ns), now_ns)
        for subject in dict.fromkeys(each.subject for each in evidence):
            case = self._fusion.case(subject)
            if case is not None and case.would_be is not Standing.WELCOME:
                self._accuse(subject, case, now_ns)

    def _found(self, records: NDArray[np.void], now_ns: int) -> list[Evidence]:
        if self._detection.common is not None:
            cold_watch.show(self._detection.common.coldness, records)
            whole(self._detection.common.watch.feed(records))
        return [each for each in self._detector.look(records, now_ns) if each is not None]

    def _follow(self, changes: Iterable[Change], now_ns: int) -> None:
        for change in changes:
            if change.after is Standing.BANNED and is_client(change.subject):
                self._node.bans.convict(change.subject, now_ns)

    def _accuse(self, client: int, case: Case, now_ns: int) -> None:
        evidence = sorted(case.evidence.values(), key=lambda each: -each.weight)
        reasons = tuple(each.reason for each in evidence if each.weight > 0)
        accusation = Accusation(case.would_be, fuse(evidence, now_ns), reasons)
        before = self.accused.get(client)
        if before is None and len(self.accused) >= MOST_CASES:
            return
        if before is None or accusation[:2] > before[:2]:
            self.accused[client] = accusation
