"""What the way to train is worth, told without the tools for tests: by this, and by nothing else, it was chosen.

Each tool is left out of training together with some others, and of what the bounds are set by as well. So it is told
what becomes of a tool that nobody had recorded: of an abuser's, whether it is found, and of an honest one's, whether it
would have been accused. The bounds of a model that is shipped know all tools, and are as high as the worst of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models.scorer import log_odds, rows_of
from models.training import evaluation, fit
from models.training.calibration import Looks, accusation, calibrate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from models.training.evaluation import Row
    from models.training.table import Table

    Flags = NDArray[np.bool_]
    Figures = NDArray[np.float64]

SEEDS = (5, 6, 7)  # of how tools are dealt out


def validated(table: Table) -> Iterator[list[Row]]:
    """Yield for each of SEEDS what became of the tools for training: all honest, all abusive, and each tool."""
    for seed in SEEDS:
        splits = [*fit.splits(table, seed)]
        raw = np.empty(len(table.run), np.float64)
        for inside in splits:
            raw[~inside] = fit.grown(table.at(inside)).predict(table.behaviour[~inside], raw_score=True)
        above = np.empty(len(table.run), np.float64)
        for inside in splits:
            above[~inside] = _above(table, raw, inside)
        yield evaluation.rows(table, above, np.zeros(len(above)))


def _above(table: Table, raw: Figures, inside: Flags) -> Figures:
    """Return how far looks outside are above the bounds that are set by those inside; log-odds."""
    known = inside & ~table.shared
    alone = table.at(known)
    looks = Looks(raw[known], alone.requests, alone.clients, alone.abusive, fit.weights_of(alone))
    scale = calibrate(looks)
    bounds = np.array(accusation(scale, looks, fit.refreshing(alone)).bounds)
    requests = table.requests[~inside]
    above: Figures = log_odds(scale, raw[~inside], requests) - bounds[rows_of(scale, requests)]
    return above
