"""What raw scores mean: log-odds, and from where on somebody is accused.

Raw scores of clients whose tool was not in training are fitted by Platt's method: a straight line in log-odds, one
from each of FROM requests on, with targets that leave room for what was not seen: of a hundred honest clients nothing
can be learnt that is 1,000 to 1. Isotonic regression would say "certain" wherever no honest client happened to score.

Accusation. Who has made more requests is better known, so each line has a bound of its own: MARGIN above the honest
client that scored highest at any look there; where there are more than a thousand, above one of a thousand. So it does
not matter how often one looks. Nobody who refreshes is accused at any look. No bound comes from what the log-odds say
of errors: they are shy, for the reason above, and the more so the fewer requests they are of.

What this is worth. If honest tools were drawn by chance, the worst client of the next one would be above the worst of
n others with a chance of 1 in n + 1. MARGIN is what that is lowered by; by how much was measured (validation.py).

Weight. That somebody is accused says more than his log-odds do, because it was measured: it is the logarithm of the
share of abusers that are accused (each tool counted once) over that of honest clients, which is not taken for less
than one of all there are, and two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.manifest import Calibration
from models.scorer import log_odds, rows_of
from models.windows import FIRST_LOOKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]
    Whole = NDArray[np.integer[Any]]

FALSE_ALARMS: Final = 0.001  # of honest clients, as measured
MARGIN: Final = 1.0  # log-odds above the honest client that scores highest
MOST: Final = 10.0  # log-odds, either way
KNOTS: Final = np.linspace(-10.0, 10.0, 41)
FROM: Final = (int(FIRST_LOOKS[0]), 15, 30)  # requests from which on each line holds
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

    bounds: tuple[float, ...]  # for each of FROM
    weight: float


def accusation(calibration: Calibration, looks: Looks, spared: Flags) -> Accusation:
    """Return when a client is accused.

    Args:
        calibration: Of the raw scores.
        looks: The same that it was made of.
        spared: Which of them are at clients who must never be accused.

    """
    found = log_odds(calibration, looks.raw, looks.requests)
    row = rows_of(calibration, looks.requests)
    bounds = np.array([_bound(found, looks, spared, row == place) for place in range(len(FROM))])
    clients, first = np.unique(looks.client, return_index=True)
    accused = np.zeros(int(clients[-1]) + 1, np.bool_)
    accused[looks.client[found >= bounds[row]]] = True
    accused, abusive, weight = accused[clients], looks.abusive[first], looks.weight[first]
    hits = weight[abusive & accused].sum() / weight[abusive].sum()
    false = (np.count_nonzero(accused & ~abusive) + 1) / (np.count_nonzero(~abusive) + 2)
    return Accusation(
        tuple(bounds.round(4).tolist()), round(float(np.clip(np.log(max(hits, 1e-9) / false), 0.0, MOST)), 4)
    )


def _bound(found: Figures, looks: Looks, spared: Flags, which: Flags) -> float:
    """Return the log-odds from which on clients are accused at some of the looks; MOST if no honest one is there."""
    honest = which & ~looks.abusive
    if not honest.any():
        return MOST
    highest = np.full(int(looks.client.max()) + 1, -np.inf)
    np.maximum.at(highest, looks.client[honest], found[honest])
    ranked = np.sort(highest[np.unique(looks.client[honest])])[::-1]
    worst = max(float(ranked[int(FALSE_ALARMS * len(ranked))]), float(found[spared & which].max(initial=-np.inf)))
    return min(worst + MARGIN, MOST)
