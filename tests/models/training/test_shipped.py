"""What is shipped is made of the tables beside it, to the byte, and is as good as its documents say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.manifest import read_manifest
from models.scorer import MAIN, SHIPPED, Scorer
from models.training import table
from models.training.table import TEST

pytest.importorskip("lightgbm")
pytest.importorskip("onnx")
pytest.importorskip("sklearn")

from models.training import evaluation, fit, shipped

if TYPE_CHECKING:
    from pathlib import Path


def test_made_again(tmp_path: Path) -> None:
    """`make train` gives the shipped models and manifests, bit for bit, with the libraries that they were made with."""
    known = read_manifest(SHIPPED / f"{MAIN}.onnx").made_with
    if known != fit.libraries():
        pytest.skip(f"shipped models were made with {known}, here are {fit.libraries()}")
    for model in shipped.train(tmp_path):
        for name in (f"{model.manifest.name}.onnx", f"{model.manifest.name}.json"):
            assert (tmp_path / name).read_bytes() == (SHIPPED / name).read_bytes(), name


def test_no_honest_client_is_accused() -> None:
    """Of the recorded honest clients, those of tools that were not in training as well, the model accuses none."""
    looks = table.read(shipped.FEATURES)
    rows = evaluation.by_tool(Scorer(SHIPPED / f"{MAIN}.onnx"), looks)
    assert [row for row in rows if row.found and not row.abusive] == []


def test_splits() -> None:
    """No tool is both in training and in tests, and both have honest and abusive ones."""
    looks = table.read(shipped.FEATURES)
    test = looks.split == TEST
    assert not set(looks.tool[test]) & set(looks.tool[~test])
    for part in (looks.at(test), looks.at(~test)):
        assert part.abusive.any()
        assert not part.abusive.all()
    assert shipped.FEATURES.stat().st_size < 1_000_000
    assert np.isfinite(looks.features).all()
