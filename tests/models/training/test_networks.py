"""What networks say is learnt from an operator's own clients of both labels, and from nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from models.features import NAMES, NETWORK
from models.manifest import Calibration
from models.scorer import Scorer, bounds
from models.training.calibration import MARGIN
from models.training.table import ABUSIVE, EARLIER, joined
from tests.models.models_for_tests import HONEST, clients, world, written

pytest.importorskip("lightgbm")
pytest.importorskip("onnx")

from models.training import fit, networks
from models.training.networks import MOST, anywhere, learnt, nowhere
from models.training.trees import Ensemble, to_onnx

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from models.training.table import Table

KINDS = [*NAMES[NETWORK], ""]  # the last one: unknown
HOSTING = NAMES.index("hosting")


def site(kinds: list[str], label: str, order: float = 0.5, seed: int = 50) -> Table:
    """Return looks at a client of each of some networks, by the names of their kinds; between honest and abusive."""
    found = [
        clients(f"own {number}", label, "own", 1, seed=seed + number, order=order, **({kind: 1.0} if kind else {}))
        for number, kind in enumerate(kinds)
    ]
    return joined(found)


def trained(own: Table, folder: Path) -> Scorer:
    """Return what is learnt from recordings and own looks."""
    return Scorer(written(fit.train_trees(joined([fit.for_training(world()), own]), fit.Origin(version="1")), folder))


def by_kind(scorer: Scorer) -> np.ndarray:
    """Return the scores of all sorts of looks for each kind of network, shape (kinds, n)."""
    table = joined([world(), site([""] * 20, HONEST, 0.4)])
    everywhere = anywhere(table)
    return scorer.score(everywhere.features, everywhere.requests).reshape(len(KINDS), -1)


def earlier(own: Table) -> Table:
    """Return looks as they are kept from one training to the next."""
    return nowhere(own)._replace(mode=np.full(len(own.run), EARLIER))


TEACHES_NOTHING: dict[str, Callable[[], list[Table]]] = {
    "only honest ones are known": lambda: [site(["hosting"] * 40, HONEST)],
    "only abusive ones are known": lambda: [site(["hosting"] * 40, ABUSIVE)],
    "honest ones only of before": lambda: [earlier(site(["mobile"] * 40, HONEST)), site(["hosting"] * 40, ABUSIVE)],
    "alike in both": lambda: [site(KINDS * 8, HONEST), site(KINDS * 8, ABUSIVE)],
    "nobody's network is known": lambda: [site([""] * 40, HONEST), site([""] * 40, ABUSIVE)],
    "too few": lambda: [site(["mobile"] * 40, HONEST), site(["hosting"] * 9, ABUSIVE)],
}


@pytest.mark.parametrize("own", TEACHES_NOTHING.values(), ids=TEACHES_NOTHING)
def test_what_teaches_nothing(tmp_path: Path, own: Callable[[], list[Table]]) -> None:
    """Unless own clients of both labels differ in their networks, no score depends on the network, to the last bit."""
    scorer = trained(joined(own()), tmp_path)
    found = by_kind(scorer)
    assert (found == found[0]).all()
    assert scorer.manifest.networks == {}


def test_abusers_from_servers(tmp_path: Path) -> None:
    """Where own abusers come from servers for rent, and honest clients that behave alike do not, those score higher,
    by what the manifest says, and it is explained; what clients of other networks score, does not change.
    """
    own = joined([site(["residential", "mobile", "", "hosting"] * 12, HONEST), site(["hosting"] * 24, ABUSIVE)])
    scorer = trained(own, tmp_path)
    assert [*scorer.manifest.networks] == ["hosting"]
    assert 0.3 <= scorer.manifest.networks["hosting"] <= MOST
    found = by_kind(scorer)
    (added,) = np.unique((found[1 + KINDS.index("hosting")] - found[0]).round(4))[-1:]
    assert added == pytest.approx(scorer.manifest.networks["hosting"], abs=1e-3)
    assert (found[1 + KINDS.index("hosting")] >= found[0]).all()
    others = [1 + KINDS.index(name) for name in ("vpn", "mobile", "residential")]
    assert (found[others] == found[0]).all()
    look = world().features[0].copy()
    look[HOSTING] = 1.0
    [said] = [each for each in scorer.explain(look, 8, most=len(NAMES)) if each.name == "hosting"]
    assert (said.value, said.usual) == (1.0, 0.0)
    assert said.contribution > 0


def test_trees_are_those_of_behaviour(tmp_path: Path) -> None:
    """What is known of networks changes nothing of the trees, the calibration and the bounds."""
    own = joined([site(["residential"] * 40, HONEST), site(["hosting"] * 24, ABUSIVE)])
    (tmp_path / "without").mkdir()
    with_networks, without = trained(own, tmp_path), trained(nowhere(own), tmp_path / "without")
    table = nowhere(joined([world(), own]))
    assert np.array_equal(with_networks.raw(table.features), without.raw(table.features))
    changed = {"sha256", "networks"}
    assert with_networks.manifest.model_dump(exclude=changed) == without.manifest.model_dump(exclude=changed)


def test_no_honest_client_is_accused_for_its_network(tmp_path: Path) -> None:
    """Whoever is below the bound by the margin stays below it in every network: what these may say is less."""
    assert MOST < MARGIN
    scorer = trained(joined([site(["mobile"] * 60, HONEST), site(["hosting"] * 60, ABUSIVE)]), tmp_path)
    assert scorer.manifest.networks
    honest = anywhere(world().at(~world().abusive))
    assert (scorer.score(honest.features, honest.requests) < bounds(scorer.manifest, honest.requests)).all()


def test_nothing_speaks_for_anybody() -> None:
    """That all honest clients are in homes helps nobody there; what is learnt is that others are elsewhere."""
    own = joined([site(["residential"] * 40, HONEST), site(["vpn"] * 40, ABUSIVE)])
    found = learnt(own, np.zeros(len(own.run)))
    assert [*found] == ["vpn"]
    assert found["vpn"] > 0


def test_what_behaviour_says_already() -> None:
    """Where behaviour tells abusers from others, that they also rent servers adds nothing."""
    own = joined([site(["residential"] * 40, HONEST), site(["hosting"] * 40, ABUSIVE)])
    assert learnt(own, np.where(own.abusive, 6.0, -6.0)) == {}


def test_scripts_run_on_servers() -> None:
    """Honest scripts on servers behave a little like abusers on servers: servers are not blamed for it."""
    scripts, people = site(["hosting"] * 40, HONEST, seed=100), site(["residential"] * 120, HONEST, seed=200)
    people = people._replace(tool=np.char.add("people ", people.tool))
    own = joined([scripts, people, site(["hosting"] * 40, ABUSIVE)])
    script_like = np.repeat([0.0, -6.0, 0.0], [80, 240, 80])
    assert learnt(own, script_like) == {}
    assert [*learnt(own, np.zeros(len(own.run)))] == ["hosting"]


def test_chance() -> None:
    """Of kinds that say nothing hardly any seems to say something: of 4 kinds in each of 100 draws at most 4."""
    source = np.random.default_rng(4)
    told = 0
    for _ in range(100):
        honest, abusive = ([KINDS[each] for each in source.integers(0, 5, count)] for count in (60, 25))
        own = joined([site(honest, HONEST), site(abusive, ABUSIVE)])
        told += len(learnt(own, source.normal(0.0, 1.0, len(own.run))))
    assert told <= 4


def test_one_network_is_one() -> None:
    """However many clients of a network are known, and however often they were looked at, it counts once."""
    honest, abusive = site(["mobile", "hosting"] * 15, HONEST), site(["hosting", "hosting", "mobile"] * 4, ABUSIVE)
    again = [each._replace(client=np.full(len(each.run), number)) for number in range(20) for each in (honest, abusive)]
    for own in (joined([honest, abusive]), joined(again)):
        assert learnt(own, np.zeros(len(own.run))) == {}


def test_the_steepest_line() -> None:
    """Of several lines of the calibration the steepest one gives what was learnt, the others less."""
    scale = Calibration(looks=(8, 30), raw=(-9.0, 9.0), log_odds=((-9.0, 9.0), (-18.0, 18.0)))
    ensemble = Ensemble()
    ensemble.add(0, -1, 0.0, 0.5)
    networks.add(ensemble, {"vpn": 0.6}, scale)
    assert ensemble.value == [0.5, 0.0, 0.0, 0.3]
    assert to_onnx(ensemble, len(NAMES))
