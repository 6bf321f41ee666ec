"""What 10,000 connections in the tarpit cost: CPU on each proxied request, memory of the program, memory of the kernel.

CPU. One worker is loaded as in row (a), without and with held connections, and both figures of a turn are compared.
The held ones also cost something when nothing else is to do, which is measured alone. Each turn has a fresh proxy:
HAProxy does not notice that a client of its tarpit is gone, and what an allocator keeps from one turn would hide what
the next one takes.

Memory. Pss of the process that holds them, and of the whole tree (hkpguard's analyst keeps bounded books about
whoever is trapped). Kernel: slabs and TCP buffers of the whole machine, so both ends of each connection, and whatever
else happened meanwhile.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.table import Table

from bench import cpu, memory, peers
from bench.attackers import Force, attacking
from bench.cpu import Meter
from bench.fault import MeasurementError
from bench.load import Client, drive
from bench.peers import PROXIES, Launch, Program, Running, Setup, serving, upstream
from bench.processes import Cores, scratch
from bench.report import OURS
from bench.sieges import SCENARIOS, Origin
from bench.verify import verify

NAMES = (OURS, peers.REFERENCE)
SETTLE_S = 2.0
ALONE_S = 5.0
WARM_UP_S = 1.0
HOLD_SPARE_S = 60.0
FULL = 0.98
MOST_RATIO = 1.05
MOST_BYTES = 256.0
SCANNERS = SCENARIOS["scanners"]


class TarpitError(MeasurementError):
    """They were not held: the figures would mean nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What to run: how many connections, turns of so many seconds, cores."""

    connections: int
    turns: int
    seconds: float
    cores: Cores


class Memory(NamedTuple):
    """Bytes: of the process with most descriptors, of its whole tree, of the machine's kernel."""

    holder: int
    tree: int
    kernel: int

    def minus(self, before: "Memory", count: int) -> "Memory":
        """Return how much more this is, for each of `count`."""
        return Memory(*((now - then) // count for now, then in zip(self, before, strict=True)))


class Turn(NamedTuple):
    """One measurement.

    Attributes:
        free_us: CPU for a request with nobody held.
        held_us: The same while they are held.
        alone_us: CPU that a second costs in which they are held and nothing else is done.
        each: Memory for each held connection.

    """

    free_us: float
    held_us: float
    alone_us: float
    each: Memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """All turns of one proxy."""

    proxy: str
    turns: Sequence[Turn]

    @property
    def ratio(self) -> float:
        """How many times the CPU for a request becomes, the median of the turns."""
        return median(turn.held_us / turn.free_us for turn in self.turns)

    @property
    def each(self) -> Memory:
        """Memory for each held connection, medians."""
        return Memory(*(int(median(sizes)) for sizes in zip(*(turn.each for turn in self.turns), strict=True)))

    def missed(self) -> list[str]:
        """Return which goals were missed."""
        goals = {"CPU": self.ratio <= MOST_RATIO, "memory": self.each.holder <= MOST_BYTES}
        return [name for name, met in goals.items() if not met]


def measure(name: str, trial: Trial) -> Figures:
    """Measure one proxy.

    Raises:
        TarpitError, AttackError: see the classes.
        StartError, LoadError, ProcessGoneError, AnswerError: a measurement is not valid.

    """
    program = Program(name, {OURS: _hkpguard, peers.REFERENCE: _haproxy}[name])
    return Figures(proxy=name, turns=[_turn(program, trial) for _ in range(trial.turns)])


def _turn(program: Program, trial: Trial) -> Turn:
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, trial.cores))
        proxy = stack.enter_context(serving(program, folder, upstream=server.port, core=trial.cores.proxy))
        verify(proxy, server, Setup.OPEN)
        drive(proxy.port, Client.KEEPALIVE, WARM_UP_S, core=trial.cores.load)
        free_us = _cpu_us(proxy, trial)
        time.sleep(SETTLE_S)
        idle_us, before = _idle_us(proxy, trial), _memory(proxy.pid)
        force = Force(trial.connections, trial.seconds + ALONE_S + HOLD_SPARE_S, trial.cores.load)
        attack = stack.enter_context(attacking(SCANNERS, Origin.MANY, proxy.port, force))
        count = _complete(attack.gather(), proxy, trial)
        time.sleep(SETTLE_S)
        each = _memory(proxy.pid).minus(before, count)
        alone_us = _idle_us(proxy, trial) - idle_us
        held_us = _cpu_us(proxy, trial)
        _complete(attack.held(), proxy, trial)
        return Turn(free_us, held_us, alone_us, each)


def _complete(count: int, proxy: Running, trial: Trial) -> int:
    if count < FULL * trial.connections:
        raise TarpitError(f"{proxy.name} holds {count} of {trial.connections} connections")
    return count


def _cpu_us(proxy: Running, trial: Trial) -> float:
    meter = Meter(proxy.pid, trial.cores.proxy)
    outcome = drive(proxy.port, Client.KEEPALIVE, trial.seconds, core=trial.cores.load)
    return meter.figures(outcome.requests)["cpu_us"]


def _idle_us(proxy: Running, trial: Trial) -> float:
    """Return the CPU of a second without requests."""
    meter = Meter(proxy.pid, trial.cores.proxy)
    time.sleep(ALONE_S)
    return meter.figures(1)["cpu_us"] / ALONE_S


def _memory(pid: int) -> Memory:
    holder = max(cpu.tree(pid), key=lambda member: len(list(Path(f"/proc/{member}/fd").iterdir())))
    return Memory(memory.pss_bytes(holder), memory.pss_bytes(pid), memory.kernel_bytes())


def _hkpguard(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES[OURS].prepare(folder, port, upstream_port, setup)
    return Launch(command=launch.command, env={**launch.env, **SCANNERS.settings})


def _haproxy(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES[peers.REFERENCE].prepare(folder, port, upstream_port, setup)
    config = folder / "haproxy.cfg"
    text = config.read_text().replace("maxconn 8192", peers.HAPROXY_CROWDED)
    text = text.replace("timeout connect", "timeout tarpit 1h\n    timeout connect")
    rule = "http-request tarpit deny_status 404 if { path_beg /.env }"
    config.write_text(text.replace("default_backend", f"{rule}\n    default_backend"))
    return launch


def table(figures: Sequence[Figures], connections: int) -> Table:
    """Return the figures as a table."""
    shown = Table(title=f"Tarpit: {connections:,} held", title_justify="left")
    shown.add_column("proxy")
    for heading in ("CPU us/request", "x", "alone us/s", "bytes each", "whole tree", "kernel, both ends", "goals"):
        shown.add_column(heading, justify="right")
    for each in figures:
        shown.add_row(
            each.proxy,
            " > ".join(f"{_median(each, name):.1f}" for name in ("free_us", "held_us")),
            f"{each.ratio:.3f}",
            f"{_median(each, 'alone_us'):,.0f}",
            *(f"{size:,}" for size in each.each),
            _verdict(each),
        )
    return shown


def _median(figures: Figures, name: str) -> float:
    return float(median(getattr(turn, name) for turn in figures.turns))


def _verdict(figures: Figures) -> str:
    if figures.proxy != OURS:
        return ""
    goal = f"x <= {MOST_RATIO}, bytes <= {MOST_BYTES:.0f}"
    missed = figures.missed()
    return f"MISSED: {', '.join(missed)} ({goal})" if missed else f"met: {goal}"


def content(figures: Sequence[Figures], connections: int) -> Mapping[str, object]:
    """Return what is saved."""
    return {
        "connections": connections,
        "proxies": [
            {
                "proxy": each.proxy,
                "turns": [{**turn._asdict(), "each": turn.each._asdict()} for turn in each.turns],
                "ratio": each.ratio,
                "goals": _verdict(each),
            }
            for each in figures
        ],
    }
