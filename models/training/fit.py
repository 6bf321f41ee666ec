"""Fits the models for clients: the trees that accuse, and the forest that says who is unlike everybody.

The same table and the same libraries give the same bytes: one thread, fixed seeds, and LightGBM told to be
deterministic.

Who counts how much. A scraper that was looked at twelve times is not twelve scrapers, and a tool that was run a hundred
times is not a hundred tools. So honest and abusive looks weigh the same in sum, within each a tool by the root of how
many clients it has, within a tool the clients the same, within a client its looks.

What no recording shows is added to what trees are grown of (imagination.py). They are grown of behaviour alone; what
networks say comes to it (networks.py), and nothing to the forest, to which whatever is rare is unusual.

Several behind one address (table.SHARED) are learnt from, but neither what scores mean nor the bounds come from them:
nobody recorded them, and how many do the same thing within two hours was made up.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import numpy as np

from models.features import BEHAVIOUR, NAMES, VERSION
from models.manifest import Manifest
from models.scorer import MAIN, SECOND, log_odds
from models.training import networks
from models.training.calibration import Looks, accusation, calibrate
from models.training.imagination import imagined
from models.training.table import OWN, TEST
from models.training.trees import of_forest, of_lightgbm, to_onnx

if TYPE_CHECKING:
    from collections.abc import Iterator

    import lightgbm
    from numpy.typing import NDArray
    from sklearn.ensemble import IsolationForest

    from models.manifest import Kind
    from models.training.table import Table

    Figures = NDArray[np.float64]
    Flags = NDArray[np.bool_]

SEED: Final = 5
FOLDS: Final = 8
ROUNDS: Final = 60
RISING: Final = frozenset(
    {
        "unknown_share", "malformed_share", "unfinished_share", "odd_method_share", "missed_share", "domain_share",
        "same_domain_share", "odd_text_share", "order", "nearness",
    }
)  # fmt: skip
"""What makes nobody look better, however much he does of it: probing, guessing, breaking off, and sorted lists."""
TREES: Final = {
    "objective": "binary",
    "num_leaves": 15,
    "learning_rate": 0.1,
    "min_data_in_leaf": 150,  # of looks that each are there imagination.COPIES times
    "lambda_l2": 0.3,  # a tool that was run eight times has to be heard
    "feature_fraction": 0.7,
    "monotone_constraints": [int(name in RISING) for name in NAMES[BEHAVIOUR]],
    "monotone_constraints_method": "advanced",
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "seed": SEED,
    "verbosity": -1,
}
FOREST: Final = {"n_estimators": 48, "random_state": SEED, "n_jobs": 1}
FOREST_SAMPLES: Final = 64
FOREST_LOOKS: Final = 6
OWN_SHARE: Final = 0.3
NEVER_ACCUSED: Final = "refresh"  # in the name of a tool
LICENCE: Final = "MIT, as hkpguard; recorded for it"
DATA: Final = "Recordings of real programs against a real keyserver on loopback, `python -m bench record`"


@dataclass(frozen=True, slots=True)
class Model:
    """A model that was trained: its file, and what is known of it."""

    graph: bytes
    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the looks come from, for the manifest."""

    version: str
    data: str = DATA
    licence: str = LICENCE


def weights_of(table: Table) -> Figures:
    """Return how much each look counts; their sum is how many clients there are."""
    clients = table.clients
    weights = 1.0 / np.bincount(clients)[clients]
    _, tools = np.unique(table.tool, return_inverse=True)
    weights /= np.sqrt(np.bincount(tools, weights))[tools]
    own = table.split == OWN
    for of_class in (table.abusive, ~table.abusive):
        _share(weights, of_class & own, of_class & ~own)
        if of_class.any():
            weights[of_class] /= weights[of_class].sum()
    found: Figures = weights * (clients[-1] + 1) / weights.sum()
    return found


def _share(weights: Figures, own: Flags, recorded: Flags) -> None:
    """Let an operator's own looks be OWN_SHARE of their class at most; changes `weights`."""
    if own.any() and recorded.any():
        most = weights[recorded].sum() * OWN_SHARE / (1 - OWN_SHARE)
        weights[own] *= min(1.0, most / weights[own].sum())


def train_trees(table: Table, origin: Origin) -> Model:
    """Return the main model, of looks at clients of both kinds."""
    outside = np.empty(len(table.run), np.float64)
    for inside in splits(table):
        outside[~inside] = grown(table.at(inside)).predict(table.behaviour[~inside], raw_score=True)
    trees = of_lightgbm(grown(table))
    model = _model(MAIN, "trees", to_onnx(trees, len(NAMES)), table, origin, outside)
    scale = model.manifest.calibration
    said = networks.learnt(table, log_odds(scale, outside, table.requests))
    if not said:
        return model
    networks.add(trees, said, scale)
    graph = to_onnx(trees, len(NAMES))
    known = {"networks": said, "sha256": hashlib.sha256(graph).hexdigest()}
    return Model(graph, model.manifest.model_copy(update=known))


def train_forest(table: Table, origin: Origin) -> Model:
    """Return the second opinion: how unlike honest clients somebody is. It learns from honest ones alone."""
    outside = np.empty(len(table.run), np.float64)
    for inside in splits(table):
        without = isolated(table.at(inside & ~table.abusive))
        outside[~inside] = np.log2(-without.score_samples(table.behaviour[~inside]))  # the exponent, as in the graph
    graph = to_onnx(of_forest(isolated(table.at(~table.abusive))), len(NAMES))
    return _model(SECOND, "forest", graph, table, origin, outside)


def splits(table: Table, seed: int = SEED) -> Iterator[Flags]:
    """Yield FOLDS times which looks are inside; the others are at tools of which nothing is inside.

    A tool that is the only one of its family is parted by its runs: that peers gossip, for one, is not to be learnt
    from others. Honest and abusive ones are dealt out in turn.
    """
    alone = {family for family in np.unique(table.family) if len(np.unique(table.tool[table.family == family])) == 1}
    group = np.where(np.isin(table.family, [*alone]), table.run, table.tool)
    fold = np.empty(len(table.run), np.intp)
    for of_class in (table.abusive, ~table.abusive):
        names = np.unique(group[of_class])
        order = np.random.default_rng(seed).permutation(len(names))
        fold[of_class] = order[np.searchsorted(names, group[of_class])] % FOLDS
    for number in range(FOLDS):
        inside = fold != number
        if not inside.all():
            yield inside


def grown(table: Table) -> lightgbm.Booster:
    """Return trees that tell abusive looks from honest ones."""
    import lightgbm  # noqa: PLC0415 - only who trains needs it

    examples = imagined(table.behaviour, table.abusive, weights_of(table))
    data = lightgbm.Dataset(
        examples.features,
        examples.abusive.astype(np.int8),
        weight=examples.weight,
        feature_name=list(NAMES[BEHAVIOUR]),
        free_raw_data=False,
    )
    return lightgbm.train(TREES, data, ROUNDS)


def isolated(table: Table) -> IsolationForest:
    """Return the forest of these looks, all of them honest; it has no weights, so a client has few looks in it."""
    from sklearn.ensemble import IsolationForest  # noqa: PLC0415 - only who trains needs it

    _, first = np.unique(table.clients, return_index=True)
    nth = np.arange(len(table.run)) - first[table.clients]
    chosen = table.behaviour[nth < FOREST_LOOKS]
    return IsolationForest(max_samples=min(FOREST_SAMPLES, len(chosen)), **FOREST).fit(chosen)


def _model(  # noqa: PLR0913, PLR0917 - all that a manifest holds
    name: str, kind: Kind, graph: bytes, table: Table, origin: Origin, outside: Figures
) -> Model:
    alone = table.at(~table.shared)
    looks = Looks(outside[~table.shared], alone.requests, alone.clients, alone.abusive, weights_of(alone))
    scale = calibrate(looks)
    accuse = accusation(scale, looks, refreshing(alone))
    manifest = Manifest(
        name=name,
        kind=kind,
        version=origin.version,
        features_version=VERSION,
        features=NAMES,
        medians=medians(table),
        training_data=origin.data,
        licence=origin.licence,
        calibration=scale,
        accuse=accuse.bounds,
        weight=accuse.weight,
        metrics={},
        made_with=libraries(),
        sha256=hashlib.sha256(graph).hexdigest(),
    )
    return Model(graph, manifest)


def libraries() -> dict[str, str]:
    """Return the versions that decide what the bytes of a model are."""
    return {name: version(name) for name in ("lightgbm", "numpy", "onnx", "scikit-learn")}


def medians(table: Table) -> tuple[float, ...]:
    """Return the median of each feature over honest looks, each tool counted once."""
    honest = table.at(~table.abusive)
    weights = weights_of(honest)
    order = np.argsort(honest.features, axis=0, kind="stable")
    found = []
    for place, column in enumerate(honest.features.T):
        ranked = np.cumsum(weights[order[:, place]])
        middle = order[np.searchsorted(ranked, ranked[-1] / 2), place]
        found.append(float(column[middle]))
    return tuple(found)


def refreshing(table: Table) -> Flags:
    """Return which looks are at clients who refresh their keys: they must never be accused."""
    found: Flags = ~table.abusive & ~table.shared & (np.char.find(table.tool, NEVER_ACCUSED) >= 0)
    return found


def for_training(table: Table) -> Table:
    """Return the looks that models may be trained on."""
    return table.at(table.seen & (table.split != TEST))
