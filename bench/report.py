"""Samples into medians, ratios, verdicts on our goals, JSON and tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from bench.peers import REFERENCE
from bench.rows import ROWS, Sample

OUT = Path(__file__).with_name("out")
OURS = "hkpguard"


class Spread(NamedTuple):
    """Median, least and most of one figure over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Return the spread of `values`, at least one."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """The most that `figure` of hkpguard may be in a row; `relative`: as a multiple of the reference's."""

    figure: str
    most: float
    relative: bool

    def met(self, summary: "Summary") -> bool | None:
        """Return whether the medians meet the goal; None if it cannot be told."""
        spread = (summary.ratios if self.relative else summary.figures).get(self.figure)
        return None if spread is None else spread.median <= self.most

    def __str__(self) -> str:
        """Say it as in the issue."""
        if self.relative:
            return f"<= {self.most:g} x {REFERENCE}'s CPU"
        return f"{self.figure} <= {self.most:g}"


GOALS: Mapping[str, Goal] = {
    "a": Goal(figure="cpu_us", most=1.0, relative=True),
    "b": Goal(figure="cpu_us", most=1.0, relative=True),
    "c": Goal(figure="cpu_us", most=0.9, relative=True),
    "d": Goal(figure="added_p99_us", most=1000.0, relative=False),
    "e": Goal(figure="cpu_us", most=1.0, relative=True),
    "f": Goal(figure="cpu_us", most=1.2, relative=True),
    "g": Goal(figure="cpu_us", most=0.6, relative=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One proxy in one row: spreads of its figures, and of the ratios to the reference within each round."""

    row: str
    proxy: str
    figures: Mapping[str, Spread]
    ratios: Mapping[str, Spread]


def summarise(samples: Sequence[Sample]) -> list[Summary]:
    """Return one summary for each row and proxy, in the order in which they appear."""
    groups: dict[tuple[str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.row, sample.proxy), []).append(sample)
    return [
        Summary(
            row=row,
            proxy=proxy,
            figures=_spreads([sample.figures for sample in group]),
            ratios=_spreads(_ratios(group, groups.get((row, REFERENCE), []))),
        )
        for (row, proxy), group in sorted(groups.items(), key=lambda item: item[0][0])
    ]


def _ratios(group: Sequence[Sample], reference: Sequence[Sample]) -> list[dict[str, float]]:
    by_round = {sample.round: sample.figures for sample in reference}
    return [
        {"cpu_us": sample.figures["cpu_us"] / by_round[sample.round]["cpu_us"]}
        for sample in group
        if sample.round in by_round
    ]


def _spreads(figures: Sequence[Mapping[str, float]]) -> dict[str, Spread]:
    names = figures[0] if figures else ()
    return {name: Spread.of([each[name] for each in figures]) for name in names}


class Column(NamedTuple):
    """A column: heading, figure, divisor to the heading's unit, decimals, whether to show least and most."""

    heading: str
    figure: str
    divisor: float
    decimals: int
    spread: bool = False

    def text(self, figures: Mapping[str, Spread]) -> str:
        """Return "median" or "median (low-high)", or a dash."""
        if self.figure not in figures:
            return "-"
        middle, low, high = (f"{value / self.divisor:,.{self.decimals}f}" for value in figures[self.figure])
        return f"{middle} ({low}-{high})" if self.spread else middle


_CPU = Column("CPU us/request", "cpu_us", 1, 1, spread=True)
_CLOSED = (
    _CPU,
    Column("worker", "worker_cpu_us", 1, 1),
    Column("requests/s", "rate", 1, 0, spread=True),
    Column("core", "core_share", 1, 2),
    Column("others", "foreign_share", 1, 2),
    Column("p50 ms", "p50_us", 1000, 2),
    Column("p99 ms", "p99_us", 1000, 2),
)
_OPEN = (
    Column("requests/s", "rate", 1, 0),
    Column("added p50 ms", "added_p50_us", 1000, 2, spread=True),
    Column("added p99 ms", "added_p99_us", 1000, 2, spread=True),
    Column("direct p50", "direct_p50_us", 1000, 2),
    Column("direct p99", "direct_p99_us", 1000, 2),
    Column("late p99", "late_p99_us", 1000, 2),
    _CPU,
)
_RATIO = Column(f"CPU x {REFERENCE}", "cpu_us", 1, 2, spread=True)
_LEGEND = (
    "CPU: run time of the whole process tree; worker: its busiest process alone; core, others: share of the "
    "proxy's core that the proxy and anybody else had; late: the generator's own error"
)


def tables(summaries: Sequence[Summary]) -> list[Table]:
    """Return one table for each row."""
    keys = dict.fromkeys(summary.row for summary in summaries)
    return [_table(key, [summary for summary in summaries if summary.row == key]) for key in keys]


def _table(key: str, summaries: Sequence[Summary]) -> Table:
    columns = _OPEN if ROWS[key].open_loop else _CLOSED
    table = Table(title=f"({key}) {ROWS[key].title}; median (min-max)", title_justify="left")
    for heading in ("proxy", *(column.heading for column in columns), _RATIO.heading, "goal"):
        table.add_column(heading, justify="left" if heading == "proxy" else "right")
    for summary in summaries:
        cells = [column.text(summary.figures) for column in columns]
        table.add_row(summary.proxy, *cells, _RATIO.text(summary.ratios), judged(summary))
    return table


def judged(summary: Summary) -> str:
    """Return the goal of hkpguard in this row and whether it is met; nothing for the peers."""
    if summary.proxy != OURS:
        return ""
    goal = GOALS[summary.row]
    word = {True: "met", False: "MISSED", None: "unknown"}[goal.met(summary)]
    return f"{word}: {goal}"


def save(kind: str, machine: Mapping[str, object], content: Mapping[str, object]) -> Path:
    """Write a JSON file below `bench/out` and return its path."""
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{kind}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps({"machine": machine, **content}, indent=1) + "\n")
    return path


def proxies_content(samples: Sequence[Sample], summaries: Sequence[Summary]) -> dict[str, object]:
    """Return what is saved of the comparison: every sample, and what was made of them."""
    return {
        "samples": [asdict(sample) for sample in samples],
        "summaries": [asdict(summary) for summary in summaries],
        "goals": {summary.row: judged(summary) for summary in summaries if summary.proxy == OURS},
    }


def show(console: Console, machine: Mapping[str, object], summaries: Sequence[Summary]) -> None:
    """Print the machine and the tables."""
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), style="dim")
    for table in tables(summaries):
        console.print(table)
    console.print(_LEGEND, style="dim")
