"""Going before all other programs of the machine.

Whoever else computes on it, and be it a thread of its kernel, may keep a core for a slice of some milliseconds while
a client, the guard or the keyserver waits for it: a few such slices a second are a p99. Programs in a real-time class
wait for each other alone.

Niceness means nothing in such a class. So who is niced, or stands for a program of another machine, is put behind the
others of the class: still before all who are in none.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from bench import cpu

FIRST: Final = 2
BEHIND: Final = 1


def take() -> None:
    """Let this process and all that it starts go first; where that is denied they go on as everybody does."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(FIRST))


def is_taken() -> bool:
    """Whether this process goes first."""
    return os.sched_getscheduler(0) == os.SCHED_RR


def concede(pid: int, *, niced: bool = False) -> None:
    """Put `pid` and its descendants behind, or those of them alone that are `niced`; nothing if nobody goes first."""
    if not is_taken():
        return
    for thread in _threads(pid):
        with suppress(ProcessLookupError):
            if not niced or os.getpriority(os.PRIO_PROCESS, thread) > 0:
                os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(BEHIND))


def _threads(pid: int) -> list[int]:
    tasks = (cpu.PROC / str(member) / "task" for member in cpu.tree(pid))
    return [int(task.name) for folder in tasks for task in _listed(folder)]


def _listed(folder: Path) -> list[Path]:
    with suppress(FileNotFoundError):
        return list(folder.iterdir())
    return []
