"""What raw scores mean: log-odds, and from where on somebody is accused.

Raw scores of clients whose tool was not in training (`fit.raw_outside`) are fitted by Platt's method: a straight line
in log-odds, one for who made few requests so far and one for the others, with targets that leave room for what was
not seen: of a hundred honest clients nothing can be learnt that is 1,000 to 1. Isotonic regression would say
"certain" wherever no honest client happened to score.

Accusation. Each look is at everything that a client did lately, so its log-odds are the logarithm of the likelihood
ratio of all of it, and Wald's sequential test needs no more: accuse when it reaches log((1 - MISSED) / ERRING), and at
most ERRING of the honest clients are accused at any look, however often one looks. The log-odds are shy, for the reason
above, and so fewer are. How many is measured: the bound is raised, where it has to be, until no more than FALSE_ALARMS
of the honest clients of the calibration are accused, and nobody who refreshes.

Weight. That somebody is accused says more than his log-odds do, because it was measured: it is the logarithm of the
share of abusers that are accused (each tool counted once) over that of honest clients, which is not taken for less
than one of all there are, and two.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.manifest import Calibration
from models.scorer import log_odds
from models.windows import FIRST_LOOKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Whole = NDArray[np.integer[Any]]

FALSE_ALARMS: Final = 0.001  # of honest clients, as measured
ERRING: Final = 0.1  # likewise, as the log-odds have it
MISSED: Final = 0.05  # of abusers
ACCUSE: Final = log((1 - MISSED) / ERRING)
MARGIN: Final = 0.25  # log-odds above the honest client that scores highest
MOST: Final = 10.0  # log-odds, either way
KNOTS: Final = np.linspace(-10.0, 10.0, 41)
FROM: Final = (int(FIRST_LOOKS[0]), 30)  # requests from which on each line holds
STEEPEST, FLATTEST = 4.0, 0.05
STEPS: Final = 50


class Looks(NamedTuple):
    """Looks at clients whose tool was not in training, shape (n,) each."""

    raw: Figures
    requests: Whole  # that the look is made of
    client: Whole  # a number for each
    abusive: Flags
    weight: Figures


def calibrate(looks: Looks) -> Calibration:
    """Return the calibration of raw scores."""
    sure = tuple(1 / (len(np.unique(looks.client[which])) + 2) for which in (looks.abusive, ~looks.abusive))
    rows = np.searchsorted(FROM, looks.requests, side="right") - 1
    knots = float(np.median(looks.raw)) + KNOTS
    table = []
    for row in range(len(FROM)):
        slope, offset = line(looks, rows == row, sure)
        table.append(tuple(np.clip(slope * knots + offset, -MOST, MOST).round(4).tolist()))
    return Calibration(looks=FROM, raw=tuple(knots.round(4).tolist()), log_odds=tuple(table))


def line(looks: Looks, which: Flags, sure: Sequence[float]) -> tuple[float, float]:
    """Return slope and offset of log-odds over raw scores, as if honest and abusive clients were equally many.

    Platt, 1999, by Newton's steps (Lin, Lin and Weng, 2007).

    Args:
        looks: At all clients.
        which: Those to be fitted.
        sure: How far the targets are from 1 for abusers, and from 0 for honest clients.

    """
    raw, abusive, weight = looks.raw[which], looks.abusive[which], looks.weight[which]
    if abusive.all() or not abusive.any():
        return FLATTEST, 0.0
    target = np.where(abusive, 1 - sure[0], sure[1])
    weight = weight / np.where(abusive, weight[abusive].sum(), weight[~abusive].sum())
    parameters = np.array([1.0, 0.0])
    columns = np.stack([raw, np.ones_like(raw)])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(parameters @ columns, -30, 30)))
        slope = columns @ (weight * (chance - target))
        curve = (columns * (weight * np.maximum(chance * (1 - chance), 1e-6))) @ columns.T + 1e-6 * np.eye(2)
        parameters = parameters - np.clip(np.linalg.solve(curve, slope), -1.0, 1.0)
        parameters[0] = np.clip(parameters[0], FLATTEST, STEEPEST)
    return float(parameters[0]), float(parameters[1])


class Accusation(NamedTuple):
    """When a client is accused, and what that weighs; log-odds."""

    bound: float
    weight: float


def accusation(calibration: Calibration, looks: Looks, spared: Flags) -> Accusation:
    """Return when a client is accused.

    Args:
        calibration: Of the raw scores.
        looks: The same that it was made of.
        spared: Which of them are at clients who must never be accused.

    """
    clients, first = np.unique(looks.client, return_index=True)
    found = log_odds(calibration, looks.raw, looks.requests)
    highest = np.full(int(clients[-1]) + 1, -np.inf)
    np.maximum.at(highest, looks.client, found)
    highest, abusive, weight = highest[clients], looks.abusive[first], looks.weight[first]
    ranked = np.sort(highest[~abusive])[::-1]
    worst = max(float(ranked[int(FALSE_ALARMS * len(ranked))]), float(found[spared].max(initial=-np.inf)))
    bound = max(ACCUSE, worst + MARGIN)
    hits = weight[abusive & (highest >= bound)].sum() / weight[abusive].sum()
    false = (np.count_nonzero(highest[~abusive] >= bound) + 1) / (len(ranked) + 2)
    return Accusation(round(bound, 4), round(float(np.clip(np.log(max(hits, 1e-9) / false), 0.0, MOST)), 4))
