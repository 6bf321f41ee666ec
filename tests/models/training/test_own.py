"""An operator's own logs: who may teach the model what, and when it is not put in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fastpath import NetworkKind, Origin, client_key
from fastpath.key_arrays import network_keys
from models.features import NAMES, NETWORK
from models.scorer import Scorer, bounds
from models.training.table import ABUSIVE, TEST, Who, joined, table_of
from proxy.policy.actions import Reason
from tests.models.models_for_tests import HONEST, clients, scorer, world, written
from tests.models.traffic_for_tests import SECOND, fingerprints, visit

pytest.importorskip("lightgbm")
pytest.importorskip("onnx")

from models.training import fit, own
from models.training.networks import anywhere
from models.training.own import (
    CLIENTS_OF_NETWORK,
    FEWEST_CLIENTS,
    LOOKS_OF_CLIENT,
    RESERVOIR,
    Labels,
    Own,
    TooLittle,
    faults,
    gather,
    trained,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from models.training.table import Table


def client(network: int, host: int) -> int:
    """Return the key of a client: network 10.a.b.0/24."""
    return client_key(bytes([10, network >> 8, network & 255, host]))


def traffic(keys: Iterable[int], requests: int = 20, **fields: object) -> np.ndarray:
    """Return what these clients ask for: fingerprints in no order."""
    made = [
        visit(fingerprints(requests, number), client=key, start_ns=(1 + number) * SECOND, **fields)  # type: ignore[arg-type]
        for number, key in enumerate(keys)
    ]
    block = np.concatenate(made)
    return block[np.argsort(block["time_ns"], kind="stable")]


CROWD = [client(network, 1) for network in range(40)]


def gathered(
    records: np.ndarray,
    labels: Labels = Labels(),  # noqa: B008
    earlier: Table | None = None,
    kinds: dict[int, NetworkKind] | None = None,
) -> Own:
    """Gather with the model of the small world, always by the same draw; with the kinds of some clients' networks."""
    look_up = None if kinds is None else lambda address: Origin(kind=kinds.get(client_key(address), 0)).pack()
    return gather(records, scorer(), labels, earlier, 5, look_up=look_up)


def test_one_client_cannot_fill_it() -> None:
    """However much a client asks for, it gets in with as many looks as others, and its network with a few clients."""
    loud = [client(99, host) for host in range(1, 60)]
    found = gathered(traffic([*CROWD, *loud], 130))
    looks = joined([found.reservoir, found.kept_out])
    per_client = np.unique(np.char.add(looks.run, looks.client.astype(str)), return_counts=True)[1]
    assert per_client.max() == LOOKS_OF_CLIENT
    per_network = {tool: len(np.unique(looks.client[looks.tool == tool])) for tool in np.unique(looks.tool)}
    assert max(per_network.values()) == CLIENTS_OF_NETWORK
    assert len(per_network) == 41


@pytest.mark.parametrize("reason", own.FORBIDDEN.tolist())
def test_who_was_refused_teaches_nothing(reason: int) -> None:
    """Who was denied for what it did, once, is not taken to be honest; who waited for a limit is."""
    bad = traffic([client(77, 1)], 20)
    bad["reason"][3] = reason
    both = np.concatenate([traffic(CROWD), bad])
    found = gathered(both[np.argsort(both["time_ns"], kind="stable")])
    assert len(np.unique(joined([found.reservoir, found.kept_out]).tool)) == 40
    bad["reason"][3] = 1
    both = np.concatenate([traffic(CROWD), bad])
    found = gathered(both[np.argsort(both["time_ns"], kind="stable")])
    assert len(np.unique(joined([found.reservoir, found.kept_out]).tool)) == 41


def test_reasons() -> None:
    """The numbers of reasons after which nobody teaches anything mean what they should."""
    assert {Reason(number).name for number in own.FORBIDDEN.tolist()} == {
        "MALFORMED", "TOO_LARGE", "TRAP", "CANARY", "BANNED", "UNWANTED", "VERDICT",
    }  # fmt: skip


def test_no_addresses() -> None:
    """Nothing of an address is in what is kept."""
    found = gathered(traffic(CROWD))
    words = " ".join([*found.reservoir.run, *found.reservoir.tool])
    assert not any(str(key) in words for key in [*CROWD, *network_keys(np.array(CROWD, np.uint64)).tolist()])


def test_bounded() -> None:
    """The reservoir has a size, and what was in it before stays in it by chance."""
    before = clients("before", HONEST, "own", count=RESERVOIR, looks=1)
    found = gathered(traffic(CROWD), earlier=before)
    assert len(found.reservoir.run) == RESERVOIR
    assert 0 < np.count_nonzero(found.reservoir.tool != "before") < 120


def test_too_little() -> None:
    """A handful of clients is refused, and so are clients that hardly asked."""
    with pytest.raises(TooLittle, match=f"fewer than {FEWEST_CLIENTS}"):
        gathered(traffic(CROWD[: FEWEST_CLIENTS - 1]))
    with pytest.raises(TooLittle):
        gathered(traffic(CROWD, 7))


def test_labels() -> None:
    """Whom the operator calls abusive teaches what is, whom he calls honest is taken at his word."""
    sorted_keys = np.sort(fingerprints(60)).tolist()
    walker = visit(sorted_keys, client=CROWD[0])
    records = np.concatenate([walker, traffic(CROWD[1:], 20, flags=1)])
    records = records[np.argsort(records["time_ns"], kind="stable")]
    named = gathered(records, Labels(abusive=frozenset([CROWD[0]])))
    assert set(named.abusive.label) == {ABUSIVE}
    assert len(np.unique(named.abusive.tool)) == 1
    network = int(network_keys(np.array([CROWD[0]], np.uint64))[0])
    assert len(gathered(records, Labels(abusive=frozenset([network]))).abusive.run) == len(named.abusive.run)


def test_kinds_of_networks() -> None:
    """Each look has the kind of its client's network, if there is somebody to ask; those of before have none."""
    kinds = {key: (NetworkKind.MOBILE, NetworkKind.HOSTING)[number % 2] for number, key in enumerate(CROWD[:30])}
    abusive = frozenset(CROWD[1:20:2])
    before = gathered(traffic(CROWD, flags=1)).reservoir
    found = gathered(traffic(CROWD), Labels(abusive=abusive), before, kinds)
    networks = NAMES[NETWORK]
    everything = joined([found.reservoir, found.kept_out, found.abusive])
    known = everything.features[:, NETWORK]
    assert not known[~everything.fresh].any()
    assert np.count_nonzero(~everything.fresh) == len(before.run)
    fresh = everything.at(everything.fresh & everything.seen)
    of_kind = {
        name: len(np.unique(fresh.tool[known[everything.fresh][:, networks.index(name)] > 0])) for name in networks
    }
    assert of_kind == {"hosting": 15, "vpn": 0, "mobile": 15, "residential": 0}
    assert found.abusive.features[:, NETWORK][:, networks.index("hosting")].all()
    assert not joined([before, gathered(traffic(CROWD)).kept_out]).features[:, NETWORK].any()


def test_who_is_set_aside_does_not_depend_on_networks(tmp_path: Path) -> None:
    """Else of the honest clients of a kind that was learnt some were set aside, and it would be learnt all the more."""
    own_looks = joined([_own("mobile", HONEST), _own("hosting", ABUSIVE)])
    used = Scorer(
        written(fit.train_trees(joined([fit.for_training(world()), own_looks]), fit.Origin(version="1")), tmp_path)
    )
    low = float(used.score(_few(CROWD[0]).features, np.array([20]))[0])
    used.manifest = used.manifest.model_copy(update={"accuse": (low + used.manifest.networks["hosting"] / 2,) * 3})
    assert (used.score(_few(CROWD[0], hosting=1.0).features, np.array([20])) >= used.manifest.accuse[1]).all()
    hosting = Origin(kind=NetworkKind.HOSTING).pack()
    gathered_there = gather(traffic(CROWD), used, Labels(), None, 5, look_up=lambda _address: hosting)
    assert gathered_there.set_aside == gather(traffic(CROWD), used, Labels(), None, 5).set_aside


def _own(kind: str, label: str) -> Table:
    """Return looks at 40 networks of a kind, between honest and abusive."""
    return joined(clients(f"own {n}", label, "own", 1, seed=n, order=0.5, **{kind: 1.0}) for n in range(40))


def _few(key: int, **known: float) -> Table:
    """Return the last look at a client of `traffic`."""
    looks = table_of([(Who("", "", "", "", "", ""), 0, traffic([key]))])
    for name, value in known.items():
        looks.features[:, NAMES.index(name)] = value
    return looks.at(np.array([len(looks.run) - 1]))


def test_canaries_in_every_network(tmp_path: Path) -> None:
    """The bound is raised until no honest canary would be accused, in whatever network it were; and a model that
    accuses somebody who refreshes from one of them is refused.
    """
    made = fit.train_trees(
        joined([fit.for_training(world()), _own("mobile", HONEST), _own("hosting", ABUSIVE)]), fit.Origin(version="1")
    )
    canary = world().at((world().split == TEST) & ~world().abusive)
    new = Scorer(written(made, tmp_path))
    high = float(new.score(canary.features, canary.requests).max())
    low = fit.Model(made.graph, made.manifest.model_copy(update={"accuse": (high + 0.1,) * 3}))
    new = Scorer(written(low, tmp_path))
    mine = Own(site(0.1), nobody(), site(0.1, 20), 0)
    assert any("refreshes" in fault for fault in faults(new, scorer(), world(), mine))
    spared = Scorer(written(own.spare(low, new, world()), tmp_path))
    far = anywhere(canary)
    assert (spared.score(far.features, far.requests) < bounds(spared.manifest, far.requests)).all()


def site(order: float, networks: int = 60, label: str = HONEST, seed: int = 9) -> Table:
    """Return looks at an operator's clients, one tool for each network."""
    return joined(
        clients(f"own {number}", label, "own", count=2, seed=seed + number, order=order) for number in range(networks)
    )


def retrained(own_looks: Own, folder: Path) -> tuple[Scorer, list[str]]:
    """Train on an operator's looks, and compare."""
    made = trained(own_looks, world(), fit.Origin(version="own"))
    new = Scorer(written(made, folder))
    return new, faults(new, scorer(), world(), own_looks)


def nobody() -> Table:
    """Return no looks."""
    return world().at(np.zeros(len(world().run), np.bool_))


def test_drift(tmp_path: Path) -> None:
    """A site whose honest clients are unlike the recorded ones teaches so, and the model still finds the canaries."""
    drifted = joined(clients(f"own {n}", HONEST, "own", count=2, seed=n, order=0.45) for n in range(60))
    out = joined(clients(f"out {n}", HONEST, "own", count=2, seed=99 + n, order=0.45) for n in range(20))
    new, found = retrained(Own(drifted, nobody(), out, 0), tmp_path)
    assert found == []
    requests = out.requests
    assert new.score(out.features, requests).mean() < scorer().score(out.features, requests).mean()


def test_poison(tmp_path: Path) -> None:
    """Walkers who pass for honest in many networks, and outnumber all others, make a model that is refused."""
    _, found = retrained(Own(site(0.93, 400), nobody(), site(0.1, 20), 0), tmp_path)
    assert any("canaries" in fault for fault in found)


def test_more_false_alarms(tmp_path: Path) -> None:
    """A model that accuses more of the clients that were kept out of training is refused."""
    abusive = site(0.1, 40, ABUSIVE, seed=500)
    _, found = retrained(Own(site(0.9, 3), abusive, site(0.1, 20), 0), tmp_path)
    assert found


def test_every_comparison() -> None:
    """The model in use has no fault against itself; one that accuses everybody has all of them; one that accuses
    nobody misses the canaries.
    """
    mine = Own(site(0.1), nobody(), site(0.1, 20), 0)
    assert faults(scorer(), scorer(), world(), mine) == []
    everybody, no_one = (_with_bound(bound) for bound in (-99.0, 99.0))
    said = " ".join(faults(everybody, scorer(), world(), mine))
    assert all(each in said for each in ("honest canaries", "refreshes his keys", "kept out of training"))
    assert "canaries" in faults(no_one, scorer(), world(), mine)[0]


def _with_bound(bound: float) -> Scorer:
    made = Scorer.__new__(Scorer)
    made.__dict__.update(scorer().__dict__)
    known = scorer().manifest
    made.manifest = known.model_copy(update={"accuse": (bound,) * len(known.accuse)})
    return made


def test_canaries_are_never_trained_on() -> None:
    """The tools of the test set are in no table for training."""
    assert TEST not in fit.for_training(world()).split


def test_own_share() -> None:
    """All own looks together weigh less than a third of their class."""
    table = joined([fit.for_training(world()), site(0.1, 300)])
    weights = fit.weights_of(table)
    honest = ~table.abusive
    assert weights[table.split == "own"].sum() / weights[honest].sum() == pytest.approx(fit.OWN_SHARE)
