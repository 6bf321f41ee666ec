"""Rests: the analyst works in short pieces, so that a worker on the same core never waits long for it.

A process that works without rest is interrupted by the kernel's clock only, every 4 ms, and a worker that wakes up on
the same core waits so long. So what takes longer than some tenths of a millisecond is written as steps
(`models.steps`), and whoever goes through them rests before each piece. One rest is over before the next one begins,
whoever takes it: the pieces of two tasks do not add up.

While more records wait than it is good to keep waiting the analyst is `behind`. Then it lets other tasks have their
turn between longer pieces, and does not rest.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Generic, NamedTuple

from fastpath import monotonic_ns
from models.steps import Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.steps import Steps

PIECE_NS: Final = 200_000
PIECE_BEHIND_NS: Final = 5_000_000
REST_SECONDS: Final = 0.002


class Done(NamedTuple, Generic[Result]):
    """What came of steps, and how much of the time was rest."""

    result: Result
    rested_ns: int


class Rests:
    """The rests of one process.

    Attributes:
        behind: Whether there is no time to rest.

    """

    def __init__(self, seconds: float = REST_SECONDS, *, clock: Callable[[], int] = monotonic_ns) -> None:
        """`seconds`: of each rest; 0: only let other tasks have their turn."""
        self.behind = False
        self._seconds = seconds
        self._clock = clock
        self._resting = asyncio.Lock()

    async def through(self, steps: Steps[Result]) -> Done[Result]:
        """Do steps in pieces, with a rest before each; whoever is interrupted may do the steps that are left."""
        rested_ns = 0
        while True:
            began_ns = self._clock()
            await self._rest()
            woke_ns = self._clock()
            rested_ns += woke_ns - began_ns
            until_ns = woke_ns + (PIECE_BEHIND_NS if self.behind else PIECE_NS)
            try:
                next(steps)
                while self._clock() < until_ns:
                    next(steps)
            except StopIteration as end:
                return Done(end.value, rested_ns)

    async def _rest(self) -> None:
        if self.behind:
            await asyncio.sleep(0)
            return
        async with self._resting:
            await asyncio.sleep(self._seconds)
