"""What is made of an attack: ratios, goals, doubts."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from bench.attacks import Outcome, Round, Siege, content, doubt, table
from bench.load import Client
from bench.processes import Cores
from bench.sieges import PACE, Origin
from bench.visitors import Experience

MANY = 1000


def _round(p99_us: float, failed: int = 0, late_us: float = 10.0, foreign: float = 0.0, stolen: float = 0.0) -> Round:
    met = Experience(
        sent=110,
        counted=100,
        errors={"closed": failed} if failed else {},
        p50_us=1.0,
        p99_us=p99_us,
        late_p99_us=late_us,
    )
    return Round(
        met={Client.KEEPALIVE: met, Client.DIRMNGR: met},
        core_share=0.5,
        foreign_share=foreign,
        stolen_share=stolen,
        counted=200,
        failed=failed,
    )


GOOD = Outcome(
    scenario="idle",
    origin="many",
    defender="hkpguard",
    quiet=[_round(100.0), _round(200.0), _round(150.0)],
    attacked=[_round(290.0), _round(9000.0), _round(200.0)],
    held=(MANY, MANY),
    rest_bytes=100,
    attacked_bytes=200,
    bound_bytes=200,
)


def test_the_ratio_is_that_of_the_medians() -> None:
    """One bad round of three is an accident."""
    assert GOOD.p99_us(Client.DIRMNGR) == (150.0, 290.0)
    assert GOOD.ratio(Client.DIRMNGR) == pytest.approx(290 / 150)
    assert GOOD.missed() == []


@pytest.mark.parametrize(
    ("disturbed", "calm"),
    [
        (_round(1.0), True),
        (_round(1.0, late_us=251.0), False),
        (_round(1.0, foreign=0.21), False),
        (_round(1.0, stolen=0.005), False),
    ],
)
def test_a_round_is_calm_if_nobody_disturbed_it(disturbed: Round, *, calm: bool) -> None:
    """Neither the generator nor the guard, nor the host; what the guard did is not asked."""
    assert (disturbed.disturbance <= 1.0) == calm


@pytest.mark.parametrize(
    ("outcome", "missed"),
    [
        (replace(GOOD, attacked=[_round(300.0)]), ["p99"]),
        (replace(GOOD, attacked=[_round(0.0, failed=100)]), ["p99", "errors"]),
        (replace(GOOD, attacked=[_round(299.0), _round(1.0, failed=1), _round(299.0)]), ["errors"]),
        (replace(GOOD, attacked_bytes=201), ["memory"]),
    ],
)
def test_goals_of_the_issue(outcome: Outcome, missed: list[str]) -> None:
    """P99 under twice the quiet one, no honest request fails, memory within its bound."""
    assert outcome.missed() == missed


@pytest.mark.parametrize(
    ("outcome", "word"),
    [
        (replace(GOOD, quiet=[_round(100.0, failed=1)]), "before the attack"),
        (replace(GOOD, attacked=[_round(100.0, late_us=51.0)]), "late"),
        (replace(GOOD, attacked=[_round(100.0, foreign=0.41)]), "others"),
        (replace(GOOD, held=(MANY, 799), opened=0.79 * PACE), "weak"),
    ],
)
def test_a_measurement_without_meaning_says_why(outcome: Outcome, word: str) -> None:
    """One sentence."""
    assert word in doubt(outcome, MANY)


@pytest.mark.parametrize(
    "outcome",
    [
        GOOD,
        replace(GOOD, held=(0, 0), opened=0.8 * PACE),
        replace(GOOD, held=(3, 3), origin="one"),
        replace(GOOD, held=(3, 3), scenario="slowhttptest-body"),
    ],
    ids=["held", "opened again and again", "held down by caps", "slowhttptest opens once"],
)
def test_a_strong_attack_is_not_doubted(outcome: Outcome) -> None:
    """It holds what it should, or opens as many as it should where none may stay."""
    assert doubt(outcome, MANY) == ""


def test_cases_are_compared_side_by_side() -> None:
    """Both are attacked one after the other in each scenario; a banned address is one address."""
    siege = Siege(
        scenarios=["idle", "banned"],
        defenders=["hkpguard", "haproxy"],
        origins=[Origin.MANY, Origin.ONE],
        connections=1,
        rounds=1,
        seconds=1.0,
        cores=Cores(None, None),
    )
    cases = [(scenario.key, origin.value, name) for scenario, origin, name in siege.cases()]
    assert cases == [
        ("idle", "many", "hkpguard"),
        ("idle", "many", "haproxy"),
        ("idle", "one", "hkpguard"),
        ("idle", "one", "haproxy"),
        ("banned", "one", "hkpguard"),
        ("banned", "one", "haproxy"),
    ]


def test_the_table_shows_all_and_judges_ours_only() -> None:
    """What was not measured has a line too."""
    lost = Outcome(scenario="scanners", origin="one", defender="haproxy", invalid="it rained")
    bad = replace(GOOD, attacked_bytes=201, defender="haproxy")
    output = StringIO()
    Console(width=200, file=output).print(table([GOOD, bad, lost]))
    text = output.getvalue()
    assert text.count("idle") == 2
    assert "met" in text
    assert "MISSED" not in text
    assert "not measured" in text
    rows = content([GOOD, lost])["outcomes"]
    assert isinstance(rows, list)
    assert [row["goals"] for row in rows] == ["met", "invalid"]
