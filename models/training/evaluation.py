"""What models find and what they miss: client by client, tool by tool, the bad figures as well.

A client is found if any look at it, as a guard would have taken them, gives the log-odds that accuse. Clients that ask
for less than the first look takes are never found; they count as missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from models.scorer import bounds
from models.training.calibration import MOST

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from models.scorer import Scorer
    from models.training.table import Table

    Figures = NDArray[np.float64]
    Whole = NDArray[np.integer[Any]]

NEVER: int = np.iinfo(np.int64).max


class Row(NamedTuple):
    """One tool, or several together."""

    name: str
    split: str
    abusive: bool
    clients: int
    found: int
    median: int  # requests until one of two abusers was found; NEVER: fewer than half were
    highest: float  # log-odds of any look


class Fates(NamedTuple):
    """What became of clients, shape (n,)."""

    first: NDArray[np.intp]  # the first look at each in the table
    found_at: NDArray[np.int64]  # requests; NEVER
    highest: Figures


def fates(table: Table, log_odds: Figures, accuse: Figures) -> Fates:
    """Return what becomes of the clients of a table."""
    clients = table.clients
    first = np.flatnonzero(np.append(True, clients[1:] != clients[:-1]))
    accused = (log_odds >= accuse) & table.seen
    found_at = np.minimum.reduceat(np.where(accused, table.requests, NEVER), first)
    highest = np.maximum.reduceat(np.where(table.seen, log_odds, -np.inf), first)
    return Fates(first, found_at, highest)


def by_tool(scorer: Scorer, table: Table) -> list[Row]:
    """Return a row for each tool of a table, honest ones first; each client alone."""
    return [row for row in _rows_of(scorer, table) if row.split]


def overall(scorer: Scorer, table: Table) -> list[Row]:
    """Return a row for the honest and one for the abusive clients of a table, and one for shared addresses."""
    return [row for row in _rows_of(scorer, table) if not row.split]


def _rows_of(scorer: Scorer, table: Table) -> list[Row]:
    return rows(table, scorer.score(table.features, table.requests), bounds(scorer.manifest, table.requests))


def rows(table: Table, log_odds: Figures, accuse: Figures) -> list[Row]:
    """Return what becomes of all clients of each kind, and then of those of each tool."""
    who = fates(table, log_odds, accuse)
    of_client = table.at(who.first)
    abusive, shared = of_client.abusive, of_client.shared
    kinds = (("honest", ~abusive & ~shared), ("abusive", abusive), ("shared", shared))
    found = [_row(name, "", who, abusive, which) for name, which in kinds if which.any()]
    alone = of_client.at(~shared)
    tools = sorted({*zip(alone.abusive.tolist(), alone.split.tolist(), alone.tool.tolist(), strict=True)})
    for _, split, tool in tools:
        which = (of_client.tool == tool) & (of_client.split == split) & ~shared
        found.append(_row(tool, split, who, abusive, which))
    return found


def _row(name: str, split: str, who: Fates, abusive: NDArray[np.bool_], which: NDArray[np.bool_]) -> Row:
    found_at = who.found_at[which]
    found = int(np.count_nonzero(found_at < NEVER))
    median = int(np.sort(found_at)[(len(found_at) - 1) // 2])
    return Row(name, split, bool(abusive[which][0]), len(found_at), found, median, float(who.highest[which].max()))


def metrics(scorer: Scorer, table: Table) -> dict[str, float]:
    """Return the figures of a model on a table, for its manifest."""
    seen = table.at(table.seen)
    raw, log_odds = scorer.raw(seen.features), scorer.score(seen.features, seen.requests)
    figures = {"auc": round(area(raw[~seen.shared], seen.abusive[~seen.shared]), 4)}
    for row in overall(scorer, table):
        share = round(row.found / row.clients, 4)
        figures |= {f"{row.name}_clients": row.clients, f"{row.name}_accused": share}
        if row.abusive and row.median < NEVER:
            figures["median_requests"] = row.median
    figures["highest_honest"] = round(float(log_odds[~seen.abusive & ~seen.shared].max(initial=-MOST)), 4)
    return figures


def area(scores: Figures, abusive: NDArray[np.bool_]) -> float:
    """Return the area under the ROC curve: how often an abusive look scores higher than an honest one."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2
    positives, negatives = int(abusive.sum()), int((~abusive).sum())
    if not positives or not negatives:
        return float("nan")
    return float((rank[place][abusive].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def markdown(rows: Iterable[Row]) -> str:
    """Return rows as a table for docs/models.md."""
    lines = [
        "| tool | split | label | clients | accused | requests until half are | highest log-odds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row.name} | {row.split} | {'abusive' if row.abusive else 'honest'} | {row.clients} "
        f"| {row.found} ({row.found / row.clients:.0%}) | {row.median if row.median < NEVER else '-'} "
        f"| {row.highest:.1f} |"
        for row in rows
    ]
    return "\n".join(lines)
