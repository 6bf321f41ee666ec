"""Going before all other programs of the machine.

Whoever else computes on it, and be it a thread of its kernel, may keep a core for a slice of some milliseconds while
a client, the guard or the keyserver waits for it: a few such slices a second are a p99. Programs in a real-time class
wait for each other alone.

Time slices mean nothing in such a class. Workers ask for short ones, and so go before the other processes of their
guard when they wake up (`fastpath.slices`). So these stay among the machine's other programs, and so does who stands
for a program of another machine. Not at a lower place of the class: who waits in the kernel for what such a one holds,
as the end of a process does, would keep the core from it for ever.
"""

import os
from contextlib import suppress
from typing import Final

from bench import cpu

LOWEST: Final = 1


def take() -> None:
    """Let this process and all that it starts go first; where that is denied they go on as everybody does."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(LOWEST))


def is_taken() -> bool:
    """Whether this process goes first."""
    return os.sched_getscheduler(0) == os.SCHED_RR


def concede(pid: int, *, but: int = 0) -> None:
    """Let `pid` and its descendants, all `but` one, go on as everybody does."""
    for member in cpu.tree(pid):
        for thread in _threads(member) if member != but else ():
            with suppress(ProcessLookupError):
                os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def _threads(pid: int) -> list[int]:
    with suppress(FileNotFoundError):
        return [int(task.name) for task in (cpu.PROC / str(pid) / "task").iterdir()]
    return []
