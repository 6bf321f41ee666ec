"""Training on an operator's own logs, so that it does not poison itself.

Nobody has labelled the operator's traffic, and some of it is sent by whoever would like to be called honest. So:

- Honest is taken to be who was let through by the rules, and whom the model in use does not accuse. Whom it does is
  set aside and counted, for the operator to look at: he may say who is honest (`--honest`) or not (`--abusive`).
- The reservoir is drawn by chance, a few looks at a client and a few clients of a network: one abuser cannot fill it,
  nor can his network. It is kept from one training to the next, without addresses, and bounded.
- What the kind of a network says is learnt from own clients of both labels, and apart (networks.py). Who is set aside
  does not depend on it: else what was learnt of networks would prove itself.
- All own looks together weigh less than a third of those of the recordings, which they join and never replace.
- A part of the own clients is kept out of training. On them, and on the canaries (the tools of the recording that no
  model was trained on), the new model has to stand up to the one in use. If it finds fewer abusers, or accuses more
  honest clients of either kind, or anybody who refreshes, it is not put in use, and the text says why.

Many patient abusers in many networks, unnoticed, would shift what is honest. Then the canaries are missed, and the
model is refused: the worst that poisoned logs do is that nothing changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.key_arrays import network_keys
from fastpath.origin_arrays import kinds_of
from models.features import NETWORK, of_networks
from models.scorer import bounds, rows_of
from models.training import evaluation, fit, networks
from models.training.table import ABUSIVE, EARLIER, OWN, TEST, Table, Who, joined, table_of
from models.windows import FIRST_LOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastpath.origin_arrays import LookUp
    from models.manifest import Manifest
    from models.scorer import Scorer
    from models.training.fit import Model

    Records = NDArray[np.void]
    Flags = NDArray[np.bool_]
    Keys = NDArray[np.uint64]

MOST_CLIENTS: Final = 6000  # of the logs, drawn by chance
LOOKS_OF_CLIENT: Final = 3
CLIENTS_OF_NETWORK: Final = 4
RESERVOIR: Final = 4000  # looks
KEPT_OUT: Final = 0.3  # of networks
FEWEST_CLIENTS: Final = 20
SPARED: Final = 0.25  # log-odds above the honest canary that scores highest
SLACK: Final = 0.03  # of the canaries that are abusers: half of what chance makes of a few hundred
HONEST: Final = "legitimate"
DATA: Final = "An operator's own logs, and the recordings of hkpguard"
LICENCE: Final = "the operator's"
FORBIDDEN: Final = np.array([8, 9, 14, 15, 16, 17, 19])
"""Reasons after which nobody counts as let through: malformed, too large, trap, canary, banned, unwanted, verdict."""


class TooLittle(ValueError):
    """The logs hold too little to learn from."""


class Own(NamedTuple):
    """What an operator's logs gave.

    Attributes:
        reservoir: Looks at clients that are taken to be honest, those of earlier trainings among them.
        abusive: Looks at clients that the operator calls abusive.
        kept_out: All clients that were let through and are not trained on, also those that the model accuses.
        set_aside: How many clients were let through, but are accused by the model in use.

    """

    reservoir: Table
    abusive: Table
    kept_out: Table
    set_aside: int


class Labels(NamedTuple):
    """What the operator says: keys of clients or networks."""

    honest: frozenset[int] = frozenset()
    abusive: frozenset[int] = frozenset()

    def of(self, clients: Keys) -> tuple[Flags, Flags]:
        """Return which clients he calls honest, and which abusive."""
        networks = network_keys(clients)
        honest, abusive = (
            np.isin(clients, named) | np.isin(networks, named)
            for named in (np.array([*keys], np.uint64) for keys in (self.honest, self.abusive))
        )
        return honest, abusive


def gather(  # noqa: PLR0913 - all that is known of logs
    records: Records,
    scorer: Scorer,
    labels: Labels,
    earlier: Table | None,
    seed: int,
    *,
    look_up: LookUp | None = None,
) -> Own:
    """Draw what is to be trained on from records.

    Args:
        records: In the order of time.
        scorer: The model in use.
        labels: What the operator says.
        earlier: The reservoir of the training before.
        seed: Of the draw; nobody outside should know it.
        look_up: Returns the origin of an address; None: nothing is known of networks.

    Raises:
        TooLittle: Fewer than FEWEST_CLIENTS clients are left.

    """
    dice = np.random.default_rng(seed)
    chosen = _drawn(records, labels, dice)
    looks = _few_looks(table_of(_clients(records, chosen, labels, seed)))
    if not len(looks.run):
        raise TooLittle(f"no client in these logs was let through and made {FIRST_LOOKS[0]} requests")
    looks = looks.at(looks.seen)
    if look_up is not None:
        looks.features[:, NETWORK] = of_networks(kinds_of(chosen, look_up))[looks.client]
    labelled = looks.label != OWN
    accused = scorer.score(networks.nowhere(looks).features, looks.requests) >= bounds(scorer.manifest, looks.requests)
    aside = np.isin(looks.clients, np.unique(looks.clients[accused & ~labelled]))
    out = dice.random(len(looks.run))[np.unique(looks.tool, return_inverse=True)[1]] < KEPT_OUT
    let_through = looks.label != ABUSIVE
    honest = looks.at(let_through & ~aside & ~out)
    if len(np.unique(honest.clients)) + len(np.unique(looks.at(let_through & out).clients)) < FEWEST_CLIENTS:
        raise TooLittle(f"fewer than {FEWEST_CLIENTS} clients were let through and made {FIRST_LOOKS[0]} requests")
    honest = honest._replace(label=np.full(len(honest.run), HONEST))
    reservoir = honest
    if earlier is not None:
        reservoir = joined([honest, earlier._replace(mode=np.full(len(earlier.run), EARLIER))])
    if len(reservoir.run) > RESERVOIR:
        reservoir = reservoir.at(np.sort(dice.choice(len(reservoir.run), RESERVOIR, replace=False)))
    return Own(reservoir, looks.at(~let_through), looks.at(let_through & out), len(np.unique(looks.clients[aside])))


def _drawn(records: Records, labels: Labels, dice: np.random.Generator) -> Keys:
    """Draw clients: those that were let through, and those that the operator names; few of a network."""
    refused = np.unique(records["client"][np.isin(records["reason"], FORBIDDEN)])
    clients = dice.permutation(np.unique(records["client"]))
    honest, abusive = labels.of(clients)
    named = honest | abusive
    clients = np.concatenate([clients[named], clients[~named & ~np.isin(clients, refused)]])
    networks = network_keys(clients)
    order = np.argsort(networks, kind="stable")
    first = np.searchsorted(networks[order], networks[order])
    few = np.empty(len(clients), np.bool_)
    few[order] = np.arange(len(clients)) - first < CLIENTS_OF_NETWORK
    return clients[few][:MOST_CLIENTS]


def _clients(records: Records, chosen: Keys, labels: Labels, seed: int) -> Iterator[tuple[Who, int, Records]]:
    by_client = records[np.argsort(records["client"], kind="stable")]
    networks = network_keys(chosen)
    numbers = np.unique(networks, return_inverse=True)[1]
    honest, abusive = labels.of(chosen)
    for place in np.argsort(numbers, kind="stable").tolist():
        label = HONEST if honest[place] else ABUSIVE if abusive[place] else OWN
        name = f"own {seed % 2**32:08x} {numbers[place]}"
        first, end = np.searchsorted(by_client["client"], [chosen[place], chosen[place] + np.uint64(1)])
        yield Who(name, name, OWN, label, OWN, OWN), place, by_client[first:end]


def _few_looks(looks: Table) -> Table:
    """Return the last looks at each client: they hold most."""
    clients = looks.clients
    last = np.searchsorted(clients, clients, side="right") - 1
    return looks.at(last - np.arange(len(clients)) < LOOKS_OF_CLIENT)


def trained(own: Own, shipped: Table, origin: fit.Origin) -> Model:
    """Return trees of the recordings and of the operator's own traffic."""
    abusive = own.abusive._replace(label=np.full(len(own.abusive.run), ABUSIVE))
    return fit.train_trees(joined([fit.for_training(shipped), own.reservoir, abusive]), origin)


def spare(model: Model, new: Scorer, shipped: Table) -> Model:
    """Raise the bound of a model, if it has to be, above all honest canaries, in whatever network they were.

    What it misses then, `faults` finds.
    """
    honest = networks.anywhere(shipped.at((shipped.split == TEST) & ~shipped.abusive & shipped.seen & ~shipped.shared))
    found, row = new.score(honest.features, honest.requests), rows_of(new.manifest.calibration, honest.requests)
    worst = [float(found[row == place].max(initial=-np.inf)) for place in range(len(new.manifest.accuse))]
    accuse = tuple(max(bound, round(high + SPARED, 4)) for bound, high in zip(new.manifest.accuse, worst, strict=True))
    return fit.Model(model.graph, model.manifest.model_copy(update={"accuse": accuse}))


def faults(new: Scorer, used: Scorer, shipped: Table, own: Own) -> list[str]:
    """Return why a new model should not be put in use; empty: it should."""
    canaries = shipped.at(shipped.split == TEST)
    before, after = _figures(used, canaries), _figures(new, canaries)
    found = []
    if after["abusive"] < before["abusive"] - SLACK:
        found.append(f"it finds {after['abusive']:.1%} of the canaries, the one in use {before['abusive']:.1%}")
    if after["honest"] > before["honest"]:
        found.append(f"it accuses {after['honest']:.1%} of the honest canaries, the one in use {before['honest']:.1%}")
    refreshing = networks.anywhere(shipped.at(fit.refreshing(shipped) & shipped.seen))
    if (new.score(refreshing.features, refreshing.requests) >= bounds(new.manifest, refreshing.requests)).any():
        found.append("it accuses somebody who refreshes his keys")
    theirs, ours = _figures(used, own.kept_out), _figures(new, own.kept_out)
    if ours.get("honest", 0.0) > theirs.get("honest", 0.0):
        found.append(
            f"of the clients that were kept out of training it accuses {ours['honest']:.1%}, the one in use "
            f"{theirs['honest']:.1%}"
        )
    return found


def _figures(scorer: Scorer, looks: Table) -> dict[str, float]:
    """Return the share of honest and of abusive clients that are accused."""
    if not len(looks.run):
        return {}
    return {row.name: row.found / row.clients for row in evaluation.overall(scorer, looks)}


def measured(model: Model, new: Scorer, shipped: Table, own: Own) -> Model:
    """Return a model with what it is worth: on the canaries, and on the operator's clients that were kept out."""
    figures = evaluation.metrics(new, shipped.at(shipped.split == TEST)) | {
        "own_clients": len(np.unique(own.kept_out.clients)) if len(own.kept_out.run) else 0,
        "own_accused": round(_figures(new, own.kept_out).get("honest", 0.0), 4),
    }
    return fit.Model(model.graph, model.manifest.model_copy(update={"metrics": figures}))


def summary(own: Own, used: Scorer, known: Manifest) -> str:
    """Return what was trained on, and what came of it, for the operator."""
    before, after = used.manifest, known.metrics
    said = ", ".join(f"{name} up to {value:g}" for name, value in known.networks.items())
    return (
        f"trained on {len(own.reservoir.run)} looks at honest clients and {len(own.abusive.run)} at abusive ones of "
        f"these logs, and on the recordings\n"
        f"{own.set_aside} clients were let through, but {before.name} {before.version} accuses them: set aside\n"
        f"log-odds that networks add to behaviour: {said or 'nothing was learnt'}\n"
        f"of {after['own_clients']:.0f} clients kept out of training it accuses {after['own_accused']:.2%}; of the "
        f"abusive canaries {after['abusive_accused']:.1%}, of the honest ones {after['honest_accused']:.2%}"
    )
