"""What others report of clients."""

from __future__ import annotations

import pytest

from fastpath import parse_network
from proxy.intel.reports import (
    AGREED_WEIGHT,
    BURST,
    EACH_NS,
    FURTHER_WEIGHT,
    MOST_OF_A_REPORTER,
    MOST_SUBJECTS,
    MOST_WEIGHT,
    WITH_OWN_WEIGHT,
    Report,
    Reports,
    TooMany,
)
from proxy.settings.kinds import DAY, HOUR, MINUTE

CLIENT = parse_network("1.2.3.4")
NOW = 10**15


def report(reporter: str, *, since_ns: int = NOW, lasts_ns: int = HOUR) -> Report:
    """Return a report."""
    return Report(reporter, "scans", since_ns, since_ns + lasts_ns)


def many(start: int) -> int:
    """Return a client of its own for each number."""
    return parse_network(f"5.{start // 65_536}.{start // 256 % 256}.{start % 256}")


@pytest.mark.parametrize(
    ("reporters", "own", "shared", "weight"),
    [
        ([], False, False, None),
        ([], True, False, None),
        (["a"], False, False, None),
        (["a", "a"], False, False, None),
        (["a"], True, False, WITH_OWN_WEIGHT),
        (["a", "b"], False, False, AGREED_WEIGHT),
        (["a", "b"], True, False, AGREED_WEIGHT),
        (["a", "b", "c"], False, False, AGREED_WEIGHT + FURTHER_WEIGHT),
        ([*"abcdefghij"], False, False, MOST_WEIGHT),
        (["a", "b"], False, True, AGREED_WEIGHT / 2),
    ],
)
def test_who_agrees(reporters: list[str], own: bool, shared: bool, weight: float | None) -> None:  # noqa: FBT001 - rows
    """One reporter is a note; it takes another, or evidence of this node, to make it count."""
    reports = Reports()
    for reporter in reporters:
        reports.take(CLIENT, report(reporter), NOW)
    evidence = reports.evidence(CLIENT, NOW, own=own, shared=shared)
    assert (evidence.weight if evidence else None) == weight


def test_until() -> None:
    """It counts as long as two agree, and no longer than a day."""
    reports = Reports()
    for reporter, lasts_ns in (("a", MINUTE), ("b", HOUR), ("c", 2 * HOUR)):
        reports.take(CLIENT, report(reporter, lasts_ns=lasts_ns), NOW)
    evidence = reports.evidence(CLIENT, NOW, own=False, shared=False)
    assert evidence is not None
    assert evidence.until_ns == NOW + HOUR
    assert evidence.reason == "reported by a, b, c"
    assert reports.evidence(CLIENT, NOW + HOUR, own=False, shared=False) is None
    for reporter in "de":
        reports.take(CLIENT, report(reporter, lasts_ns=7 * DAY), NOW)
    evidence = reports.evidence(CLIENT, NOW, own=False, shared=False)
    assert evidence is not None
    assert evidence.until_ns == NOW + DAY
    assert evidence.reason.endswith(" and others")


def test_rate() -> None:
    """A reporter may send some at once, and then one a second; another one is not slowed by it."""
    reports = Reports()
    for _ in range(BURST):
        reports.take(CLIENT, report("a"), NOW)
    with pytest.raises(TooMany):
        reports.take(CLIENT, report("a"), NOW)
    reports.take(CLIENT, report("b"), NOW)
    reports.take(CLIENT, report("a"), NOW + EACH_NS)
    with pytest.raises(TooMany):
        reports.take(CLIENT, report("a"), NOW + EACH_NS)


def test_share_of_a_reporter() -> None:
    """A reporter holds so many, and no more until some are over."""
    reports, now_ns = Reports(), NOW
    for number in range(MOST_OF_A_REPORTER):
        now_ns += EACH_NS
        reports.take(many(number), report("a", lasts_ns=7 * DAY), now_ns)
    with pytest.raises(TooMany, match="not over yet"):
        reports.take(CLIENT, report("a"), now_ns + EACH_NS)
    reports.take(many(7), report("a"), now_ns + 2 * EACH_NS)
    reports.take(CLIENT, report("a"), NOW + 8 * DAY)
    assert len(reports) == 1


def test_memory_is_bounded() -> None:
    """Of too many clients the one that was reported longest ago is forgotten."""
    reports, now_ns = Reports(), NOW
    for number in range(MOST_SUBJECTS + 10):
        now_ns += EACH_NS
        reports.take(many(number), report(f"r{number % 8}", lasts_ns=7 * DAY), now_ns)
    assert len(reports) == MOST_SUBJECTS
    assert reports.of(many(0), now_ns) == []


def test_list() -> None:
    """What is reported can be told, the newest first, without what is over."""
    reports = Reports()
    reports.take(CLIENT, report("a"), NOW)
    reports.take(CLIENT, report("b", since_ns=NOW + MINUTE), NOW + MINUTE)
    assert [each.reporter for each in reports.of(CLIENT, NOW + MINUTE)] == ["b", "a"]
    assert [each.reporter for each in reports.of(CLIENT, NOW + HOUR)] == ["b"]
