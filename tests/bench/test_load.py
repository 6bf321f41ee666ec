"""What is accepted as a valid run of wrk."""

import pytest

from bench.load import LoadError, Outcome, checked, parse

NOISE = "Running 2s test @ http://127.0.0.1:1\n  Requests/sec: 9\n\n"
LINE = (
    '{"requests":1000,"refused":3,"bytes":5,"duration_us":2000000,"p50_us":7,"p99_us":9,'
    '"connect":0,"read":1,"write":2,"timeout":3}\n'
)


def _outcome(requests: int, refused: int = 0, read: int = 0) -> Outcome:
    return Outcome(requests=requests, refused=refused, bytes=1, duration_us=1_000_000, p50_us=1, p99_us=1, read=read)


def test_parse_takes_the_last_line() -> None:
    """What wrk itself prints before it is ignored."""
    outcome = parse(NOISE + LINE)
    assert (outcome.rate, outcome.faults, outcome.refused) == (500.0, 6, 3)


@pytest.mark.parametrize(
    ("outcome", "refused"),
    [
        (_outcome(0), False),
        (_outcome(1000, read=1), False),
        (_outcome(1000, refused=10), False),
        (_outcome(1000, refused=990), True),
    ],
    ids=["nothing", "faults", "refused though open", "served though closed"],
)
def test_a_run_that_measured_something_else_is_refused(outcome: Outcome, *, refused: bool) -> None:
    """One fault in a thousand or one wrong answer in a hundred are too many."""
    with pytest.raises(LoadError):
        checked(outcome, refused=refused)


@pytest.mark.parametrize(
    ("outcome", "refused"), [(_outcome(1001, refused=9, read=1), False), (_outcome(1000, refused=991), True)]
)
def test_a_valid_run_is_handed_on(outcome: Outcome, *, refused: bool) -> None:
    """A burst that a limit lets pass does not make a run of refusals invalid."""
    assert checked(outcome, refused=refused) is outcome
