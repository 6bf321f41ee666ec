"""Forecasts of load: how many requests come in each five minutes of the next day, and between which bounds.

Counts are reckoned with as square roots. There chance alone gives every count the same spread, a half (Anscombe,
1948), be it night or noon.

Two methods. `usual` takes the median of the same time of day in the days before, or of the same time of the week if
two weeks are known, times how much more the last day had. `holt_winters` is that of statsmodels, if it is
installed. Which one is believed is found out for each class anew: the one that would have been nearer on the last
day, knowing the days before. How far it was off is the width of its interval as well, and never less than chance.

Not known with less than two days: nothing is forecast then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.load_history import DAY, WEEK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Series = NDArray[np.float64]
    Method = Callable[[Series], Series]

DEVIATIONS: Final = 3.5
CHANCE: Final = 0.5
OF_MEDIAN: Final = 1.4826  # a standard deviation, in parts of the median of distances
MOST_LEVEL: Final = 2.0  # four times the requests of the days before
LEAST_KNOWN: Final = 0.5  # of the bins of each of the last two days, and of weeks


class Forecast(NamedTuple):
    """Requests of one class in each bin of the next day, shape (DAY,); all NaN if nothing can be said."""

    middle: Series
    low: Series
    high: Series


NOTHING: Final = Forecast(*np.full((3, DAY), np.nan))


def forecast(counts: NDArray[np.float32], methods: Sequence[Method]) -> Forecast:
    """Return what comes after `counts`, the last bin at the end, NaN where unknown.

    Args:
        counts: Shape (bins,), two days or more.
        methods: Of which the best is taken, the first one if several are.

    """
    roots: Series = np.sqrt(counts.astype(np.float64))
    if np.isfinite(roots[-2 * DAY :].reshape(2, DAY)).mean(axis=1).min() < LEAST_KNOWN:
        return NOTHING
    past, day = roots[:-DAY], roots[-DAY:]
    spreads = [spread(day - method(past)) for method in methods]
    best = int(np.argmin(spreads))
    middle = methods[best](roots)
    margin = DEVIATIONS * max(CHANCE, spreads[best])
    return Forecast(middle**2, np.maximum(middle - margin, 0.0) ** 2, (middle + margin) ** 2)


def spread(errors: Series) -> float:
    """Return the standard deviation that errors would have without the worst of them; NaN does not count."""
    return OF_MEDIAN * float(np.nanmedian(np.abs(errors)))


def usual(roots: Series) -> Series:
    """Return the median of the same time before, and the difference of the last day, for the next day."""
    days = _by_season(roots)
    middle = _median(days)
    return middle[:DAY] * _level(roots[-DAY:], middle[-DAY:])


def _level(day: Series, middle: Series) -> float:
    """Return how many times as much as usual came on a day, in the median; not of times when hardly anybody comes."""
    telling = np.isfinite(day) & (middle >= 1.0)
    if not telling.any():
        return 1.0
    return float(np.clip(np.median(day[telling] / middle[telling]), 1 / MOST_LEVEL, MOST_LEVEL))


def holt_winters(roots: Series) -> Series:
    """Return what exponential smoothing with a season expects of the next day; needs statsmodels."""
    from statsmodels.tsa.holtwinters import ExponentialSmoothing  # noqa: PLC0415 - large, and may be missing

    days = _by_season(roots)
    if len(days) < 2:  # noqa: PLR2004 - one season says nothing about the next
        return usual(roots)
    filled = np.where(np.isfinite(days), days, _median(days)).reshape(-1)
    model = ExponentialSmoothing(
        filled, trend=None, seasonal="add", seasonal_periods=days.shape[1], initialization_method="heuristic"
    )
    next_day: Series = np.maximum(np.asarray(model.fit().forecast(DAY), np.float64), 0.0)
    return next_day


def _by_season(roots: Series) -> NDArray[np.float64]:
    """Return whole seasons, the last one at the end: weeks if two of them are known, else days."""
    season = WEEK if np.isfinite(roots[-2 * WEEK :]).sum() > LEAST_KNOWN * 2 * WEEK else DAY
    return roots[len(roots) % season :].reshape(-1, season)


def _median(days: NDArray[np.float64]) -> Series:
    """Return the median of each time of a season; of all times where it is not known."""
    filled = days.copy()
    filled[:, ~np.isfinite(days).any(axis=0)] = np.nanmedian(days)
    middle: Series = np.nanmedian(filled, axis=0)
    return middle
