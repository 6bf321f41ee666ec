"""Tables of clients that never were, and models made of them in a moment."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.features import BEHAVIOUR, FEATURES, NAMES, NETWORK
from models.scorer import Scorer
from models.training.imagination import BAD, KINDS
from models.training.table import Table, joined

if TYPE_CHECKING:
    from models.training.fit import Model

HONEST, ABUSIVE = "legitimate", "abusive"


def clients(
    tool: str,
    label: str = HONEST,
    split: str = "train",
    count: int = 10,
    looks: int = 2,
    seed: int = 1,
    **means: float,
) -> Table:
    """Return looks at clients of a tool whose features are near `means`; of others, those of what is asked for are
    at 0, as of who fetches certificates, and the rest at a quarter of its range. Networks are of no kind that is known.
    """
    source = np.random.default_rng(seed)
    rows = count * looks
    told = FEATURES[BEHAVIOUR]
    low, high = (np.array([getattr(each, end) for each in told]) for end in ("lowest", "highest"))
    usual = [0.0 if each.name in {*KINDS, *BAD} else (each.lowest + each.highest) / 4 for each in told]
    middle = np.array([means.get(each.name, value) for each, value in zip(told, usual, strict=True)])
    features = np.zeros((rows, len(NAMES)))
    features[:, BEHAVIOUR] = np.clip(middle + source.normal(0, 0.03, (rows, len(told))) * (high - low), low, high)
    features[:, NETWORK] = [means.get(name, 0.0) for name in NAMES[NETWORK]]

    def each(text: str) -> np.ndarray:
        return np.full(rows, text)

    numbers = np.repeat(np.arange(count), looks)
    return Table(
        np.array([f"{tool}-{number}" for number in numbers]), each(tool), each(label), each(label), each(split),
        each("shadow"), np.zeros(rows, np.int64), np.tile([8, 15, 30, 60, 120, 240][:looks], count),
        features.astype(np.float32),
    )  # fmt: skip


def world(seed: int = 1) -> Table:
    """Return two honest and two abusive tools for training, and one of each for tests; `order` tells them apart."""
    return joined(
        [
            clients("gpg refresh", seed=seed, order=0.05),
            clients("mail", seed=seed + 1, order=0.1),
            clients("walker", ABUSIVE, seed=seed + 2, order=0.95),
            clients("prober", ABUSIVE, seed=seed + 3, order=0.9, missed_share=0.9),
            clients("old gpg refresh", split="test", seed=seed + 4, order=0.07),
            clients("swarm", ABUSIVE, "test", seed=seed + 5, order=0.93),
        ]
    )


@functools.cache
def model(kind: str = "trees") -> Model:
    """Return trees, or a forest, of `world`."""
    pytest.importorskip("lightgbm")
    pytest.importorskip("onnx")
    from models.training import fit  # noqa: PLC0415 - the libraries may be missing

    inside = fit.for_training(world())
    return (fit.train_trees if kind == "trees" else fit.train_forest)(inside, fit.Origin(version="1"))


def written(made: Model, folder: Path) -> Path:
    """Return the file of a model in a folder."""
    from models.training.shipped import put  # noqa: PLC0415 - likewise

    return put(made, folder)


@functools.cache
def scorer(kind: str = "trees") -> Scorer:
    """Return one that is loaded."""
    with tempfile.TemporaryDirectory() as folder:
        return Scorer(written(model(kind), Path(folder)))
