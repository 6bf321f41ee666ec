"""Fusion: all that speaks against a client or a network, or for it, taken together to one standing.

    detectors -> Evidence -> log-odds -> Standing, with hysteresis -> table of verdicts (workers obey it at once)

A weight is in log-odds: the natural logarithm of how much likelier an abuser is to be seen doing this than an honest
client. Kinds of evidence are taken to be independent, so their weights add up to what was to be expected of anybody
(`PRIOR`). What is of one kind is not: there the last word of the detector counts. What one source says, the part of
the kind before the dot, weighs at most MOST_WEIGHT together: no detector bans alone. The sum does not depend on the
order in which evidence came.

Evidence of a detector in shadow mode is kept and shown, and moves nobody.

What another node has concluded is a floor, and no evidence: detectors of two nodes may have seen the same list, and
what they say would count twice. It bans nobody, either; a ban comes from there as a ban.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from math import fsum, isfinite
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import Standing, parents
from proxy.policy.ladder import is_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastpath import BanTable

PRIOR: Final = -4.0  # one client of 55 is an abuser
MOST_WEIGHT: Final = 9.0  # of one source, either way
# From these log-odds on a client has this standing: as likely an abuser as not, 3 of 4, 12 of 13, 54 of 55, 402 of 403.
THRESHOLDS: Final = {
    Standing.PRICED: 0.0,
    Standing.DELAYED: 1.0,
    Standing.LIMITED: 2.5,
    Standing.TARPIT: 4.0,
    Standing.BANNED: 6.0,
}
HYSTERESIS: Final = 1.0  # so far below its threshold a standing is left
HARDEST_OF_NETWORK: Final = Standing.DELAYED  # it holds honest clients as well
HARDEST_OF_OTHERS: Final = Standing.TARPIT
MOST_CASES: Final = 65_536
MOST_KINDS: Final = 5  # of evidence of one source in one case


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one detector says of one client or network.

    Attributes:
        subject: Whose, a key as `fastpath.client_key` or `network_key` gives it.
        kind: Of evidence, `source` or `source.word`.
        weight: Log-odds, -MOST_WEIGHT to MOST_WEIGHT; above 0 it speaks for abuse.
        reason: For the operator, one line.
        until_ns: How long it counts, CLOCK_MONOTONIC.
        shadow: Whether it only tells what it would have done.

    """

    subject: int
    kind: str
    weight: float
    reason: str
    until_ns: int
    shadow: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError unless the weight is in range."""
        if not (isfinite(self.weight) and abs(self.weight) <= MOST_WEIGHT):
            raise ValueError(f"weight {self.weight} of {self.kind} not in {-MOST_WEIGHT}..{MOST_WEIGHT}")

    @property
    def source(self) -> str:
        """Whose word it is."""
        return self.kind.partition(".")[0]


class Change(NamedTuple):
    """A standing that has become another."""

    subject: int
    before: Standing
    after: Standing
    log_odds: float
    until_ns: int
    reasons: tuple[str, ...]  # the weightiest first


class Elsewhere(NamedTuple):
    """What another node has concluded of one client or network."""

    node: str
    standing: Standing
    until_ns: int


@dataclass(slots=True)
class Case:
    """What is known of one client or network.

    Attributes:
        evidence: By kind.
        standing: What it has.
        would_be: What it would have, if no detector were in shadow mode.
        own: What it has by what this node knows.
        own_ns: When that ends.
        elsewhere: What another node has concluded.
        inherited: What an analyst before this one gave it, whose evidence is lost.
        inherited_ns: When that ends.
        due_ns: When it is to be looked at again; 0: never.

    """

    evidence: dict[str, Evidence] = field(default_factory=dict)
    standing: Standing = Standing.WELCOME
    would_be: Standing = Standing.WELCOME
    inherited: Standing = Standing.WELCOME
    inherited_ns: int = 0
    own: Standing = Standing.WELCOME
    own_ns: int = 0
    elsewhere: Elsewhere | None = None
    due_ns: int = 0


def fuse(evidence: Iterable[Evidence], now_ns: int) -> float:
    """Return the log-odds that a client is an abuser; evidence that is over does not count."""
    weights: defaultdict[str, list[float]] = defaultdict(list)
    for each in evidence:
        if each.until_ns > now_ns:
            weights[each.source].append(each.weight)
    return PRIOR + fsum(max(-MOST_WEIGHT, min(fsum(each), MOST_WEIGHT)) for each in weights.values())


def standing_for(log_odds: float, before: Standing) -> Standing:
    """Return what these log-odds earn one who stood at `before`."""
    earned = _earned(log_odds)
    kept = min(before, _earned(log_odds + HYSTERESIS))
    return max(earned, kept)


def _earned(log_odds: float) -> Standing:
    return max((each for each, least in THRESHOLDS.items() if log_odds >= least), default=Standing.WELCOME)


class Fusion:
    """All cases of a node, and the one writer of its table of verdicts.

    Attributes:
        decided: Hears of whom it was found out anew what this node thinks of him; None: nobody does.

    Of more than MOST_CASES the one that was heard of longest ago is closed; its verdict stays for as long as it was
    given.

    """

    def __init__(self, table: BanTable) -> None:
        """Give verdicts in `table`."""
        self._table = table
        self._cases: OrderedDict[int, Case] = OrderedDict()
        self._due: list[tuple[int, int]] = []  # when evidence is over, of whom; one of each case is not too early
        self.decided: Callable[[int], None] | None = None

    def __len__(self) -> int:
        """Return how many cases there are."""
        return len(self._cases)

    def take_up(self, now_ns: int) -> None:
        """Go on where an analyst before this one stopped: its verdicts hold to their end."""
        for key, until_ns, standing in self._table.entries(now_ns):
            verdict = Standing(standing)
            case = Case(standing=verdict, would_be=verdict, own=verdict, inherited=verdict, inherited_ns=until_ns)
            self._cases[key] = case
            self._watch(key, case)

    def hear(self, evidence: Iterable[Evidence], now_ns: int) -> list[Change]:
        """Take evidence in, and return what it has changed; verdicts bind when this returns."""
        return [
            change
            for subject in dict.fromkeys(each.subject for each in evidence if self._take(each, now_ns))
            if (change := self._decide(subject, now_ns))
        ]

    def due(self, now_ns: int) -> bool:
        """Tell whether evidence is over that has not been let go."""
        return bool(self._due) and self._due[0][0] <= now_ns

    def turn(self, now_ns: int, most: int = MOST_CASES) -> list[Change]:
        """Let evidence that is over go, in `most` cases, and return what that has changed."""
        over: dict[int, None] = {}
        while self.due(now_ns) and len(over) < most:
            due_ns, subject = heappop(self._due)
            if (case := self._cases.get(subject)) and case.due_ns == due_ns:
                case.due_ns = 0
                over[subject] = None
        return [change for subject in over if (change := self._decide(subject, now_ns))]

    def retract(self, source: str, now_ns: int) -> list[Change]:
        """Let all evidence go whose kind is `source.something`, and return what that has changed."""
        beginning = f"{source}."
        heard = []
        for subject, case in self._cases.items():
            left = {kind: each for kind, each in case.evidence.items() if not kind.startswith(beginning)}
            if len(left) < len(case.evidence):
                case.evidence = left
                heard.append(subject)
        return [change for subject in heard if (change := self._decide(subject, now_ns))]

    def take_over(self, subject: int, elsewhere: Elsewhere | None, now_ns: int) -> list[Change]:
        """Let this be what another node has concluded, from now on; None: nothing. Return what that has changed."""
        case = self._cases.get(subject)
        if elsewhere is not None:
            elsewhere = elsewhere._replace(standing=min(elsewhere.standing, HARDEST_OF_OTHERS))
        elif case is None:
            return []
        case = self._case(subject)
        case.elsewhere = elsewhere
        change = self._decide(subject, now_ns)
        return [change] if change else []

    def case(self, subject: int) -> Case | None:
        """Return what is known of a client or network."""
        return self._cases.get(subject)

    def forget(self, subject: int) -> None:
        """Close the case of a client or network and those of what is in it, for an operator who knows better."""
        inside = {subject}
        if not is_client(subject):
            known = (*self._cases, *(entry.key for entry in self._table.entries(0)))
            inside.update(each for each in known if subject in parents(each))
        for each in inside:
            self._cases.pop(each, None)
            self._table.remove(each)
            if self.decided is not None:
                self.decided(each)

    def _take(self, evidence: Evidence, now_ns: int) -> bool:
        """Put evidence on file; false if there is no place for it, or it is over."""
        if evidence.until_ns <= now_ns:
            return False
        case = self._case(evidence.subject)
        said = sum(each.source == evidence.source for each in case.evidence.values())
        if evidence.kind not in case.evidence and said >= MOST_KINDS:
            return False
        case.evidence[evidence.kind] = evidence
        return True

    def _case(self, subject: int) -> Case:
        """Return the case of a subject, a new one if there is none."""
        case = self._cases.setdefault(subject, Case())
        self._cases.move_to_end(subject)
        if len(self._cases) > MOST_CASES:
            self._cases.popitem(last=False)
        return case

    def _decide(self, subject: int, now_ns: int) -> Change | None:
        """Bring the standing of a subject in line with its evidence."""
        case = self._cases[subject]
        case.evidence = {kind: each for kind, each in case.evidence.items() if each.until_ns > now_ns}
        binding = [each for each in case.evidence.values() if not each.shadow]
        log_odds, before = fuse(binding, now_ns), case.standing
        least = case.inherited if case.inherited_ns > now_ns else Standing.WELCOME
        if case.elsewhere is not None and case.elsewhere.until_ns <= now_ns:
            case.elsewhere = None
        case.own = max(least, self._bounded(subject, standing_for(log_odds, case.own)))
        told = self._bounded(subject, case.elsewhere.standing) if case.elsewhere else Standing.WELCOME
        case.standing = max(case.own, told)
        would_be = standing_for(fuse(case.evidence.values(), now_ns), case.would_be)
        case.would_be = max(least, told, self._bounded(subject, would_be))
        ends = [each.until_ns for each in binding if each.weight > 0] + [case.inherited_ns] * bool(least)
        case.own_ns = max(ends, default=now_ns)
        told_ns = case.elsewhere.until_ns if case.elsewhere else now_ns
        until_ns = told_ns if told > case.own else max(case.own_ns, told_ns) if told == case.own else case.own_ns
        if self.decided is not None:
            self.decided(subject)
        if case.standing is Standing.WELCOME:
            self._table.remove(subject)
        else:
            self._table.put(subject, until_ns, case.standing)
        if case.evidence or least or case.elsewhere:
            self._watch(subject, case)
        else:
            del self._cases[subject]
        if case.standing is before:
            return None
        reasons = [each.reason for each in sorted(binding, key=lambda each: -abs(each.weight))]
        if case.elsewhere is not None and told > case.own:
            reasons.insert(0, f"node {case.elsewhere.node} says so")
        return Change(subject, before, case.standing, log_odds, until_ns, tuple(reasons))

    def _watch(self, subject: int, case: Case) -> None:
        """Look at a case again when the first of its evidence is over."""
        ends = [each.until_ns for each in case.evidence.values()]
        ends += [case.elsewhere.until_ns] if case.elsewhere else []
        end_ns = min(ends, default=case.inherited_ns)
        if case.due_ns == 0 or end_ns < case.due_ns:
            case.due_ns = end_ns
            heappush(self._due, (end_ns, subject))
        if len(self._due) > 2 * MOST_CASES:  # most are of cases that are closed, or are to be looked at sooner
            self._due = [(case.due_ns, subject) for subject, case in self._cases.items() if case.due_ns]
            heapify(self._due)

    @staticmethod
    def _bounded(subject: int, standing: Standing) -> Standing:
        return standing if is_client(subject) else min(standing, HARDEST_OF_NETWORK)
