"""GCRA: the specification and its compiled twin, with the same tests."""

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import _gcra_py, gcra
from fastpath._gcra_py import MAX_BURST, MAX_DELAY_NS, MAX_OFFSET_NS, MAX_PERIOD_NS, Decision, Limit, Mode

SECOND = 10**9
NOW = 1_000 * SECOND

TWINS = (_gcra_py, gcra)


@pytest.fixture(params=TWINS, ids=["python", "c"])
def twin(request: pytest.FixtureRequest) -> ModuleType:
    """Return the module under test."""
    assert isinstance(request.param, ModuleType)
    return request.param


def limit(burst: int = 3, count: int = 1, period_ns: int = SECOND, max_delay_ns: int = 0) -> Limit:
    """Return a limit of a token a second, unless told otherwise."""
    return Limit(name="cert", burst=burst, count=count, period_ns=period_ns, max_delay_ns=max_delay_ns)


ROWS = [  # seconds: state - now, cost, delay; then allowed, wait, remaining, retry, reset
    (-5, 1, 0, True, 0, 2, 0, 1),
    (0, 1, 0, True, 0, 2, 0, 1),
    (2, 1, 0, True, 0, 0, 0, 3),
    (3, 1, 0, False, 0, 0, 1, 3),
    (3, 0, 0, True, 0, 0, 0, 3),
    (0, 3, 0, True, 0, 0, 0, 3),
    (1, 3, 0, False, 0, 2, 1, 1),
    (3, 1, 2, True, 1, 0, 0, 4),
    (4, 1, 2, True, 2, 0, 0, 5),
    (5, 1, 2, False, 0, 0, 1, 5),
    (9, 1, 0, False, 0, 0, 7, 9),  # the limit was lowered: a state beyond its burst
]


@pytest.mark.parametrize(("state", "cost", "delay", "allowed", "wait", "remaining", "retry", "reset"), ROWS)
def test_spend(
    twin: ModuleType,
    state: int,
    cost: int,
    delay: int,
    allowed: bool,  # noqa: FBT001 - a value, not a flag
    wait: int,
    remaining: int,
    retry: int,
    reset: int,
) -> None:
    """A bucket of three tokens, one a second, answers and is left as the table says."""
    decision = twin.spend(limit(max_delay_ns=delay * SECOND), NOW + state * SECOND, cost, NOW)
    times = (wait * SECOND, remaining, retry * SECOND, reset * SECOND, NOW + reset * SECOND)
    assert decision == Decision(allowed, *times)


@pytest.mark.parametrize(
    ("state", "cost", "back"),
    [(3, 1, 2), (3, 3, 0), (1, 3, 0), (0, 1, 0), (-4, 1, -4), (3, 0, 3)],
)
def test_refund(twin: ModuleType, state: int, cost: int, back: int) -> None:
    """Tokens come back, but what has flowed back by itself does not come a second time."""
    assert twin.refund(limit(), NOW + state * SECOND, cost, NOW) == NOW + back * SECOND


@pytest.mark.parametrize("cost", [-1, 4])
@pytest.mark.parametrize("verb", ["spend", "refund"])
def test_cost_out_of_range(twin: ModuleType, verb: str, cost: int) -> None:
    """A cost that the bucket can never hold is the caller's bug and says which limit."""
    with pytest.raises(ValueError, match=rf"cost {cost} not in 0\.\.3 of limit 'cert'"):
        getattr(twin, verb)(limit(), NOW, cost, NOW)


@pytest.mark.parametrize(
    ("what", "value", "most"),
    [
        ("burst", 0, MAX_BURST),
        ("burst", MAX_BURST + 1, MAX_BURST),
        ("count", 0, SECOND),
        ("count", SECOND + 1, SECOND),
        ("period_ns", 0, MAX_PERIOD_NS),
        ("period_ns", MAX_PERIOD_NS + 1, MAX_PERIOD_NS),
        ("max_delay_ns", -1, MAX_DELAY_NS),
        ("max_delay_ns", MAX_DELAY_NS + 1, MAX_DELAY_NS),
    ],
)
def test_limit_out_of_range(what: str, value: int, most: int) -> None:
    """A limit out of range is refused with the thing, the value, the range and the name."""
    with pytest.raises(ValueError, match=rf"^{what} {value} not in \d\.\.{most} of limit 'cert'$"):
        limit(**{what: value})


def test_limit_that_fills_for_too_long() -> None:
    """A bucket that would take longer to fill than the arithmetic has room for is refused."""
    with pytest.raises(ValueError, match=rf"^burst_offset_ns \d+ not in 1\.\.{MAX_OFFSET_NS} of limit 'cert'$"):
        limit(burst=MAX_BURST, count=1, period_ns=MAX_PERIOD_NS)


def test_limit_without_a_name() -> None:
    """A limit has a name, because its errors and metrics need one."""
    with pytest.raises(ValueError, match="name of a limit is empty"):
        Limit(name="", burst=1, count=1, period_ns=1)


def test_interval_is_rounded_up() -> None:
    """Seven a second is a token every 142857143 ns: rather a little less than a little more."""
    assert limit(count=7).emission_interval_ns == 142_857_143
    assert limit(count=7, burst=2).burst_offset_ns == 285_714_286


def test_constants_live_once() -> None:
    """The compiled module hands on the types and ranges of the specification."""
    names = ["MAX_BURST", "MAX_DELAY_NS", "MAX_OFFSET_NS", "MAX_PERIOD_NS", "Decision", "Limit", "Mode"]
    assert all(getattr(gcra, name) is getattr(_gcra_py, name) for name in names)
    assert [mode.value for mode in Mode] == [0, 1, 2]


@st.composite
def limits(draw: st.DrawFn) -> Limit:
    """Draw any valid limit, the extreme ones too."""
    period_ns = draw(st.integers(1, MAX_PERIOD_NS) | st.integers(1, 10))
    count = draw(st.integers(1, period_ns))
    interval_ns = -(-period_ns // count)
    burst = draw(st.integers(1, min(MAX_BURST, MAX_OFFSET_NS // interval_ns)))
    return limit(burst, count, period_ns, draw(st.integers(0, MAX_DELAY_NS)))


@st.composite
def questions(draw: st.DrawFn) -> tuple[Limit, int, int, int]:
    """Draw a limit, a state near or far from now, a cost and now."""
    a_limit = draw(limits())
    now_ns = draw(st.integers(0, MAX_OFFSET_NS))
    edge_ns = now_ns + a_limit.burst_offset_ns + a_limit.max_delay_ns
    tat_ns = draw(st.integers(max(0, edge_ns - 2), edge_ns + 2) | st.integers(0, 2 * MAX_OFFSET_NS))
    return a_limit, tat_ns, draw(st.integers(0, a_limit.burst)), now_ns


@given(questions())
def test_twins_agree(question: tuple[Limit, int, int, int]) -> None:
    """C gives the answers of the specification over the whole range of its integers."""
    assert gcra.spend(*question) == _gcra_py.spend(*question)
    assert gcra.refund(*question) == _gcra_py.refund(*question)


@given(questions())
def test_retry_after_is_exact(question: tuple[Limit, int, int, int]) -> None:
    """Who comes back after `retry_after_ns` is allowed, and who comes 1 ns earlier is not."""
    a_limit, _, cost, now_ns = question
    denied = _gcra_py.spend(*question)
    if not denied.allowed:
        again_ns = now_ns + denied.retry_after_ns
        assert _gcra_py.spend(a_limit, denied.tat_ns, cost, again_ns).allowed
        assert not _gcra_py.spend(a_limit, denied.tat_ns, cost, again_ns - 1).allowed


@given(questions())
def test_refund_undoes_spend(question: tuple[Limit, int, int, int]) -> None:
    """What was taken and given back at once leaves the bucket as it was."""
    a_limit, tat_ns, cost, now_ns = question
    decision = _gcra_py.spend(*question)
    if decision.allowed:
        assert _gcra_py.refund(a_limit, decision.tat_ns, cost, now_ns) == max(tat_ns, now_ns)


@given(
    st.integers(0, 2 * MAX_OFFSET_NS),
    st.integers(-MAX_OFFSET_NS, MAX_OFFSET_NS),
    st.integers(0, MAX_OFFSET_NS),
    st.integers(0, MAX_OFFSET_NS),
)
def test_twins_shift_alike(tat_ns: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
    """What is spent elsewhere moves a bucket as the specification says, over the whole range of integers."""
    assert gcra.shift(tat_ns, delta_ns, most_ns, now_ns) == _gcra_py.shift(tat_ns, delta_ns, most_ns, now_ns)
