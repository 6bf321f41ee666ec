"""An event loop whose clock jumps to the next thing that is due: an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine


class VirtualLoop(asyncio.SelectorEventLoop):
    """Nothing outside may be waited for: there would be nobody to wake it."""

    def __init__(self) -> None:
        """Begin at zero."""
        super().__init__()
        self.now = 0.0
        selector: Any = self._selector  # type: ignore[attr-defined]
        really = selector.select

        def select(timeout: float | None) -> Any:
            events = really(0)
            if not events:
                assert timeout is not None, "everybody waits for ever"
                self.now += timeout
            return events

        selector.select = select

    def time(self) -> float:
        """Return the virtual time, seconds."""
        return self.now

    def clock(self) -> int:
        """Return it in nanoseconds; never 0, as no clock is."""
        return int((self.now + 1) * 1e9)


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run something to its end on a loop of its own."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
