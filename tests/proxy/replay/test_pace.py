"""When clients come that were made to wait."""

import pytest

from proxy.replay import pace
from proxy.replay.line import SECOND_NS, Line
from proxy.replay.pace import NEVER_NS, PAUSE_NS, Pace

HERE, THERE = bytes([203, 0, 113, 7]), bytes([198, 51, 100, 7])
PAUSE = PAUSE_NS // SECOND_NS


def _line(second: float, address: bytes = HERE, **figures: int) -> Line:
    return Line(int(second * SECOND_NS), address, "GET", "/", **figures)


def _due(pace: Pace, line: Line) -> float:
    """Return when a line is judged that comes alone."""
    if not pace.holds(line):
        return line.start_ns / SECOND_NS
    due_ns, taken = pace.take()
    pace.taken(taken, due_ns)
    assert taken is line
    return due_ns / SECOND_NS


def test_a_client_lags_by_what_it_waited() -> None:
    """All that follows comes later; nobody else does."""
    pace = Pace()
    pace.delayed(_line(1), 2 * SECOND_NS, SECOND_NS)
    assert _due(pace, _line(1.5)) == 3.5
    assert _due(pace, _line(1.5, THERE)) == 1.5
    pace.delayed(_line(1.5), 2 * SECOND_NS, int(3.5 * SECOND_NS))
    assert _due(pace, _line(2)) == 6


def test_a_pause_makes_up_for_it() -> None:
    """Who comes back later has waited for nothing."""
    pace = Pace()
    pace.delayed(_line(1), 8 * SECOND_NS, SECOND_NS)
    assert _due(pace, _line(1 + PAUSE + 1)) == 1 + 8
    assert _due(pace, _line(100)) == 100
    assert _due(pace, _line(100.5)) == 100.5


def test_a_pause_begins_with_the_answer() -> None:
    """A long request is no rest: what comes after it does not come before its answer."""
    pace = Pace()
    pace.delayed(_line(1, took_us=PAUSE * 2_000_000), 100 * SECOND_NS, SECOND_NS)
    assert _due(pace, _line(1 + PAUSE * 2 + 1)) == 1 + PAUSE * 2 + 1 + 100
    assert _due(pace, _line(1 + PAUSE * 4 + 2, took_us=PAUSE * 2_000_000)) == 1 + PAUSE * 2 + 100 + 1
    assert _due(pace, _line(1 + PAUSE * 6 + 3)) == 1 + PAUSE * 6 + 3 + (100 - PAUSE * 2 - 1)


def test_requests_side_by_side_do_not_wait_for_each_other() -> None:
    """What was asked for before the delayed answer came is asked for when the log says."""
    pace = Pace()
    pace.delayed(_line(1, took_us=500_000), 2 * SECOND_NS, SECOND_NS)
    assert _due(pace, _line(1.2)) == 1.2
    assert _due(pace, _line(1.6)) == 3.6


def test_a_delay_that_the_log_tells_is_none() -> None:
    """Its times have it already; the same settings again change nothing, kinder ones make nobody faster."""
    pace = Pace()
    pace.delayed(_line(1, wait_us=2_000_000, took_us=2_100_000), 2 * SECOND_NS, SECOND_NS)
    pace.delayed(_line(4, wait_us=2_000_000, took_us=2_100_000), SECOND_NS, 4 * SECOND_NS)
    assert _due(pace, _line(7)) == 7
    pace.delayed(_line(8, wait_us=2_000_000, took_us=2_100_000), 3 * SECOND_NS, 8 * SECOND_NS)
    assert _due(pace, _line(11)) == 12


def test_lines_come_in_the_order_in_which_they_are_due() -> None:
    """Those of a client in that of its log."""
    pace = Pace()
    pace.delayed(_line(1), 2 * SECOND_NS, SECOND_NS)
    pace.delayed(_line(1, THERE), SECOND_NS, SECOND_NS)
    lines = [_line(1.5), _line(1.6), _line(1.6, THERE)]
    assert all(map(pace.holds, lines))
    taken = []
    while pace.due_ns < NEVER_NS:
        due_ns, line = pace.take()
        taken.append((due_ns / SECOND_NS, line))
        pace.taken(line, due_ns)
    assert taken == [(2.6, lines[2]), (3.5, lines[0]), (3.6, lines[1])]


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With too many that wait the next is due at once; of too many that lag the first are let go."""
    monkeypatch.setattr(pace, "MOST_WAITING", 2)
    monkeypatch.setattr(pace, "MOST_LAGS", 4)
    lagging = Pace()
    lagging.delayed(_line(1), 100 * SECOND_NS, SECOND_NS)
    for second in (2, 3, 4):
        assert lagging.holds(_line(second))
    assert lagging.due_ns == 0
    many = Pace()
    for number in range(5):
        many.delayed(_line(1, bytes([10, 0, 0, number])), SECOND_NS, SECOND_NS)
    assert [many.holds(_line(1.5, bytes([10, 0, 0, number]))) for number in range(5)] == [
        False,
        False,
        True,
        True,
        True,
    ]
