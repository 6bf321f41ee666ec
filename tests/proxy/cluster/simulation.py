"""A cluster in one process, on a clock of its own: nodes with real ledgers, a store that does what the script does.

Each node has its own clock (any origin, a little fast or slow), and the network loses and delays what the test says.
One client asks for one thing of one bucket, through whichever nodes the test says, as fast as it says.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from fastpath._gcra_py import Limit, spend
from models.steps import whole
from proxy.cluster.exchange import Exchange
from proxy.cluster.keys import Keys
from proxy.cluster.ledger import KEPT, Ledger, Place, Size
from proxy.cluster.secret import ClusterSecret
from tests.proxy.cluster.buckets_for_tests import Buckets

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from proxy.cluster.command import Command

SECOND = 10**9
MS = 10**6
PLACE = Place(7, 1)
OTHER, OTHERS_SIZE = Place(8, 1), Size(SECOND // 20, 2 * SECOND)  # of another client
KEYS = Keys("t", ClusterSecret(64 * "s"))


class Record(NamedTuple):
    """What the store keeps of a bucket: when it will be full, µs, what it was told since its birth, its mark."""

    full: int
    since: int
    born: int


class ScriptedStore:
    """What the scripts do to the database, in Python; tests with a real server compare the two.

    Attributes:
        records: Of buckets.
        calls: The last one of each node: its number, whether the one before it was known, and what it granted.

    """

    def __init__(self) -> None:
        """Begin empty."""
        self.records: dict[bytes, Record] = {}
        self.calls: dict[bytes, tuple[int, bool, list[bool]]] = {}

    def lose(self) -> None:
        """Lose all data."""
        self.records.clear()
        self.calls.clear()

    def run(self, command: Command, now_us: int) -> list[int]:
        """Run one call of a script."""
        number, _, retry, *arguments = (int(each) for each in command.args)
        mine, *names = command.keys
        rows = [arguments[4 * index : 4 * index + 4] for index in range(len(names))]
        claims = arguments[4 * len(names) :]
        claims = [*zip(claims[::3], claims[1::3], claims[2::3], strict=True)]  # type: ignore[assignment]
        last, known, granted = self.calls.get(mine, (0, False, []))
        done = number <= last
        answers, grants = [], []
        found = []
        for index, (name, row) in enumerate(zip(names, rows, strict=True), 1):
            costs = [cost for at, (of, cost, _) in enumerate(claims) if of == index and (not done or granted[at])]
            found.append(self._tell(name, row, sum(costs), (number, last, retry), now_us))
        for at, (index, cost, room) in enumerate(claims):
            record, before = found[index - 1]
            level = record.full - now_us + cost
            if done or before:
                grants.append(not done or granted[at])
                answers.append(0 if grants[-1] else -1)
            else:
                grants.append(level <= room)
                answers.append(level if grants[-1] else room - level)
                if grants[-1]:
                    record = record._replace(full=record.full + cost, since=record.since + cost)
                    found[index - 1] = record, before
        self.records |= {name: record for name, (record, _) in zip(names, found, strict=True)}
        if not done:
            known = last > 0
            self.calls[mine] = number, known, grants
        return [int(known), *(each for record, _ in found for each in (record.full - now_us, record.born)), *answers]

    def _tell(
        self, name: bytes, row: list[int], costs: int, call: tuple[int, int, int], now_us: int
    ) -> tuple[Record, bool]:
        """Tell a bucket what is new; return its record, and whether nothing is."""
        told, base, most, mark = row
        number, last, retry = call
        record = self.records.get(name)
        if record is None or record.full + 2_000 < now_us:  # its time to live is over
            record = Record(0, 0, now_us % 10**9 + 1)
        full = max(now_us, min(record.full, now_us + most))
        lost = mark not in {0, record.born}
        if last > number or (last == number and (not retry or mark == record.born)):
            return record._replace(full=full), True
        before = last == number or (bool(retry) and not last)
        known = now_us + base + (told + costs if before else 0) + (record.since if lost and last != number else 0)
        if lost or before:
            full = max(full, min(known, now_us + most))
        after = max(now_us, min(full + (0 if before else told), now_us + most))
        return Record(after, record.since + after - full, record.born), before

    def level_ns(self, place: Place, now_ns: int) -> int:
        """Return the level of a bucket."""
        data = place.number.to_bytes(1, "little") + place.key.to_bytes(8, "little")
        name = KEYS.name_of(data)
        full = max((record.full for key, record in self.records.items() if key.endswith(name)), default=0)
        return max(0, full * 1_000 - now_ns)


def say_hello(exchange: Exchange, store: ScriptedStore) -> None:
    """Do the first call of a node, which tells nothing."""
    for call in whole(exchange.begin(0, 0)):
        exchange.answered(call, store.run(exchange.command(call, 0), 0), 0)


@dataclass
class Network:
    """How the store is reached: all times ns."""

    interval_ns: int = 20 * MS
    there_ns: int = MS  # of a question
    back_ns: int = MS  # of its answer
    drain_ns: int = 100 * MS  # between two looks at the records
    timeout_ns: int = 400 * MS
    loses: Callable[[int, int], str] = lambda _node, _time: ""  # "question", "answer", "" for neither

    @property
    def gap_ns(self) -> int:
        """From one question to the answer to the next; of a client that is new to a node, records are read first."""
        trip_ns = self.there_ns + self.back_ns
        return self.drain_ns + max(self.interval_ns, trip_ns) + trip_ns


@dataclass
class Node:
    """One node.

    Attributes:
        number: Its index.
        origin_ns: What its clock shows at the beginning.
        rate: How fast it goes.
        share: By what its workers divide limits.

    """

    number: int
    origin_ns: int
    rate: float
    share: int = 1
    alone: bool = False
    unread: list[int] = field(default_factory=list)  # when requests began, of its clock
    buckets: Buckets = field(default_factory=Buckets)

    def clock(self, now_ns: int) -> int:
        """Return what its clock shows."""
        return self.origin_ns + int(now_ns * self.rate)


class Cluster:
    """Nodes, a store and a client.

    Attributes:
        admitted: When the client was let through, ns.
        ideal_ns: The TAT of one bucket that all of it was taken from, and that holds as much as can be told: one
            limit more than there are nodes.
        known_ns: Of each node, the TAT of all that it has heard of or let through itself.

    """

    def __init__(self, nodes: int, limit: Limit, network: Network, random: Random) -> None:
        """Begin with full buckets."""
        self.limit = limit
        self.size = Size(limit.emission_interval_ns, limit.burst_offset_ns + limit.max_delay_ns)
        self.network = network
        self.store = ScriptedStore()
        self.now_ns = SECOND
        self.admitted: list[int] = []
        self.ideal_ns = 0
        self.known_ns = [0] * nodes
        self.nodes = [
            Node(index, random.randrange(SECOND, 10**6 * SECOND), 1 + random.uniform(-1, 1) * 1e-4)
            for index in range(nodes)
        ]
        self.exchanges = []
        for node in self.nodes:
            ledger = Ledger(node.buckets, node.clock(self.now_ns))
            ledger.stand(nodes, alone=False, now_ns=node.clock(self.now_ns))
            self.exchanges.append(Exchange(ledger, KEYS, f"node-{node.number}"))
            say_hello(self.exchanges[-1], self.store)
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        for node in self.nodes:
            self.later(random.randrange(network.interval_ns), lambda node=node: self._turn(node))  # type: ignore[misc]
            self.later(random.randrange(network.drain_ns), lambda node=node: self._drain(node))  # type: ignore[misc]

    def later(self, after_ns: int, work: Callable[[], None]) -> None:
        """Do something after a time."""
        self._count += 1
        heapq.heappush(self._events, (self.now_ns + after_ns, self._count, work))

    def run_until(self, end_ns: int) -> None:
        """Let time go by."""
        while self._events and self._events[0][0] <= end_ns:
            self.now_ns, _, work = heapq.heappop(self._events)
            work()
        self.now_ns = end_ns

    def ask(self, node: Node) -> bool:
        """Let the client ask once, now; return whether it was let through."""
        now_ns = node.clock(self.now_ns)
        limit, share = self.limit, node.share
        if share > 1:
            period_ns = limit.period_ns * share
            limit = Limit(
                name="x",
                burst=max(1, limit.burst // share),
                count=limit.count,
                period_ns=period_ns,
                max_delay_ns=limit.max_delay_ns,
            )
        decision = spend(limit, node.buckets.tat(PLACE), 1, now_ns)
        if decision.allowed:
            node.buckets.tats[PLACE] = decision.tat_ns
        node.unread.append(now_ns)
        if decision.allowed:
            self.admitted.append(self.now_ns)
            ideal_ns = max(self.ideal_ns, self.now_ns) + self.limit.emission_interval_ns
            self.ideal_ns = min(ideal_ns, self.now_ns + (len(self.nodes) + 1) * self.size.full_ns)
            known_ns = max(self.known_ns[node.number], self.now_ns) + self.limit.emission_interval_ns
            self.known_ns[node.number] = known_ns
        return decision.allowed

    def chat(self) -> None:
        """Let another client come to all nodes all the time, so that each has something to tell."""
        for node in self.nodes:
            now_ns = node.clock(self.now_ns)
            node.buckets.charge(OTHER, OTHERS_SIZE.token_ns, now_ns)
            self.exchanges[node.number].ledger.note(OTHER, OTHERS_SIZE, now_ns, 1, now_ns)
        self.later(50 * MS, self.chat)

    def untold_ns(self, node: Node) -> int:
        """Return what a node has not told of the client."""
        return self.exchanges[node.number].ledger.account(PLACE).untold_ns

    def divide(self, share: int, nodes: int | None = None) -> None:
        """Let all nodes, or so many of them, find out that the store is away (`share` above 1), or back."""
        for node in self.nodes[:nodes]:
            node.alone, node.share = share > 1, share

    def most(self, start_ns: int, stop_ns: int, speed: float, gap_ns: int) -> float:
        """Return the stated bound for a time, tokens."""
        burst = self.size.full_ns / self.size.token_ns
        while_open = min(burst + gap_ns / self.size.token_ns, 1 + speed * gap_ns / SECOND)
        flow = burst + (stop_ns - start_ns) / self.size.token_ns
        return flow * (KEPT + 1) / KEPT + len(self.nodes) * while_open

    def excess(self, speed: float, gap_ns: int) -> float:
        """Return by how much the bound was exceeded at the worst, over all stretches of time; none if not above 0."""
        worst, least = float("-inf"), float("inf")
        rate = (KEPT + 1) / KEPT / self.size.token_ns
        for count, time_ns in enumerate(self.admitted):
            least = min(least, count - rate * time_ns)
            worst = max(worst, count + 1 - rate * time_ns - least)
        return worst - self.most(0, 0, speed, gap_ns)

    def too_much_ns(self) -> int:
        """Return by how much any node takes the client to have spent more than it has."""
        levels = [node.buckets.tat(PLACE) - node.clock(self.now_ns) for node in self.nodes]
        return max(levels) - max(0, self.ideal_ns - self.now_ns)

    def _drain(self, node: Node) -> None:
        if node.unread:
            ledger, since_ns = self.exchanges[node.number].ledger, min(node.unread)
            ledger.note(PLACE, self.size, since_ns, len(node.unread), node.clock(self.now_ns))
            node.unread.clear()
        self.later(self.network.drain_ns, lambda: self._drain(node))

    def _turn(self, node: Node) -> None:
        exchange, network, now_ns = self.exchanges[node.number], self.network, node.clock(self.now_ns)
        exchange.ledger.stand(len(self.nodes), alone=node.alone, now_ns=now_ns)
        if node.alone:
            whole(exchange.ledger.questions(0, now_ns))
        calls = [] if node.alone else whole(exchange.begin(1_000, now_ns))
        if not calls:
            self.later(network.interval_ns, lambda: self._turn(node))
            return
        commands = [exchange.command(call, now_ns) for call in calls]
        lost = network.loses(node.number, self.now_ns)
        if lost != "question":
            self.later(network.there_ns, lambda: replies.extend(self._run(each) for each in commands))
        replies: list[list[int]] = []
        done_ns = self.now_ns + network.there_ns
        after_ns = network.timeout_ns if lost else network.there_ns + network.back_ns

        def end() -> None:
            if lost:
                exchange.failed(calls, maybe_done=True)
            else:
                for call, answer in zip(calls, replies, strict=True):
                    exchange.answered(call, answer, node.clock(self.now_ns))
                    levels = {each.place: level for each, level in zip(call.questions, answer[1::2], strict=True)}
                    known_ns = done_ns + levels.get(PLACE, 0) * 1_000
                    self.known_ns[node.number] = max(self.known_ns[node.number], known_ns)
            self.later(max(0, network.interval_ns - after_ns), lambda: self._turn(node))

        self.later(after_ns, end)

    def _run(self, command: Command) -> list[int]:
        return self.store.run(command, self.now_ns // 1_000)
