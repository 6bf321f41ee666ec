"""What 10,000 connections in the tarpit cost: CPU on each proxied request, memory of the program, memory of the kernel.

CPU. One worker is loaded as in row (a), in turn without and with held connections, and both figures of a turn are
compared: what a disturbance of the machine takes, it takes from both. The held ones also cost something when nothing
else is to do, which is measured alone.

Memory is that of the first time they are held, so nothing was left over from a time before: Pss of the process that
holds them, and of the whole tree (hkpguard's analyst keeps bounded books about whoever is trapped). Kernel: slabs
and TCP buffers of the whole machine, so both ends of each connection, and whatever else happened meanwhile.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from rich.table import Table

from bench import cpu, memory, peers
from bench.attackers import Force, attacking
from bench.cpu import Meter
from bench.load import Client, drive
from bench.peers import PROXIES, Launch, Program, Running, Setup, serving, upstream
from bench.processes import Cores, scratch
from bench.report import OURS
from bench.scenarios import SCENARIOS, Origin
from bench.verify import verify

NAMES = (OURS, peers.REFERENCE)
SETTLE_S = 2.0
RELEASE_S = 8.0  # hkpguard looks at each held connection every 5 s (HKPGUARD_TARPIT__INTERVAL)
ALONE_S = 5.0
WARM_UP_S = 1.0
HOLD_SPARE_S = 60.0
FULL = 0.98
MOST_RATIO = 1.05
MOST_BYTES = 256.0
SCANNERS = SCENARIOS["scanners"]
KIB = 1024
PAGE_BYTES = 4096


class TarpitError(RuntimeError):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one proxy.

    Attributes:
        proxy: Its name.
        free_us: CPU for a request with nobody held, in each turn.
        held_us: The same while they are held.
        alone_us: CPU that a second costs in which it holds them and does nothing else.
        each: Memory for each held connection.

    """

    proxy: str
    free_us: Sequence[float]
    held_us: Sequence[float]
    alone_us: float
    each: Memory

    @property
    def ratio(self) -> float:
        """Return how many times the CPU for a request becomes, the median of the turns."""
        return median(held / free for held, free in zip(self.held_us, self.free_us, strict=True))

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
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        server = stack.enter_context(upstream(folder, trial.cores))
        program = Program(name, {OURS: _hkpguard, peers.REFERENCE: _haproxy}[name])
        proxy = stack.enter_context(serving(program, folder, upstream=server.port, core=trial.cores.proxy))
        verify(proxy, server, Setup.OPEN)
        drive(proxy.port, Client.KEEPALIVE, WARM_UP_S, core=trial.cores.load)
        turns = [_turn(proxy, trial, first=number == 0) for number in range(trial.turns)]
    return Figures(
        proxy=name,
        free_us=[turn.free_us for turn in turns],
        held_us=[turn.held_us for turn in turns],
        alone_us=turns[0].alone_us,
        each=turns[0].each,
    )


class _Turn(NamedTuple):
    free_us: float
    held_us: float
    alone_us: float = 0.0
    each: Memory = Memory(0, 0, 0)


def _turn(proxy: Running, trial: Trial, *, first: bool) -> _Turn:
    """Measure without, then with the held; they are gone at the end. Memory and idle cost: the first time."""
    free_us = _cpu_us(proxy, trial)
    time.sleep(SETTLE_S if first else 0)
    before, idle_us = _memory(proxy.pid), _idle_us(proxy, trial) if first else 0.0
    force = Force(trial.connections, trial.seconds + ALONE_S + HOLD_SPARE_S, trial.cores.load)
    with attacking(SCANNERS, Origin.MANY, proxy.port, force) as attack:
        if (count := attack.gather()) < FULL * trial.connections:
            raise TarpitError(f"{proxy.name} holds {count} of {trial.connections} connections")
        alone_us, each = 0.0, Memory(0, 0, 0)
        if first:
            time.sleep(SETTLE_S)
            each = _memory(proxy.pid).minus(before, count)
            alone_us = _idle_us(proxy, trial) - idle_us
        held_us = _cpu_us(proxy, trial)
        if (count := attack.held()) < FULL * trial.connections:
            raise TarpitError(f"{proxy.name} held {count} of {trial.connections} connections in the end")
    time.sleep(RELEASE_S)
    return _Turn(free_us, held_us, alone_us, each)


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
    return Memory(memory.pss_bytes(holder), memory.pss_bytes(pid), kernel_bytes())


def kernel_bytes(proc: Path = Path("/proc")) -> int:
    """Return what the kernel has in slabs and in buffers of TCP."""
    slab = next(line for line in (proc / "meminfo").read_text().splitlines() if line.startswith("Slab:"))
    tcp = next(line for line in (proc / "net/sockstat").read_text().splitlines() if line.startswith("TCP:"))
    return int(slab.split()[1]) * KIB + int(tcp.split()[-1]) * PAGE_BYTES


def _hkpguard(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES[OURS].prepare(folder, port, upstream_port, setup)
    return Launch(command=launch.command, env={**launch.env, **SCANNERS.settings})


def _haproxy(folder: Path, port: int, upstream_port: int, setup: Setup) -> Launch:
    launch = PROXIES[peers.REFERENCE].prepare(folder, port, upstream_port, setup)
    config = folder / "haproxy.cfg"
    text = config.read_text().replace("maxconn 8192", "maxconn 14000\n    no strict-limits")
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
            f"{median(each.free_us):.1f} > {median(each.held_us):.1f}",
            f"{each.ratio:.3f}",
            f"{each.alone_us:,.0f}",
            *(f"{size:,}" for size in each.each),
            _verdict(each),
        )
    return shown


def _verdict(figures: Figures) -> str:
    if figures.proxy != OURS:
        return ""
    goal = f"x <= {MOST_RATIO}, bytes <= {MOST_BYTES:.0f}"
    missed = figures.missed()
    return f"MISSED: {', '.join(missed)} ({goal})" if missed else f"met: {goal}"


def content(figures: Sequence[Figures], connections: int) -> Mapping[str, object]:
    """Return what is saved."""
    rows = [
        {**asdict(each), "each": each.each._asdict(), "ratio": each.ratio, "goals": _verdict(each)} for each in figures
    ]
    return {"connections": connections, "proxies": rows}
