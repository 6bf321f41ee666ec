"""Goals, and the table that shows them."""

from io import StringIO

import pytest
from rich.console import Console

from bench.scenarios import table
from bench.scenarios.clock import HOUR, MINUTE, SECOND
from bench.scenarios.goals import Goal, HeldTo, NobodyDenied, Noticed, NotToldApart, Refused, UpstreamShare
from bench.scenarios.plan import Outcome
from bench.scenarios.world import Group, Tally

HELD = HeldTo(burst=5, each_ns=10 * SECOND)


@pytest.mark.parametrize(
    ("goal", "requests", "denied", "upstream_us", "met"),
    [
        (NobodyDenied(), 300, 0, 0, True),
        (NobodyDenied(), 300, 1, 0, False),
        (Refused(0.95), 1000, 950, 0, True),
        (Refused(0.95), 1000, 949, 0, False),
        (HELD, 1000, 635, 0, True),  # an hour: 5 + 360
        (HELD, 1000, 634, 0, False),
        (UpstreamShare(0.1), 1000, 0, 360_000_000, True),
        (UpstreamShare(0.1), 1000, 0, 360_000_001, False),
        (UpstreamShare(0.1), 1000, 1, 0, False),
    ],
)
def test_goals_are_bounds(goal: Goal, requests: int, denied: int, upstream_us: int, met: bool) -> None:  # noqa: FBT001 - a row
    """Just kept, and just missed."""
    tally = Tally(requests=requests, denied=denied, upstream_us=upstream_us)
    assert goal.met(tally, HOUR) is met
    outcome = Outcome("one", HOUR, [Group("somebody", goal, tally)], 0, 0.1)
    assert bool(table.missed([outcome])) is not met


@pytest.mark.parametrize(("scores", "met"), [([0.5, 0.9], True), ([0.49, 0.9], False), ([], False)])
def test_who_is_to_be_noticed(scores: list[float], met: bool) -> None:  # noqa: FBT001 - a row
    """Each of its networks, by its score."""
    assert Noticed(0.5).met(Tally(requests=9, cold_scores=scores), HOUR) is met


@pytest.mark.parametrize("denied", [0, 24])
def test_what_becomes_of_who_is_not_told_apart_is_told(denied: int) -> None:
    """It is neither met nor missed, and no fault."""
    group = Group("somebody", NotToldApart(), Tally(requests=24, denied=denied))
    assert table.judged(group, HOUR) == f"not told apart: {denied} denied"
    assert table.missed([Outcome("one", HOUR, [group], 0, 0.1)]) == []


def test_nothing_is_claimed_of_who_did_not_come() -> None:
    """A dash, and no fault."""
    group = Group("nobody", Refused(0.95), Tally())
    assert table.judged(group, HOUR) == "-"
    assert table.missed([Outcome("one", HOUR, [group], 0, 0.1)]) == []


@pytest.mark.parametrize(
    ("length_ns", "text"),
    [(0, "0.0 s"), (48 * SECOND, "48.0 s"), (119 * SECOND, "119.0 s"), (10 * MINUTE, "10.0 min"), (3 * HOUR, "3.0 h")],
)
def test_times_are_told_in_their_unit(length_ns: int, text: str) -> None:
    """From two of it on."""
    assert table.duration(length_ns) == text


def test_the_table_and_the_file_say_the_same() -> None:
    """A row for each group."""
    tally = Tally(4, 1, 2, 1, 3 * SECOND, MINUTE, 3, 5_000_000)
    outcome = Outcome("one", HOUR, [Group("some", NobodyDenied(), tally), Group("none", Refused(0.5))], 7, 0.1)
    out = StringIO()
    Console(file=out, width=200).print(table.table([outcome], "title"))
    row = next(line for line in out.getvalue().splitlines() if "some" in line)
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["one", "some", "4", "1", "1 of 2", "3.0", "60.0 s", "3", "25.0%", "5", "-", "MISSED: 0 denied"]
    [saved] = table.content([outcome], "default")["scenarios"]  # type: ignore[misc]
    assert saved["bans"] == 7
    assert saved["groups"][0]["denied"] == 1
    assert saved["groups"][0]["worst_delay_seconds"] == 3.0
    assert saved["groups"][1]["goal"] == "-"
