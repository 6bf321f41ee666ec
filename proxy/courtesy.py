"""Courtesy: after each step of its work the analyst lets whoever waits for its core go first.

A process that goes on working is interrupted by the kernel's clock only, every 4 ms, and a worker that wakes up on the
same core waits so long. So what takes longer than some tenths of a millisecond is written as steps (`models.steps`),
and after each of them the core is given up (`sched_yield`). Where nobody waits that costs a microsecond. Where somebody
does, the kernel lets him work for a few milliseconds before it comes back, or until he has nothing to do.

So the analyst lives on what a busy worker leaves. While more records wait than it is good to keep waiting it is
`behind`, and takes the half of the core that the kernel gives to either.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, Generic, NamedTuple

from fastpath import monotonic_ns
from models.steps import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.steps import Steps

PIECE_NS: Final = 2_000_000  # then other tasks of the same process have their turn


class Done(NamedTuple, Generic[Result]):
    """What came of steps, and how much of the time others had."""

    result: Result
    away_ns: int


class Courtesy:
    """That of one process.

    Attributes:
        behind: Whether there is no time for it.

    """

    def __init__(
        self, give_way: Callable[[], None] = os.sched_yield, *, clock: Callable[[], int] = monotonic_ns
    ) -> None:
        """`give_way`: lets another process have the core; `clock`: CLOCK_MONOTONIC, ns."""
        self.behind = False
        self._give_way = give_way
        self._clock = clock

    async def through(self, steps: Steps[Result]) -> Done[Result]:
        """Do all steps; whoever is interrupted may do those that are left."""
        away_ns, until_ns = 0, self._clock() + PIECE_NS
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return Done(end.value, away_ns)
            done_ns = self._clock()
            if not self.behind:
                self._give_way()
            if done_ns >= until_ns:
                await asyncio.sleep(0)
            now_ns = self._clock()
            away_ns += now_ns - done_ns
            if done_ns >= until_ns:
                until_ns = now_ns + PIECE_NS
