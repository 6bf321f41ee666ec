"""The detector: says something of who behaves like an abuser, why, and when it does not hold any more."""

from __future__ import annotations

import numpy as np
import pytest

from fastpath import NetworkKind, Origin, client_key, network_key
from models import detector as detectors
from models.coldness import Coldness
from models.detector import BEHAVIOUR, COLDNESS, UNDECIDED_MOST, UNUSUAL, WRITING, WRITING_WEIGHT, Detector
from models.features import NAMES, NETWORK
from models.scorer import SHIPPED, Reason
from models.steps import whole
from models.text import TEXT, TextScorer
from models.watch import Watch
from tests.models.models_for_tests import scorer
from tests.models.traffic_for_tests import CLIENT, SECOND, WORDS, fingerprints, records, refresh, visit

OTHER = client_key(bytes([198, 51, 100, 7]))


class Scripted:
    """A scorer that gives what it is told, by how many requests a client has made."""

    def __init__(self, by_requests: dict[int, float]) -> None:
        """Give these log-odds; 0 at other numbers."""
        self.manifest = scorer().manifest.model_copy(update={"accuse": (4.0,) * 3, "weight": 5.0, "version": "7"})
        self._by_requests = by_requests

    def score(self, features: np.ndarray, requests: np.ndarray) -> np.ndarray:
        """See `Scorer`."""
        assert features.shape == (len(requests), len(NAMES))
        return np.array([self._by_requests.get(int(each), -3.0) for each in requests])

    def explain(self, _features: np.ndarray, _requests: int) -> list[Reason]:
        """See `Scorer`."""
        return [Reason("order", 0.97, 0.1, 3.0)]


def look(detector: Detector, made: np.ndarray, piece: int = 1) -> list[detectors.Finding]:
    """Show records in pieces."""
    watch, found = Watch(), []
    lookout = watch.lookout()
    for start in range(0, len(made), piece):
        whole(watch.feed(made[start : start + piece]))
        for due in lookout.take():
            found += [each for each in detector.look(due, int(made["time_ns"][start])) if each is not None]
    return found


@pytest.mark.parametrize("kind", NetworkKind)
@pytest.mark.parametrize("learnt", [{}, {"vpn": 0.5}])
def test_networks(kind: NetworkKind, learnt: dict[str, float]) -> None:
    """A model that has learnt from networks is shown that of the client; for another one nothing is looked up."""
    seen, asked = [], []

    class Seeing(Scripted):
        def score(self, features: np.ndarray, requests: np.ndarray) -> np.ndarray:
            seen.append(features[:, NETWORK])
            return super().score(features, requests)

    def look_up(address: bytes) -> int:
        asked.append(address)
        return Origin(kind=kind).pack()

    model = Seeing({})
    model.manifest = model.manifest.model_copy(update={"networks": learnt})
    look(Detector(model, look_up=look_up), visit(fingerprints(8)))  # type: ignore[arg-type]
    place = [*NAMES[NETWORK]].index(kind.name.lower()) if kind.name.lower() in NAMES[NETWORK] else None
    expected = [float(bool(learnt) and place == number) for number in range(4)]
    assert np.concatenate(seen).tolist() == [expected]
    assert asked == [bytes([192, 0, 2, 1])] * bool(learnt)


def test_sequential() -> None:
    """Below the bound a client is only suspected, with a weight that moves nobody; at the bound it is accused, with
    what it comes from; and what does not hold any more is taken back, once.
    """
    detector = Detector(Scripted({8: 0.5, 15: 2.0, 30: 3.9, 60: 4.5, 120: 9.0, 240: -1.0}))  # type: ignore[arg-type]
    found = look(detector, visit(fingerprints(500)))
    assert [(each.client, each.kind, each.weight) for each in found] == [
        (CLIENT, BEHAVIOUR, 2.0),
        (CLIENT, BEHAVIOUR, UNDECIDED_MOST),
        (CLIENT, BEHAVIOUR, 5.0),
        (CLIENT, BEHAVIOUR, 7.0),
        (CLIENT, BEHAVIOUR, 0.0),
    ]
    assert found[0].reason.startswith("undecided after 15 requests")
    assert found[2].reason == (
        "behaves like an abuser in its last 60 requests; log-odds 4.5 of 4.0; order 0.97 (usually 0.1); abuse-trees 7"
    )
    assert not detector.accused
    assert detector.looks == 7


def test_a_bound_for_each_number_of_requests() -> None:
    """What accuses somebody who is well known does not accuse whoever made few requests."""
    scripted = Scripted({15: 3.0, 60: 3.0})
    scripted.manifest = scripted.manifest.model_copy(update={"accuse": (9.0, 3.5, 2.5)})
    found = look(Detector(scripted), visit(fingerprints(60)))  # type: ignore[arg-type]
    assert [each.reason.partition(";")[0] for each in found if each.weight] == [
        "undecided after 15 requests",
        "behaves like an abuser in its last 60 requests",
    ]


def test_many_at_once() -> None:
    """A block with many requests of a client gives one finding for it."""
    detector = Detector(Scripted({60: 9.0}))  # type: ignore[arg-type]
    assert len(look(detector, visit(fingerprints(60)), 60)) == 1


def test_second_opinion() -> None:
    """The forest alone has little weight, and needs no accusation by the trees."""
    detector = Detector(Scripted({}), second=Scripted({15: 9.0}))  # type: ignore[arg-type]
    found = look(detector, visit(fingerprints(40)))
    assert [(each.kind, each.weight) for each in found] == [(UNUSUAL, 1.0), (UNUSUAL, 0.0)]


def test_texts() -> None:
    """An accusation has a remark on the texts that were searched for in the last block, without quoting them."""
    text = TextScorer(SHIPPED / f"{TEXT}.onnx")
    detector = Detector(Scripted({8: 9.0}), text=text)  # type: ignore[arg-type]
    made = visit(["<script>alert(1)</script>"] * 8, operation=WORDS)
    [found] = look(detector, made, 8)
    assert "8 of 8 searched texts look like injections" in found.reason
    assert "alert" not in found.reason


def test_writing() -> None:
    """That most user IDs which a client uploads look drawn is said with little weight, and taken back afterwards."""
    text = TextScorer(SHIPPED / f"{TEXT}.onnx")
    detector = Detector(Scripted({}), text=text)  # type: ignore[arg-type]
    drawn, people = [(CLIENT, b"qzxkvbnmwr tkqjxhzpl")] * 4, [(CLIENT, b"Alice Liddell <alice@example.org>")] * 5
    assert [*detector.read(people[:4])] == [None]
    [found] = [each for each in detector.read(drawn * 2) if each]
    assert (found.client, found.kind, found.weight) == (CLIENT, WRITING, WRITING_WEIGHT)
    assert found.reason.startswith("8 of 12 uploaded user IDs look machine-made; search-text ")
    assert [(each.kind, each.weight) for each in detector.read(people) if each] == [(WRITING, 0.0)]
    assert [*detector.read(people)] == [None]
    assert [*detector.read(people * 100)] == [None] * 8
    assert [*Detector(Scripted({})).read(drawn)] == []  # type: ignore[arg-type]


def test_coldness() -> None:
    """Who is in a network that asks for what nobody else does hears of it at each look, and others do not."""
    coldness = Coldness(bytes(16))
    cold = network_key(bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1]))
    detector = Detector(Scripted({}), coldness=coldness)  # type: ignore[arg-type]
    standing = coldness.standing(cold, SECOND)._replace(score=0.8)
    coldness.coldest = lambda _most, _now: [standing]  # type: ignore[method-assign]
    both = np.concatenate([visit(fingerprints(8)), visit(fingerprints(8), client=OTHER)])
    found = look(detector, both[np.argsort(both["time_ns"], kind="stable")])
    assert [(each.client, each.kind) for each in found] == [(CLIENT, COLDNESS)]
    assert found[0].weight == pytest.approx(0.8 * detectors.COLD_WEIGHT)


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """It remembers only so many of whom it spoke."""
    monkeypatch.setattr(detectors, "MOST_ACCUSED", 5)
    detector = Detector(Scripted({8: 9.0}))  # type: ignore[arg-type]
    rows = [{"time_ns": SECOND + place, "client": 1 + place % 20, "subject_hash": place} for place in range(160)]
    assert len(look(detector, records(*rows), 160)) == 20
    assert len(detector.accused) == 5


@pytest.mark.parametrize("pause_ms", [6, 200, 1000])
@pytest.mark.parametrize("keys", [30, 300, 1000])
def test_a_refresh_is_never_accused(keys: int, pause_ms: float) -> None:
    """The shipped model accuses nobody who refreshes his keyring, small or large, near or far away."""
    from models.scorer import MAIN, Scorer  # noqa: PLC0415

    detector = Detector(Scorer(SHIPPED / f"{MAIN}.onnx"))
    found = look(detector, refresh(fingerprints(keys), pause_ms=pause_ms))
    assert [each for each in found if each.weight > UNDECIDED_MOST] == []
