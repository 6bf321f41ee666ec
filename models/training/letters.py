"""Trains the model of texts: which n-grams of letters injections have, and which a machine makes by chance.

A text without a bit of prose in it is easily told from prose, and prose is what most sets of injections have to be
told from. So the table has what looks like neither at first sight, and is harmless: names with apostrophes, comments
and key ids in user IDs, sentences of documentation, addresses with digits.

Weights are rounded to hundredths: what a sum of floats loses or gains on another processor is a millionth of that, so
the same table gives the same bytes.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from models.manifest import Calibration, Manifest
from models.scorer import INPUT
from models.text import FEATURES, KINDS, TEXT, VERSION, letters
from models.training.evaluation import area
from models.training.fit import Model, Origin, libraries
from models.training.graph import Graph
from models.training.table import TEST, TRAIN

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

WEIGHTS: Final = 4096
WIDTH: Final = 64  # bytes of a text that are looked at
FACTORS: Final = (40503, 30011, 12347)  # of the bytes of an n-gram; odd and unlike each other
SALTS: Final = (0, 1237, 2711)  # of n-grams of one, two and three bytes
STRENGTH: Final = 10.0  # of the data against the prior of small weights
SURE: Final = 3.0  # log-odds from which on something is said
FIELDS: Final = ("text", "split", "origin", *KINDS)


class Texts(NamedTuple):
    """Texts and what they are."""

    text: list[bytes]
    split: NDArray[np.str_]
    origin: NDArray[np.str_]
    labels: NDArray[np.bool_]  # shape (n, len(KINDS))

    def at(self, which: NDArray[np.bool_]) -> Texts:
        """Return some of them."""
        chosen = np.flatnonzero(which)
        return Texts([self.text[place] for place in chosen], self.split[which], self.origin[which], self.labels[which])


def grams(texts: list[bytes]) -> csr_matrix:
    """Return how often each hashed n-gram is in each text, over the root of how many there are; shape (n, WEIGHTS)."""
    from scipy.sparse import csr_matrix  # noqa: PLC0415 - only who trains needs it

    rows, columns = [], []
    seen = letters(texts).astype(np.int64)
    for length, salt in enumerate(SALTS, start=1):
        parts = [seen[:, start : seen.shape[1] - length + 1 + start] for start in range(length)]
        products = [part * factor for part, factor in zip(parts, FACTORS, strict=False)]
        place = np.add.reduce([*products, np.full_like(parts[0], salt)]) % WEIGHTS
        row, column = np.nonzero(parts[-1])
        rows.append(row)
        columns.append(place[row, column])
    row = np.concatenate(rows)
    weights = 1 / np.sqrt(np.maximum(np.bincount(row, minlength=len(texts)), 1))
    return csr_matrix((weights[row], (row, np.concatenate(columns))), (len(texts), WEIGHTS))


def train(texts: Texts, origin: Origin) -> Model:
    """Return the model of texts, measured on those that are for tests."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - only who trains needs it

    inside = texts.at(texts.split == TRAIN)
    features = grams(inside.text)
    weights, offsets = np.zeros((WEIGHTS, len(KINDS)), np.float32), np.zeros(len(KINDS), np.float32)
    for place in range(len(KINDS)):
        line = LogisticRegression(C=STRENGTH, tol=1e-8, max_iter=3000, class_weight="balanced")
        line.fit(features, inside.labels[:, place])
        weights[:, place], offsets[place] = line.coef_[0].round(2), line.intercept_[0].round(2)
    graph = to_onnx(weights, offsets)
    manifest = Manifest(
        name=TEXT,
        kind="text",
        version=origin.version,
        features_version=VERSION,
        features=FEATURES,
        medians=(0.0,),
        training_data=origin.data,
        licence=origin.licence,
        calibration=Calibration(looks=(1,), raw=(-30.0, 30.0), log_odds=((-30.0, 30.0),)),
        accuse=(SURE,),
        weight=0.0,
        metrics=measured(texts.at(texts.split == TEST), weights, offsets),
        made_with=libraries(),
        sha256=hashlib.sha256(graph).hexdigest(),
    )
    return Model(graph, manifest)


def measured(texts: Texts, weights: NDArray[np.float32], offsets: NDArray[np.float32]) -> dict[str, float]:
    """Return what a model makes of texts: for each kind the area under the ROC curve, hits and false alarms."""
    found = grams(texts.text) @ weights + offsets
    figures = {}
    for place, kind in enumerate(KINDS):
        labels, sure = texts.labels[:, place], found[:, place] >= SURE
        figures[f"{kind}_auc"] = round(area(found[:, place], labels), 4)
        figures[f"{kind}_found"] = round(float(sure[labels].mean()), 4)
        figures[f"{kind}_false"] = round(float(sure[~labels].mean()), 4)
    return figures


def to_onnx(weights: NDArray[np.float32], offsets: NDArray[np.float32]) -> bytes:
    """Return the graph: `features` uint8 (n, WIDTH), letters as `models.text.letters` has them, to float32 (n, 2)."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - likewise

    graph = Graph(
        "letters",
        weights=weights,
        offsets=offsets,
        size=np.array(WEIGHTS, np.int64),
        none=np.array(0, np.int64),
        one=np.array(1.0, np.float32),
        along=np.array([1], np.int64),
    )
    graph.node("Cast", [INPUT], "seen", to=TensorProto.INT64)
    sums, counts = zip(*(_grams_of(length, salt, graph) for length, salt in enumerate(SALTS, start=1)), strict=True)
    grams = graph.node("Max", [graph.node("Sum", counts, "grams"), "one"], "most")
    root = graph.node("Sqrt", [grams], "root")
    graph.node("Add", [graph.node("Div", [graph.node("Sum", sums, "all"), root], "mean"), "offsets"], "raw")
    return graph.written(
        helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [None, WIDTH]),
        helper.make_tensor_value_info("raw", TensorProto.FLOAT, [None, len(KINDS)]),
    )


def _grams_of(length: int, salt: int, graph: Graph) -> tuple[str, str]:
    """Add n-grams of one length; return where the sum of their weights is, and where their count."""
    from onnx import TensorProto  # noqa: PLC0415 - likewise

    total = graph.constant(f"salt{length}", np.array(salt, np.int64))
    for start in range(length):
        ends = [
            graph.constant(f"from{length}{start}", np.array([start], np.int64)),
            graph.constant(f"to{length}{start}", np.array([WIDTH - length + 1 + start], np.int64)),
        ]
        part = graph.node("Slice", ["seen", *ends, "along"], f"part{length}{start}")
        factor = graph.constant(f"factor{length}{start}", np.array(FACTORS[start], np.int64))
        product = graph.node("Mul", [part, factor], f"product{length}{start}")
        total = graph.node("Add", [total, product], f"total{length}{start}")
    place = graph.node("Mod", [total, "size"], f"place{length}")
    full = graph.node("Greater", [part, "none"], f"full{length}")
    there = graph.node("Cast", [full], f"there{length}", to=TensorProto.FLOAT)
    mask = graph.node("Unsqueeze", [there, graph.constant(f"last{length}", np.array([2], np.int64))], f"mask{length}")
    found = graph.node("Gather", ["weights", place], f"found{length}")
    weight = graph.node("Mul", [found, mask], f"weight{length}")
    total_weight = graph.node("ReduceSum", [weight, "along"], f"sum{length}", keepdims=0)
    return total_weight, graph.node("ReduceSum", [there, "along"], f"count{length}", keepdims=1)


def write(rows: list[tuple[str, ...]], path: Path) -> None:
    """Write a table of texts; rows as FIELDS."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(FIELDS)
    out.writerows(rows)
    path.write_bytes(gzip.compress(text.getvalue().encode("utf-8", "surrogateescape"), mtime=0))


def read(path: Path) -> Texts:
    """Return a table of texts that was written; ValueError if it is none."""
    with gzip.open(path, "rt", encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = csv.reader(file)
        if tuple(next(rows, [])) != FIELDS:
            raise ValueError(f"{path} is no table of texts")
        text, split, origin, *labels = zip(*rows, strict=True)
    return Texts(
        [each.encode("utf-8", "surrogateescape") for each in text],
        np.array(split),
        np.array(origin),
        np.array(labels).T == "1",
    )
