"""How much a cluster asks of Redis: a formula, a simulation of the exchange, and a Redis that counts.

Who matters are the clients that take much of their limit: each request of theirs is told, once, but those that come to
the same node within one interval are told together. So with `hot` buckets, that take `rate` requests a second and reach
the nodes at random, at each turn of a node

    levels a turn = hot * (1 - e^(-rate * interval / nodes))          never more than hot * rate * interval / nodes
    calls a turn  = levels a turn / 32 + 1/2                          each is full but the last
                    1 - e^(-levels a turn / 2)                        of few: the buckets of a client come together

and there are nodes / interval turns a second. To that comes what a node asks whether or not there is anything to tell.
"""

import asyncio
import heapq
import math
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Final, NamedTuple

from rich.table import Table

from bench.processes import free_port, running, scratch
from bench.redis_wire import Flow, MadeUpWire, RealWire, Wire, answered, packed, request
from models.steps import whole
from proxy.cluster.beat import Capacity, Held
from proxy.cluster.command import Answer, Command
from proxy.cluster.exchange import LEVELS, MOST_OF_CALL, Exchange, interval_ns, most_of_turn
from proxy.cluster.followed import Seen
from proxy.cluster.keys import Family, Keys
from proxy.cluster.ledger import LINGER_NS, MOST_MARK, Ledger, Place, Size
from proxy.cluster.members import BEAT_S, MEMBERS_A_SECOND, Members
from proxy.cluster.seal import Seal
from proxy.cluster.secret import ClusterSecret

SECOND: Final = 1_000_000_000
LEAST_NS, MOST_NS = 20_000_000, 250_000_000  # the default
BUCKETS: Final = 2  # of a client: all of its requests, and those of the class
BURST, PER_SECOND = 60, 5  # the limit of certificates
TOKEN_NS: Final = SECOND // PER_SECOND
SIZE: Final = Size(TOKEN_NS, BURST * TOKEN_NS)
SECRET: Final = ClusterSecret("x" * 32)
KEYS: Final = Keys("hkpguard", SECRET)
CALL_COMMANDS, LEVEL_COMMANDS = 4, 2  # EVALSHA, TIME, GET, SET; GET, SET
WARM_UP_S: Final = 2.0
BEAT_COMMANDS: Final = 6  # EVALSHA, TIME, HLEN, HGET, HSET, PEXPIRE; HGETALL for who looks
# What else a node asks in a second when there is nothing to do, as a redis-server counted it: whether there is another
# policy or model, whether the store can be written, a ping.
IDLE: Final = Flow(calls=4, commands=14, in_bytes=330, out_bytes=60)


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
    calls = -math.expm1(-levels / BUCKETS) + max(0.0, levels / MOST_OF_CALL - 0.5)
    (call_in, call_out), (level_in, level_out) = _sizes()
    turn = Flow(
        calls=calls,
        levels=levels,
        commands=CALL_COMMANDS * calls + LEVEL_COMMANDS * levels,
        in_bytes=call_in * calls + level_in * levels,
        out_bytes=call_out * calls + level_out * levels,
    )
    return turn.times(load.nodes / load.interval_s)


def standing(nodes: int) -> Flow:
    """Return what nodes ask in a second that have nothing to tell: each beats, and now and then reads all beats."""
    command = asyncio.run(_a_beat())
    beat = command.args[3]
    assert isinstance(beat, bytes)
    looks = nodes / max(BEAT_S, nodes / MEMBERS_A_SECOND)
    each = Flow(
        calls=1,
        commands=BEAT_COMMANDS,
        in_bytes=len(request(command)),
        out_bytes=len("*3\r\n:1795294800000\r\n$2\r\nok\r\n*0\r\n"),
    )
    return each.plus(IDLE).times(nodes).plus(Flow(commands=1, out_bytes=nodes * len(packed(beat))).times(looks))


async def _a_beat() -> Command:
    """Return what a node sends to beat."""
    sent: list[Command] = []

    class Listening(NamedTuple):
        """A store that is told everything."""

        node: str
        keys: Keys
        seal: Seal

        async def pipeline(self, commands: Sequence[Command], *, seconds: float | None = None) -> list[Answer]:
            """See `Store.pipeline`."""
            del seconds
            sent.extend(commands)
            return [[1_795_294_800_000, b"ok", []] for _ in commands]

    with scratch() as folder:
        members = Members(
            Listening("guard-0001", KEYS, Seal(SECRET, KEYS.prefix)),
            life="0123456789abcdef",
            capacity=Capacity(workers=2, clients=1 << 20),
            folder=folder,
            held=lambda: (Held(generation=1, content="0" * 64), Held()),
            draining=lambda: False,
            publish=lambda _event: None,
        )
        await members.turn()
    return sent[-1]


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
    mark = MOST_MARK // 2
    command = Command(LEVELS, (name, *keys), (10_000, 86_400_000, 0, *[told_us, base_us, most_us, mark] * levels))
    return len(request(command)), len(answered([1, *[level_us, mark] * levels]))


def _caller(number: int) -> str:
    return f"guard-{number:04}.0123456789abcdef"


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
        for call in whole(self._exchange.begin(most_of_turn(self._nodes, MOST_NS), now_ns)):
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


def simulated(load: Load, seconds: float) -> Flow:
    """Return what a second asks of Redis: counted in a run in virtual time, with a Redis that is made up."""
    clock = Clock()
    return ran(load, seconds, MadeUpWire(lambda: (SECOND + clock.now_ns) // 1000), clock)


def counted(load: Load, seconds: float, core: int | None) -> Flow:
    """Let the nodes ask a real redis-server, in real time; return what it counted in a second."""
    with _redis(core) as wire:
        return ran(load, seconds, wire, RealClock())


def carried(seconds: float, core: int | None) -> float:
    """Return how many levels a second would take all of a redis-server's core, in calls of the size that nodes make."""
    busy = Load(nodes=10, clients=5000)
    with _redis(core) as wire:
        clock, began_us = Clock(), wire.cpu_us()
        flow = ran(busy, seconds, wire, clock)
        return flow.levels * (seconds + WARM_UP_S) * 1e6 / (wire.cpu_us() - began_us)


@contextmanager
def _redis(core: int | None) -> Iterator[RealWire]:
    options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with scratch() as folder:
        port = free_port()
        with (
            running(["redis-server", "--port", str(port), *options], port, folder, core=core),
            closing(RealWire(port, LEVELS)) as wire,
        ):
            yield wire


class Row(NamedTuple):
    """A load, and what it asks of Redis in a second.

    Args:
        load: What is to be done.
        levels: The exchange of levels, by the formula.
        standing: What nodes ask anyway.
        run: The exchange again, counted in a simulation; None: not run.

    """

    load: Load
    levels: Flow
    standing: Flow
    run: Flow | None


def row(load: Load, seconds: float = 0) -> Row:
    """Return the row of a load; the simulation takes so many virtual seconds, 0: none."""
    return Row(load, exchanged(load), standing(load.nodes), simulated(load, seconds) if seconds else None)


def table(rows: Sequence[Row]) -> Table:
    """Return a table of what loads ask of Redis in a second."""
    shown = Table(title="What a cluster asks of Redis in a second", title_justify="left")
    names = (
        "nodes",
        "busy clients",
        "interval ms",
        "calls",
        "levels",
        "commands",
        "KB in",
        "KB out",
        "anyway KB out",
        "run",
    )
    for name in names:
        shown.add_column(name, justify="right")
    for load, levels, anyway, run in rows:
        whole = levels.plus(anyway)
        counts = (f"{number:,.0f}" for number in (whole.calls, whole.levels, whole.commands))
        sizes = (f"{size / 1000:,.0f}" for size in (whole.in_bytes, whole.out_bytes, anyway.out_bytes))
        ratio = f"{run.in_bytes / levels.in_bytes:.3f}" if run else ""
        shown.add_row(f"{load.nodes}", f"{load.clients:,}", f"{1000 * load.interval_s:.0f}", *counts, *sizes, ratio)
    return shown


def content(rows: Sequence[Row], real: Flow, most: float) -> dict[str, object]:
    """Return all of it, ready for JSON."""
    return {
        "rows": [
            {
                "load": each.load._asdict(),
                "interval_s": each.load.interval_s,
                "levels": asdict(each.levels),
                "standing": asdict(each.standing),
                "run": asdict(each.run) if each.run else None,
            }
            for each in rows
        ],
        "real": asdict(real),
        "levels_a_core": most,
    }
