"""How much a cluster asks of Redis: a formula, a simulation of the exchange, and a Redis that counts.

Who matters are the clients that take much of their limit: each request of theirs is told, once, but those that come to
the same node within one interval are told together. So with `hot` buckets, that take `rate` requests a second and reach
the nodes at random, at each turn of a node

    levels a turn = hot * (1 - e^(-rate * interval / nodes))          never more than hot * rate * interval / nodes
    calls a turn  = 64 * (1 - (63/64)^(levels a turn))                one for each shard that has something to tell

and there are nodes / interval turns a second. To that comes what a node says whether or not there is anything to tell:
beats, and now and then the table of all beats.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Final, NamedTuple

from rich.table import Table

from bench.processes import free_port, running, scratch
from bench.redis_wire import Flow, MadeUpWire, RealWire, Wire, request
from proxy.cluster.command import Command
from proxy.cluster.exchange import LEVELS, Exchange, interval_ns, most_of_turn
from proxy.cluster.followed import Seen
from proxy.cluster.keys import SHARDS, Family, Keys
from proxy.cluster.ledger import LINGER_NS, Ledger, Place, Size
from proxy.cluster.members import BEAT_S, MEMBERS_A_SECOND
from proxy.cluster.secret import ClusterSecret

SECOND: Final = 1_000_000_000
LEAST_NS, MOST_NS = 20_000_000, 250_000_000  # the default
BUCKETS: Final = 2  # of a client: all of its requests, and those of the class
BURST, PER_SECOND = 60, 5  # the limit of certificates
TOKEN_NS: Final = SECOND // PER_SECOND
SIZE: Final = Size(TOKEN_NS, BURST * TOKEN_NS)
KEYS: Final = Keys("hkpguard", ClusterSecret("x" * 32))
CALL_COMMANDS, LEVEL_COMMANDS = 4, 2  # EVALSHA, TIME, GET, SET; GET, SET
WARM_UP_S: Final = 2.0
BEAT_COMMANDS: Final = 7  # EVALSHA, TIME, 2 HLEN, HGET, HSET, PEXPIRE
BEAT_IN_BYTES, BEAT_BYTES, BEAT_OUT_BYTES = 700, 400, 40


class Load(NamedTuple):
    """What a cluster has to do.

    Args:
        nodes: How many there are.
        clients: That take so much of their limit that it is told; those that do not cost nothing.
        rate: Requests of each of them, to all nodes together, a second.

    """

    nodes: int
    clients: int
    rate: float = PER_SECOND

    @property
    def hot(self) -> int:
        """Their buckets."""
        return BUCKETS * self.clients

    def seen(self, seconds: float) -> float:
        """Return how many of the buckets one node has requests for in a time."""
        return self.hot * -math.expm1(-self.rate * seconds / self.nodes)

    @property
    def interval_s(self) -> float:
        """From one turn of a node to the next, as the nodes choose it."""
        active = round(self.seen(LINGER_NS / SECOND))
        return interval_ns(active, self.nodes, LEAST_NS, MOST_NS) / SECOND


def exchanged(load: Load) -> Flow:
    """Return what the exchange of levels asks of Redis in a second, by the formula."""
    levels = min(load.seen(load.interval_s), most_of_turn(load.nodes, MOST_NS))
    calls = SHARDS * (1 - (1 - 1 / SHARDS) ** levels)
    (call_in, call_out), (level_in, level_out) = _sizes()
    turn = Flow(
        calls=calls,
        levels=levels,
        commands=CALL_COMMANDS * calls + LEVEL_COMMANDS * levels,
        in_bytes=call_in * calls + level_in * levels,
        out_bytes=call_out * calls + level_out * levels,
    )
    return turn.times(load.nodes / load.interval_s)


def beaten(nodes: int) -> Flow:
    """Return what members cost in a second: each beats, and reads the table of all not too often."""
    looks = nodes / max(BEAT_S, nodes / MEMBERS_A_SECOND)
    each = Flow(calls=1, commands=BEAT_COMMANDS, in_bytes=BEAT_IN_BYTES, out_bytes=BEAT_OUT_BYTES)
    return each.times(nodes).plus(Flow(commands=1, out_bytes=nodes * BEAT_BYTES).times(looks))


def _sizes() -> tuple[tuple[float, float], tuple[float, float]]:
    """Return how many bytes a call takes without any level, in and out, and how many a level takes more."""
    (one_in, one_out), (two_in, two_out) = (_sample(levels) for levels in (1, 2))
    level_in, level_out = two_in - one_in, two_out - one_out
    return (one_in - level_in, one_out - level_out), (level_in, level_out)


def _sample(levels: int) -> tuple[int, int]:
    """Return the bytes of a call for so many levels, with numbers of the usual length, and of its answer."""
    name = KEYS.key(Family.LIMIT, _caller(1), 1)
    keys = [KEYS.key(Family.LIMIT, KEYS.name_of(bytes([number])), 1) for number in range(levels)]
    told_us, base_us, most_us, level_us = TOKEN_NS // 1000, 6_000_000, 150_000_000, 6_000_000
    command = Command(LEVELS, (name, *keys), (10_000, 86_400_000, *[told_us, base_us, most_us] * levels))
    return len(request(command)), len(f"*{levels}\r\n") + levels * len(f":{level_us}\r\n")


def _caller(number: int) -> str:
    return f"guard-{number:04}.0123456789abcdef"


class Node:
    """A guard as the exchange sees it: buckets that are spent from, and what is told of them. The real reckoning."""

    def __init__(self, number: int, nodes: int) -> None:
        """Begin with full buckets."""
        self._tats: dict[Place, int] = {}
        self._heard: dict[Place, Seen] = {}
        self._nodes = nodes
        self._ledger = Ledger(self, 0)
        self._exchange = Exchange(self._ledger, KEYS, _caller(number))

    def tat(self, place: Place) -> int:
        """See `proxy.cluster.ledger.Levels`."""
        return self._tats.get(place, 0)

    def add(self, place: Place, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """See `proxy.cluster.ledger.Levels`."""
        self._tats[place] = min(max(now_ns, max(now_ns, self.tat(place)) + delta_ns), now_ns + most_ns)

    def request(self, place: Place, now_ns: int) -> None:
        """Take a token from a bucket, if it holds one."""
        wanted = max(now_ns, self.tat(place)) + TOKEN_NS
        if wanted - now_ns <= SIZE.full_ns:
            self._tats[place] = wanted
            before = self._heard.get(place, Seen(place, SIZE, now_ns, 0))
            self._heard[place] = before._replace(tokens=before.tokens + 1)

    def turn(self, wire: Wire, now_ns: int) -> int:
        """Exchange once; return how many levels, and what comes back to it."""
        for seen in self._heard.values():
            self._ledger.note(*seen, now_ns)
        self._heard.clear()
        self._ledger.stand(self._nodes, alone=False, now_ns=now_ns)
        told = 0
        for call in self._exchange.begin(most_of_turn(self._nodes, MOST_NS), now_ns):
            answer = wire.ask(self._exchange.command(call, now_ns))
            self._exchange.answered(call, answer, now_ns)
            told += len(call.questions)
        return told

    def rest_ns(self) -> int:
        """Return how long until the next turn."""
        return interval_ns(self._ledger.active, self._nodes, LEAST_NS, MOST_NS)


def ran(load: Load, seconds: float, wire: Wire, clock: Clock, seed: int = 1) -> Flow:
    """Run the exchange of all nodes by a clock; return what a second of it asked of Redis."""
    draw = random.Random(seed)  # noqa: S311 - the same draw in every run
    nodes = [Node(number, load.nodes) for number in range(load.nodes)]
    end_ns, warm_ns = round((seconds + WARM_UP_S) * SECOND), round(WARM_UP_S * SECOND)
    arrivals = _arrivals(load, draw)
    next_ns, client = next(arrivals)
    turns = [(round(draw.random() * MOST_NS), number) for number in range(load.nodes)]
    heapq.heapify(turns)
    warm, levels, before = False, 0, Flow()
    while turns[0][0] < end_ns:
        now_ns, number = heapq.heappop(turns)
        while next_ns <= now_ns:
            node = nodes[draw.randrange(load.nodes)]
            for bucket in range(BUCKETS):
                node.request(Place(client, bucket), next_ns)
            next_ns, client = next(arrivals)
        clock.wait(now_ns)
        if now_ns >= warm_ns and not warm:
            warm, levels, before = True, 0, wire.count()
        levels += nodes[number].turn(wire, now_ns)
        heapq.heappush(turns, (now_ns + nodes[number].rest_ns(), number))
    return wire.count().plus(before.times(-1)).plus(Flow(levels=levels)).times(1 / seconds)


def _arrivals(load: Load, draw: random.Random) -> Iterator[tuple[int, int]]:
    """Yield when requests come, and of which client, ns."""
    at_ns, mean_ns = 0.0, SECOND / (load.clients * load.rate)
    while True:
        at_ns += draw.expovariate(1 / mean_ns)
        yield round(at_ns), draw.randrange(load.clients)


class Clock:
    """The time of a run, ns since it began; it goes as fast as one likes."""

    def __init__(self) -> None:
        """Begin."""
        self.now_ns = 0

    def wait(self, until_ns: int) -> None:
        """Go on to a time."""
        self.now_ns = until_ns


class RealClock(Clock):
    """One that goes as clocks do."""

    def __init__(self) -> None:
        """Begin."""
        super().__init__()
        self._began_ns = time.monotonic_ns()

    def wait(self, until_ns: int) -> None:
        """See `Clock`."""
        time.sleep(max(0, self._began_ns + until_ns - time.monotonic_ns()) / SECOND)
        super().wait(until_ns)


def simulated(load: Load, seconds: float) -> Flow:
    """Return what a second asks of Redis: counted in a run in virtual time, with a Redis that is made up."""
    clock = Clock()
    return ran(load, seconds, MadeUpWire(lambda: (SECOND + clock.now_ns) // 1000), clock)


class Counted(NamedTuple):
    """What a real redis-server said.

    Args:
        flow: What a second asked of it.
        most: Levels in a second that would have taken all of its core.

    """

    flow: Flow
    most: float


def counted(load: Load, seconds: float, core: int | None) -> Counted:
    """Let the nodes ask a real redis-server, in real time; return what it counted."""
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with scratch() as folder, ExitStack() as stack:
        port = free_port()
        stack.enter_context(running(["redis-server", "--port", str(port), *options], port, folder, core=core))
        wire = stack.enter_context(closing(RealWire(port, LEVELS)))
        flow = ran(load, seconds, wire, RealClock())
    return Counted(flow, 0)


def beats_counted(core: int | None) -> None:
    """Nothing yet."""
