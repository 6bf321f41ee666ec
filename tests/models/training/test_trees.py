"""ONNX trees give what the trees give that they were made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.features import BEHAVIOUR, NAMES
from models.scorer import runner
from tests.models.models_for_tests import HONEST, clients, world

pytest.importorskip("lightgbm")
pytest.importorskip("sklearn")
pytest.importorskip("onnx")

from models.training import fit
from models.training.trees import at_most, expected_depth, of_forest, of_lightgbm, to_onnx


def rows(count: int = 500) -> np.ndarray:
    """Return features around those of the training, exactly at thresholds among them."""
    features = world().features
    source = np.random.default_rng(3)
    chosen = features[source.integers(0, len(features), count)]
    return np.where(source.random(chosen.shape) < 0.3, source.permutation(chosen), chosen).astype(np.float32)


def raw(graph: bytes, features: np.ndarray) -> np.ndarray:
    """Run a graph."""
    return runner(Path("graph"), graph, features[:2])(features)[:, 0]


def test_lightgbm() -> None:
    """The graph of LightGBM's trees gives its raw scores."""
    booster = fit.grown(fit.for_training(world()))
    found = raw(to_onnx(of_lightgbm(booster), len(NAMES)), rows())
    assert found == pytest.approx(booster.predict(rows()[:, BEHAVIOUR], raw_score=True), abs=1e-5)


def test_forest() -> None:
    """The graph of an isolation forest gives the logarithm of its score, which orders clients in the same way."""
    forest = fit.isolated(world())
    found = raw(to_onnx(of_forest(forest), len(NAMES)), rows())
    assert 2**found == pytest.approx(-forest.score_samples(rows()[:, BEHAVIOUR]), abs=1e-6)


@pytest.mark.parametrize("threshold", [0.1, 1 / 3, 1e-35, -7.3, 2.0, 16777217.0])
def test_thresholds(threshold: float) -> None:
    """A float32 goes the same way by the rounded threshold: it is never above the true one, and the next one is."""
    rounded = at_most(threshold)
    assert rounded <= threshold < float(np.nextafter(np.float32(rounded), np.float32(np.inf)))


@pytest.mark.parametrize(("samples", "depth"), [(0, 0.0), (1, 0.0), (2, 1.0), (256, 10.2448)])
def test_expected_depth(samples: float, depth: float) -> None:
    """The mean depth of a tree is that of the paper (c(256) = 10.24)."""
    assert expected_depth(samples) == pytest.approx(depth, abs=1e-3)


def test_one_leaf() -> None:
    """Trees that found nothing to split are leaves, and their graph runs."""
    same = clients("same", HONEST, count=3)._replace(features=np.ones((6, len(NAMES)), np.float32))
    found = raw(to_onnx(of_forest(fit.isolated(same)), len(NAMES)), rows())
    assert len(np.unique(found)) == 1


def test_the_same_bytes() -> None:
    """The same table gives the same graph, to the byte."""
    inside = fit.for_training(world())
    first, second = (fit.train_trees(inside, fit.Origin(version="1")) for _ in range(2))
    assert first == second
    third, fourth = (fit.train_forest(inside, fit.Origin(version="1")) for _ in range(2))
    assert third == fourth
