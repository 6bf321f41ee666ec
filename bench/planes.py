"""What the analyst costs the workers: the same load with the analyst at work, and with the analyst stopped.

One guard, one worker, every plugin on; analyst and worker on the same core, as on a machine that has no other. The
load is open-loop at half of the most that the guard takes. An analyst that is stopped (SIGSTOP) has to catch up when
it goes on, so there is a pause after each round, and no round is longer than the supervisor's patience with it. All but
the analyst go before the machine's other programs (`bench.precedence`).
"""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.table import Table

from bench import cpu, openloop, precedence
from bench.load import Client, drive
from bench.peers import PROXIES, Launch, Program, Running, Setup, serving, upstream
from bench.processes import Cores, scratch

HALF = 0.5
WARM_UP_S = 2.0
CATCH_UP_S = 2.0
MOST_SECONDS = 10.0
EVERYTHING = {"HKPGUARD_PLUGINS__ML_ABUSE_DETECTOR__MODE": "shadow", "HKPGUARD_ADAPT__MODE": "shadow"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One measurement.

    Attributes:
        at_work: Whether the analyst was.
        worker_us: CPU of the worker, µs a request.
        analyst_us: CPU of the analyst, µs a request.
        p50_us: Median latency.
        p99_us: 99th percentile of the same.

    """

    at_work: bool
    worker_us: float
    analyst_us: float
    p50_us: float
    p99_us: float


class Guard(NamedTuple):
    """The guard that is measured: its port, and the processes that matter."""

    port: int
    worker: int
    analyst: int


def measure(cores: Cores, rounds: int, seconds: float) -> tuple[float, list[Round]]:
    """Return the rate, requests a second, and the rounds, taken in turns."""
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, cores))
        program = Program("hkpguard", _everything_on)
        running = stack.enter_context(serving(program, folder, upstream=server.port, core=cores.proxy))
        rate = HALF * drive(running.port, Client.KEEPALIVE, WARM_UP_S, core=cores.load).rate
        guard = told_apart(running, cores)
        precedence.concede(running.pid, but=guard.worker)
        measured = [
            _round(guard, rate, min(seconds, MOST_SECONDS), cores, at_work=at_work)
            for _ in range(rounds)
            for at_work in (True, False)
        ]
        return rate, measured


def _everything_on(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES["hkpguard"].prepare(folder, port, upstream_port, setup)
    return Launch(command=launch.command, env={**launch.env, **EVERYTHING})


def told_apart(running: Running, cores: Cores) -> Guard:
    """Tell the children of the supervisor apart: under load the worker works most, then the analyst."""
    before = cpu.snapshot(running.pid)
    drive(running.port, Client.KEEPALIVE, WARM_UP_S, core=cores.load)
    after = cpu.snapshot(running.pid)
    children = sorted(after.keys() - {running.pid}, key=lambda child: before.get(child, 0) - after[child])
    return Guard(running.port, children[0], children[1])


def _round(guard: Guard, rate: float, seconds: float, cores: Cores, *, at_work: bool) -> Round:
    with _stopped(None if at_work else guard.analyst):
        before = cpu.run_ns(guard.worker), cpu.run_ns(guard.analyst)
        met = openloop.measure(guard.port, rate, seconds, core=cores.load)
        after = cpu.run_ns(guard.worker), cpu.run_ns(guard.analyst)
    time.sleep(CATCH_UP_S)
    worker_us, analyst_us = ((end - start) / 1e3 / met.sent for start, end in zip(before, after, strict=True))
    return Round(at_work=at_work, worker_us=worker_us, analyst_us=analyst_us, p50_us=met.p50_us, p99_us=met.p99_us)


@contextmanager
def _stopped(pid: int | None) -> Iterator[None]:
    if pid is None:
        yield
        return
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def table(rate: float, rounds: Sequence[Round]) -> Table:
    """Return the medians, and what the analyst at work makes of them."""
    shown = Table(title=f"Analyst at work and stopped, {rate:,.0f} requests/s; medians", title_justify="left")
    for name in ("analyst", "worker us/request", "analyst us/request", "p50 us", "p99 us"):
        shown.add_column(name, justify="right")
    busy, idle = (_medians([each for each in rounds if each.at_work is at_work]) for at_work in (True, False))
    shown.add_row("at work", *(f"{figure:.2f}" for figure in busy))
    shown.add_row("stopped", *(f"{figure:.2f}" for figure in idle))
    shown.add_row("ratio", f"{busy[0] / idle[0]:.3f}", "", f"{busy[2] / idle[2]:.3f}", f"{busy[3] / idle[3]:.3f}")
    return shown


def _medians(rounds: Sequence[Round]) -> tuple[float, float, float, float]:
    return (
        median(each.worker_us for each in rounds),
        median(each.analyst_us for each in rounds),
        median(each.p50_us for each in rounds),
        median(each.p99_us for each in rounds),
    )


def content(rate: float, rounds: Sequence[Round]) -> dict[str, object]:
    """Return all that was measured, ready for JSON."""
    names = Round.__slots__
    return {"rate": rate, "rounds": [{name: getattr(each, name) for name in names} for each in rounds]}
