"""Outcomes as a table, and as what is saved."""

from collections.abc import Iterator, Mapping, Sequence

from rich.table import Table

from bench.scenarios.clock import HOUR, MINUTE, SECOND
from bench.scenarios.goals import NotToldApart
from bench.scenarios.plan import Outcome
from bench.scenarios.world import Group

HEADINGS = (
    "requests",
    "denied",
    "clients hit",
    "worst delay s",
    "duration",
    "certificates",
    "refused",
    "upstream s",
    "cold",
    "goal",
)
MISSED = "MISSED"
LEGEND = (
    "clients hit: who was denied anything; duration: the longest that one client took, of those who never end all of "
    "it; certificates: how many different ones were obtained or taken; upstream: what a keyserver would have spent; "
    "cold: lowest, median and highest score for cold certificates of the group's networks, each at its highest, which "
    "says little where a scenario has one kind of people only"
)


def table(outcomes: Sequence[Outcome], title: str) -> Table:
    """Return a row for each group."""
    made = Table(title=title, title_justify="left")
    for heading in ("scenario", "who"):
        made.add_column(heading)
    for heading in HEADINGS:
        made.add_column(heading, justify="left" if heading == "goal" else "right")
    for outcome in outcomes:
        for number, group in enumerate(outcome.groups):
            made.add_row("" if number else outcome.scenario, group.title, *_cells(group, outcome.length_ns))
    return made


def _cells(group: Group, length_ns: int) -> Iterator[str]:
    tally = group.tally
    yield f"{tally.requests:,}"
    yield f"{tally.denied:,}"
    yield f"{tally.clients_denied:,} of {tally.clients:,}"
    yield f"{tally.worst_wait_ns / SECOND:.1f}"
    yield duration(tally.longest_ns)
    yield f"{tally.different:,}"
    yield f"{tally.refused_share:.1%}"
    yield f"{tally.upstream_us / 1e6:,.0f}"
    yield cold(tally.cold_scores)
    yield judged(group, length_ns)


def cold(scores: Sequence[float]) -> str:
    """Return the lowest, the median and the highest of scores, which are sorted."""
    if not scores:
        return "-"
    return f"{scores[0]:.2f} {scores[len(scores) // 2]:.2f} {scores[-1]:.2f}"


def duration(length_ns: int) -> str:
    """Return a time as people say it."""
    for unit_ns, unit in ((HOUR, "h"), (MINUTE, "min")):
        if length_ns >= 2 * unit_ns:
            return f"{length_ns / unit_ns:.1f} {unit}"
    return f"{length_ns / SECOND:.1f} s"


def judged(group: Group, length_ns: int) -> str:
    """Return the goal of a group, and whether it is met, or what became of it; a dash if it did not come to that."""
    if not group.tally.requests:
        return "-"
    if isinstance(group.goal, NotToldApart):
        return f"{group.goal}: {group.tally.denied:,} denied"
    word = "met" if group.goal.met(group.tally, length_ns) else MISSED
    return f"{word}: {group.goal}"


def missed(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a line for each goal that is not met."""
    return [
        f"{outcome.scenario}: {group.title}: {judged(group, outcome.length_ns)}"
        for outcome in outcomes
        for group in outcome.groups
        if judged(group, outcome.length_ns).startswith(MISSED)
    ]


def content(outcomes: Sequence[Outcome], profile: str) -> dict[str, object]:
    """Return what is saved."""
    return {"profile": profile, "scenarios": [_scenario(each) for each in outcomes]}


def _scenario(outcome: Outcome) -> Mapping[str, object]:
    return {
        "scenario": outcome.scenario,
        "hours": outcome.length_ns / HOUR,
        "bans": outcome.bans,
        "computed_seconds": round(outcome.seconds, 2),
        "groups": [_group(each, outcome.length_ns) for each in outcome.groups],
    }


def _group(group: Group, length_ns: int) -> Mapping[str, object]:
    tally = group.tally
    return {
        "who": group.title,
        "requests": tally.requests,
        "denied": tally.denied,
        "clients": tally.clients,
        "clients_denied": tally.clients_denied,
        "worst_delay_seconds": tally.worst_wait_ns / SECOND,
        "duration_seconds": tally.longest_ns / SECOND,
        "certificates": tally.different,
        "refused_share": tally.refused_share,
        "upstream_seconds": tally.upstream_us / 1e6,
        "cold_scores": [round(score, 4) for score in (tally.cold_scores[:1] + tally.cold_scores[-1:])],
        "goal": judged(group, length_ns),
    }
