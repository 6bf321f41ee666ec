"""Ensembles of trees as ONNX: one TreeEnsembleRegressor node, whoever has grown them.

Converters write an isolation forest as a graph of hundreds of nodes, which takes 800 us for one row. As one node it
takes 7 us, and the sum over the leaves is the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.scorer import INPUT
from models.training.graph import written

if TYPE_CHECKING:
    from collections.abc import Mapping

    import lightgbm
    from sklearn.ensemble import IsolationForest

LEAF: Final = -1


@dataclass(slots=True)
class Ensemble:
    """Trees whose leaves add up; node by node, a tree after the other.

    A row goes left where its value is at most the threshold.
    """

    tree: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)  # its number within the tree, from 0
    feature: list[int] = field(default_factory=list)  # LEAF: it is a leaf
    threshold: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)  # of a leaf

    def add(self, tree: int, feature: int, threshold: float, value: float) -> int:
        """Add a node without children; return its place among all."""
        number = self.node[-1] + 1 if self.tree and self.tree[-1] == tree else 0
        row = (tree, number, feature, threshold, 0, 0, value)
        columns = (self.tree, self.node, self.feature, self.threshold, self.left, self.right, self.value)
        for column, item in zip(columns, row, strict=True):
            column.append(item)  # type: ignore[attr-defined]  # a list each
        return len(self.node) - 1


def of_lightgbm(model: lightgbm.Booster) -> Ensemble:
    """Return the trees of LightGBM; their sum is its raw score."""
    ensemble = Ensemble()
    for number, tree in enumerate(model.dump_model()["tree_info"]):
        _grow(ensemble, number, tree["tree_structure"])
    return ensemble


def _grow(ensemble: Ensemble, tree: int, node: Mapping[str, Any]) -> int:
    """Add a node and what is below it; return its number."""
    if "leaf_value" in node:
        return ensemble.node[ensemble.add(tree, LEAF, 0.0, node["leaf_value"])]
    place = ensemble.add(tree, node["split_feature"], at_most(node["threshold"]), 0.0)
    ensemble.left[place] = _grow(ensemble, tree, node["left_child"])
    ensemble.right[place] = _grow(ensemble, tree, node["right_child"])
    return ensemble.node[place]


def of_forest(forest: IsolationForest) -> Ensemble:
    """Return the trees of an isolation forest; their sum is its score: near 1 for who is unlike all others, 0.5 usual.

    What it scores is 2 ** -(mean depth / expected depth). The graph gives the exponent, which rises with the score and
    adds up over leaves; a calibration takes either.
    """
    ensemble = Ensemble()
    usual = len(forest.estimators_) * expected_depth(float(forest.max_samples_))
    for number, (estimator, features) in enumerate(zip(forest.estimators_, forest.estimators_features_, strict=True)):
        tree = estimator.tree_
        depths = _depths(tree.children_left, tree.children_right)
        places = []
        for node, feature in enumerate(tree.feature):
            leaf = tree.children_left[node] == LEAF
            depth = depths[node] + expected_depth(float(tree.n_node_samples[node]))
            places.append(
                ensemble.add(
                    number,
                    LEAF if leaf else int(features[feature]),
                    0.0 if leaf else at_most(float(tree.threshold[node])),
                    -depth / usual if leaf else 0.0,
                )
            )
        for node, place in enumerate(places):
            ensemble.left[place] = max(0, int(tree.children_left[node]))
            ensemble.right[place] = max(0, int(tree.children_right[node]))
    return ensemble


def _depths(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> list[int]:
    """Return how many splits are above each node; children come after their parents."""
    depths = [0] * len(left)
    for node in range(len(left)):
        for child in (left[node], right[node]):
            if child != LEAF:
                depths[child] = depths[node] + 1
    return depths


def expected_depth(samples: float) -> float:
    """Return the mean depth of a tree of so many samples that are split by chance: c(n) of Liu et al., 2008."""
    if samples <= 1:
        return 0.0
    if samples <= 2:  # noqa: PLR2004 - two are parted by one split
        return 1.0
    return 2 * (float(np.log(samples - 1)) + float(np.euler_gamma)) - 2 * (samples - 1) / samples


def at_most(threshold: float) -> float:
    """Return the greatest float32 that is not above a threshold: float32 values go the same way by either."""
    rounded = np.float32(threshold)
    if float(rounded) > threshold:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return float(rounded)


def to_onnx(ensemble: Ensemble, features: int) -> bytes:
    """Return the graph: `features` float32 (n, k) to `raw` float32 (n, 1). The same trees give the same bytes."""
    from onnx import TensorProto, helper  # noqa: PLC0415 - only who trains needs it

    leaf = [feature == LEAF for feature in ensemble.feature]
    leaves = [place for place, is_leaf in enumerate(leaf) if is_leaf]
    node = helper.make_node(
        "TreeEnsembleRegressor",
        [INPUT],
        ["raw"],
        domain="ai.onnx.ml",
        n_targets=1,
        aggregate_function="SUM",
        nodes_treeids=ensemble.tree,
        nodes_nodeids=ensemble.node,
        nodes_featureids=[max(0, feature) for feature in ensemble.feature],
        nodes_modes=["LEAF" if is_leaf else "BRANCH_LEQ" for is_leaf in leaf],
        nodes_values=ensemble.threshold,
        nodes_truenodeids=ensemble.left,
        nodes_falsenodeids=ensemble.right,
        target_treeids=[ensemble.tree[place] for place in leaves],
        target_nodeids=[ensemble.node[place] for place in leaves],
        target_ids=[0] * len(leaves),
        target_weights=[ensemble.value[place] for place in leaves],
    )
    graph = helper.make_graph(
        [node],
        "trees",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, [None, features])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, [None, 1])],
    )
    return written(graph)
