"""The limits of a cluster as the analyst keeps them: shared memory on one side, a store on the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fastpath import (
    BUCKETS,
    ClientTable,
    Control,
    Limit,
    LimitSet,
    Payments,
    Region,
    Ring,
    bucket_key,
    client_key,
    parse_address,
)
from models.steps import whole
from proxy.cluster.command import Answer, Command, Refusal, StoreDown
from proxy.cluster.keys import Keys
from proxy.cluster.limits import ClusterLimits
from proxy.cluster.secret import ClusterSecret
from proxy.config import Config
from proxy.courtesy import Courtesy
from proxy.hkp.classes import OperationClass
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.policy import Policy
from tests.proxy.cluster.simulation import ScriptedStore

if TYPE_CHECKING:
    from collections.abc import Sequence

SECOND = 10**9
NOW = 1_000 * SECOND
SECRET = ClusterSecret(64 * "s")
ADDRESS = parse_address("192.0.2.7")
CLIENT = client_key(ADDRESS)
WORDS = OperationClass.WORDS
SETTINGS = {
    "HKPGUARD_LIMITS__WORDS__BURST": "10",
    "HKPGUARD_LIMITS__WORDS__COUNT": "1",
    "HKPGUARD_LIMITS__WORDS__PERIOD": "1m",
    "HKPGUARD_BUDGETS__CERT_UPDATES__BURST": "10",
    "HKPGUARD_BUDGETS__NETWORK_UPLOADS__BURST": "10",
    "HKPGUARD_BUDGETS__NETWORK_UPLOADS__MAX_DELAY": "0s",
}
LIMITS = LimitSet(
    [
        None,
        None,
        None,
        Limit(name="words", burst=10, count=1, period_ns=60 * SECOND),
        *[None] * (BUCKETS - 4),
    ]
)


class Store:
    """The store of a node; others have the same data."""

    def __init__(self, data: ScriptedStore, node: str) -> None:
        """Begin with the data of all nodes."""
        self.node = node
        self.keys = Keys("t", SECRET)
        self.up = True
        self.spread = False
        self.fails: StoreDown | None = None
        self.answers_late = False  # what was asked is done, and nobody hears of it
        self.refuses = False
        self._data = data

    async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
        """See `Store.pipeline`."""
        assert seconds is None
        if self.fails and not self.answers_late:
            raise self.fails
        if self.refuses:
            return [Refusal("no")] * len(commands)
        answers: list[Answer] = [self._data.run(each, NOW // 1_000) for each in commands]
        if self.fails:
            raise self.fails
        return answers


class Node:
    """A node of the cluster, without processes."""

    def __init__(self, data: ScriptedStore, name: str) -> None:
        """Begin with empty tables."""
        region = Region.create(clients=64, workers=1, upstreams=1, prefixes=64, secret=SECRET.key("region", 16))
        region.close()
        self.region = region
        self.nodes = 2
        self.table = ClientTable(region.table, region.secret)
        self.store = Store(data, name)
        self._ring = Ring(region.ring(0))
        self._payments = Payments(region.payments(0))
        self._tables = Tables.of(region)
        self._policy = Policy(Config.from_env(SETTINGS), self._tables)
        self.limits = ClusterLimits(
            Config.from_env(SETTINGS),
            region,
            self.store,  # type: ignore[arg-type]
            lambda: self.nodes,
            courtesy=Courtesy(),
            clock=lambda: NOW,
        )

    def search(self) -> bool:
        """Let the client search; return whether it may."""
        spending = self.table.spend(LIMITS, CLIENT, WORDS, 0, NOW)
        status, upstream = (200, 0) if spending is None else (429, 255)
        fields = (NOW, CLIENT, 1, 1, 0, 0, 0, 0, 0, status, WORDS, 0, 0, 0, 0, 0, upstream)
        assert self._ring.write(*fields, ADDRESS, b"x", b"")
        return spending is None

    def pay(self, kind: BudgetKind) -> bool:
        """Let a body pay one token of a budget; return whether there was one."""
        budget, key = self._policy.profile(ADDRESS).budgets[kind - BUCKETS], bucket_key(kind, 7)
        assert budget is not None
        spending = self._tables.buckets.spend(budget, key, 1, NOW)
        if spending is None:
            assert self._payments.write(NOW, key, kind, 1, ADDRESS)
        return spending is None

    async def turn(self) -> None:
        """Read the records, and exchange."""
        whole(self.limits.feed(self._ring.take(99)))
        await self.limits.turn()

    @property
    def missing(self) -> float:
        """How many tokens the client has less than a full bucket."""
        tats = self.table.peek(CLIENT)
        return max(0, tats[WORDS] - NOW) / 60 / SECOND if tats else 0


@pytest.fixture
async def two() -> tuple[Node, Node]:
    """Return two nodes that have done their first turn, which tells nothing."""
    data = ScriptedStore()
    nodes = Node(data, "one"), Node(data, "two")
    for each in nodes:
        await each.turn()
    return nodes


async def test_two_nodes_have_one_bucket(two: tuple[Node, Node]) -> None:
    """What a client spends on one node is missing on the other as soon as that has exchanged."""
    one, other = two
    assert [one.search() for _ in range(8)] == [True] * 8
    await one.turn()
    assert [other.search() for _ in range(2)] == [True] * 2
    await other.turn()
    assert (one.missing, other.missing) == (8, 10)
    assert not other.search()
    assert one.search()
    await one.turn()
    assert one.missing == 11  # one too many: it is waited off
    assert not one.search()


@pytest.mark.parametrize(
    ("kind", "burst"),
    [
        (BudgetKind.USER_ID, 5),
        (BudgetKind.MAIL_ADDRESS, 1),
        (BudgetKind.CERT_UPDATES, 10),
        (BudgetKind.NETWORK_UPLOADS, 10),
    ],
)
async def test_two_nodes_have_one_budget(two: tuple[Node, Node], kind: BudgetKind, burst: int) -> None:
    """What bodies have paid on one node is missing on the other as soon as that has heard of one of them."""
    one, other = two
    assert [one.pay(kind) for _ in range(burst + 1)] == [True] * burst + [False]
    await one.turn()
    assert other.pay(kind)
    await other.turn()
    assert not other.pay(kind)


@pytest.mark.parametrize("done", [False, True])
async def test_an_answer_that_never_comes(two: tuple[Node, Node], done: bool) -> None:  # noqa: FBT001 - a value
    """Whether or not it was done, what was spent counts once."""
    one, other = two
    assert [one.search() for _ in range(5)] == [True] * 5
    one.store.fails, one.store.answers_late = StoreDown("slow", maybe_done=True), done
    await one.turn()
    assert one.search()
    await one.turn()
    one.store.fails = None
    await one.turn()
    await one.turn()
    other.search()
    await other.turn()
    assert (one.missing, other.missing) == (6, 7)


async def test_what_never_left_is_told_with_the_rest(two: tuple[Node, Node]) -> None:
    """A call that was certainly not done is not repeated as it was."""
    one, other = two
    assert [one.search() for _ in range(5)] == [True] * 5
    one.store.fails = StoreDown("down")
    await one.turn()
    one.store.fails = None
    one.search()
    await one.turn()
    other.search()
    await other.turn()
    assert other.missing == 7


async def test_a_call_that_redis_refuses_is_asked_again(two: tuple[Node, Node]) -> None:
    """Nothing is lost if the script cannot run for a while."""
    one, other = two
    assert [one.search() for _ in range(5)] == [True] * 5
    one.store.refuses = True
    await one.turn()
    one.store.refuses = False
    await one.turn()
    other.search()
    await other.turn()
    assert other.missing == 6


async def test_limits_are_divided_while_the_store_is_away(two: tuple[Node, Node]) -> None:
    """Workers read by what; it is the number of nodes that were there last, and is over when the store is back."""
    one, _ = two
    control = one.region.control
    one.nodes = 4
    await one.turn()
    assert (control[Control.SHARE], one.limits.degraded) == (1, "")
    one.store.up = False
    await one.turn()
    assert control[Control.SHARE] == 4
    assert one.limits.degraded == "limits are divided by 4, the nodes that were there last"
    one.store.up = True
    await one.turn()
    assert control[Control.SHARE] == 1


async def test_metrics(two: tuple[Node, Node]) -> None:
    """What is exchanged is counted, and how many buckets there are."""
    one, _ = two
    assert [one.search() for _ in range(5)] == [True] * 5
    await one.turn()
    found = {each.name: each.samples[0].value for each in one.limits.collect()}
    assert found["hkpguard_cluster_levels"] == 1
    assert found["hkpguard_cluster_buckets"] == 2
    assert found["hkpguard_cluster_share"] == 1


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, (60, SECOND // 5)),
        (1, (60, SECOND // 5)),
        (4, (15, 4 * SECOND // 5)),
        (7, (8, 7 * SECOND // 5)),
        (99, (1, 99 * SECOND // 5)),
    ],
)
def test_a_divided_policy(two: tuple[Node, Node], share: int, expected: tuple[int, int]) -> None:
    """The rate is divided exactly, the burst down to a token at least."""
    policy = Policy(Config.from_env({}), Tables.of(two[0].region), share=share)
    limit = policy.profile(ADDRESS).limits[OperationClass.CERT]
    assert limit is not None
    assert (limit.burst, limit.emission_interval_ns) == expected
    assert policy.share == max(1, share)
