"""The verdicts of a node: evidence goes in, workers and the operator are told what follows. Part of the analyst.

    plugins -> Evidence -> Fusion -> shared memory (workers) | events | the worst: an offence for the warden

A verdict that is due because evidence is over is looked at once a turn; in shared memory it ends by itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import Standing, key_text, monotonic_ns
from proxy.plugins.events import VerdictLowered, VerdictRaised
from proxy.policy.fusion import PRIOR, Fusion, fuse
from proxy.policy.ladder import is_client
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client.core import Metric

    from fastpath import BanTable
    from models.steps import Steps
    from proxy.plugins.events import Event
    from proxy.policy.fusion import Change, Elsewhere, Evidence
    from proxy.warden import Warden

Json = dict[str, Any]
CASES_AT_ONCE: Final = 16  # a step takes some 0.2 ms


class Verdicts(Collector):
    """The cases of a node, and what becomes of them."""

    def __init__(
        self,
        table: BanTable,
        warden: Warden,
        *,
        publish: Callable[[Event], None],
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Begin without a case.

        Args:
            table: Of verdicts; this process is its only writer.
            warden: Bans who has earned it.
            publish: Takes events.
            clock: CLOCK_MONOTONIC, ns.

        """
        self._table = table
        self._warden = warden
        self._publish = publish
        self._clock = clock
        self._fusion = Fusion(table)
        self._fusion.take_up(clock())
        self._reached: Counter[Standing] = Counter()

    def hear(self, evidence: Iterable[Evidence]) -> Steps[None]:
        """Take evidence in, one case at a step; what follows from it is in force then."""
        by_subject: defaultdict[int, list[Evidence]] = defaultdict(list)
        for each in evidence:
            by_subject[each.subject].append(each)
        for said in by_subject.values():
            self._follow(self._fusion.hear(said, self._clock()))
            yield

    def retract(self, plugin: str) -> None:
        """Let go of all that a plugin has said, because it is off or in another mode. Bans that came of it stay."""
        self._follow(self._fusion.retract(plugin, self._clock()))

    def turn(self, now_ns: int) -> Steps[None]:
        """Let go of what is over, some cases at a step."""
        while self._fusion.due(now_ns):
            self._follow(self._fusion.turn(now_ns, CASES_AT_ONCE))
            yield
        self._table.expire(now_ns)

    def _follow(self, changes: Iterable[Change]) -> None:
        for change in changes:
            raised = change.after > change.before
            if raised:
                self._reached[change.after] += 1
            if change.after is Standing.BANNED and is_client(change.subject):
                self._warden.convict(change.subject)
            event = VerdictRaised if raised else VerdictLowered
            self._publish(
                event(
                    subject=key_text(change.subject),
                    before=change.before.name.lower(),
                    after=change.after.name.lower(),
                    log_odds=round(change.log_odds, 2),
                    seconds=max(0, change.until_ns - self._clock()) // SECOND,
                    reasons=change.reasons,
                )
            )

    def watch(self, decided: Callable[[int], None]) -> None:
        """Let `decided` hear of each subject of which it was found out anew what this node thinks of it."""
        self._fusion.decided = decided

    def own(self, subject: int) -> tuple[Standing, int]:
        """Return what this node thinks of a client or network by what it knows itself, and until when, ns."""
        case = self._fusion.case(subject)
        if case is None or case.own_ns <= self._clock():
            return Standing.WELCOME, 0
        return case.own, case.own_ns

    def take_over(self, subject: int, elsewhere: Elsewhere | None) -> None:
        """Let this be what another node has concluded of a client or network, from now on; None: nothing."""
        self._follow(self._fusion.take_over(subject, elsewhere, self._clock()))

    def explain(self, subject: int) -> Json:
        """Return all that is known of a client or network: its standing, and each piece of evidence with its weight."""
        now_ns = self._clock()
        case = self._fusion.case(subject)
        evidence = [] if case is None else [each for each in case.evidence.values() if each.until_ns > now_ns]
        return {
            "standing": (Standing.WELCOME if case is None else case.standing).name.lower(),
            "without_shadow_mode": (Standing.WELCOME if case is None else case.would_be).name.lower(),
            "elsewhere": None
            if case is None or case.elsewhere is None
            else {"node": case.elsewhere.node, "standing": case.elsewhere.standing.name.lower()},
            "prior": PRIOR,
            "log_odds": round(fuse((each for each in evidence if not each.shadow), now_ns), 2),
            "evidence": [
                {
                    "kind": each.kind,
                    "weight": round(each.weight, 2),
                    "reason": each.reason,
                    "seconds_left": (each.until_ns - now_ns) // SECOND,
                    "shadow": each.shadow,
                }
                for each in sorted(evidence, key=lambda each: -abs(each.weight))
            ],
        }

    def forget(self, subject: int) -> None:
        """Close a case and those of what is in its network: an operator has lifted what followed from them."""
        self._fusion.forget(subject)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        standing = Counter(entry.standing for entry in self._table.entries(self._clock()))
        held = GaugeMetricFamily("hkpguard_verdicts", "Verdicts in force", labels=("standing",))
        reached = CounterMetricFamily("hkpguard_verdicts_reached", "Verdicts since the start", labels=("standing",))
        for each in Standing:
            if each is not Standing.WELCOME:
                held.add_metric((each.name.lower(),), standing[each])
                reached.add_metric((each.name.lower(),), self._reached[each])
        yield held
        yield reached
        yield GaugeMetricFamily("hkpguard_cases", "Clients and networks with evidence", len(self._fusion))
