"""Going before all other programs of the machine.

Whoever else computes on it, and be it a thread of its kernel, may keep a core for a slice of some milliseconds while
a client, the guard or the keyserver waits for it: a few such slices a second are a p99. Programs in a real-time class
wait for each other alone. What is niced in the guard is not so then, which is nothing in its favour.
"""

import os
from contextlib import suppress

LOWEST = 1


def take() -> None:
    """Let this process and all that it starts go first; where that is denied they go on as everybody does."""
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(LOWEST))


def is_taken() -> bool:
    """Whether this process goes first."""
    return os.sched_getscheduler(0) == os.SCHED_RR
