"""What others report of clients: kept for a while, and believed when somebody agrees. Pure.

A report of one reporter is a note. It counts when another reporter says the same, or when this node has evidence of its
own; a reporter who repeats himself agrees with nobody. Each may report so many a minute and hold so many, so that none
can fill the table or push out the others'.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.policy.fusion import Evidence
from proxy.settings.kinds import DAY, HOUR, MINUTE, SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator

USUAL_NS: Final = 6 * HOUR
LONGEST_NS: Final = 7 * DAY
MOST_SUBJECTS: Final = 16_384
MOST_OF_A_REPORTER: Final = 4096
BURST: Final = 60
EACH_NS: Final = SECOND  # a reporter may send one more
WITH_OWN_WEIGHT: Final = 1.5  # of a report that agrees with what is known here
AGREED_WEIGHT: Final = 4.5  # of two reporters: as likely an abuser as not, and a little more
FURTHER_WEIGHT: Final = 0.5  # of each further one
MOST_WEIGHT: Final = 6.0
SHARED_PART: Final = 0.5  # of a weight where many people are behind the address
KIND: Final = "reports.agreed"
LONGEST_EVIDENCE_NS: Final = DAY


class TooMany(Exception):
    """A reporter reports too much; the text says what."""


class Report(NamedTuple):
    """What somebody says of a client."""

    reporter: str
    reason: str
    since_ns: int
    until_ns: int


class Reports:
    """All reports of a node that are not over."""

    def __init__(self) -> None:
        """There are none."""
        self._by_subject: OrderedDict[int, dict[str, Report]] = OrderedDict()
        self._held: Counter[str] = Counter()
        self._next_ns: dict[str, int] = {}  # by reporter: when all that it may send will have come back
        self._turn_ns = 0

    def __len__(self) -> int:
        """Return how many clients are reported."""
        return len(self._by_subject)

    def take(self, subject: int, report: Report, now_ns: int) -> None:
        """Note a report, in the place of one that the reporter has made of the same client.

        Raises:
            TooMany: The reporter has to wait.

        """
        self._spend(report.reporter, now_ns)
        if now_ns >= self._turn_ns:
            self._turn_ns = now_ns + MINUTE
            self._expire(now_ns)
        reports = self._by_subject.get(subject, {})
        if report.reporter not in reports:
            if self._held[report.reporter] >= MOST_OF_A_REPORTER:
                raise TooMany(f"more than {MOST_OF_A_REPORTER} of its reports are not over yet")
            self._held[report.reporter] += 1
        self._by_subject.setdefault(subject, reports)[report.reporter] = report
        self._by_subject.move_to_end(subject)
        if len(self._by_subject) > MOST_SUBJECTS:
            self._drop(next(iter(self._by_subject)))

    def of(self, subject: int, now_ns: int) -> list[Report]:
        """Return what is reported of a client and not over, the newest first."""
        reports = self._by_subject.get(subject, {}).values()
        return sorted((each for each in reports if each.until_ns > now_ns), key=lambda each: -each.since_ns)

    def evidence(self, subject: int, now_ns: int, *, own: bool, shared: bool) -> Evidence | None:
        """Return what the reports of a client amount to; None if nobody agrees with anybody.

        Args:
            subject: Key of a client.
            now_ns: CLOCK_MONOTONIC.
            own: This node has something against the client that is no report.
            shared: Many people are behind the address.

        """
        reports = self.of(subject, now_ns)
        count = len(reports)
        if count < 2 - own:
            return None
        weight = AGREED_WEIGHT + (count - 2) * FURTHER_WEIGHT if count > 1 else WITH_OWN_WEIGHT
        weight = min(weight, MOST_WEIGHT) * (SHARED_PART if shared else 1.0)
        names = ", ".join(each.reporter for each in reports[:4])
        until_ns = sorted(each.until_ns for each in reports)[-min(count, 2)]  # as long as so many agree
        until_ns = min(until_ns, now_ns + LONGEST_EVIDENCE_NS)
        return Evidence(subject, KIND, weight, f"reported by {names}" + " and others" * (count > 4), until_ns)  # noqa: PLR2004 - as many as are named

    def _spend(self, reporter: str, now_ns: int) -> None:
        due_ns = max(self._next_ns.get(reporter, 0), now_ns)
        if due_ns - now_ns >= BURST * EACH_NS:
            raise TooMany(f"more than {BURST} reports at once, or one in {EACH_NS // SECOND} s")
        self._next_ns[reporter] = due_ns + EACH_NS

    def _expire(self, now_ns: int) -> None:
        for subject, report in [*self._over(now_ns)]:
            self._remove(subject, report.reporter)

    def _over(self, now_ns: int) -> Iterator[tuple[int, Report]]:
        for subject, reports in self._by_subject.items():
            yield from ((subject, each) for each in reports.values() if each.until_ns <= now_ns)

    def _drop(self, subject: int) -> None:
        for reporter in [*self._by_subject[subject]]:
            self._remove(subject, reporter)

    def _remove(self, subject: int, reporter: str) -> None:
        reports = self._by_subject[subject]
        del reports[reporter]
        self._held[reporter] -= 1
        if not reports:
            del self._by_subject[subject]
