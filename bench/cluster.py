"""What the store costs: CPU and p99 of a guard without Redis, with one, and with one whose packets vanish.

The guard is one of two nodes; the other one idles. All requests come through a trusted proxy, in the name of a crowd: a
thousand calm clients, and twenty that take so much of their limit that others are told of them. Redis and the other
node run beside the load generator, for they would be on other machines. In turns, with the same load:

- without: a guard that knows no Redis;
- with: a node of the cluster;
- lost: the same node while a filter drops all packets to Redis, since long enough for the node to have noticed.

Beside it, at a rate that it can stand, a limiter that asks Redis about each request (`bench.asking`), in the same three
states. The filter is in this command's own network (`bench.seclusion`). All go before the machine's other programs
(`bench.precedence`): after a pause that those make, calm clients come so fast that others are told of them. Redis and
the other node go on as everybody does, and so do all processes of the guard but its worker.
"""

import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple

from prometheus_client.parser import text_string_to_metric_families
from rich.table import Table

from bench import cpu, openloop, precedence, seclusion
from bench.fault import MeasurementError
from bench.load import Client, drive
from bench.peers import PROXIES, ROOT, Launch, Program, Running, Setup, guard_environment, limits, serving, upstream
from bench.processes import Cores, free_port, scratch

PART: Final = 0.25  # of what one client gets: a crowd behind a proxy is dearer, and slow answers are charged for
WARM_UP_S: Final = 2.0
PEER_RATE: Final = 1000.0  # requests a second: what the peer bears while each of them waits for Redis in vain
BURST: Final = 200
OF_RATE: Final = 50  # of the load: a busy client has a fourth of its limit, a calm one a twentieth
NOTICED_S: Final = 15.0  # until a node knows that Redis is gone, or back
POLL_S: Final = 0.1
MOST_RATIO: Final = 1.05
GUARD: Final = "hkpguard"
PEER: Final = "asks for each"
PARTITIONED: Final = "hkpguard_store_partitioned"
FILTER: Final = "hkpguard_bench"

Prepare = Callable[[Path, int, int, Setup], Launch]


class ClusterError(MeasurementError):
    """The states that are to be compared could not be made."""


class State(StrEnum):
    """What a limiter has of Redis."""

    WITHOUT = "without"
    WITH = "with"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement.

    Attributes:
        limiter: GUARD or PEER.
        state: What it had of Redis.
        cpu_us: CPU of all its processes, µs a request.
        redis_us: CPU of Redis, µs a request.
        p50_us: Median latency.
        p99_us: 99th percentile of the same.

    """

    limiter: str
    state: State
    cpu_us: float
    redis_us: float
    p50_us: float
    p99_us: float


class Node(NamedTuple):
    """A guard, and where it tells of itself."""

    running: Running
    admin: int

    def partitioned(self) -> bool:
        """Whether it says that Redis is gone."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return any(sample.value == 1 for each in families if each.name == PARTITIONED for sample in each.samples)


class Bench:
    """Starts what is measured, and everything around it."""

    def __init__(self, stack: ExitStack, cores: Cores) -> None:
        """Start the keyserver and Redis; `stack` ends them."""
        self.cores = cores
        self._stack = stack
        self._secret = secrets.token_hex(32)
        self._folder = stack.enter_context(scratch())
        self._server = stack.enter_context(upstream(self._folder, cores))
        self.redis = self._start("redis", _redis, cores.load)

    def rate(self) -> float:
        """Return a quarter of what a guard takes, requests a second."""
        with serving(PROXIES["hkpguard"], self._folder, upstream=self._server.port, core=self.cores.proxy) as guard:
            return PART * drive(guard.port, Client.KEEPALIVE, WARM_UP_S, core=self.cores.load).rate

    def guard(self, name: str, rate: float, *, alone: bool = False, idle: bool = False) -> Node:
        """Start a guard for a crowd: `alone` without Redis, `idle` where it disturbs nobody."""
        admin = free_port()
        url = f"redis://127.0.0.1:{self.redis.port}"
        store = {"HKPGUARD_REDIS_URL": url, "HKPGUARD_CLUSTER__SECRET": self._secret}
        limit = {"BURST": str(BURST), "COUNT": str(round(rate / OF_RATE)), "PERIOD": "1s", "CONCURRENT": "0"}

        def prepare(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
            more = {
                "HKPGUARD_ADMIN": f"127.0.0.1:{admin}",
                "HKPGUARD_STATE_DIR": str(folder / "state"),
                "HKPGUARD_TRUSTED_PROXIES": "127.0.0.1",
                **limits("TOTAL", limit),
                **limits("CERT", limit),
            }
            environment = {**guard_environment(port, upstream_port, setup), **more, **({} if alone else store)}
            return Launch(command=[sys.executable, "-m", "proxy", "serve"], env=environment)

        return Node(self._start(name, prepare, self.cores.load if idle else self.cores.proxy), admin)

    def peer(self, name: str, *more: str) -> Running:
        """Start the plain proxy with some options."""

        def prepare(_folder: Path, port: int, upstream_port: int, _setup: Setup) -> Launch:
            command = [sys.executable, "-m", "bench.plain_proxy", str(port), str(upstream_port), *more]
            return Launch(command=command, env={"PYTHONPATH": str(ROOT)})

        return self._start(name, prepare, self.cores.proxy)

    def round(self, limiter: str, state: State, program: Running, rate: float, seconds: float) -> Round:
        """Measure one limiter in the state that it is in."""
        meter, redis_ns = cpu.Meter(program.pid, self.cores.proxy), cpu.run_ns(self.redis.pid)
        met = openloop.measure(program.port, rate, seconds, core=self.cores.load, crowd=True)
        return Round(
            limiter=limiter,
            state=state,
            cpu_us=meter.figures(met.sent)["cpu_us"],
            redis_us=(cpu.run_ns(self.redis.pid) - redis_ns) / 1e3 / met.sent,
            p50_us=met.p50_us,
            p99_us=met.p99_us,
        )

    @contextmanager
    def lost(self, nodes: Sequence[Node]) -> Iterator[None]:
        """Drop all packets to Redis, and have the nodes notice: that it is gone, and that it is back."""
        rule = f"table inet {FILTER} {{\n chain input {{\n type filter hook input priority 0\n"
        _filter(f"{rule} tcp dport {self.redis.port} drop\n }}\n}}\n")
        try:
            _await(nodes, partitioned=True)
            yield
        finally:
            _filter(f"delete table inet {FILTER}\n")
        _await(nodes, partitioned=False)

    def _start(self, name: str, prepare: Prepare, core: int | None) -> Running:
        program = Program(name, prepare)
        return self._stack.enter_context(serving(program, self._folder, upstream=self._server.port, core=core))


def measure(cores: Cores, rounds: int, seconds: float) -> Iterator[Round]:
    """Yield the rounds, all states in turns.

    Raises:
        ClusterError: This process has no network of its own, or a node did not notice what became of Redis.

    """
    if not seclusion.is_secluded():
        raise ClusterError("packets are dropped in a network of its own, which takes root, unshare and ip")
    openloop.build()
    with ExitStack() as stack:
        bench = Bench(stack, cores)
        rate = bench.rate()
        alone, node = bench.guard("alone", rate, alone=True), bench.guard("node", rate)
        nodes = [node, bench.guard("idle", rate, idle=True)]
        plain, asking = bench.peer("plain"), bench.peer("asking", "--redis", str(bench.redis.port))
        _await(nodes, partitioned=False)
        for program in (bench.redis, nodes[1].running):
            precedence.concede(program.pid)
        for program, load in ((alone.running, rate), (node.running, rate), (plain, PEER_RATE), (asking, PEER_RATE)):
            before = cpu.snapshot(program.pid)
            openloop.measure(program.port, load, WARM_UP_S, core=cores.load, crowd=True)
            precedence.concede(program.pid, but=cpu.busiest(before, cpu.snapshot(program.pid)))
        for _ in range(rounds):
            yield bench.round(GUARD, State.WITHOUT, alone.running, rate, seconds)
            yield bench.round(GUARD, State.WITH, node.running, rate, seconds)
            yield bench.round(PEER, State.WITHOUT, plain, PEER_RATE, seconds)
            yield bench.round(PEER, State.WITH, asking, PEER_RATE, seconds)
            with bench.lost(nodes):
                yield bench.round(GUARD, State.LOST, node.running, rate, seconds)
                yield bench.round(PEER, State.LOST, asking, PEER_RATE, seconds)


def _redis(_folder: Path, port: int, _upstream: int, _setup: Setup) -> Launch:
    options = {"port": str(port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
    return Launch(command=["redis-server", *(word for name, value in options.items() for word in (f"--{name}", value))])


def _filter(commands: str) -> None:
    done = subprocess.run(["nft", "-f", "-"], input=commands, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(f"nft: {done.stderr.strip()}")


def _await(nodes: Sequence[Node], *, partitioned: bool) -> None:
    deadline = time.monotonic() + NOTICED_S
    while any(node.partitioned() is not partitioned for node in nodes):
        if time.monotonic() > deadline:
            raise ClusterError(f"{PARTITIONED} is not {int(partitioned)} everywhere after {NOTICED_S:g} s")
        time.sleep(POLL_S)


def table(rounds: Sequence[Round]) -> Table:
    """Return the medians, and what each is of the same limiter without Redis."""
    shown = Table(title="With Redis, without, and with its packets dropped; medians", title_justify="left")
    for name in ("limiter", "Redis", "CPU us/request", "ratio", "Redis's CPU us/request", "p50 us", "p99 us", "ratio"):
        shown.add_column(name, justify="right")
    for limiter in (GUARD, PEER):
        without = _medians(rounds, limiter, State.WITHOUT)
        for state in State:
            if not (each := _medians(rounds, limiter, state)) or not without:
                continue
            ratios = f"{each.cpu_us / without.cpu_us:.3f}", f"{each.p99_us / without.p99_us:.3f}"
            times = f"{each.redis_us:.2f}", f"{each.p50_us:,.0f}", f"{each.p99_us:,.0f}"
            shown.add_row(limiter, state, f"{each.cpu_us:.2f}", ratios[0], *times, ratios[1])
    return shown


def missed(rounds: Sequence[Round]) -> list[str]:
    """Return what of the guard is not as it should be."""
    without, *others = (_medians(rounds, GUARD, state) for state in State)
    if without is None or None in others:
        return ["not all states were measured"]
    return [
        f"{each.state}: {name} is {ratio:.3f} times what it is without Redis"
        for each in others
        if each is not None
        for name, ratio in (("CPU", each.cpu_us / without.cpu_us), ("p99", each.p99_us / without.p99_us))
        if ratio > MOST_RATIO
    ]


def _medians(rounds: Sequence[Round], limiter: str, state: State) -> Round | None:
    some = [each for each in rounds if (each.limiter, each.state) == (limiter, state)]
    if not some:
        return None
    names = ("cpu_us", "redis_us", "p50_us", "p99_us")
    return Round(limiter=limiter, state=state, **{name: median(getattr(each, name) for each in some) for name in names})


def content(rounds: Sequence[Round]) -> dict[str, object]:
    """Return all that was measured, ready for JSON."""
    return {"rounds": [asdict(each) for each in rounds]}
