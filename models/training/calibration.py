"""What raw scores mean: log-odds, and from where on somebody is accused.

Raw scores of clients whose tool was not in training (`folds`) are fitted by Platt's method: a straight line in
log-odds, for each number of requests its own, with targets that leave room for what was not seen. Isotonic regression
would say "certain" wherever no honest client happened to score, and there are only hundreds of them.

Accusation. Each look is at everything that a client did so far, so its log-odds are the logarithm of the likelihood
ratio of all of it, and Wald's sequential test needs no more: accuse when it reaches log((1 - missed) / false), however
often one looks. That holds as far as the log-odds are right. So the bound is raised, where it has to be, until of the
honest clients of the calibration no more are accused than may be, and nobody who refreshes.
"""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.manifest import Calibration
from models.scorer import log_odds
from models.windows import FIRST_LOOKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Whole = NDArray[np.integer[Any]]

FALSE_ALARMS: Final = 0.001  # of honest clients, whoever long they are looked at
MISSED: Final = 0.05  # of abusers
ACCUSE: Final = log((1 - MISSED) / FALSE_ALARMS)
MARGIN: Final = 0.25  # log-odds above the honest client that scores highest
MOST: Final = 10.0  # log-odds, either way
KNOTS: Final = np.linspace(-10.0, 10.0, 41)
STEEPEST, FLATTEST = 4.0, 0.05
STEPS: Final = 50


def calibrate(raw: Figures, requests: Whole, abusive: Flags, weights: Figures) -> Calibration:
    """Return the calibration of raw scores.

    Args:
        raw: Of looks at clients whose tool was not in training, shape (n,).
        requests: How many each look is made of.
        abusive: Whether it is a look at an abuser.
        weights: Of each look; the sum of a class is how many clients it stands for.

    """
    looks = FIRST_LOOKS.tolist()
    rows = np.searchsorted(FIRST_LOOKS, requests, side="right") - 1
    lines = [line(raw[rows == row], abusive[rows == row], weights[rows == row]) for row in range(len(looks))]
    centre = float(np.median(raw))
    knots = centre + KNOTS
    table = [tuple(np.clip(slope * knots + offset, -MOST, MOST).round(4).tolist()) for slope, offset in lines]
    return Calibration(looks=tuple(looks), raw=tuple(knots.round(4).tolist()), log_odds=tuple(table))


def line(raw: Figures, abusive: Flags, weights: Figures) -> tuple[float, float]:
    """Return slope and offset of log-odds over raw scores, as if honest and abusive clients were equally many.

    Platt, 1999, with the targets of his method, by Newton's steps (Lin, Lin and Weng, 2007).
    """
    counts = weights[abusive].sum(), weights[~abusive].sum()
    if not all(counts):
        return FLATTEST, 0.0
    target = np.where(abusive, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))
    weight = weights / np.where(abusive, counts[0], counts[1])
    parameters = np.array([1.0, 0.0])
    columns = np.stack([raw, np.ones_like(raw)])
    for _ in range(STEPS):
        chance = 1 / (1 + np.exp(-np.clip(parameters @ columns, -30, 30)))
        slope = columns @ (weight * (chance - target))
        curve = (columns * (weight * np.maximum(chance * (1 - chance), 1e-6))) @ columns.T + 1e-6 * np.eye(2)
        step = np.linalg.solve(curve, slope)
        parameters = parameters - np.clip(step, -1.0, 1.0)
        parameters[0] = np.clip(parameters[0], FLATTEST, STEEPEST)
    return float(parameters[0]), float(parameters[1])


def bound(calibration: Calibration, raw: Figures, requests: Whole, clients: Whole, spared: Flags) -> float:
    """Return the log-odds from which on a client is accused.

    Args:
        calibration: Of the raw scores.
        raw: Of looks at honest clients, shape (n,).
        requests: How many each look is made of.
        clients: At whom.
        spared: Looks at who must never be accused.

    """
    found = log_odds(calibration, raw, requests)
    highest = np.full(int(clients.max()) + 1, -np.inf)
    np.maximum.at(highest, clients, found)
    ranked = np.sort(highest[np.isfinite(highest)])[::-1]
    allowed = int(FALSE_ALARMS * len(ranked))
    worst = max(float(ranked[allowed]), float(found[spared].max(initial=-np.inf)))
    return round(max(ACCUSE, worst + MARGIN), 4)
