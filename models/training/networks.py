"""What the network of a client says beyond what it does, learnt from an operator's own clients and from nobody else.

Recordings have no networks, and neither have reservoirs, which are kept without addresses. Were their looks mixed with
those of an operator who has databases, "of a known kind" would mean "of this site", and so honest. Kinds drawn by
chance would not help: own clients of one behaviour are of one kind, and an abuser of the recordings who behaves so
would be told from them by the one that was drawn. So trees are grown of behaviour alone, as if nobody knew a network.
Only then own clients of both labels, looked up in the same databases, say what their networks add: for each kind how
much likelier its clients are abusers than others of the same log-odds by behaviour, which is logistic regression with
these as an offset. So what servers do more than homes, and abusers more than others, is not counted twice.

A network counts once, however many of its clients are known, and fewer than FEWEST of a label teach nothing. Of what
is found only that counts which is certain: UNSURE standard errors of it are left out. It never counts for anybody:
proxies in homes are for rent. And it is less than what bounds are above all honest clients known (calibration.MARGIN),
so none of these would be accused for where he is, wherever that were.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from models.features import FEATURES, NETWORK
from models.training.table import joined
from models.training.trees import LEAF

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.manifest import Calibration
    from models.training.table import Table
    from models.training.trees import Ensemble

    Figures = NDArray[np.float64]

NAMES: Final = tuple(feature.name for feature in FEATURES[NETWORK])
FEWEST: Final = 10  # networks of each label: three of one attack may well be of one kind
# Of kinds that say nothing less than one of 200 then seems to say something; one of 40, where the log-odds by behaviour
# are mere noise (drawn 1,500 times each, of 20 to 2,000 networks).
UNSURE: Final = 3.0
SPREAD: Final = 2.0  # log-odds: what kinds may say before anything is known, standard deviation
MOST: Final = 0.75  # log-odds
DIGITS: Final = 2
_FREE: Final = 1e-6  # of how many abusers there are among own clients nothing is known
_STEPS: Final = 30
_YES: Final = 0.5


def learnt(table: Table, behaviour: Figures) -> dict[str, float]:
    """Return what networks of a kind add to behaviour, log-odds; of kinds that are not named nothing was learnt.

    Args:
        table: With the operator's own looks.
        behaviour: Log-odds of each look by what the client does, from trees that have not seen it.

    """
    own = table.at(table.fresh)
    _, network = np.unique(np.char.add(own.tool, own.label), return_inverse=True)
    count = np.bincount(network)

    def mean(column: NDArray[np.generic]) -> Figures:
        return np.bincount(network, column.astype(np.float64)) / count

    abusive, offset = mean(own.abusive), mean(behaviour[table.fresh])
    if min(np.count_nonzero(abusive), np.count_nonzero(abusive == 0)) < FEWEST:
        return {}
    certain = [_certain(mean(column), abusive, offset) for column in own.features[:, NETWORK].T]
    rounded = np.clip(certain, 0.0, MOST).round(DIGITS).tolist()
    return {name: value for name, value in zip(NAMES, rounded, strict=True) if value}


def _certain(inside: Figures, abusive: Figures, offset: Figures) -> float:
    """Return what to be inside adds to the offset, log-odds, as far as it is certain.

    Args:
        inside: How much of each network is of the kind.
        abusive: 1: it is one of abusers, 0: it is not.
        offset: Its log-odds by behaviour.

    """
    columns = np.stack([np.ones_like(inside), inside])
    strength = np.array([_FREE, SPREAD**-2])
    found, curve = np.zeros(2), np.eye(2)
    for _ in range(_STEPS):
        chance = 1 / (1 + np.exp(-np.clip(offset + found @ columns, -30, 30)))
        curve = (columns * (chance * (1 - chance))) @ columns.T + np.diag(strength)
        found -= np.clip(np.linalg.solve(curve, columns @ (chance - abusive) + strength * found), -1.0, 1.0)
    return float(found[1] - UNSURE * np.sqrt(np.linalg.inv(curve)[1, 1]))


def add(ensemble: Ensemble, said: dict[str, float], scale: Calibration) -> None:
    """Add a tree to an ensemble for each kind that says something, as much as `said` where the scale is steepest."""
    steepest = max(float((np.diff(row) / np.diff(scale.raw)).max()) for row in scale.log_odds)
    for name, value in said.items():
        tree = ensemble.tree[-1] + 1
        root = ensemble.add(tree, NETWORK.start + NAMES.index(name), _YES, 0.0)
        for leaves, raw in ((ensemble.left, 0.0), (ensemble.right, value / steepest)):
            leaves[root] = ensemble.node[ensemble.add(tree, LEAF, 0.0, raw)]


def anywhere(table: Table) -> Table:
    """Return looks as they are, and as they were from a network of each kind."""
    return joined([table, *(_within(table, kind) for kind in range(len(NAMES)))])


def nowhere(table: Table) -> Table:
    """Return looks as if nobody knew their networks."""
    return _within(table, None)


def _within(table: Table, kind: int | None) -> Table:
    features = table.features.copy()
    features[:, NETWORK] = 0.0
    if kind is not None:
        features[:, NETWORK.start + kind] = 1.0
    return table._replace(features=features)
