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
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from models.manifest import Calibration, Manifest
from models.scorer import INPUT
from models.text import FEATURES, KINDS, TEXT, VERSION, letters
from models.training.evaluation import area
from models.training.fit import Model, Origin, libraries
from models.training.table import TEST, TRAIN
from models.training.trees import written

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

WEIGHTS: Final = 4096
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
    """Return the graph: `features` uint8 (n, 64), letters as `models.text.letters` has them, to float32 (n, 2)."""
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415 - likewise

    width = 64
    nodes: list[Any] = []
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "offsets": offsets,
        "size": np.array(WEIGHTS, np.int64),
        "none": np.array(0, np.int64),
        "one": np.array(1.0, np.float32),
        "along": np.array([1], np.int64),
    }

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:  # noqa: ANN401 - as onnx has it
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(name: str, value: NDArray[Any]) -> str:
        constants[name] = value
        return name

    node("Cast", [INPUT], "seen", to=TensorProto.INT64)
    sums, counts = [], []
    for length, salt in enumerate(SALTS, start=1):
        total = constant(f"salt{length}", np.array(salt, np.int64))
        for start in range(length):
            ends = [constant(f"{name}{length}{start}", np.array([value], np.int64))
                    for name, value in (("from", start), ("to", width - length + 1 + start))]  # fmt: skip
            part = node("Slice", ["seen", *ends, "along"], f"part{length}{start}")
            factor = constant(f"factor{length}{start}", np.array(FACTORS[start], np.int64))
            product = node("Mul", [part, factor], f"product{length}{start}")
            total = node("Add", [total, product], f"total{length}{start}")
        place = node("Mod", [total, "size"], f"place{length}")
        there = node("Cast", [node("Greater", [part, "none"], f"full{length}")], f"there{length}", to=TensorProto.FLOAT)
        mask = node("Unsqueeze", [there, constant(f"last{length}", np.array([2], np.int64))], f"mask{length}")
        weight = node("Mul", [node("Gather", ["weights", place], f"found{length}"), mask], f"weight{length}")
        sums.append(node("ReduceSum", [weight, "along"], f"sum{length}", keepdims=0))
        counts.append(node("ReduceSum", [there, "along"], f"count{length}", keepdims=1))
    node("Sqrt", [node("Max", [node("Sum", counts, "grams"), "one"], "most")], "root")
    node("Add", [node("Div", [node("Sum", sums, "all"), "root"], "mean"), "offsets"], "raw")
    graph = helper.make_graph(
        nodes,
        "letters",
        [helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [None, width])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, [None, len(KINDS)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return written(graph)


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
