"""Log-odds that say no more than is known, and a bound that spares the honest."""

from __future__ import annotations

import numpy as np
import pytest

from models.scorer import log_odds
from models.training.calibration import FROM, MARGIN, MOST, Looks, accusation, calibrate


def looks(count: int, *, apart: float = 3.0, seed: int = 1) -> Looks:
    """Return one look at each of so many clients of either kind; raw scores are `apart` deviations from each other."""
    source = np.random.default_rng(seed)
    abusive = np.arange(2 * count) >= count
    raw = source.normal(0, 1, 2 * count) + np.where(abusive, apart / 2, -apart / 2)
    return Looks(raw, np.full(2 * count, 60), np.arange(2 * count), abusive, np.ones(2 * count))


def test_true_log_odds() -> None:
    """Of two normal distributions the log-odds are found that are known: `apart` times the raw score."""
    made = looks(20_000)
    scale = calibrate(made)
    assert log_odds(scale, np.array([-1.0, 0.0, 1.0]), np.array([60] * 3)) == pytest.approx([-3.0, 0.0, 3.0], abs=0.2)


@pytest.mark.parametrize("count", [5, 50, 500])
def test_no_surer_than_there_are_clients(count: int) -> None:
    """Clients that are wholly apart make it no surer than their number allows."""
    made = looks(count, apart=20)
    highest = log_odds(calibrate(made), made.raw, made.requests).max()
    assert highest < np.log(count + 2) + 1.5


def test_never_out_of_range() -> None:
    """Log-odds stay within what evidence may have."""
    scale = calibrate(looks(500, apart=40))
    assert max(map(max, scale.log_odds)) <= MOST
    assert min(map(min, scale.log_odds)) >= -MOST


def test_the_bound_spares_the_honest() -> None:
    """The bound is above the honest client that scores highest; one of a thousand does not raise it, but one who
    refreshes does.
    """
    nobody = np.zeros(200, np.bool_)
    made = looks(100, apart=8)
    scale = calibrate(made)
    worst = log_odds(scale, made.raw, made.requests)[~made.abusive].max()
    assert accusation(scale, made, nobody).bounds[-1] == pytest.approx(worst + MARGIN, abs=1e-3)
    many = looks(1001, apart=8)
    raw = many.raw.copy()
    raw[0] = 4.0
    scale, strange = calibrate(many), many._replace(raw=raw)
    scores = np.sort(log_odds(scale, raw, many.requests)[~many.abusive])
    refreshing = np.arange(len(raw)) == 0
    assert accusation(scale, strange, np.zeros(len(raw), np.bool_)).bounds[-1] == pytest.approx(
        scores[-2] + MARGIN, abs=1e-3
    )
    assert accusation(scale, strange, refreshing).bounds[-1] == pytest.approx(scores[-1] + MARGIN, abs=1e-3)


def test_a_bound_for_each_line() -> None:
    """Who made few requests has a bound of his own; where nobody honest was recorded nobody is accused."""
    made = looks(100, apart=8)
    early = np.arange(200) % 2 == 0
    both = made._replace(requests=np.where(early, 8, 60), raw=made.raw + np.where(early & ~made.abusive, 2.0, 0.0))
    scale = calibrate(both)
    found = log_odds(scale, both.raw, both.requests)
    bounds = accusation(scale, both, np.zeros(200, np.bool_)).bounds
    assert bounds[0] == pytest.approx(found[early & ~made.abusive].max() + MARGIN, abs=1e-3)
    assert bounds[1] == MOST
    assert bounds[2] == pytest.approx(found[~early & ~made.abusive].max() + MARGIN, abs=1e-3)


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_weight(count: int) -> None:
    """To be accused weighs as much as there are honest clients of whom none is."""
    made = looks(count, apart=20)
    assert accusation(calibrate(made), made, ~made.abusive).weight == pytest.approx(np.log(count + 2), abs=0.2)


def test_one_kind_only() -> None:
    """Looks of one kind teach nothing, and break nothing."""
    made = looks(10)
    few = made._replace(requests=np.where(made.abusive, 8, 60))
    assert len(calibrate(few).log_odds) == len(FROM)
