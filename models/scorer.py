"""Scores features with a model: log-odds that a client is an abuser, and what they come from.

    features float32 (n, k) -> ONNX graph, raw -> calibration of the manifest -> log-odds float64 (n,)

The graph gives raw scores; what these mean is in the manifest, where it can be read, and set anew for a site without
another graph. One thread and small batches: scoring shares a core with whatever else the analyst does, and a batch
of 512 takes about a millisecond.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.features import NAMES, VERSION
from models.manifest import BadModel, load

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from models.manifest import Calibration, Manifest

    Features = NDArray[np.float32]
    Figures = NDArray[np.float64]
    Counts = NDArray[np.integer]

BATCH: Final = 512
SHIPPED: Final = Path(__file__).parent / "data"
MAIN, SECOND = "abuse-trees", "abuse-forest"
INPUT: Final = "features"
_ERRORS_ONLY: Final = 3


class Reason(NamedTuple):
    """One feature of a client, and how much of its log-odds comes from it."""

    name: str
    value: float
    usual: float  # its median in training
    contribution: float  # how much lower the log-odds were, if the value were the usual one


class Scorer:
    """One model that was found good.

    Attributes:
        manifest: What is known of it.

    """

    def __init__(self, path: Path) -> None:
        """Load a model and the manifest beside it.

        Raises:
            BadModel: Either is not what it should be.

        """
        model, self.manifest = load(path, NAMES, VERSION)
        self._run = runner(path, model, np.zeros((2, len(NAMES)), np.float32))
        self._batch = np.zeros((BATCH, len(NAMES)), np.float32)
        self._medians = np.array(self.manifest.medians, np.float32)

    def score(self, features: Features, requests: Counts) -> Figures:
        """Return the log-odds of clients.

        Args:
            features: `models.features.compute`, shape (n, k).
            requests: How many requests each row was made of, shape (n,).

        """
        return log_odds(self.manifest.calibration, self.raw(features), requests)

    def raw(self, features: Features) -> Figures:
        """Return raw scores, shape (n,)."""
        scores = np.empty(len(features), np.float64)
        for start in range(0, len(features), BATCH):
            part = features[start : start + BATCH]
            batch = self._batch[: len(part)]  # whole, in one piece and of one type, whatever is handed in
            batch[:] = part
            scores[start : start + BATCH] = self._run(batch)[:, 0]
        return scores

    def explain(self, features: Features, requests: int, most: int = 3) -> list[Reason]:
        """Return the features of one client that speak most for abuse, the weightiest first.

        Each is what the log-odds lose if that feature alone had its usual value (occlusion). What two features show
        together may so count for neither.

        Args:
            features: Of one client, shape (k,).
            requests: How many they were made of.
            most: How many features.

        """
        changed = np.repeat(features[None, :], len(features) + 1, axis=0)
        changed[np.arange(len(features)), np.arange(len(features))] = self._medians
        found = self.score(changed, np.full(len(changed), requests))
        lost = found[-1] - found[:-1]
        order = np.argsort(-lost, kind="stable")[:most]
        return [
            Reason(NAMES[place], float(features[place]), float(self._medians[place]), float(lost[place]))
            for place in order
            if lost[place] > 0
        ]


def log_odds(calibration: Calibration, raw: Figures, requests: Counts) -> Figures:
    """Return what raw scores of clients with so many requests mean."""
    rows = rows_of(calibration, requests)
    found = np.empty(len(raw), np.float64)
    for row in np.unique(rows):
        these = rows == row
        found[these] = np.interp(raw[these], calibration.raw, calibration.log_odds[row])
    return found


def bounds(manifest: Manifest, requests: Counts) -> Figures:
    """Return from which log-odds on clients with so many requests are accused."""
    return np.array(manifest.accuse)[rows_of(manifest.calibration, requests)]


def rows_of(calibration: Calibration, requests: Counts) -> NDArray[np.intp]:
    """Return which of the looks of a calibration clients with so many requests are at."""
    return np.maximum(np.searchsorted(calibration.looks, requests, side="right") - 1, 0)


def runner(path: Path, model: bytes, sample: NDArray[np.generic]) -> Callable[[NDArray[np.generic]], Figures]:
    """Return what runs a graph of one input and one output, once it was seen to give numbers for a sample.

    Raises:
        BadModel: The graph cannot be loaded, or gives anything but a finite number for each output of each row.

    """
    import onnxruntime as ort  # noqa: PLC0415 - checking settings must not load it: workers are forks of who does

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = _ERRORS_ONLY
    options.enable_mem_pattern = False  # batches have several sizes
    try:
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        def run(batch: NDArray[np.generic]) -> Figures:
            [found] = session.run(None, {INPUT: batch})
            return found  # type: ignore[no-any-return]  # onnxruntime has no types

        answer = run(sample)
    except Exception as error:  # noqa: BLE001 - onnxruntime has an exception for each way to be damaged
        raise BadModel(f"{path}: {type(error).__name__}: {str(error)[:200]}") from None
    if answer.ndim != 2 or len(answer) != len(sample) or not np.isfinite(answer).all():  # noqa: PLR2004 - a matrix
        raise BadModel(f"{path}: gives {answer.shape} for {len(sample)} rows, or what is no number")
    return run
