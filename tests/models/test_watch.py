"""Who is due: told once to each who looks, whatever the others do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from models import watch as watching
from models.features import compute
from models.steps import whole
from models.watch import Watch
from models.windows import TURN, Windows
from tests.models.traffic_for_tests import CLIENT, SECOND, fingerprints, visit
from tests.models.windows_for_tests import everything

if TYPE_CHECKING:
    import pytest


def test_each_who_looks() -> None:
    """All of them are told of each client that is due, once, with its features and the records of the block."""
    watch = Watch()
    lookouts = [watch.lookout(), watch.lookout()]
    made = visit(fingerprints(20))
    whole(watch.feed(made))
    for lookout in lookouts:
        [due] = lookout.take()
        assert due.clients.tolist() == [CLIENT] == watch.windows.keys(due.rows).tolist()
        assert due.columns["requests"].tolist() == [20]
        assert np.array_equal(due.features, compute(due.columns))
        assert np.array_equal(due.records, made)
        assert not [*lookout.take()]


def test_nobody_looks() -> None:
    """Nothing is added up for nobody, nor for one who is gone."""
    watch = Watch()
    lookout = watch.lookout()
    del lookout
    whole(watch.feed(visit(fingerprints(20))))
    assert everything(watch.windows) == {}


def test_who_does_not_look_misses_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits for one who does not take it is bounded."""
    monkeypatch.setattr(watching, "MOST_WAITING", 2)
    watch = Watch()
    lookout = watch.lookout()
    for number in range(3):
        whole(watch.feed(visit(fingerprints(8), client=CLIENT + number, start_ns=number * SECOND)))
    assert [due.clients.tolist() for due in lookout.take()] == [[CLIENT + 1], [CLIENT + 2]]


def test_steps_and_whole_blocks() -> None:
    """A block is done in steps, of a turn at most, and the windows are as if it had been added at once."""
    made = np.concatenate([visit(fingerprints(300), client=CLIENT + each) for each in range(5)])
    made = np.asarray(made[np.argsort(made["time_ns"], kind="stable")], visit(["a"]).dtype)
    watch, at_once = Watch(), Windows()
    lookout = watch.lookout()
    at_once.feed(made)
    assert len([*watch.feed(made)]) > 2 * len(made) / TURN
    assert everything(watch.windows) == everything(at_once)
    assert len([*lookout.take()]) == -(-len(made) // TURN)


def test_excerpts_wait_for_one_look() -> None:
    """Each who looks may take what was shown last, once; what nobody took is gone with what is shown next."""
    watch = Watch()
    first, second = watch.lookout(), watch.lookout()
    watch.show([(CLIENT, b"Alice")])
    assert [*first.take_excerpts()] == [(CLIENT, b"Alice")]
    assert [*first.take_excerpts()] == []
    watch.show([])
    assert [*second.take_excerpts()] == []
