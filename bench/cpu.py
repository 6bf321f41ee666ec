"""CPU time of a process tree, in nanoseconds.

Facts: `/proc/PID/stat` counts in ticks of 10 ms, and on a kernel with tick accounting it samples: it misses
what happens between two ticks. `/proc/PID/task/TID/schedstat` is the scheduler's own sum of run time in ns,
without sampling. It is brought up to date when a thread leaves the core (or at a tick), so it is read when
the load is over and the proxy sleeps.

Warning: interrupt work (the receiving half of loopback TCP) is charged to whoever sends. So each proxy pays
for the delivery to client and upstream, and the upstream for the delivery to the proxy: the same for all.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from time import monotonic_ns
from typing import NamedTuple

from bench.fault import MeasurementError

PROC = Path("/proc")
TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class ProcessGoneError(MeasurementError):
    """A process of the tree ended or was replaced while it was measured: the figure would be too small."""


class Spent(NamedTuple):
    """CPU time between two snapshots of one tree, ns."""

    tree_ns: int
    busiest_ns: int  # the process that used most: the worker, as each proxy has one


def core_busy_ns(core: int, proc: Path = PROC) -> int:
    """Return how long `core` has not been idle since start, ns, in steps of a tick; stolen time is busy."""
    line = next(text for text in (proc / "stat").read_text().splitlines() if text.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = (int(word) for word in line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) * TICK_NS


def stolen_ns(proc: Path = PROC) -> int:
    """Return how long the host of this machine has kept its cores from it since start, ns, in steps of a tick."""
    total = next(text for text in (proc / "stat").read_text().splitlines() if text.startswith("cpu "))
    return int(total.split()[8]) * TICK_NS


def tree(pid: int, proc: Path = PROC) -> list[int]:
    """Return `pid` and all its living descendants, parents first."""
    found = [pid]
    for parent in found:  # grows while it is walked
        for children in (proc / str(parent)).glob("task/*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def run_ns(pid: int, proc: Path = PROC) -> int:
    """Return the time that all living threads of `pid` have run, ns."""
    return sum(int(path.read_text().split()[0]) for path in (proc / str(pid)).glob("task/*/schedstat"))


def snapshot(pid: int, proc: Path = PROC) -> dict[int, int]:
    """Return run time in ns for each process of the tree of `pid`."""
    return {member: run_ns(member, proc) for member in tree(pid, proc)}


def busiest(before: Mapping[int, int], after: Mapping[int, int]) -> int:
    """Return who of a tree has run longest between two snapshots: under load the worker, as each proxy has one.

    Not since its start: to load a program takes longer than to answer some thousand requests.
    """
    return max(after, key=lambda member: after[member] - before.get(member, 0))


def spent(before: Mapping[int, int], after: Mapping[int, int]) -> Spent:
    """Return what a tree used between two snapshots.

    Raises:
        ProcessGoneError: the tree has other members than before.

    """
    if before.keys() != after.keys():
        raise ProcessGoneError(f"processes {sorted(before)} became {sorted(after)}")
    used = [after[pid] - before[pid] for pid in before]
    return Spent(tree_ns=sum(used), busiest_ns=max(used))


class Meter:
    """CPU of one proxy and of its core since the meter was made."""

    def __init__(self, pid: int, core: int | None) -> None:
        """Measure the tree of `pid`, which runs on `core` (None: on any)."""
        self._pid = pid
        self._core = core
        self._start_ns = monotonic_ns()
        self._before = snapshot(pid)
        self._busy_ns = self._core_ns()
        self._stolen_ns = stolen_ns()

    def _core_ns(self) -> int:
        return 0 if self._core is None else core_busy_ns(self._core)

    def figures(self, requests: int) -> dict[str, float]:
        """Return `cpu_us`, `worker_cpu_us`, `core_share`, `foreign_share` (see `bench.rows.Sample`) and `stolen_share`.

        The last is the time that the host took from all cores together, of the time of one.

        Raises:
            ProcessGoneError: the tree has other members than before.

        """
        used = spent(self._before, snapshot(self._pid))
        elapsed_ns = monotonic_ns() - self._start_ns
        foreign_ns = self._core_ns() - self._busy_ns - used.tree_ns if self._core is not None else 0
        return {
            "cpu_us": used.tree_ns / 1e3 / requests,
            "worker_cpu_us": used.busiest_ns / 1e3 / requests,
            "core_share": used.tree_ns / elapsed_ns,
            "foreign_share": max(0.0, foreign_ns / elapsed_ns),
            "stolen_share": (stolen_ns() - self._stolen_ns) / elapsed_ns,
        }
