"""What became of the requests of a log: by action and reason, by limit, by client, by time. Bounded."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import BudgetKind
from proxy.policy.judge import ALLOW, Verdict

MOST_CLIENTS: Final = 262_144
MOST_COLUMNS: Final = 400  # of a plot
FIRST_COLUMN_NS: Final = 60 * 1_000_000_000
VAIN: Final = frozenset(range(400, 500)) - {429}  # statuses of the keyserver by which nothing was lost
_REASONS: Final = {int(each): each.name.lower() for each in Reason}
_BUCKETS: Final = {int(each): each.name.lower() for kinds in (OperationClass, BudgetKind) for each in kinds}
_OF_BUCKETS: Final = frozenset({int(Reason.LIMIT), int(Reason.BUDGET)})


class Fate(IntEnum):
    """What a client has of a request; also the layers of a plot."""

    ANSWERED = 0
    DELAYED = 1
    REFUSED = 2
    BANNED = 3
    DECLINED = 4  # refused, and the keyserver had answered it with an error as well: nothing was lost


class Fortune:
    """What became of one client.

    Attributes:
        fates: How many of its requests had each fate.
        wait_ns: The longest that it waited for an answer.
        limits: What delayed or refused it, how often; None: nothing did.

    """

    __slots__ = ("fates", "limits", "wait_ns")

    def __init__(self) -> None:
        """Nothing happened to it yet."""
        self.fates = [0] * len(Fate)
        self.wait_ns = 0
        self.limits: Counter[str] | None = None


class Timeline:
    """Fates by time; where there are too many columns, two become one."""

    def __init__(self) -> None:
        """Nothing happened yet."""
        self.width_ns = FIRST_COLUMN_NS
        self._fates: list[int] = []  # of the last column
        self._end_ns = 0
        self.columns: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(Fate))

    def note(self, at_ns: int, fate: int) -> None:
        """Count what happened at a time, ns since the beginning; never less than in the call before."""
        if at_ns >= self._end_ns:
            self._turn_to(at_ns)
        self._fates[fate] += 1

    def _turn_to(self, at_ns: int) -> None:
        """Count in the column of a time from now on."""
        number = at_ns // self.width_ns
        while len(self.columns) >= MOST_COLUMNS and number not in self.columns:
            self._widen()
            number = at_ns // self.width_ns
        self._fates, self._end_ns = self.columns[number], (number + 1) * self.width_ns

    def _widen(self) -> None:
        """Make columns twice as wide; what is empty is none, so a log may have gaps of years."""
        self.width_ns *= 2
        columns, self.columns = self.columns, defaultdict(lambda: [0] * len(Fate))
        for number, fates in columns.items():
            self.columns[number // 2] = [a + b for a, b in zip(self.columns[number // 2], fates, strict=True)]

    def rows(self) -> Iterator[tuple[int, list[int]]]:
        """Yield the beginning of each column that is not empty, ns since the beginning, and its fates."""
        for number in sorted(self.columns):
            yield number * self.width_ns, self.columns[number]


@dataclass(slots=True)
class Tally:
    """Of one run of a log.

    Attributes:
        allowed: Requests to which nothing objected at all.
        verdicts: The others by action, reason and the action that shadow mode kept from happening.
        clients: By key; those for which there is no room are in `others`.
        others: Likewise, all as one.
        limits: Requests by what delayed or refused them.
        timeline: Fates by time.
        wait_ns: The longest wait.

    """

    allowed: int = 0
    verdicts: Counter[tuple[int, int, int]] = field(default_factory=Counter)
    clients: dict[int, Fortune] = field(default_factory=dict)
    others: Fortune = field(default_factory=Fortune)
    limits: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * len(Fate)))
    timeline: Timeline = field(default_factory=Timeline)
    wait_ns: int = 0

    def note(self, client: int, verdict: Verdict, at_ns: int, status: int = 0) -> None:
        """Take note of a verdict.

        Args:
            client: Its key.
            verdict: On its request.
            at_ns: Since the beginning.
            status: What the keyserver said to it; 0: it is not known.

        """
        fortune = self.clients.get(client)
        if fortune is None:
            fortune = self._new(client)
        if verdict is ALLOW:  # nearly always
            self.allowed += 1
            fortune.fates[0] += 1
            self.timeline.note(at_ns, 0)
            return
        action, reason = verdict.action, verdict.reason
        self.verdicts[action, reason, verdict.shadow] += 1
        fate = _fate(action, reason, vain=status in VAIN)
        fortune.fates[fate] += 1
        self.timeline.note(at_ns, fate)
        if fate is Fate.ANSWERED or fate is Fate.DECLINED:
            return
        name = limit_name(verdict)
        self.limits[name][fate] += 1
        if fortune.limits is None:
            fortune.limits = Counter()
        fortune.limits[name] += 1
        if verdict.wait_ns > fortune.wait_ns:
            fortune.wait_ns = verdict.wait_ns
            self.wait_ns = max(self.wait_ns, verdict.wait_ns)

    def _new(self, client: int) -> Fortune:
        if len(self.clients) >= MOST_CLIENTS:
            return self.others
        fortune = self.clients[client] = Fortune()
        return fortune


def _fate(action: int, reason: int, *, vain: bool) -> Fate:
    if action == Action.ALLOW:
        return Fate.ANSWERED
    if action == Action.DELAY:
        return Fate.DELAYED
    if reason == Reason.BANNED:
        return Fate.BANNED
    return Fate.DECLINED if vain and action == Action.DENY else Fate.REFUSED


def limit_name(verdict: Verdict) -> str:
    """Return what decided: a limit or a budget by its name in settings, else the reason."""
    spending, reason = verdict.spending, verdict.reason
    return _REASONS[reason] if spending is None or reason not in _OF_BUCKETS else _BUCKETS[spending.bucket]
