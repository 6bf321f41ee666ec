"""A report for a terminal."""

from collections.abc import Callable, Iterator, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from proxy.replay.report import Hit, LogFigures, Outcome, Report, Suspect

LEGEND = (
    "lost: at least one request was refused, or came from a banned client, which the keyserver had answered. Looks "
    "legitimate: no traps, few errors, no more in a day than a large keyring (docs/tuning.md)."
)
UNTOLD = "There were more clients than can be remembered: those that came last are counted in the first table only."


def view(report: Report) -> RenderableType:
    """Return all of it."""
    parts: list[RenderableType] = [*map(escape, sentences(report.log)), _summary(report.outcomes)]
    for outcome in report.outcomes:
        title = escape(outcome.title)
        parts.append(_verdicts(outcome, f"{title}: requests"))
        parts.append(_hits(outcome.limits, f"{title}: what did it", "limit or reason"))
        if outcome.worst:
            parts.append(_hits(outcome.worst, f"{title}: who was hit most", "who"))
        parts.append(f"{title}: {escape(outcome.models)}")
        if outcome.suspects:
            parts.append(_suspects(outcome.suspects, f"{title}: accused by the models"))
        if outcome.untold:
            parts.append(UNTOLD)
    return Group(*parts, LEGEND)


def sentences(log: LogFigures) -> Iterator[str]:
    """Yield what is to be said of what was read, line by line; what stands in it may be hostile."""
    for name, form in log.files.items():
        yield f"{name}: {form}"
    yield f"{log.requests:,} requests in {log.hours:,.1f} hours from {log.begin}; {log.others:,} lines of another kind"
    if log.bad:
        yield f"{log.bad:,} lines could not be read, such as"
        yield from (f"  {each}" for each in log.shown)
    if log.late:
        yield f"{log.late:,} requests stood far from their place in time, and were taken where they stood"
    yield from (f"note: {each}" for each in log.notes)


def _summary(outcomes: Sequence[Outcome]) -> Table:
    """Return the figures that matter, one column for each run."""
    table = Table(title="What would have happened", title_justify="left")
    table.add_column("")
    for outcome in outcomes:
        table.add_column(escape(outcome.title), justify="right")
    for title, figure in _FIGURES:
        table.add_row(title, *(figure(outcome) for outcome in outcomes))
    for name in sorted({name for outcome in outcomes for name in outcome.settings}):
        table.add_row(escape(name), *(escape(outcome.settings.get(name, "")) for outcome in outcomes))
    return table


def _of(count: int, total: int) -> str:
    return f"{count:,} ({count / total:.2%})" if total else "-"


def _requests(fate: str) -> Callable[[Outcome], str]:
    return lambda outcome: _of(outcome.requests[fate], sum(outcome.requests.values()))


def _clients(fate: str) -> Callable[[Outcome], str]:
    return lambda outcome: _of(outcome.clients[fate], outcome.clients["all"])


def _legitimate(fate: str) -> Callable[[Outcome], str]:
    return lambda outcome: _of(outcome.legitimate[fate], outcome.legitimate["all"])


_FIGURES: Sequence[tuple[str, Callable[[Outcome], str]]] = (
    ("requests answered at once", _requests("answered")),
    ("  delayed", _requests("delayed")),
    ("  refused", _requests("refused")),
    ("  refused by a ban", _requests("banned")),
    ("  refused as by the keyserver", _requests("declined")),
    ("clients", lambda outcome: f"{outcome.clients['all']:,}"),
    ("  delayed", _clients("delayed")),
    ("  lost something", _clients("lost")),
    ("  banned", _clients("banned")),
    ("  accused by the models", lambda outcome: _of(outcome.accused["all"], outcome.clients["all"])),
    ("clients that look legitimate", lambda outcome: f"{outcome.legitimate['all']:,}"),
    ("  delayed", _legitimate("delayed")),
    ("  lost something", _legitimate("lost")),
    ("  banned", _legitimate("banned")),
    ("  accused by the models", lambda outcome: _of(outcome.accused["legitimate"], outcome.legitimate["all"])),
    ("their requests that were refused", lambda outcome: f"{_lost(outcome):,}"),
    ("bans", lambda outcome: f"{outcome.bans:,}"),
    ("longest delay, s", lambda outcome: f"{outcome.worst_wait_s:.1f}"),
)


def _lost(outcome: Outcome) -> int:
    return outcome.legitimate_requests["refused"] + outcome.legitimate_requests["banned"]


def figures(outcome: Outcome) -> Iterator[tuple[str, str]]:
    """Yield titles and texts of the figures that matter."""
    for title, figure in _FIGURES:
        yield title, figure(outcome)


def _verdicts(outcome: Outcome, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    for heading in ("action", "reason"):
        table.add_column(heading)
    table.add_column("requests", justify="right")
    for row in outcome.verdicts:
        table.add_row(row.action, row.reason, f"{row.requests:,}")
    return table


HEADINGS = ("requests", "delayed", "refused", "by a ban", "clients hit", "look legitimate")


def cells(hit: Hit) -> tuple[str, ...]:
    """Return the figures of a row below HEADINGS."""
    counts = (hit.requests, hit.delayed, hit.refused, hit.banned, hit.clients, hit.legitimate)
    return tuple(f"{count:,}" for count in counts)


def _hits(hits: Sequence[Hit], title: str, who: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(who)
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    named = any(hit.limit for hit in hits)
    if named:
        table.add_column("mostly by")
    for hit in hits:
        table.add_row(hit.name, *cells(hit), *([hit.limit] if named else []))
    return table


SUSPECT_HEADINGS = ("clients", "look legitimate", "standing", "why")


def suspect_cells(suspect: Suspect) -> tuple[str, ...]:
    """Return what stands in a row below SUSPECT_HEADINGS; a line for each reason."""
    return f"{suspect.clients:,}", f"{suspect.legitimate:,}", suspect.standing, "\n".join(suspect.reasons)


def _suspects(suspects: Sequence[Suspect], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("who")
    for heading in SUSPECT_HEADINGS:
        table.add_column(heading, justify="right" if heading in SUSPECT_HEADINGS[:2] else "left")
    for suspect in suspects:
        table.add_row(suspect.name, *map(escape, suspect_cells(suspect)))
    return table
