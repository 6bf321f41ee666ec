"""A cluster in one process, on a clock of its own: nodes with real ledgers, a store that does what the script does.

Each node has its own clock (any origin, a little fast or slow), and the network loses and delays what the test says.
One client asks for one thing of one bucket, through whichever nodes the test says, as fast as it says.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastpath._gcra_py import Limit, spend
from models.steps import whole
from proxy.cluster.exchange import Exchange
from proxy.cluster.grants import GRANT
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
KEYS = Keys("t", ClusterSecret(64 * "s"))


class ScriptedStore:
    """What the scripts do to the database, in Python; tests with a real server compare the two."""

    def __init__(self) -> None:
        """Begin empty."""
        self.values: dict[bytes, int] = {}  # of levels, µs of its clock
        self.grants: dict[bytes, list[bool]] = {}  # of the last call of a node

    def run(self, command: Command, now_us: int) -> list[int]:
        """Run one call of a script."""
        if command.what is not GRANT:
            return self._run(command, now_us)
        mine, *names = command.keys
        buckets = 2 + 3 * len(names)
        again = int(command.args[0]) <= self.values.get(mine, 0)
        levels = self._run(command._replace(args=command.args[:buckets]), now_us)
        claims = [int(each) for each in command.args[buckets:]]
        if again:
            return levels + [int(each) - 1 for each in self.grants[mine]]
        self.grants[mine] = []
        answers = []
        for index, cost, room in zip(claims[::3], claims[1::3], claims[2::3], strict=True):
            over = levels[index - 1] + cost - room
            self.grants[mine].append(over <= 0)
            levels[index - 1] += cost if over <= 0 else 0
            answers.append(-over if over > 0 else levels[index - 1])
        self.values |= {name: now_us + level for name, level in zip(names, levels, strict=True)}
        return levels + answers

    def _run(self, command: Command, now_us: int) -> list[int]:
        number, _, *arguments = (int(each) for each in command.args)
        mine, *names = command.keys
        last = self.values.get(mine, 0)
        again = number <= last
        levels = []
        for index, name in enumerate(names):
            told, base, most = arguments[3 * index : 3 * index + 3]
            stored = self.values.get(name)
            if stored is not None and stored + 2_000 < now_us:
                stored = None  # its time to live is over
            full = max(now_us, min(stored or 0, now_us + most))
            if not again:
                if not last or stored is None:
                    full = max(full, now_us + base)
                full = max(now_us, min(full + told, now_us + most))
                self.values[name] = full
            levels.append(full - now_us)
        if not again:
            self.values[mine] = number
        return levels

    def level_ns(self, place: Place, now_ns: int) -> int:
        """Return the level of a bucket."""
        data = place.number.to_bytes(1, "little") + place.key.to_bytes(8, "little")
        name = KEYS.name_of(data)
        full = max((value for key, value in self.values.items() if key.endswith(name)), default=0)
        return max(0, full * 1_000 - now_ns)


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
        ideal_ns: The TAT of one bucket that all of it was taken from.

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
        self.nodes = [
            Node(index, random.randrange(SECOND, 10**6 * SECOND), 1 + random.uniform(-1, 1) * 1e-4)
            for index in range(nodes)
        ]
        self.exchanges = []
        for node in self.nodes:
            ledger = Ledger(node.buckets, node.clock(self.now_ns))
            ledger.stand(nodes, alone=False, now_ns=node.clock(self.now_ns))
            self.exchanges.append(Exchange(ledger, KEYS, f"node-{node.number}"))
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
            self.ideal_ns = max(self.ideal_ns, self.now_ns) + self.limit.emission_interval_ns
        return decision.allowed

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
        after_ns = network.timeout_ns if lost else network.there_ns + network.back_ns

        def end() -> None:
            if lost:
                exchange.failed(calls, maybe_done=True)
            else:
                for call, answer in zip(calls, replies, strict=True):
                    exchange.answered(call, answer, node.clock(self.now_ns))
            self.later(max(0, network.interval_ns - after_ns), lambda: self._turn(node))

        self.later(after_ns, end)

    def _run(self, command: Command) -> list[int]:
        return self.store.run(command, self.now_ns // 1_000)
