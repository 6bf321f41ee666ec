"""The models that are shipped, and what they are made of: tables in, models and manifests out, beside each other.

Models are in the repository as ONNX files of less than 200 KB, not as a dump that is made into ONNX at start: so the
guard needs neither a converter nor a library for training, what runs is what was measured, to the byte, and an
operator's own models are files of the same kind. That they are made of the tables, and of nothing else, is tested by
making them again.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Final

from models.manifest import MANIFEST_ENDING, MODEL_ENDING, text_of
from models.scorer import MAIN, SHIPPED, Scorer
from models.training import evaluation, fit, letters, table, validation
from models.training.table import TEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from models.training.fit import Model
    from models.training.table import Table

FEATURES: Final = SHIPPED / "features.csv.gz"
TEXTS: Final = SHIPPED / "texts.csv.gz"
TEXTS_FROM: Final = "Made-up names, strings drawn by chance, hkpguard's documentation, injections of HttpParams"
TEXTS_LICENCE: Final = "MIT, as hkpguard; MIT, Copyright (c) 2016 Morzeux (HttpParams)"


def train(folder: Path = SHIPPED) -> list[Model]:
    """Make all models of the shipped tables and write them to a folder."""
    looks = table.read(FEATURES)
    origin = fit.Origin(version=version_of(FEATURES))
    inside = fit.for_training(looks)
    of_texts = fit.Origin(version=version_of(TEXTS), data=TEXTS_FROM, licence=TEXTS_LICENCE)
    models = [
        measured(fit.train_trees(inside, origin), looks, folder),
        measured(fit.train_forest(inside, origin), looks, folder),
        letters.train(letters.read(TEXTS), of_texts),
    ]
    for model in models:
        put(model, folder)
    return models


def version_of(path: Path) -> str:
    """Return a version: it changes with the table, and with nothing else."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:8]


def measured(model: Model, looks: Table, folder: Path) -> Model:
    """Return a model with what it is worth on tools that it has not seen."""
    scorer = Scorer(put(model, folder))
    found = evaluation.metrics(scorer, looks.at(looks.split == TEST))
    return fit.Model(model.graph, model.manifest.model_copy(update={"metrics": found}))


def put(model: Model, folder: Path) -> Path:
    """Write a model and its manifest, each at once; who looks in between finds that they do not fit, and waits."""
    path = folder / (model.manifest.name + MODEL_ENDING)
    _replace(path, model.graph)
    _replace(path.with_suffix(MANIFEST_ENDING), text_of(model.manifest).encode())
    return path


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def report(folder: Path = SHIPPED) -> Iterator[str]:
    """Yield what the main model finds and misses, tool by tool, in Markdown."""
    looks = table.read(FEATURES)
    scorer = Scorer(folder / (MAIN + MODEL_ENDING))
    yield f"{scorer.manifest.name} {scorer.manifest.version}, accuses from log-odds {scorer.manifest.accuse}"
    for split in (TEST, table.TRAIN):
        part = looks.at(looks.split == split)
        yield ""
        yield evaluation.markdown([*evaluation.overall(scorer, part), *evaluation.by_tool(scorer, part)])


def validation_report() -> Iterator[str]:
    """Yield what becomes of tools that were left out, a table for each way to deal them out."""
    for number, rows in enumerate(validation.validated(fit.for_training(table.read(FEATURES))), 1):
        yield f"tools for training, each left out with some others: {number} of {len(validation.SEEDS)}"
        yield ""
        yield evaluation.markdown(rows)
        yield ""
