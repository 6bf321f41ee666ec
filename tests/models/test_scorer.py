"""Scores are those of the trainer, in batches of any size, and are explained by what makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.features import FEATURES, NAMES
from models.manifest import Calibration
from models.scorer import BATCH, log_odds
from tests.models.models_for_tests import scorer, world

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORDER = NAMES.index("order")


def drawn(count: int, seed: int = 1) -> NDArray[np.float32]:
    """Return features from all over their ranges."""
    low, high = (np.array([getattr(each, end) for each in FEATURES]) for end in ("lowest", "highest"))
    return np.random.default_rng(seed).uniform(low, high, (count, len(NAMES))).astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, 2 * BATCH + 3])
def test_batches(count: int) -> None:
    """A row has the same score alone as among others, however they are laid out in memory."""
    features = drawn(count)
    together = scorer().raw(features)
    assert len(together) == count
    assert np.array_equal(scorer().raw(np.asfortranarray(features.astype(np.float64))), together)
    for place in range(0, count, max(1, count // 5)):
        assert scorer().raw(features[place : place + 1]) == pytest.approx(together[place], abs=1e-6)


def test_explanation() -> None:
    """The feature that tells the sorted walkers from the others is the first that is named, with its usual value."""
    walker = world().features[world().tool == "swarm"][0]
    [first, *_] = scorer().explain(walker, 60)
    assert first.name == "order"
    assert first.value == pytest.approx(walker[ORDER])
    assert first.usual == pytest.approx(scorer().manifest.medians[ORDER]) != 0.0
    assert first.value > 0.8
    assert first.contribution > 0.1
    assert scorer().explain(np.array(scorer().manifest.medians, np.float32), 60) == []


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_more_probing_never_looks_better(seed: int) -> None:
    """Whatever else a client does, a higher value of a feature that may only rise never lowers its score."""
    from models.training.fit import RISING  # noqa: PLC0415 - its libraries may be missing

    features = drawn(1, seed)
    for name in sorted(RISING):
        place = NAMES.index(name)
        more = np.repeat(features, 12, axis=0)
        more[:, place] = np.linspace(FEATURES[place].lowest, FEATURES[place].highest, 12)
        scores = scorer().score(more, np.full(12, 60))
        assert (np.diff(scores) >= -1e-5).all(), name


def test_calibration_by_requests() -> None:
    """Between knots it is a straight line, outside it is level, and the row is that of the last look."""
    scale = Calibration(looks=(8, 30), raw=(0.0, 2.0), log_odds=((0.0, 2.0), (-4.0, 4.0)))
    raw = np.array([-9.0, 1.0, 9.0, -9.0, 1.0, 9.0, 1.5])
    found = log_odds(scale, raw, np.array([8, 29, 15, 30, 480, 60, 3]))
    assert found.tolist() == [0.0, 1.0, 2.0, -4.0, 0.0, 4.0, 1.5]
