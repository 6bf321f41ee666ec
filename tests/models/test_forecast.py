"""What is forecast, of which days, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.forecast import NOTHING, forecast, holt_winters, usual
from models.load_history import BINS, DAY, WEEK

if TYPE_CHECKING:
    from numpy.typing import NDArray


def rates(days: int, *, weekend: float = 1.0, growth: float = 1.0) -> NDArray[np.float64]:
    """Return the mean of each bin: quiet at night, busy at noon."""
    times = np.arange(days * DAY)
    of_day = 30 * (1 - 0.8 * np.cos(2 * np.pi * times / DAY))
    return of_day * np.where(times // DAY % 7 >= 5, weekend, 1.0) * growth ** (times / DAY)


def known(counts: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return a history that ends with these counts."""
    series = np.full(BINS, np.nan, np.float32)
    series[BINS - len(counts) :] = counts
    return series


@pytest.mark.parametrize(
    ("days", "weekend"),
    [(2, 1.0), (3, 1.0), (9, 1.0), (20, 0.3), (27, 0.3)],
)
def test_next_day_lies_within_the_interval(days: int, weekend: float) -> None:
    """Nearly all counts of the next day, weekday or weekend, are between the bounds, and the bounds are near."""
    draw = np.random.default_rng(days)
    counts = draw.poisson(rates(days + 1, weekend=weekend)).astype(np.float64)
    made = forecast(known(counts[: days * DAY]), (usual,))
    next_day, mean = counts[days * DAY :], rates(days + 1, weekend=weekend)[days * DAY :]
    assert np.mean((made.low <= next_day) & (next_day <= made.high)) > 0.98
    assert np.sqrt(np.mean((np.sqrt(made.middle) - np.sqrt(mean)) ** 2)) < 0.6
    assert (made.high < 4 * mean + 20).all()


def test_flood_is_above_it() -> None:
    """Five times the usual load is above the interval at every time of the day."""
    counts = np.random.default_rng(1).poisson(rates(15)).astype(np.float64)
    made = forecast(known(counts[: 14 * DAY]), (usual,))
    assert (5 * rates(15)[14 * DAY :] + 20 > made.high).all()


def test_level_of_the_last_day_counts() -> None:
    """A site that has grown is not held against what it was three weeks ago."""
    made = forecast(known(rates(21, growth=1.02)), (usual,))
    assert made.middle.mean() > 0.8 * rates(22, growth=1.02)[-DAY:].mean()


@pytest.mark.parametrize("counts", [np.empty(0), rates(1), np.concatenate([rates(1), np.full(DAY, np.nan)])])
def test_nothing_is_said_of_too_little(counts: NDArray[np.float64]) -> None:
    """Less than half of each of the last two days is known: no forecast."""
    assert forecast(known(counts), (usual,)) is NOTHING


def test_gaps_and_one_bad_day_do_little() -> None:
    """Hours that were not measured, and an attack of three hours, leave the forecast nearly as it is."""
    counts = rates(14)
    spoilt = counts.copy()
    spoilt[5 * DAY : 5 * DAY + 36] *= 50
    spoilt[6 * DAY : 6 * DAY + 100] = np.nan
    clean, made = (forecast(known(each), (usual,)) for each in (counts, spoilt))
    np.testing.assert_allclose(made.middle, clean.middle, rtol=0.05)


def test_method_that_was_nearer_is_taken() -> None:
    """Of two methods the one is believed that would have been right yesterday; its error is the width."""

    def wrong(roots: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.full(DAY, roots[-1] + 100)

    counts = known(rates(14))
    for methods in ((wrong, usual), (usual, wrong)):
        np.testing.assert_array_equal(forecast(counts, methods).high, forecast(counts, (usual,)).high)


@pytest.mark.parametrize("days", [4, 21])
def test_holt_winters(days: int) -> None:
    """Exponential smoothing of statsmodels, where it is installed, follows the day as well."""
    pytest.importorskip("statsmodels")
    counts = np.random.default_rng(1).poisson(rates(days + 1)).astype(np.float64)
    made = forecast(known(counts[: days * DAY]), (holt_winters,))
    assert np.mean(counts[days * DAY :] <= made.high) > 0.97
    assert (made.high < 5 * rates(days + 1)[days * DAY :] + 30).all()


def test_week_is_the_season_once_two_are_known() -> None:
    """With 13 days a weekend comes as a surprise, with 14 it does not."""
    counts = rates(21, weekend=0.2)
    quiet = counts[19 * DAY : 20 * DAY].mean()
    made = forecast(known(counts[: 19 * DAY]), (usual,))
    assert WEEK < 19 * DAY
    assert made.middle.mean() < 2 * quiet
