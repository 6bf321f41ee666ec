"""When clients would have asked, had they been made to wait.

A log has the times of what happened. gpg asks for one key after the other: where it would have had to wait, all that
it asked for afterwards would have come later, and a refresh that is merely slowed down must not look as if it ran into
a wall. So a client that is delayed lags behind its log from then on, by as long as it has waited; a pause in the log
makes that up. What it asked for before the delayed answer came, over another connection, does not lag.

A delay that stands in the log of a guard already is part of its times. So the same settings again give the same
times; a client that would have waited less is never thought to have asked sooner.

Lags and what waits for its time are bounded: with MOST_WAITING lines the one that is due first is taken at once.
"""

from collections import deque
from heapq import heappop, heappush
from typing import Final

from proxy.replay.line import Line

MOST_WAITING: Final = 500_000
MOST_LAGS: Final = 65_536
PAUSE_NS: Final = 5_000_000_000  # so long nobody waits between two keys of a refresh
NEVER_NS: Final = 1 << 63


class Lag:
    """How far a client is behind its log."""

    __slots__ = ("_before_ns", "_seen_ns", "_shift_ns", "_until_ns", "lines")

    def __init__(self) -> None:
        """Start beside it."""
        self.lines: deque[Line] = deque()  # in the order of the log
        self._shift_ns = 0
        self._before_ns = 0  # without the last delay
        self._until_ns = 0  # when the answer that was delayed last came, by the log
        self._seen_ns = 0  # when it last had an answer, by the log

    def due_ns(self, line: Line) -> int:
        """Return when the client would have asked for this."""
        idle_ns = line.start_ns - self._seen_ns
        if idle_ns > PAUSE_NS:
            self._shift_ns = self._before_ns = max(0, self._shift_ns - idle_ns)
        self._seen_ns = max(self._seen_ns, line.start_ns + line.took_us * 1000)
        return line.start_ns + (self._before_ns if line.start_ns < self._until_ns else self._shift_ns)

    def add(self, line: Line, delay_ns: int, shift_ns: int) -> None:
        """Fall behind by `delay_ns` more than the log tells, with a request that came so much later than it tells."""
        self._before_ns = shift_ns
        self._shift_ns = max(self._shift_ns, shift_ns + delay_ns)
        self._until_ns = line.start_ns + line.took_us * 1000
        self._seen_ns = max(self._seen_ns, self._until_ns)


class Pace:
    """All clients that lag.

    Attributes:
        due_ns: When the next line that waits is due; NEVER_NS if none waits, 0 if there are too many.
        lags: By address; for a look before `holds`, as most clients have none.

    """

    def __init__(self) -> None:
        """Nobody lags."""
        self.lags: dict[bytes, Lag] = {}
        self._due: list[tuple[int, int, Lag]] = []  # a heap: when the first line of a lag is due
        self._turn = 0
        self._waiting = 0
        self.due_ns = NEVER_NS

    def holds(self, line: Line) -> bool:
        """Take a line whose client would have come with it later; tell whether it is taken."""
        lag = self.lags.get(line.address)
        if lag is None:
            return False
        if not lag.lines:
            due_ns = lag.due_ns(line)
            if due_ns <= line.start_ns:
                return False
            self._push(lag, due_ns)
        lag.lines.append(line)
        self._waiting += 1
        self._set_due()
        return True

    def take(self) -> tuple[int, Line]:
        """Return the line that is due first, and when that is; `went_on` has to follow."""
        due_ns, _, lag = heappop(self._due)
        self._waiting -= 1
        self._set_due()
        return due_ns, lag.lines.popleft()

    def taken(self, line: Line, at_ns: int) -> None:
        """Have the next line of the client of `line`, which was taken and is judged, wait for its time."""
        lag = self.lags[line.address]
        if lag.lines:
            self._push(lag, max(at_ns, lag.due_ns(lag.lines[0])))

    def delayed(self, line: Line, wait_ns: int, at_ns: int) -> None:
        """Let the client of a line fall behind, because at `at_ns` it was made to wait."""
        delay_ns = wait_ns - line.wait_us * 1000
        if delay_ns <= 0:
            return
        lag = self.lags.get(line.address)
        if lag is None:
            if len(self.lags) >= MOST_LAGS:
                self._forget()
            lag = self.lags[line.address] = Lag()
        lag.add(line, delay_ns, at_ns - line.start_ns)

    def _push(self, lag: Lag, due_ns: int) -> None:
        self._turn += 1
        heappush(self._due, (due_ns, self._turn, lag))
        self._set_due()

    def _set_due(self) -> None:
        if self._waiting > MOST_WAITING:
            self.due_ns = 0
        else:
            self.due_ns = self._due[0][0] if self._due else NEVER_NS

    def _forget(self) -> None:
        """Make room: forget the half of those with nothing to come who fell behind first."""
        idle = [address for address, lag in self.lags.items() if not lag.lines]
        for address in idle[: MOST_LAGS // 2]:
            del self.lags[address]
