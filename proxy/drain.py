"""Takes records out of the rings of the workers, a turn at a time, and has them looked at. Part of the analyst.

Each turn shows the supervisor that the analyst works. While there are more records than one turn takes nobody is let go
first (`proxy.courtesy`): what is not taken in time is lost.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fastpath import RECORD_BYTES, Control, Ring, monotonic_ns
from models.steps import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath import Region
    from models.steps import Steps
    from proxy.courtesy import Courtesy

PAUSE_SECONDS: Final = 0.1
RECORDS_PER_TURN: Final = 4096  # of each ring: a half of it


class Drain:
    """The reading end of all rings of a node."""

    def __init__(self, region: Region, courtesy: Courtesy, look: Callable[[bytes], Steps[None]]) -> None:
        """`look`: what is done in a turn, with records or without, step by step."""
        self._control = region.control
        self._rings = [Ring(region.ring(worker)) for worker in range(region.counts.workers)]
        self._courtesy = courtesy
        self._look = look
        self._turn: Steps[None] | None = None  # what is being done

    async def run(self) -> None:
        """Take turn after turn, until cancelled."""
        while True:
            self._control[Control.ANALYST_HEARTBEAT_NS] = monotonic_ns()
            blocks = self._take()
            self._courtesy.behind = any(len(each) == RECORDS_PER_TURN * RECORD_BYTES for each in blocks)
            self._turn = self._look(b"".join(blocks))
            await self._courtesy.through(self._turn)
            await asyncio.sleep(0 if self._courtesy.behind else PAUSE_SECONDS)

    def finish(self) -> None:
        """End the turn that was interrupted, and do all that is left in the rings."""
        if self._turn is not None:
            whole(self._turn)
        while any(blocks := self._take()):
            whole(self._look(b"".join(blocks)))

    def _take(self) -> list[bytes]:
        """Take a turn of records from each ring."""
        return [ring.take(RECORDS_PER_TURN) for ring in self._rings]
