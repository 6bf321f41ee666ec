"""Who is there, by the beats that are seen."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from proxy.cluster.beat import PROTOCOL, Beat
from proxy.cluster.roster import FORGOTTEN, MISSED, MISSED_AFTER_OUTAGE, Roster

NOW_MS = 1_795_249_901_000
LIFE, OTHER = "1" * 16, "2" * 16


def beat(
    number: int, *, node: str = "b", life: str = LIFE, age_ms: int = 0, left: bool = False, protocol: int = 1
) -> Beat:
    """Return a beat."""
    return Beat(
        node=node,
        life=life,
        number=number,
        at_ms=NOW_MS - age_ms,
        since_ms=NOW_MS - age_ms,
        left=left,
        version="1.0",
        protocol=protocol,
    )


def seen(roster: Roster, *beats: Beat) -> list[tuple[str, str]]:
    """Look once; return who came and went."""
    return [(each.beat.node, each.how) for each in roster.look(beats, 1, NOW_MS)]


class Row(NamedTuple):
    """Beats of one node at each look, and what is told at the last one."""

    rule: str
    looks: list[list[Beat]]
    told: list[str]
    counted: int


STALE = 6000
ROWS = [
    Row("nobody is told of who is there at the first look", [[beat(1)]], [], 1),
    Row("who comes later has joined", [[], [beat(1)]], ["joined"], 1),
    Row("two looks without a new beat are nothing", [[beat(1)]] * MISSED, [], 1),
    Row("three are", [[beat(1)]] * (MISSED + 1), ["lost"], 0),
    Row("who is not in the table any more is missed in the same way", [[beat(1)]] + [[]] * MISSED, ["lost"], 0),
    Row("who beats again has joined again", [[beat(1)]] * (MISSED + 1) + [[beat(2)]], ["joined"], 1),
    Row("who says that it leaves is gone at once", [[beat(1)], [beat(2, left=True)]], ["drained"], 0),
    Row("and is not told of twice", [[beat(1)], [beat(2, left=True)], [beat(2, left=True)]], [], 0),
    Row("a beat of long ago is no node", [[beat(1, age_ms=STALE)]], [], 0),
    Row("but it may be one whose clock is wrong", [[beat(1, age_ms=STALE)], [beat(2, age_ms=STALE)]], ["joined"], 1),
    Row("an older number is no new beat", [[beat(7)]] + [[beat(number)] for number in (6, 5, 4)], ["lost"], 0),
    Row("another life takes the place of one", [[beat(9)], [beat(1, life=OTHER)]], [], 1),
    Row(
        "an old beat of another life, put back, does not",
        [[beat(9)], *[[beat(1, life=OTHER, age_ms=STALE)]] * MISSED],
        ["lost"],
        0,
    ),
    Row("the farewell of another life is nobody's", [[beat(9)], [beat(1, life=OTHER, left=True)]], [], 1),
    Row(
        "a node of another protocol is seen, and does not count", [[], [beat(1, protocol=PROTOCOL + 1)]], ["joined"], 0
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.rule)
def test_looks(row: Row) -> None:
    """Beats come and stay away; what is told of the last look, and how many count, is as each row has it."""
    roster = Roster()
    told: list[tuple[str, str]] = []
    for beats in row.looks:
        told = seen(roster, *beats)
    assert [how for _, how in told] == row.told
    assert roster.counted == row.counted


def test_after_an_outage_nodes_have_longer() -> None:
    """Who could not be seen for a while is not lost because others are back sooner."""
    roster = Roster()
    seen(roster, beat(1))
    roster.outage()
    for _ in range(MISSED_AFTER_OUTAGE - 1):
        assert seen(roster, beat(1)) == []
    assert seen(roster, beat(1)) == [("b", "lost")]


def test_lost_nodes_are_forgotten() -> None:
    """A node that does not come back is listed as lost for a minute, and then no more."""
    roster = Roster()
    seen(roster, beat(1))
    for _ in range(FORGOTTEN - 1):
        seen(roster)
    assert [each.state for each in roster.members] == ["lost"]
    seen(roster)
    assert roster.members == ()
