"""What is counted."""

import pytest

from proxy.policy.actions import Action, Reason
from proxy.policy.judge import ALLOW, Verdict
from proxy.replay import tally as module
from proxy.replay.tally import FIRST_COLUMN_NS, MOST_COLUMNS, Fate, Tally, Timeline

REFUSED = Verdict(Action.LIMIT, Reason.BUSY, 429)
BANNED = Verdict(Action.DENY, Reason.BANNED, 429)


def test_each_request_has_one_fate() -> None:
    """And counts for its client, its reason and its time."""
    tally = Tally()
    for verdict in (ALLOW, REFUSED, BANNED, Verdict(Action.DELAY, Reason.LIMIT, 0, 7)):
        tally.note(1, verdict, 0)
    tally.note(1, Verdict(Action.DENY, Reason.UNKNOWN, 404), 0, 404)
    assert tally.clients[1].fates == [1, 1, 1, 1, 1]
    assert tally.wait_ns == tally.clients[1].wait_ns == 7
    assert dict(tally.limits) == {"busy": [0, 0, 1, 0, 0], "banned": [0, 0, 0, 1, 0], "limit": [0, 1, 0, 0, 0]}
    assert list(tally.timeline.rows()) == [(0, [1, 1, 1, 1, 1])]


def test_clients_for_which_there_is_no_room_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded, and no request is lost."""
    monkeypatch.setattr(module, "MOST_CLIENTS", 2)
    tally = Tally()
    for client in range(5):
        tally.note(client, REFUSED, 0)
    assert (len(tally.clients), tally.others.fates[Fate.REFUSED]) == (2, 3)


@pytest.mark.parametrize("step_ns", [FIRST_COLUMN_NS, 7 * FIRST_COLUMN_NS, 10**15])
def test_columns_become_wider_and_lose_nothing(step_ns: int) -> None:
    """There are never too many, however long the log is."""
    timeline = Timeline()
    for turn in range(3 * MOST_COLUMNS):
        timeline.note(turn * step_ns, Fate.REFUSED)
        assert len(timeline.columns) <= MOST_COLUMNS
    rows = list(timeline.rows())
    assert sum(fates[Fate.REFUSED] for _, fates in rows) == 3 * MOST_COLUMNS
    assert [begin_ns for begin_ns, _ in rows] == sorted(begin_ns for begin_ns, _ in rows)
    assert rows[-1][0] <= (3 * MOST_COLUMNS - 1) * step_ns < rows[-1][0] + timeline.width_ns
