"""Who is to be looked at: the windows of a node, which are kept once for all who look at clients.

    records -> Windows -> clients that are due -> features -> Due, for each Lookout until it takes it

So what is the same for all is done once: adding up records, and making features of windows.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakSet

from models.features import compute
from models.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from models.steps import Steps

    Records = NDArray[np.void]
    Excerpt = tuple[int, bytes]  # a client's key, and the beginning of a text

MOST_WAITING: Final = 64  # of up to TURN clients each: 128 KiB


class Due(NamedTuple):
    """Clients that have made so many requests that they are to be looked at (`Windows.due`); arrays of shape (n,)."""

    rows: NDArray[np.int32]  # of the windows
    clients: NDArray[np.uint64]  # their keys
    columns: NDArray[np.void]  # windows.WINDOW: what they did lately
    features: NDArray[np.float32]  # the same as `features.compute` has it, shape (n, k)
    records: Records  # the block in which they became due


class Lookout:
    """What one of those who look has not seen yet; of who does not look for long the oldest is forgotten."""

    def __init__(self) -> None:
        """Made by `Watch.lookout`."""
        self._waiting: deque[Due] = deque(maxlen=MOST_WAITING)
        self._excerpts: Sequence[Excerpt] = ()

    def take(self) -> Iterator[Due]:
        """Yield what waits, and forget it."""
        while self._waiting:
            yield self._waiting.popleft()

    def add(self, due: Due) -> None:
        """Let some more clients wait."""
        self._waiting.append(due)

    def take_excerpts(self) -> Sequence[Excerpt]:
        """Return what was shown last, and forget it."""
        excerpts, self._excerpts = self._excerpts, ()
        return excerpts

    def show(self, excerpts: Sequence[Excerpt]) -> None:
        """Let these wait, and none that nobody took before: they are personal data."""
        self._excerpts = excerpts


class Watch:
    """The windows of one node, and who looks.

    Attributes:
        windows: For their keys; only `feed` changes them.

    """

    def __init__(self, windows: Windows | None = None) -> None:
        """Know nobody; `windows` are empty ones."""
        self.windows = windows or Windows()
        self._lookouts: WeakSet[Lookout] = WeakSet()

    def lookout(self) -> Lookout:
        """Return what shows from now on who is due, as long as somebody holds it."""
        lookout = Lookout()
        self._lookouts.add(lookout)
        return lookout

    def show(self, excerpts: Sequence[Excerpt]) -> None:
        """Show what came since the last call of texts in uploads."""
        for lookout in self._lookouts:
            lookout.show(excerpts)

    def feed(self, records: Records) -> Steps[None]:
        """Add records of RECORD_DTYPE, in the order of time, step by step; nothing is done if nobody looks."""
        if not self._lookouts:
            return
        start = 0
        while start < len(records):
            block = records[start : start + self.windows.left]  # what it adds at once
            start += len(block)
            yield from self.windows.feeding(block)
            rows = self.windows.due()
            if len(rows):
                columns, clients = self.windows.columns(rows), self.windows.keys(rows)
                yield
                due = Due(rows, clients, columns, compute(columns), records)
                for lookout in self._lookouts:
                    lookout.add(due)
                yield
