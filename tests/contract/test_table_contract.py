"""What the client table promises: one suite for the specification and for the shared memory."""

import mmap
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import _table_py, table
from fastpath._gcra_py import Limit, Mode

SECOND = 10**9
NOW = 1_000 * SECOND
CERT, WORDS = 1, 3
ALICE = 0x02_000000_C0000201
SECRET = bytes(range(16))


class Table(Protocol):
    """The methods under test; the limits are those of the same twin, which the types cannot say."""

    @property
    def evictions(self) -> int: ...  # noqa: D102 - a protocol of the twin
    def spend(self, limits: Any, key: int, bucket: int, price: int, now_ns: int, times: int = 1) -> Any: ...  # noqa: D102 - a protocol of the twin
    def refund(self, limits: Any, key: int, bucket: int, price: int, now_ns: int, times: int = 1) -> None: ...  # noqa: D102 - a protocol of the twin
    def charge(self, limits: Any, key: int, tokens: int, now_ns: int, bucket: int = 0) -> None: ...  # noqa: D102 - a protocol of the twin
    def give_back(self, limits: Any, key: int, tokens: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def add(self, key: int, bucket: int, delta_ns: int, most_ns: int, now_ns: int) -> None: ...  # noqa: D102 - a protocol of the twin
    def peek(self, key: int) -> tuple[int, ...] | None: ...  # noqa: D102 - a protocol of the twin
    def used(self, now_ns: int) -> int: ...  # noqa: D102 - a protocol of the twin


class Kit(NamedTuple):
    """One twin: how to make a table of a capacity (a multiple of 8), and its limits."""

    table: Callable[[int], Table]
    limits: Callable[[list[Limit | None]], Any]


def shared_table(capacity: int) -> table.ClientTable:
    """Return a table in memory of its own."""
    return table.ClientTable(memoryview(mmap.mmap(-1, table.table_bytes(capacity))), SECRET)


TWINS = {
    "python": Kit(_table_py.ClientTable, _table_py.LimitSet),
    "shared": Kit(shared_table, table.LimitSet),
}


@pytest.fixture(params=[*TWINS.values()], ids=[*TWINS])
def kit(request: pytest.FixtureRequest) -> Kit:
    """Return the twin under test."""
    assert isinstance(request.param, Kit)
    return request.param


def limit(burst: int, delay_s: int = 0, mode: Mode = Mode.ENFORCE) -> Limit:
    """Return a limit of one token a second."""
    return Limit(name="x", burst=burst, count=1, period_ns=SECOND, max_delay_ns=delay_s * SECOND, mode=mode)


def policy(kit: Kit, *, total: Limit | None = None, cert: Limit | None = None) -> Any:
    """Return a policy that limits the total, the certificates, or both."""
    return kit.limits([total, cert, *[None] * 10])


def told(spending: Any) -> tuple[Any, ...] | None:
    """Return a spending as a tuple: bucket, allowed, shadow, wait, remaining, retry, reset (seconds)."""
    if spending is None:
        return None
    times = [spending.wait_ns / SECOND, spending.retry_after_ns / SECOND, spending.reset_after_ns / SECOND]
    return spending.bucket, spending.allowed, spending.shadow, times[0], spending.remaining, *times[1:]


def seconds(tats: tuple[int, ...] | None, *buckets: int) -> list[float]:
    """Return how long some buckets need to be full again."""
    assert tats is not None
    return [max(0, tats[bucket] - NOW) / SECOND for bucket in buckets]


def test_silent_until_it_objects(kit: Kit) -> None:
    """A burst goes through with nothing to say; the next request is told when to come back."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(3))
    assert [a_table.spend(limits, ALICE, CERT, 1, NOW) for _ in range(3)] == [None] * 3
    assert told(a_table.spend(limits, ALICE, CERT, 1, NOW)) == (CERT, False, False, 0, 0, 1, 3)
    assert a_table.spend(limits, ALICE, CERT, 1, NOW + SECOND) is None


def test_the_excess_queues(kit: Kit) -> None:
    """Beyond the burst each request waits for its own token, until the queue is full."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(1, delay_s=2))
    answers = [told(a_table.spend(limits, ALICE, CERT, 1, NOW)) for _ in range(4)]
    assert answers == [
        None,
        (CERT, True, False, 1, 0, 0, 2),
        (CERT, True, False, 2, 0, 0, 3),
        (CERT, False, False, 0, 0, 1, 3),
    ]


@pytest.mark.parametrize(
    ("burst", "delay_s", "times", "taken"),
    [
        (10, 0, 1, 1),
        (10, 0, 4, 4),
        (3, 0, 16, 3),
        (10, 4, 4, 4),
        (10, 3, 4, 3),
        (10, 1, 16, 1),
    ],
)
def test_a_request_costs_several_tokens_of_its_class(
    kit: Kit, burst: int, delay_s: int, times: int, taken: int
) -> None:
    """Not more than the burst, nor than comes back within the longest delay; the total pays its price as ever."""
    a_table, limits = kit.table(8), policy(kit, total=limit(20), cert=limit(burst, delay_s))
    assert a_table.spend(limits, ALICE, CERT, 2, NOW, times) is None
    assert seconds(a_table.peek(ALICE), 0, CERT) == [2, taken]
    a_table.refund(limits, ALICE, CERT, 2, NOW, times)
    assert seconds(a_table.peek(ALICE), 0, CERT) == [0, 0]


@pytest.mark.parametrize("times", [2, 5, 16])
def test_whoever_waits_is_refused_nothing_at_any_price(kit: Kit, times: int) -> None:
    """A limit that delays slows one who asks for one thing after the other, by no more than its longest delay."""
    a_table, limits, now_ns = kit.table(8), policy(kit, cert=limit(10, delay_s=8)), NOW
    for _ in range(100):
        spending = a_table.spend(limits, ALICE, CERT, 1, now_ns, times)
        assert spending is None or spending.allowed
        now_ns += spending.wait_ns if spending else 0
    assert now_ns - NOW == (100 * min(times, 8) - 10) * SECOND


def test_the_longer_wait_counts(kit: Kit) -> None:
    """Of two waits the longer one is told; the total's here, because of the price."""
    a_table, limits = kit.table(8), policy(kit, total=limit(2, delay_s=9), cert=limit(1, delay_s=9))
    a_table.spend(limits, ALICE, CERT, 2, NOW)
    assert told(a_table.spend(limits, ALICE, CERT, 2, NOW)) == (0, True, False, 2, 0, 0, 4)


def test_of_equals_the_class_is_told(kit: Kit) -> None:
    """If both limits say the same, the more particular one is named."""
    a_table, limits = kit.table(8), policy(kit, total=limit(1), cert=limit(1))
    a_table.spend(limits, ALICE, CERT, 1, NOW)
    assert told(a_table.spend(limits, ALICE, CERT, 1, NOW)) == (CERT, False, False, 0, 0, 1, 1)


def test_of_two_refusals_the_longer_is_told(kit: Kit) -> None:
    """Who obeys the retry time is not refused by the other limit then."""
    a_table, limits = kit.table(8), policy(kit, total=limit(5), cert=limit(1))
    a_table.spend(limits, ALICE, CERT, 5, NOW)
    assert told(a_table.spend(limits, ALICE, CERT, 5, NOW)) == (0, False, False, 0, 0, 5, 5)


def test_a_price_is_clipped_to_the_burst(kit: Kit) -> None:
    """A request dearer than the whole bucket costs the whole bucket: it is never refused for ever."""
    a_table, limits = kit.table(8), policy(kit, total=limit(3))
    assert a_table.spend(limits, ALICE, CERT, 1_000, NOW) is None
    assert seconds(a_table.peek(ALICE), 0) == [3]


def test_a_price_of_nothing(kit: Kit) -> None:
    """A request may cost nothing of the total and still a token of its class."""
    a_table, limits = kit.table(8), policy(kit, total=limit(3), cert=limit(3))
    a_table.spend(limits, ALICE, CERT, 0, NOW)
    assert seconds(a_table.peek(ALICE), 0, CERT) == [0, 1]


@pytest.mark.parametrize(("total", "cert"), [(9, 1), (1, 9), (1, 1)])
def test_a_denied_request_pays_nothing(kit: Kit, total: int, cert: int) -> None:
    """Whichever limit refuses, neither bucket is charged."""
    a_table, limits = kit.table(8), policy(kit, total=limit(total), cert=limit(cert))
    a_table.spend(limits, ALICE, CERT, 1, NOW)
    before = a_table.peek(ALICE)
    assert not a_table.spend(limits, ALICE, CERT, 1, NOW).allowed
    assert a_table.peek(ALICE) == before


def test_buckets_and_clients_are_apart(kit: Kit) -> None:
    """One class, or one client, does not pay for another."""
    a_table, limits = kit.table(8), kit.limits([None, *[limit(1)] * 11])
    a_table.spend(limits, ALICE, CERT, 1, NOW)
    assert a_table.spend(limits, ALICE, WORDS, 1, NOW) is None
    assert a_table.spend(limits, ALICE + 1, CERT, 1, NOW) is None


def test_shadow_never_objects(kit: Kit) -> None:
    """A shadow limit says what it would have done, and takes nothing when it would have refused."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(1, delay_s=1, mode=Mode.SHADOW))
    answers = [told(a_table.spend(limits, ALICE, CERT, 1, NOW)) for _ in range(3)]
    assert answers == [None, (CERT, True, True, 1, 0, 0, 2), (CERT, True, True, 0, 0, 1, 2)]
    assert seconds(a_table.peek(ALICE), CERT) == [2]


def test_the_other_limit_is_paid_despite_a_shadow(kit: Kit) -> None:
    """What a shadow would have refused goes on, so the enforced limit is charged."""
    a_table, limits = kit.table(8), policy(kit, total=limit(9), cert=limit(1, mode=Mode.SHADOW))
    for _ in range(3):
        a_table.spend(limits, ALICE, CERT, 1, NOW)
    assert seconds(a_table.peek(ALICE), 0, CERT) == [3, 1]


def test_an_enforced_wait_is_told_before_a_shadow_refusal(kit: Kit) -> None:
    """What happens to the request is told before what would have happened."""
    a_table, limits = kit.table(8), policy(kit, total=limit(1, delay_s=9), cert=limit(1, mode=Mode.SHADOW))
    a_table.spend(limits, ALICE, CERT, 1, NOW)
    assert told(a_table.spend(limits, ALICE, CERT, 1, NOW)) == (0, True, False, 1, 0, 0, 2)


def test_a_shadow_pays_nothing_when_another_limit_refuses(kit: Kit) -> None:
    """A request that is refused did not happen, for the shadows either."""
    a_table, limits = kit.table(8), policy(kit, total=limit(1), cert=limit(9, mode=Mode.SHADOW))
    a_table.spend(limits, ALICE, CERT, 1, NOW)
    assert not a_table.spend(limits, ALICE, CERT, 1, NOW).allowed
    assert seconds(a_table.peek(ALICE), CERT) == [1]


@pytest.mark.parametrize("off", [None, limit(1, mode=Mode.OFF)])
def test_off_accounts_nothing(kit: Kit, off: Limit | None) -> None:
    """Without a limit that is switched on nobody gets a slot."""
    a_table, limits = kit.table(8), policy(kit, total=off, cert=off)
    assert [a_table.spend(limits, ALICE, CERT, 1, NOW) for _ in range(5)] == [None] * 5
    assert a_table.peek(ALICE) is None


def test_refund(kit: Kit) -> None:
    """A request that was never served gets back what it paid, in both buckets."""
    a_table, limits = kit.table(8), policy(kit, total=limit(5), cert=limit(5))
    for _ in range(2):
        a_table.spend(limits, ALICE, CERT, 2, NOW)
    a_table.refund(limits, ALICE, CERT, 2, NOW)
    assert seconds(a_table.peek(ALICE), 0, CERT) == [2, 1]


def test_refund_never_overfills(kit: Kit) -> None:
    """A refund of more than is owed leaves a full bucket, and one to an unknown client nothing at all."""
    a_table, limits = kit.table(8), policy(kit, total=limit(5), cert=limit(5))
    a_table.spend(limits, ALICE, CERT, 1, NOW)
    a_table.refund(limits, ALICE, CERT, 5, NOW)
    assert seconds(a_table.peek(ALICE), 0, CERT) == [0, 0]
    a_table.refund(limits, ALICE + 1, CERT, 1, NOW)
    assert a_table.peek(ALICE + 1) is None


@pytest.mark.parametrize(
    ("key", "bucket", "price", "now_ns", "text"),
    [
        (0, 1, 1, NOW, "key 0 not in"),
        (1, 0, 1, NOW, "bucket 0 not in"),
        (1, 12, 1, NOW, "bucket 12 not in"),
        (1, -1, 1, NOW, "bucket -1 not in"),
        (1, 1, -1, NOW, "price -1 not in"),
        (1, 1, 1_000_001, NOW, "price 1000001 not in"),
        (1, 1, 1, -1, "now_ns -1 not in"),
        (1, 1, 1, 2**61 + 1, "now_ns 2305843009213693953 not in"),
    ],
)
@pytest.mark.parametrize("verb", ["spend", "refund"])
def test_out_of_range(kit: Kit, verb: str, key: int, bucket: int, price: int, now_ns: int, text: str) -> None:
    """A wrong argument is the caller's bug and is named with its range."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(1))
    with pytest.raises(ValueError, match=text):
        getattr(a_table, verb)(limits, key, bucket, price, now_ns)


@pytest.mark.parametrize("count", [0, 11, 13])
def test_a_policy_has_twelve_limits(kit: Kit, count: int) -> None:
    """A list of another length would shift the limits of all classes."""
    with pytest.raises(ValueError, match=f"{count} limits, not 12"):
        kit.limits([None] * count)


def fill(a_table: Table, limits: Any, clients: range, now_ns: int) -> None:
    """Let client n owe n seconds."""
    for client in clients:
        for _ in range(client):
            a_table.spend(limits, client, CERT, 0, now_ns)


def test_idle_clients_go_first(kit: Kit) -> None:
    """A full table turns out who owes nothing any more, and does not count that as an eviction."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(50))
    fill(a_table, limits, range(1, 9), NOW)
    later_ns = NOW + 3 * SECOND  # 1, 2 and 3 owe nothing now
    fill(a_table, limits, range(11, 14), later_ns)
    gone = [client for client in [*range(1, 9), *range(11, 14)] if a_table.peek(client) is None]
    assert (gone, a_table.evictions) == ([1, 2, 3], 0)


def test_then_the_least_debt_goes(kit: Kit) -> None:
    """If all owe something, the one who owes least is turned out, and counted."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(50))
    fill(a_table, limits, range(2, 10), NOW)
    fill(a_table, limits, range(20, 22), NOW)
    assert [client for client in range(2, 10) if a_table.peek(client) is None] == [2, 3]
    assert a_table.evictions == 2


def test_used_counts_who_still_owes(kit: Kit) -> None:
    """A client whose buckets are full again does not count as a user of the table."""
    a_table, limits = kit.table(8), policy(kit, cert=limit(50))
    fill(a_table, limits, range(1, 9), NOW)
    assert [a_table.used(NOW + s * SECOND) for s in (0, 1, 7, 8)] == [8, 7, 1, 0]


def test_a_flood_does_not_forget_the_active(kit: Kit) -> None:
    """Ten times the capacity of new clients, one token each, leaves the state of one who keeps spending."""
    a_table, limits = kit.table(64), policy(kit, cert=limit(5))
    spent = [a_table.spend(limits, ALICE, CERT, 1, NOW) for _ in range(5)]
    for client in range(1, 641):
        now_ns = NOW + client * SECOND // 100
        assert a_table.spend(limits, client, CERT, 1, now_ns) is None
        spent.append(a_table.spend(limits, ALICE, CERT, 1, now_ns))
    assert sum(spending is None or spending.allowed for spending in spent) == 5 + 6  # the burst, and 6.4 s
    assert a_table.evictions > 500


HISTORIES = st.lists(
    st.tuples(st.integers(0, 3 * SECOND), st.sampled_from([CERT, WORDS]), st.integers(0, 4)),
    min_size=1,
    max_size=40,
)
LIMITS = st.builds(
    Limit,
    name=st.just("x"),
    burst=st.integers(1, 6),
    count=st.integers(1, 7),
    period_ns=st.sampled_from([SECOND, 3 * SECOND]),
    max_delay_ns=st.sampled_from([0, SECOND]),
)


def admitted(kit: Kit, limits: list[Limit | None], history: list[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    """Play a history of (gap, bucket, price); return when what was admitted."""
    a_table, now_ns, result = kit.table(8), NOW, []
    for gap_ns, bucket, price in history:
        now_ns += gap_ns
        spending = a_table.spend(kit.limits(limits), ALICE, bucket, price, now_ns)
        if spending is None or spending.allowed:
            result.append((now_ns + (spending.wait_ns if spending else 0), bucket, price))
    return result


def most_over(limit: Limit, spent: list[tuple[int, int]]) -> int:
    """Return by how many token-ns some window of (time, cost) exceeds burst + rate; <= 0 is right."""
    worst = -limit.burst * limit.period_ns
    for start, (from_ns, _) in enumerate(spent):
        tokens = 0
        for at_ns, cost in spent[start:]:
            tokens += cost
            worst = max(worst, (tokens - limit.burst) * limit.period_ns - (at_ns - from_ns) * limit.count)
    return worst


@pytest.mark.parametrize("kit", [*TWINS.values()], ids=TWINS)
@given(total=LIMITS, own=LIMITS, history=HISTORIES)
def test_never_more_than_burst_and_rate(
    kit: Kit, total: Limit, own: Limit, history: list[tuple[int, int, int]]
) -> None:
    """In no window of any history does either bucket give more than its burst and what flowed in."""
    total, own = replace(total, max_delay_ns=0), replace(own, max_delay_ns=0)
    spent = admitted(kit, [total, *[own] * 11], history)
    assert most_over(total, [(at, min(price, total.burst)) for at, _, price in spent]) <= 0
    for bucket in (CERT, WORDS):
        assert most_over(own, [(at, 1) for at, b, _ in spent if b == bucket]) <= 0


@pytest.mark.parametrize("kit", [*TWINS.values()], ids=TWINS)
@given(total=LIMITS, history=HISTORIES)
def test_waits_keep_the_rate(kit: Kit, total: Limit, history: list[tuple[int, int, int]]) -> None:
    """Who waits as told makes a stream that never exceeds burst and rate either."""
    spent = admitted(kit, [total, *[None] * 11], history)
    assert most_over(total, [(at, min(price, total.burst)) for at, _, price in spent]) <= 0


@pytest.mark.parametrize("kit", [*TWINS.values()], ids=TWINS)
@given(total=LIMITS, own=LIMITS, history=HISTORIES)
def test_retry_after_is_exact(kit: Kit, total: Limit, own: Limit, history: list[tuple[int, int, int]]) -> None:
    """Who is refused and obeys is admitted; 1 ns earlier is too early; and the tries cost nothing."""
    a_table, limits, now_ns = kit.table(8), kit.limits([total, *[own] * 11]), NOW
    for gap_ns, bucket, price in history:
        now_ns += gap_ns
        spending = a_table.spend(limits, ALICE, bucket, price, now_ns)
        if spending is not None and not spending.allowed:
            again_ns = now_ns + spending.retry_after_ns
            early = a_table.spend(limits, ALICE, bucket, price, again_ns - 1)
            assert (early.allowed, early.retry_after_ns) == (False, 1)
            on_time = a_table.spend(limits, ALICE, bucket, price, again_ns)
            assert on_time is None or on_time.allowed
            now_ns = again_ns


MODES = st.sampled_from(Mode)


@given(total=LIMITS, own=LIMITS, modes=st.tuples(MODES, MODES), history=HISTORIES, refunds=st.booleans())
def test_twins_agree(
    total: Limit, own: Limit, modes: tuple[Mode, Mode], history: list[tuple[int, int, int]], *, refunds: bool
) -> None:
    """Any history under any modes gets the same answers and leaves the same debts in both twins."""
    limits: list[Limit | None] = [replace(total, mode=modes[0]), *[replace(own, mode=modes[1])] * 11]
    states = []
    for kit in TWINS.values():
        a_table, now_ns, state = kit.table(8), NOW, []
        for gap_ns, bucket, price in history:
            now_ns += gap_ns
            state.append(told(a_table.spend(kit.limits(limits), ALICE, bucket, price, now_ns)))
            if refunds and price == 4:
                a_table.refund(kit.limits(limits), ALICE, bucket, price, now_ns)
            state.append((a_table.peek(ALICE), a_table.used(now_ns)))
        states.append(state)
    assert states[0] == states[1]


@given(tokens=st.integers(-5, 10**6), before=st.integers(0, 9), mode=st.sampled_from([Mode.ENFORCE, Mode.SHADOW]))
def test_charge_goes_into_debt(tokens: int, before: int, mode: Mode) -> None:
    """What was dearer than its price is paid afterwards: as much as it was, but at most one burst below empty."""
    owed = []
    for twin in TWINS.values():
        table, limits = twin.table(8), twin.limits([limit(10, mode=mode), *[None] * 11])
        table.spend(limits, ALICE, CERT, before, NOW)
        table.charge(limits, ALICE, tokens, NOW)
        tats = table.peek(ALICE)
        assert tats is not None
        owed.append(max(tats[0] - NOW, 0) // SECOND)
    assert owed == [min(before + max(tokens, 0), 20)] * 2


def test_debt_is_waited_for(kit: Kit) -> None:
    """Who is in debt is refused until it has been paid back."""
    table, limits = kit.table(8), kit.limits([limit(10), *[None] * 11])
    table.spend(limits, ALICE, CERT, 1, NOW)
    table.charge(limits, ALICE, 14, NOW)
    assert table.spend(limits, ALICE, CERT, 1, NOW).retry_after_ns == 6 * SECOND
    assert table.spend(limits, ALICE, CERT, 1, NOW + 6 * SECOND) is None


def test_charge_of_a_class(kit: Kit) -> None:
    """Another bucket than the total is charged by itself, and holds its slot as long as it is owed; 12 there are."""
    table, limits = kit.table(8), kit.limits([limit(10), *[limit(5)] * 11])
    table.spend(limits, ALICE, CERT, 1, NOW)
    table.charge(limits, ALICE, 3, NOW, WORDS)
    tats = table.peek(ALICE)
    assert tats is not None
    assert {bucket: (tat - NOW) // SECOND for bucket, tat in enumerate(tats) if tat} == {0: 1, CERT: 1, WORDS: 3}
    assert [table.used(NOW + after * SECOND) for after in (2, 3)] == [1, 0]
    for bucket in (-1, 12):
        with pytest.raises(ValueError, match=f"bucket {bucket} not in 0..11"):
            table.charge(limits, ALICE, 3, NOW, bucket)


def test_charge_of_a_client_that_is_not_there(kit: Kit) -> None:
    """Nobody gets a slot because of it, and without a total nothing is owed."""
    table, limits = kit.table(8), kit.limits([limit(10), *[None] * 11])
    table.charge(limits, ALICE, 5, NOW)
    assert table.peek(ALICE) is None
    unlimited = kit.limits([None, limit(5), *[None] * 10])
    table.spend(unlimited, ALICE, CERT, 1, NOW)
    table.charge(unlimited, ALICE, 5, NOW)
    assert (table.peek(ALICE) or (1,))[0] == 0


@given(tokens=st.integers(-5, 30), before=st.integers(0, 9))
def test_tokens_of_the_total_are_given_back(tokens: int, before: int) -> None:
    """What was taken in advance and not needed comes back; nobody gets more than was taken."""
    left = []
    for twin in TWINS.values():
        table, limits = twin.table(8), twin.limits([limit(10), *[None] * 11])
        table.spend(limits, ALICE, CERT, before, NOW)
        table.give_back(limits, ALICE, tokens, NOW)
        tats = table.peek(ALICE)
        assert tats is not None
        left.append(max(tats[0] - NOW, 0) // SECOND)
    assert left == [max(before - max(tokens, 0), 0)] * 2


@pytest.mark.parametrize(
    ("before_s", "delta_s", "expected_s"),
    [(None, 3, 3), (2, 3, 5), (-5, 3, 3), (2, 99, 10), (20, 3, 20), (5, -2, 3), (5, -9, 0), (-5, -1, -5), (0, 0, 0)],
)
@pytest.mark.parametrize("bucket", [0, CERT, 11])
def test_add(kit: Kit, bucket: int, before_s: int | None, delta_s: int, expected_s: int) -> None:
    """What was spent elsewhere moves one bucket, up to a bound; a client that has no slot gets one."""
    a_table = kit.table(8)
    if before_s is not None:
        a_table.add(ALICE, bucket, (6 + before_s) * SECOND, 100 * SECOND, NOW - 6 * SECOND)
    a_table.add(ALICE, bucket, delta_s * SECOND, 10 * SECOND, NOW)
    tats = a_table.peek(ALICE)
    assert tats is not None
    assert tats[bucket] == NOW + expected_s * SECOND
    assert sum(tats) == tats[bucket]
    assert a_table.used(NOW) == (expected_s > 0 or (before_s or 0) > 0)


@pytest.mark.parametrize("delta_ns", [0, -SECOND])
def test_adding_nothing_makes_no_slot(kit: Kit, delta_ns: int) -> None:
    """Who has no slot has nothing to get back."""
    a_table = kit.table(8)
    a_table.add(ALICE, CERT, delta_ns, SECOND, NOW)
    assert a_table.peek(ALICE) is None


@pytest.mark.parametrize(
    ("key", "bucket", "delta_ns", "most_ns", "now_ns"),
    [
        (0, CERT, 1, 1, 1),
        (1, -1, 1, 1, 1),
        (1, 12, 1, 1, 1),
        (1, CERT, 2**61 + 1, 1, 1),
        (1, CERT, -(2**61) - 1, 1, 1),
        (1, CERT, 1, -1, 1),
        (1, CERT, 1, 2**61 + 1, 1),
        (1, CERT, 1, 1, -1),
    ],
)
def test_adding_out_of_range(kit: Kit, key: int, bucket: int, delta_ns: int, most_ns: int, now_ns: int) -> None:
    """An argument out of range is the caller's bug, and named."""
    with pytest.raises(ValueError, match="not in"):
        kit.table(8).add(key, bucket, delta_ns, most_ns, now_ns)
