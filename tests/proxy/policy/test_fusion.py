"""How evidence becomes a standing."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import BAN_TABLE_BYTES, BanTable, Standing, client_key, network_key
from proxy.policy import fusion
from proxy.policy.fusion import (
    HYSTERESIS,
    MOST_KINDS,
    MOST_WEIGHT,
    PRIOR,
    THRESHOLDS,
    Evidence,
    Fusion,
    fuse,
    standing_for,
)

SECOND = 1_000_000_000
NOW = 1_000 * SECOND
LATER = NOW + 60 * SECOND
ADDRESS = ip_address("192.0.2.1").packed
CLIENT = client_key(ADDRESS)
NETWORK = network_key(ADDRESS)
WELCOME, PRICED, DELAYED, LIMITED, TARPIT, BANNED = Standing


def evidence(
    weight: float, kind: str = "a", *, subject: int = CLIENT, until_ns: int = LATER, shadow: bool = False
) -> Evidence:
    """Return evidence against the client."""
    return Evidence(subject, kind, weight, f"{kind} says {weight}", until_ns, shadow)


@pytest.fixture
def table() -> BanTable:
    """Return an empty table of verdicts."""
    return BanTable(memoryview(bytearray(BAN_TABLE_BYTES)), bytes(16))


@pytest.fixture
def cases(table: BanTable) -> Fusion:
    """Return a fusion that knows of nobody."""
    return Fusion(table)


@given(weights=st.lists(st.floats(-MOST_WEIGHT, MOST_WEIGHT), max_size=8), order=st.randoms(use_true_random=False))
def test_the_order_does_not_matter(weights: list[float], order: object) -> None:
    """The same evidence in another order gives the same log-odds, to the last bit."""
    one = [evidence(weight, str(number)) for number, weight in enumerate(weights)]
    other = one.copy()
    order.shuffle(other)  # type: ignore[attr-defined]  # hypothesis hides its class
    assert fuse(one, NOW) == fuse(other, NOW)


@pytest.mark.parametrize(
    ("pieces", "standing"),
    [
        ([], WELCOME),
        ([evidence(3.9)], WELCOME),
        ([evidence(4.0)], PRICED),
        ([evidence(2.0), evidence(2.0, "b")], PRICED),
        ([evidence(2.0), evidence(2.0)], WELCOME),
        ([evidence(5.0)], DELAYED),
        ([evidence(6.5)], LIMITED),
        ([evidence(6.5), evidence(-2.0, "b")], PRICED),
        ([evidence(8.0)], TARPIT),
        ([evidence(9.0)], TARPIT),
        ([evidence(9.0, "a.one"), evidence(9.0, "a.two")], TARPIT),
        ([evidence(9.0), evidence(1.0, "b")], BANNED),
        ([evidence(9.0, until_ns=NOW)], WELCOME),
        ([evidence(9.0, shadow=True)], WELCOME),
        ([evidence(4.0), evidence(6.0, "b", shadow=True)], PRICED),
        ([evidence(9.0, subject=NETWORK)], DELAYED),
    ],
)
def test_what_evidence_leads_to(table: BanTable, cases: Fusion, pieces: list[Evidence], standing: Standing) -> None:
    """Sources add up, each to 9 at most, within a kind the last word counts; a network is never worse than delayed."""
    cases.hear(pieces, NOW)
    assert table.standing(ADDRESS, NOW) == standing


@pytest.mark.parametrize("standing", [PRICED, DELAYED, LIMITED, TARPIT, BANNED])
def test_hysteresis(standing: Standing) -> None:
    """Who has a standing keeps it until the log-odds are clearly below its threshold."""
    least = THRESHOLDS[standing]
    assert standing_for(least, WELCOME) == standing
    assert standing_for(least - 0.01, WELCOME) < standing
    assert standing_for(least - HYSTERESIS, standing) == standing
    assert standing_for(least - HYSTERESIS - 0.01, standing) < standing


@given(before=st.sampled_from(list(Standing)), log_odds=st.floats(-100, 100), more=st.floats(0, 100))
def test_more_evidence_never_helps(before: Standing, log_odds: float, more: float) -> None:
    """A standing grows with the log-odds, and with what it was before."""
    assert standing_for(log_odds + more, before) >= standing_for(log_odds, before)
    assert standing_for(log_odds, before) >= standing_for(log_odds, WELCOME)


def test_a_verdict_ends_with_its_evidence(table: BanTable, cases: Fusion) -> None:
    """What is over does not count any more, and a case without evidence is closed."""
    cases.hear([evidence(5.0), evidence(5.0, "b", until_ns=NOW + SECOND)], NOW)
    assert table.standing(ADDRESS, NOW) == BANNED
    assert [change.after for change in cases.turn(NOW + SECOND)] == [DELAYED]
    assert cases.turn(LATER - 1) == []
    assert [(change.before, change.after) for change in cases.turn(LATER)] == [(DELAYED, WELCOME)]
    assert (len(cases), table.standing(ADDRESS, LATER)) == (0, WELCOME)


def test_a_verdict_outlives_the_analyst_no_longer_than_its_evidence(table: BanTable, cases: Fusion) -> None:
    """Nobody has to take a verdict back: it ends by itself."""
    cases.hear([evidence(8.0)], NOW)
    assert [table.standing(ADDRESS, now_ns) for now_ns in (LATER - 1, LATER)] == [TARPIT, WELCOME]


def test_what_a_change_tells(cases: Fusion) -> None:
    """A change names both standings, the log-odds, its end, and the reasons, the weightiest first."""
    (change,) = cases.hear([evidence(1.5), evidence(3.5, "b"), evidence(9.0, "c", shadow=True)], NOW)
    assert change == (CLIENT, WELCOME, DELAYED, PRIOR + 5.0, LATER, ("b says 3.5", "a says 1.5"))
    assert cases.hear([evidence(1.6)], NOW) == []


def test_shadow_is_shown(cases: Fusion) -> None:
    """A case tells what standing there would be without shadow mode."""
    cases.hear([evidence(4.0), evidence(6.0, "b", shadow=True)], NOW)
    case = cases.case(CLIENT)
    assert case is not None
    assert (case.standing, case.would_be) == (PRICED, BANNED)


def test_the_number_of_cases_is_bounded(table: BanTable, cases: Fusion, monkeypatch: pytest.MonkeyPatch) -> None:
    """The case that was heard of longest ago is closed; its verdict stays."""
    monkeypatch.setattr(fusion, "MOST_CASES", 2)
    addresses = [ip_address(f"198.51.{number}.1").packed for number in range(3)]
    for address in addresses:
        cases.hear([evidence(8.0, subject=client_key(address))], NOW)
    assert len(cases) == 2
    assert cases.case(client_key(addresses[0])) is None
    assert [table.standing(address, NOW) for address in addresses] == [TARPIT] * 3
    assert cases.turn(LATER)


def test_some_at_a_time(cases: Fusion) -> None:
    """As many cases are looked at as one likes, until nothing is due."""
    for number in range(5):
        cases.hear([evidence(8.0, subject=client_key(bytes([198, 51, number, 1])))], NOW)
    assert not cases.due(LATER - 1)
    looks = []
    while cases.due(LATER):
        looks.append(len(cases.turn(LATER, 2)))
    assert looks == [2, 2, 1]


def test_the_number_of_kinds_is_bounded(cases: Fusion) -> None:
    """A case has no place for more than MOST_KINDS of one source, but for news of those, and for other sources."""
    cases.hear([evidence(0.0, f"a.{number}") for number in range(MOST_KINDS + 1)], NOW)
    cases.hear([evidence(-1.0, "a.0"), evidence(0.0, "b")], NOW)
    case = cases.case(CLIENT)
    assert case is not None
    assert (len(case.evidence), case.evidence["a.0"].weight) == (MOST_KINDS + 1, -1.0)


def test_one_look_at_each_case(cases: Fusion) -> None:
    """News of a case that is being watched adds nothing to what has to be remembered."""
    for step in range(100):
        cases.hear([evidence(4.0, until_ns=LATER + step)], NOW)
    assert len(cases._due) == 1


def test_what_is_over_opens_no_case(cases: Fusion) -> None:
    """Evidence that came too late leaves nothing behind."""
    cases.hear([evidence(1.0, until_ns=NOW)], NOW)
    assert len(cases) == 0


def test_appointments_are_bounded(cases: Fusion, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidence that ends sooner each time, and cases that were closed, leave no more appointments than cases need."""
    monkeypatch.setattr(fusion, "MOST_CASES", 2)
    for step in range(10):
        cases.hear([evidence(4.0, until_ns=LATER - step)], NOW)
    for number in range(10):
        cases.hear([evidence(4.0, subject=client_key(bytes([198, 51, number, 1])))], NOW)
    assert len(cases._due) <= 4
    assert len(cases.turn(LATER)) == 2


@pytest.mark.parametrize("weight", [MOST_WEIGHT + 0.1, -MOST_WEIGHT - 0.1, float("nan"), float("inf")])
def test_no_weight_is_boundless(weight: float) -> None:
    """No piece of evidence outweighs all others, nor breaks the sum."""
    with pytest.raises(ValueError, match="weight"):
        evidence(weight)


def test_an_operator_knows_better(table: BanTable, cases: Fusion) -> None:
    """A case that is forgotten binds nobody."""
    cases.hear([evidence(8.0)], NOW)
    cases.forget(CLIENT)
    assert (table.standing(ADDRESS, NOW), cases.turn(LATER)) == (WELCOME, [])


def test_an_operator_knows_better_of_networks(table: BanTable, cases: Fusion) -> None:
    """With a network all that is in it is forgotten, also verdicts that an analyst before this one has left."""
    left, elsewhere = (ip_address(address).packed for address in ("192.0.2.2", "198.51.100.1"))
    table.put(client_key(left), LATER, LIMITED)
    cases.hear([evidence(8.0), evidence(8.0, subject=client_key(elsewhere)), evidence(8.0, subject=NETWORK)], NOW)
    cases.forget(NETWORK)
    assert [table.standing(address, NOW) for address in (ADDRESS, left, elsewhere)] == [WELCOME, WELCOME, TARPIT]
    assert len(cases) == 1


def test_retracted_evidence(cases: Fusion, table: BanTable) -> None:
    """What one source has said goes, also from shared memory; what others have said stays."""
    other = client_key(ip_address("192.0.2.2").packed)
    said = [
        evidence(7.0, "one.a"),
        evidence(2.9, "oneself.a"),
        evidence(9.0, "one.b", subject=other),
    ]
    cases.hear(said, NOW)
    changes = {change.subject: change.after for change in cases.retract("one", NOW)}
    assert changes == {CLIENT: WELCOME, other: WELCOME}
    assert table.standing(ip_address("192.0.2.2").packed, NOW) == WELCOME
    assert cases.case(other) is None
    assert list((cases.case(CLIENT) or fusion.Case()).evidence) == ["oneself.a"]
    assert cases.retract("one", NOW) == []


def test_verdicts_of_the_analyst_before(table: BanTable) -> None:
    """They hold to their end, whatever little the next one hears; more than that counts at once."""
    table.put(CLIENT, LATER, LIMITED)
    cases = Fusion(table)
    cases.take_up(NOW)
    cases.hear([evidence(0.5, until_ns=NOW + SECOND)], NOW)
    assert table.standing(ADDRESS, LATER - 1) == LIMITED
    cases.turn(NOW + SECOND)
    assert table.standing(ADDRESS, LATER - 1) == LIMITED
    cases.hear([evidence(9.0, until_ns=NOW + 2 * SECOND)], NOW + SECOND)
    assert table.standing(ADDRESS, NOW + SECOND) == TARPIT
    cases.turn(NOW + 2 * SECOND)
    assert table.standing(ADDRESS, LATER - 1) == LIMITED
    cases.turn(LATER)
    assert (len(cases), table.entries(0)) == (0, [])
