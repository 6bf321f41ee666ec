"""The circuit of the store, on a clock of the test."""

from __future__ import annotations

from itertools import pairwise

import pytest

from proxy.cluster.circuit import CALM_NS, FIRST_WAIT_NS, HICCUP_NS, LONGEST_WAIT_NS, Cause, Change, Circuit
from proxy.settings.kinds import MILLISECOND, SECOND

NOW = 100 * SECOND
STATES = sorted({*Cause} - {Cause.SLOW, Cause.LOST, Cause.UNASKED}, key=lambda cause: cause.name)


def closed() -> Circuit:
    """Return one that has been up for long, and whose waits have no chance in them."""
    circuit = Circuit(0, chance=lambda: 1.0)
    circuit.succeeded(0)
    return circuit


def failures(circuit: Circuit, cause: Cause, *times_ms: int) -> list[bool]:
    """Fail at these times, each with a call that was begun just before; return whether it is up after each."""
    after = []
    for time_ms in times_ms:
        now_ns = NOW + time_ms * MILLISECOND
        circuit.failed(cause, now_ns - 1, now_ns)
        after.append(circuit.up)
    return after


def test_begins_open() -> None:
    """Nobody is let through before something was answered; that is not told as a return."""
    circuit = Circuit(NOW)
    assert not circuit.up
    assert circuit.due_ns == NOW
    assert circuit.succeeded(NOW + 5) == Change(up=True, cause=Cause.UNASKED, lasted_ns=5)
    assert circuit.up


@pytest.mark.parametrize(
    ("cause", "times_ms", "up"),
    [
        (Cause.SLOW, (0,), [True]),
        (Cause.SLOW, (0, 100), [True, True]),
        (Cause.SLOW, (0, 100, 200), [True, True, False]),
        (Cause.SLOW, (0, 499), [True, True]),
        (Cause.SLOW, (0, 500), [True, False]),
        (Cause.LOST, (0,), [True]),
        (Cause.LOST, (0, 1), [True, False]),
        *[(cause, (0,), [False]) for cause in STATES],
    ],
)
def test_opens(cause: Cause, times_ms: tuple[int, ...], up: list[bool]) -> None:
    """It opens at once, at the second failure or the third, by what failed, and never later than after a second."""
    assert failures(closed(), cause, *times_ms) == up


def test_one_hiccup() -> None:
    """Calls that were all on their way when the first of them failed count once."""
    circuit = closed()
    for _ in range(100):
        circuit.failed(Cause.SLOW, NOW - 1, NOW + HICCUP_NS)
    assert circuit.up
    assert circuit.doubtful


def test_an_answer_forgives() -> None:
    """Failures count in a row only."""
    circuit = closed()
    for _ in range(100):
        assert failures(circuit, Cause.SLOW, 0, 100) == [True, True]
        assert circuit.succeeded(NOW) is None
    assert not circuit.doubtful


def test_doubt_is_due_at_once() -> None:
    """After the first failure somebody should look."""
    circuit = closed()
    circuit.failed(Cause.SLOW, NOW, NOW + 7)
    assert circuit.due_ns == NOW + 7


def test_waits_double() -> None:
    """Probes come later and later, up to a bound; half of each wait is chance."""
    for chance, part in ((1.0, 1.0), (0.0, 0.5)):
        circuit = Circuit(0, chance=lambda chance=chance: chance)
        waits = []
        for _ in range(8):
            circuit.failed(Cause.LOST, NOW, NOW)
            waits.append(circuit.due_ns - NOW)
        assert waits[0] == FIRST_WAIT_NS * part
        assert waits[-1] == LONGEST_WAIT_NS * part
        assert all(after == min(2 * before, LONGEST_WAIT_NS * part) for before, after in pairwise(waits))


def test_comes_and_goes() -> None:
    """Who was up for a few seconds only waits longer than the last time; who was up for long begins anew."""
    circuit = closed()
    failures(circuit, Cause.MEMORY, 0)
    circuit.succeeded(NOW + 1)
    circuit.failed(Cause.MEMORY, NOW + 2, NOW + 2)
    assert circuit.due_ns - (NOW + 2) == 2 * FIRST_WAIT_NS
    circuit.succeeded(NOW + 3)
    later = NOW + 4 + CALM_NS
    circuit.failed(Cause.MEMORY, later, later)
    assert circuit.due_ns - later == FIRST_WAIT_NS


def test_changes() -> None:
    """A change is told once; of an open circuit the first reason, and another one if it is to be mended."""
    circuit = Circuit(NOW, chance=lambda: 0.0)
    assert circuit.failed(Cause.LOST, NOW, NOW + 1) == Change(up=False, cause=Cause.LOST, lasted_ns=1)
    assert circuit.failed(Cause.LOST, NOW, NOW + 2) is None
    assert circuit.failed(Cause.LOADING, NOW, NOW + 3) is None
    assert circuit.failed(Cause.PASSWORD, NOW, NOW + 4) == Change(up=False, cause=Cause.PASSWORD, lasted_ns=4)
    assert circuit.failed(Cause.PASSWORD, NOW, NOW + 5) is None
    assert circuit.succeeded(NOW + 6) == Change(up=True, cause=Cause.PASSWORD, lasted_ns=6)
    assert circuit.succeeded(NOW + 7) is None
    assert circuit.failed(Cause.READ_ONLY, NOW + 7, NOW + 8) == Change(up=False, cause=Cause.READ_ONLY, lasted_ns=2)
