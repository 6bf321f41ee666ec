"""The operator's own model comes first, and the last good one stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from models.manifest import BadModel
from models.scorer import MAIN, Scorer
from models.shelf import Shelf
from models.training.fit import Model
from tests.models.models_for_tests import model, written

if TYPE_CHECKING:
    from pathlib import Path


def put(folder: Path, version: str) -> Path:
    """Put a model of a version into a folder; its time is its version's."""
    folder.mkdir(exist_ok=True)
    made = model()
    path = written(Model(made.graph, made.manifest.model_copy(update={"version": version})), folder)
    for file in (path, path.with_suffix(".json")):
        os.utime(file, (int(version), int(version)))
    return path


def shelf(*folders: Path) -> Shelf[Scorer]:
    """Return a shelf of these folders."""
    return Shelf(MAIN, folders, Scorer)


def test_own_first(tmp_path: Path) -> None:
    """The first folder that has a good model gives it; one that appears later is taken at the next look."""
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    put(shipped, "1")
    found = shelf(own, shipped)
    assert found.model.manifest.version == "1"
    assert not found.refresh()
    put(own, "2")
    assert found.refresh()
    assert (found.model.manifest.version, found.problem) == ("2", "")
    assert shelf(own, shipped).model.manifest.version == "2"


def test_a_damaged_one_changes_nothing(tmp_path: Path) -> None:
    """While the own model is damaged the last good one stays, the problem is told, and it ends with the damage."""
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    put(shipped, "1")
    path = put(own, "2")
    found = shelf(own, shipped)
    path.write_bytes(b"damaged")
    assert not found.refresh()
    assert found.model.manifest.version == "2"
    assert "SHA-256" in found.problem
    put(own, "3")
    assert found.refresh()
    assert (found.model.manifest.version, found.problem) == ("3", "")


def test_a_damaged_one_at_start(tmp_path: Path) -> None:
    """At start the shipped model stands in for one that is damaged; without any good one there is an error."""
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    put(shipped, "1")
    put(own, "2").with_suffix(".json").unlink()
    found = shelf(own, shipped)
    assert found.model.manifest.version == "1"
    assert "No such file" in found.problem
    with pytest.raises(BadModel, match="No such file"):
        shelf(own)
    with pytest.raises(BadModel, match="no abuse-trees"):
        shelf(tmp_path)


def test_it_goes_back(tmp_path: Path) -> None:
    """Who removes his own model has the shipped one again."""
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    put(shipped, "1")
    path = put(own, "2")
    found = shelf(own, shipped)
    path.unlink()
    assert found.refresh()
    assert found.model.manifest.version == "1"
