"""The tools of the fuzz suite: what they build, how they change inputs, and how a run is divided and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz.build import checked
from tests.fuzz.mutate import Mutator
from tests.fuzz.plain import attempt, fuzz
from tests.fuzz.run import Part, Plan, Result, parts, plan_of, result
from tests.fuzz.target import NAMES, Target, load

WORD = b"WORD"


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (
            "# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False",
            "# cython: cdivision=True",
        ),
        ("# cython: language_level=3, boundscheck=False, wraparound=False", "#"),
        ("# cython: cdivision=True", "# cython: cdivision=True"),
        ("# cython: boundscheck=False", "#"),
        ('"""boundscheck=False"""', '"""boundscheck=False"""'),
    ],
)
def test_checks_are_on(first: str, rest: str) -> None:
    """Directives that switch a check off are taken out of the first line, others stay; no line is lost."""
    assert checked(f"{first}\nboundscheck=False\n") == f"{rest}\nboundscheck=False\n"


def target_of(check: object = len, longest: int = 30) -> Target:
    """Return a target with one seed and one word."""
    return Target(check, lambda: [b"GET /a b\r\nHost: c\r\n\r\n"], (WORD,), longest, 1)  # type: ignore[arg-type]  # any


def test_same_number_same_inputs() -> None:
    """A run can be repeated."""
    one, other = (Mutator(target_of(), 5) for _ in range(2))
    assert [one.next() for _ in range(100)] == [other.next() for _ in range(100)]
    assert len({one.next() for _ in range(100)}) > 50


def test_inputs_are_short_enough_and_have_words() -> None:
    """No input is longer than the target takes; words are put in."""
    mutator = Mutator(target_of(), 1)
    inputs = [mutator.next() for _ in range(2000)]
    assert max(map(len, inputs)) == 30
    assert any(WORD in data for data in inputs)


def test_accepted_inputs_join_the_pool() -> None:
    """What was accepted becomes a parent of other inputs."""
    mutator = Mutator(target_of(), 1)
    for _ in range(1000):
        mutator.accepted(b"\xf0\xf1\xf2")
    assert any(b"\xf0\xf1" in mutator.next() for _ in range(100))


def test_input_that_fails_is_saved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A failure ends the run; its input and where it is saved are told."""

    def check(data: bytes) -> str:
        assert WORD not in data
        return "accepted"

    with pytest.raises(SystemExit):
        fuzz(target_of(check), 100_000, 0, 1, tmp_path)
    (saved,) = tmp_path.iterdir()
    assert WORD in saved.read_bytes()
    assert str(saved) in capsys.readouterr().err


def test_run_ends_with_enough_inputs(tmp_path: Path) -> None:
    """A run of so many inputs is about as long; each has an outcome."""
    outcomes = fuzz(target_of(lambda data: str(len(data) % 2)), 1000, 0, 1, tmp_path)
    assert 1000 <= outcomes.total() < 3000
    assert set(outcomes) == {"0", "1"}
    assert attempt(target_of(lambda _: "x"), b"", tmp_path) == "x"


def test_shares_are_of_a_hundred() -> None:
    """The shares of all targets are parts of one run."""
    assert sum(load(name).share for name in NAMES) == 100


def test_division_of_a_run() -> None:
    """Each core has a part of each target, by share; together they do not fall short."""
    plan = Plan(NAMES, 1_000_000, 0, guided=False, tree=Path())
    divided = parts(plan, 2)
    assert sum(part.inputs for part in divided) >= 1_000_000
    assert [part.target for part in divided[:2]] == ["request_head"] * 2
    assert len({part.number for part in divided}) == len(divided) == 2 * len(NAMES)
    timed = parts(plan._replace(inputs=0, seconds=200), 2)
    assert sum(part.seconds for part in timed) == pytest.approx(400)


GUIDED = """#8	INITED cov: 3 ft: 4 corp: 5/6b
#671121	DONE   cov: 678 ft: 2125 corp: 339/27Kb lim: 1200 exec/s: 51624 rss: 77Mb
Done 671121 runs in 13 second(s)
stat::number_of_executed_units: 671121
stat::peak_rss_mb:              77
"""


@pytest.mark.parametrize(
    ("output", "inputs", "seconds", "remark"),
    [
        (GUIDED, 671_121, 13, "678 edges, 2125 features, 339 kept, 77 MB"),
        ("noise\n5000 2.5 25% accepted\n", 5000, 2.5, "25% accepted"),
        ("Traceback\n", 0, 0, ""),
    ],
)
def test_result_of_a_part(output: str, inputs: int, seconds: float, remark: str) -> None:
    """What atheris or the plain loop prints is read."""
    assert result(Part("chunks", 0, 1, 1), output, failed=False) == Result(
        "chunks", inputs, seconds, remark, failed=False
    )


def test_unknown_target_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line names what it does not know."""
    with pytest.raises(SystemExit):
        plan_of(["--plain", "no_such_target"])
    assert "no_such_target" in capsys.readouterr().err


def test_time_bound_without_arguments() -> None:
    """A run has an end."""
    plan = plan_of(["--plain", "--tree", "."])
    assert (plan.inputs, plan.targets) == (0, NAMES)
    assert plan.seconds > 0
