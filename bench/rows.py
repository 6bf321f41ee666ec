"""The rows of the comparison: what is measured, on whom, in which order.

Within a row all proxies run at once and are measured in turn, round after round, each round starting with
another one: what disturbs the machine for a while disturbs all. Ratios are taken within a round.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench import handshakes, openloop
from bench.cpu import Meter
from bench.load import Client, Outcome, drive
from bench.peers import PROXIES, Running, Setup, serving, upstream
from bench.processes import Cores, scratch
from bench.verify import verify

WARM_UP_S = 1.0
FILL_UP_S = 4.0  # until the answer to each target is kept
HALF = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One kind of traffic."""

    key: str
    title: str
    client: Client
    setup: Setup = Setup.OPEN
    open_loop: bool = False
    warm_up_s: float = WARM_UP_S
    without: frozenset[str] = frozenset()  # proxies that cannot do it

    def proxies(self, names: Sequence[str]) -> list[str]:
        """Return those of `names` that this row measures."""
        return [name for name in names if name not in self.without]


_NO_TLS = frozenset({"aiohttp"})

ROWS: Mapping[str, Row] = {
    row.key: row
    for row in (
        Row(key="a", title="keep-alive GET of 2 KB, HTTP/1.1", client=Client.KEEPALIVE),
        Row(key="b", title="one connection per request, HTTP/1.0 as dirmngr", client=Client.DIRMNGR),
        Row(key="c", title="refused with 429, keep-alive", client=Client.KEEPALIVE, setup=Setup.REFUSE),
        Row(
            key="d",
            title="latency at half of the own maximum, open loop",
            client=Client.KEEPALIVE,
            open_loop=True,
        ),
        Row(key="e", title="as (a), over TLS", client=Client.KEEPALIVE, setup=Setup.TLS, without=_NO_TLS),
        Row(
            key="f",
            title="as (b), over TLS, no session resumed",
            client=Client.HANDSHAKE,
            setup=Setup.TLS,
            without=_NO_TLS,
        ),
        Row(
            key="g",
            title="as (a), answered from hkpguard's cache",
            client=Client.KEEPALIVE,
            setup=Setup.CACHE,
            warm_up_s=FILL_UP_S,
            without=frozenset({"nginx", "aiohttp"}),
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to run: rows and proxies by name, rounds, seconds a measurement, cores."""

    rows: Sequence[str]
    proxies: Sequence[str]
    rounds: int
    seconds: float
    cores: Cores

    @property
    def measurements(self) -> int:
        """How many samples there will be."""
        return self.rounds * sum(len(ROWS[key].proxies(self.proxies)) for key in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement: row, proxy, round (0..) and figures by name.

    Figures: `cpu_us` a request (whole tree), `worker_cpu_us` (its busiest process), `rate` in requests/s,
    `core_share` (0..1, the tree's), `foreign_share` (0..1, what others took of the proxy's core), `p50_us`,
    `p99_us` (not in row f); in row d also `direct_p50_us`, `direct_p99_us` (upstream without proxy at this rate),
    `added_p50_us`, `added_p99_us` (the differences) and `late_p99_us` (the generator's own error).
    """

    row: str
    proxy: str
    round: int
    figures: Mapping[str, float]


def measure(plan: Plan) -> Iterator[Sample]:
    """Yield samples as they are taken.

    Raises:
        StartError: a program does not run.
        LoadError, OpenLoopError, ProcessGoneError, AnswerError: a measurement is not valid.

    """
    maxima: dict[str, list[float]] = {}
    for key in plan.rows:
        for sample in _measure_row(ROWS[key], plan, maxima):
            if key == "a":
                maxima.setdefault(sample.proxy, []).append(sample.figures["rate"])
            yield sample


def _measure_row(row: Row, plan: Plan, maxima: Mapping[str, Sequence[float]]) -> Iterator[Sample]:
    with _stage(row, plan) as (server, proxies):
        limits = {proxy.name: _maximum(proxy, row, plan, maxima) for proxy in proxies}
        for turn in range(plan.rounds):
            for proxy in rotated(proxies, turn):
                figures = _figures(proxy, server, row, plan, HALF * limits[proxy.name])
                yield Sample(row=row.key, proxy=proxy.name, round=turn, figures=figures)


@contextmanager
def _stage(row: Row, plan: Plan) -> Iterator[tuple[Running, list[Running]]]:
    """Run the upstream and all proxies of `row`, proven to do what the row means."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, plan.cores))
        start = partial(serving, folder=folder, upstream=server.port, setup=row.setup, core=plan.cores.proxy)
        proxies = [stack.enter_context(start(PROXIES[name])) for name in row.proxies(plan.proxies)]
        for proxy in proxies:
            verify(proxy, server, row.setup)
        yield server, proxies


def rotated(proxies: Sequence[Running], turn: int) -> list[Running]:
    """Return `proxies` in the order of round `turn`: each goes first in its turn."""
    first = turn % len(proxies)
    return [*proxies[first:], *proxies[:first]]


def _maximum(proxy: Running, row: Row, plan: Plan, maxima: Mapping[str, Sequence[float]]) -> float:
    """Warm `proxy` up and return its highest rate: from row a if that was measured, else from now."""
    outcome = _load(proxy, row, plan, row.warm_up_s)
    return median(maxima.get(proxy.name, [outcome.rate]))


def _load(proxy: Running, row: Row, plan: Plan, seconds: float) -> Outcome:
    if row.client is Client.HANDSHAKE:
        return handshakes.drive(proxy.port, seconds, core=plan.cores.load)
    return drive(proxy.port, row.client, seconds, core=plan.cores.load, setup=row.setup)


def _figures(proxy: Running, server: Running, row: Row, plan: Plan, rate: float) -> dict[str, float]:
    return _latency(proxy, server, rate, plan) if row.open_loop else _closed(proxy, row, plan)


def _closed(proxy: Running, row: Row, plan: Plan) -> dict[str, float]:
    meter = Meter(proxy.pid, plan.cores.proxy)
    outcome = _load(proxy, row, plan, plan.seconds)
    return {
        **meter.figures(outcome.requests),
        "rate": outcome.rate,
        **({"p50_us": outcome.p50_us, "p99_us": outcome.p99_us} if outcome.p99_us else {}),
    }


def _latency(proxy: Running, server: Running, rate: float, plan: Plan) -> dict[str, float]:
    direct = openloop.measure(server.port, rate, plan.seconds, core=plan.cores.load)
    meter = Meter(proxy.pid, plan.cores.proxy)
    through = openloop.measure(proxy.port, rate, plan.seconds, core=plan.cores.load)
    return {
        **meter.figures(through.sent),
        "rate": rate,
        "p50_us": through.p50_us,
        "p99_us": through.p99_us,
        "direct_p50_us": direct.p50_us,
        "direct_p99_us": direct.p99_us,
        "added_p50_us": through.p50_us - direct.p50_us,
        "added_p99_us": through.p99_us - direct.p99_us,
        "late_p99_us": through.late_p99_us,
    }
