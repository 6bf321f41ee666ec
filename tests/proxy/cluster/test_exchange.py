"""What all nodes together let through, and what they remember: the stated bound, by simulation."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath._gcra_py import Limit
from proxy.cluster.exchange import interval_ns, most_of_turn
from proxy.cluster.ledger import KEPT
from tests.proxy.cluster.simulation import MS, PLACE, SECOND, Cluster, Network, Node

WAYS = ("everywhere", "one after the other", "in waves", "slowly")


def limit(burst: int, token_ns: int, delay_ns: int = 0) -> Limit:
    """Return a limit with tokens of so many ns."""
    return Limit(name="x", burst=burst, count=1, period_ns=token_ns, max_delay_ns=delay_ns)


def go(cluster: Cluster, way: str, speed: float, end_ns: int, random: Random) -> None:
    """Let the client ask until then."""
    pause_ns, nodes = int(SECOND / speed), cluster.nodes
    turn, until_ns = random.choice(nodes), 0

    def ask() -> None:
        nonlocal turn, until_ns
        pause = pause_ns
        if way == "everywhere":
            for node in nodes:
                cluster.ask(node)
        elif way == "one after the other":
            if cluster.now_ns >= until_ns:
                turn, until_ns = random.choice(nodes), cluster.now_ns + random.randrange(1, cluster.size.full_ns)
            cluster.ask(turn)
        elif way == "in waves":
            if not sum(cluster.ask(node) for node in nodes):
                pause = random.randrange(1, cluster.size.full_ns)
        else:
            for node in nodes:
                cluster.ask(node)
            pause = max(pause, int(cluster.size.token_ns * random.uniform(0.3, 2)))
        if cluster.now_ns + pause < end_ns:
            cluster.later(pause, ask)

    cluster.later(0, ask)
    cluster.run_until(end_ns)


@settings(max_examples=25, deadline=None)
@given(
    nodes=st.sampled_from([2, 3, 4, 8, 8, 20, 50]),
    burst=st.integers(1, 60),
    token_ms=st.sampled_from([300, 500, 1_000, 5_000]),
    delay_tokens=st.sampled_from([0, 0, 3]),
    way=st.sampled_from(WAYS),
    speed=st.sampled_from([2.0, 10.0, 50.0]),
    interval_ms=st.sampled_from([20, 100, 250]),
    lag_ms=st.integers(0, 150),
    seed=st.integers(0, 2**32),
)
def test_all_nodes_together_keep_to_the_bound(
    nodes: int,
    burst: int,
    token_ms: int,
    delay_tokens: int,
    way: str,
    speed: float,
    interval_ms: int,
    lag_ms: int,
    seed: int,
) -> None:
    """No stretch of time has more requests in it than the formula says, whatever the client, clocks and lag."""
    random = Random(seed)  # noqa: S311 - the same each time
    network = Network(interval_ms * MS, random.randrange(lag_ms + 1) * MS, lag_ms * MS)
    cluster = Cluster(nodes, limit(burst, token_ms * MS, delay_tokens * token_ms * MS), network, random)
    go(cluster, way, speed, cluster.now_ns + 8 * SECOND, random)
    assert cluster.excess(speed, network.gap_ns) <= 0
    late_ns = network.gap_ns + cluster.size.full_ns // KEPT + 2 * MS
    assert cluster.too_much_ns() <= late_ns


@settings(max_examples=25, deadline=None)
@given(
    nodes=st.sampled_from([2, 4, 10]),
    burst=st.integers(4, 60),
    way=st.sampled_from(WAYS),
    lost=st.sampled_from([0.1, 0.3, 0.5]),
    seed=st.integers(0, 2**32),
)
def test_lost_questions_and_answers_neither_double_nor_forget(
    nodes: int, burst: int, way: str, lost: float, seed: int
) -> None:
    """What was told counts once, whether or not the answer came; what was not told is told again."""
    random = Random(seed)  # noqa: S311 - the same each time
    network = Network(
        20 * MS, 5 * MS, 5 * MS, loses=lambda _node, _time: random.choice(["question", "answer"]) if chance() else ""
    )
    losing = True

    def chance() -> bool:
        return losing and random.random() < lost

    cluster = Cluster(nodes, limit(burst, 500 * MS), network, random)
    go(cluster, way, 20, cluster.now_ns + 6 * SECOND, random)
    losing = False
    cluster.run_until(cluster.now_ns + SECOND)
    level_ns = cluster.store.level_ns(PLACE, cluster.now_ns)
    ideal_ns = max(0, cluster.ideal_ns - cluster.now_ns)
    untold_ns = sum(account.untold_ns for each in cluster.exchanges for account in [each.ledger.account(PLACE)])
    # What is told late is reckoned from then on: the bucket had been full meanwhile, perhaps.
    longest_ns = network.drain_ns + 6 * network.timeout_ns
    assert level_ns <= ideal_ns + longest_ns + cluster.size.full_ns // KEPT
    assert level_ns + untold_ns >= ideal_ns - cluster.size.full_ns // KEPT - 2 * SECOND // KEPT - MS


@pytest.mark.parametrize("nodes", [2, 5, 20])
def test_a_partition_costs_no_more_than_the_shares(nodes: int) -> None:
    """Alone, all nodes together let through one limit; back together they know what was spent, and no more."""
    random = Random(nodes)  # noqa: S311 - the same each time
    cluster = Cluster(nodes, limit(40, SECOND), Network(), random)
    start_ns = cluster.now_ns
    go(cluster, "everywhere", 50, start_ns + SECOND, random)
    before = len(cluster.admitted)
    cluster.divide(nodes)
    go(cluster, "everywhere", 5, start_ns + 61 * SECOND, random)
    alone = len(cluster.admitted) - before
    assert alone <= 60 + 40
    cluster.divide(1)
    go(cluster, "everywhere", 50, start_ns + 63 * SECOND, random)
    after = len(cluster.admitted) - before - alone
    assert after <= nodes * (1 + 50 * 0.15)
    assert cluster.too_much_ns() <= cluster.size.full_ns + SECOND


@settings(max_examples=12, deadline=None)
@given(
    nodes=st.sampled_from([2, 4, 10]),
    part=st.sampled_from([0.1, 0.5, 0.75, 1.0]),
    way=st.sampled_from(WAYS),
    speed=st.sampled_from([2.0, 20.0]),
    seed=st.integers(0, 2**32),
)
def test_some_nodes_cut_off_cost_their_shares(nodes: int, part: float, way: str, speed: float, seed: int) -> None:
    """Where k of N nodes are alone they let k/N of the limit through beside what the others do, and tell it once."""
    random, seconds = Random(seed), 10  # noqa: S311 - the same each time
    cut = max(1, round(part * nodes))
    cluster = Cluster(nodes, limit(40, SECOND), Network(), random)
    start_ns = cluster.now_ns
    cluster.divide(nodes, cut)
    cluster.run_until(start_ns + SECOND)  # else the side of the client is taken, see `Ledger`
    go(cluster, way, speed, start_ns + seconds * SECOND, random)
    of_others = cluster.most(start_ns, cluster.now_ns, speed, cluster.network.gap_ns) if cut < nodes else 0
    assert len(cluster.admitted) <= of_others + (40 + seconds) * cut / nodes + cut

    cluster.divide(1)
    cluster.run_until(cluster.now_ns + SECOND)
    level_ns, ideal_ns = cluster.store.level_ns(PLACE, cluster.now_ns), max(0, cluster.ideal_ns - cluster.now_ns)
    untold_ns = sum(each.ledger.account(PLACE).untold_ns for each in cluster.exchanges)
    # A node forgets at the rate of its share: of a client that asks one alone, a part of what one limit would forget.
    faded_late_ns = (seconds + 1) * SECOND * (nodes - 1) // nodes
    assert level_ns <= ideal_ns + faded_late_ns + cluster.network.gap_ns + cluster.size.full_ns // KEPT
    rounded_ns = (2 + cut) * cluster.size.token_ns  # a bucket that was full is reckoned in whole tokens
    assert level_ns + untold_ns >= ideal_ns - rounded_ns - cluster.size.full_ns // KEPT


def test_a_quiet_client_is_forgiven_after_a_partition() -> None:
    """What came back while the store was away is not held against anybody when it returns."""
    random = Random(1)  # noqa: S311 - the same each time
    cluster = Cluster(4, limit(40, SECOND), Network(), random)
    cluster.divide(4)
    for _ in range(60):
        cluster.run_until(cluster.now_ns + 4 * SECOND)
        assert all([cluster.ask(node) for node in cluster.nodes])  # noqa: C419 - all of them ask
    cluster.divide(1)
    for _ in range(20):
        cluster.run_until(cluster.now_ns + 4 * SECOND)
        assert all([cluster.ask(node) for node in cluster.nodes])  # noqa: C419 - likewise
    assert cluster.store.level_ns(PLACE, cluster.now_ns) <= cluster.size.full_ns // 4


@pytest.mark.parametrize("asking", [0, 3])
def test_a_store_that_lost_its_data_is_told_again(asking: int) -> None:
    """Whichever node asks first, an empty store soon has all that the cluster knew, and what was told since."""
    random = Random(3)  # noqa: S311 - the same each time
    cluster = Cluster(4, limit(40, 10 * SECOND), Network(), random)
    for _ in range(8):
        assert all([cluster.ask(node) for node in cluster.nodes])  # noqa: C419 - all of them ask
        cluster.run_until(cluster.now_ns + 200 * MS)
    before_ns = cluster.store.level_ns(PLACE, cluster.now_ns)
    assert before_ns > 31 * cluster.size.token_ns - 2 * SECOND
    cluster.store.lose()
    assert all([cluster.ask(node) for node in (cluster.nodes[asking], *cluster.nodes)])  # noqa: C419 - likewise
    cluster.run_until(cluster.now_ns + SECOND)
    after_ns = before_ns + 5 * cluster.size.token_ns - SECOND
    assert cluster.store.level_ns(PLACE, cluster.now_ns) == pytest.approx(after_ns, abs=MS)


@pytest.mark.parametrize("notices", ["it was away", "another client"])
def test_a_node_that_the_client_has_left_tells_again(notices: str) -> None:
    """What one node alone knows is told again as soon as it has been without a store, or tells of anybody."""
    cluster = Cluster(2, limit(40, 10 * SECOND), Network(), Random(5))  # noqa: S311 - the same each time
    cluster.chat()
    for _ in range(20):
        assert cluster.ask(cluster.nodes[0])
    cluster.run_until(cluster.now_ns + SECOND)
    before_ns = cluster.store.level_ns(PLACE, cluster.now_ns)
    assert before_ns > 19 * cluster.size.token_ns
    if notices == "it was away":
        cluster.divide(2, 1)
        cluster.run_until(cluster.now_ns + SECOND)
        cluster.exchanges[0]._heard.clear()  # so that nothing else tells
    cluster.store.lose()
    cluster.divide(1)
    cluster.run_until(cluster.now_ns + SECOND)
    assert cluster.store.level_ns(PLACE, cluster.now_ns) >= before_ns - 2 * SECOND - MS


def lossy(nodes: int, tokens: Limit, losses_ms: list[int], lost: float, seed: int) -> tuple[Cluster, Random]:
    """Return a cluster whose store loses its data now and then, as may questions and answers before its last second."""
    random = Random(seed)  # noqa: S311 - the same each time
    calm_ns = 9 * SECOND
    network = Network(
        20 * MS,
        random.randrange(50) * MS,
        random.randrange(50) * MS,
        loses=lambda _node, now_ns: (
            random.choice(["question", "answer"]) if now_ns < calm_ns and random.random() < lost else ""
        ),
    )
    cluster = Cluster(nodes, tokens, network, random)
    cluster.chat()
    for after_ms in losses_ms:
        cluster.later(after_ms * MS + random.randrange(300 * MS), cluster.store.lose)
    return cluster, random


@settings(max_examples=25, deadline=None)
@given(
    nodes=st.sampled_from([2, 3, 4, 8]),
    burst=st.integers(4, 60),
    token_ms=st.sampled_from([500, 1_000, 5_000]),
    way=st.sampled_from(WAYS),
    speed=st.sampled_from([2.0, 20.0, 50.0]),
    losses_ms=st.lists(st.integers(0, 8), min_size=1, max_size=4, unique=True).map(
        lambda each: [1_000 * s for s in each]
    ),
    seed=st.integers(0, 2**32),
)
def test_a_store_that_loses_its_data_forgets_and_doubles_nothing(
    nodes: int, burst: int, token_ms: int, way: str, speed: float, losses_ms: list[int], seed: int
) -> None:
    """It soon knows all that was let through, and that was a gap's worth more each time."""
    cluster, random = lossy(nodes, limit(burst, token_ms * MS), losses_ms, 0, seed)
    go(cluster, way, speed, 9 * SECOND, random)
    gap_ns = cluster.network.gap_ns
    while_open = cluster.most(0, 0, speed, gap_ns) - burst * (KEPT + 1) / KEPT
    assert cluster.excess(speed, gap_ns) <= len(losses_ms) * while_open
    cluster.run_until(10 * SECOND)
    level_ns, ideal_ns = cluster.store.level_ns(PLACE, cluster.now_ns), max(0, cluster.ideal_ns - cluster.now_ns)
    untold_ns = sum(map(cluster.untold_ns, cluster.nodes))
    assert level_ns <= ideal_ns + gap_ns + cluster.size.full_ns // KEPT + MS
    assert level_ns + untold_ns >= ideal_ns - cluster.size.full_ns // KEPT - 2 * SECOND // KEPT - MS
    assert cluster.too_much_ns() <= gap_ns + cluster.size.full_ns // KEPT + 2 * MS


@settings(max_examples=50, deadline=None)
@given(
    nodes=st.sampled_from([2, 3, 4, 8]),
    burst=st.integers(4, 60),
    token_ms=st.sampled_from([500, 1_000, 5_000]),
    way=st.sampled_from(WAYS),
    lost=st.sampled_from([0.1, 0.3, 0.5]),
    losses_ms=st.lists(st.integers(0, 8_000), min_size=1, max_size=4),
    seed=st.integers(0, 2**32),
)
def test_data_lost_between_a_call_and_its_retry(
    nodes: int, burst: int, token_ms: int, way: str, lost: float, losses_ms: list[int], seed: int
) -> None:
    """Nothing counts twice, whether or not it was done, and others heard of it; and all that any node knows counts."""
    cluster, random = lossy(nodes, limit(burst, token_ms * MS), losses_ms, lost, seed)
    go(cluster, way, 20, 9 * SECOND, random)
    cluster.run_until(10 * SECOND)
    level_ns, ideal_ns = cluster.store.level_ns(PLACE, cluster.now_ns), max(0, cluster.ideal_ns - cluster.now_ns)
    # What is told late is reckoned from then on: the bucket had been full meanwhile, perhaps.
    longest_ns = cluster.network.drain_ns + 6 * cluster.network.timeout_ns
    assert level_ns <= ideal_ns + longest_ns + cluster.size.full_ns // KEPT
    for node, known_ns in zip(cluster.nodes, cluster.known_ns, strict=True):
        told_ns = known_ns - cluster.now_ns - cluster.untold_ns(node)
        assert level_ns >= told_ns - (cluster.size.full_ns + 2 * SECOND) // (KEPT * nodes) - MS


@pytest.mark.parametrize("first", ["who heard last", "who heard less"])
def test_what_a_store_that_lost_its_data_begins_with(first: str) -> None:
    """It has the level that some node heard last, and all that was told since, in whatever order nodes ask."""
    cluster = Cluster(2, limit(40, 10 * SECOND), Network(), Random(5))  # noqa: S311 - the same each time
    less, last = cluster.nodes

    def spend(*asked: Node) -> None:
        for node in asked:
            assert cluster.ask(node)
            assert cluster.ask(node)
        cluster.run_until(cluster.now_ns + SECOND)

    for node in (less, last) * 2:
        spend(node)
    cluster.store.lose()
    for node in (last, less) if first == "who heard last" else (less, last):
        spend(node)
    level = cluster.store.level_ns(PLACE, cluster.now_ns) / cluster.size.token_ns
    assert 11 < level <= 12


@pytest.mark.parametrize(
    ("hot", "nodes", "expected_ms"), [(0, 4, 20), (100, 4, 20), (1_000, 4, 100), (9_999, 4, 250), (100, 100, 100)]
)
def test_the_interval_follows_the_number_of_hot_buckets(hot: int, nodes: int, expected_ms: int) -> None:
    """Few buckets are exchanged often; many, or those of many nodes, more rarely."""
    assert interval_ns(hot, nodes, 20 * MS, 250 * MS) == expected_ms * MS


def test_a_turn_is_bounded() -> None:
    """All nodes together ask for no more levels than the store can give."""
    assert [most_of_turn(nodes, 250 * MS) for nodes in (1, 10, 100, 1_000)] == [2_500, 2_500, 250, 25]
