"""Places for requests of costly classes: so many upstream at once for one client, so many for all.

The places are leases in shared memory, so the caps hold across the workers of a node. Who finds none waits here for as
long as the class allows. A place that this worker gives back is passed on at once; one that another worker gives back
is noticed within `POLL_SECONDS`, while somebody waits.

The queue is in rounds: in each, every client that waits has one turn, in the order in which they came. So a client that
comes to a queue which others have filled is behind one request of each of them, not behind all, and if there is no
room left the last of the furthest round makes some.
"""

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from typing import NamedTuple, Protocol

from fastpath import TOTAL_BUSY, Leases, monotonic_ns
from proxy.policy.policy import Cap

POLL_SECONDS = 0.02
MOST_WAITING = 256  # of one class in one worker
WAITING_TIMES = 8  # a client may have so many times its cap in the queue
NO_LEASE = -1


class Entrant(Protocol):
    """A request that wants a place."""

    lease: int

    def entered(self) -> None:
        """Go on: a place was found; `lease` holds it."""

    def turned_away(self) -> None:
        """Give up: none became free in time."""


class Place:
    """What a request wants of one turnstile; it may want several, one after the other."""

    __slots__ = ("_denied", "_found", "_turnstile", "cap", "key", "lease")

    def __init__(
        self, turnstile: "Turnstile", key: int, cap: Cap, found: Callable[[], None], denied: Callable[[Cap], None]
    ) -> None:
        """One of `found` and `denied` is called after `enter`, unless `leave` comes first."""
        self._turnstile = turnstile
        self._found = found
        self._denied = denied
        self.key = key
        self.cap = cap
        self.lease = NO_LEASE

    def enter(self) -> None:
        """Ask for it."""
        self._turnstile.enter(self, self.key, self.cap)

    def leave(self) -> None:
        """Give it back, or the place in the queue."""
        self._turnstile.leave(self)

    def entered(self) -> None:
        """Go on."""
        self._found()

    def turned_away(self) -> None:
        """Give up."""
        self._denied(self.cap)


class _Waiting(NamedTuple):
    """A request in the queue."""

    entrant: Entrant
    key: int
    cap: Cap
    deadline_ns: int
    round: int


class Turnstile:
    """The places of one class in one worker."""

    def __init__(
        self, loop: AbstractEventLoop, leases: Leases, bucket: int, clock: Callable[[], int] = monotonic_ns
    ) -> None:
        """`bucket`: index of the class."""
        self._loop = loop
        self._leases = leases
        self._bucket = bucket
        self._clock = clock
        self._queue: dict[int, _Waiting] = {}  # by the id of the entrant, in the order in which they came
        self._round = 0  # of who was let in last
        self._timer: TimerHandle | None = None
        self._advancing = False
        self._moved = False  # something changed since the last look

    def enter(self, entrant: Entrant, key: int, cap: Cap) -> None:
        """Give `entrant` a place now, later or never: one of its two methods is called, unless it leaves first."""
        if not self._queue and self._take(entrant, key, cap) >= 0:
            entrant.entered()
        elif cap.queue_ns == 0 or not cap.enforced:
            entrant.turned_away()
        else:
            self._wait(entrant, key, cap)

    def _wait(self, entrant: Entrant, key: int, cap: Cap) -> None:
        """Have `entrant` wait, or turn away whoever is one too many."""
        mine = [each.round for each in self._queue.values() if each.key == key]
        turn = max(self._round, mine[-1] + 1) if mine else self._round
        if (cap.client and len(mine) >= WAITING_TIMES * cap.client) or not self._make_room(turn):
            entrant.turned_away()
            return
        self._queue[id(entrant)] = _Waiting(entrant, key, cap, self._clock() + cap.queue_ns, turn)
        self._advance()

    def _make_room(self, turn: int) -> bool:
        """Return whether there is room for a round; one that is further away gives way to it."""
        if len(self._queue) < MOST_WAITING:
            return True
        name, furthest = max(reversed(self._queue.items()), key=lambda item: item[1].round)
        if furthest.round <= turn:
            return False
        del self._queue[name]
        furthest.entrant.turned_away()
        return len(self._queue) < MOST_WAITING

    def leave(self, entrant: Entrant) -> None:
        """Give back the place of `entrant`, or its place in the queue."""
        if entrant.lease == NO_LEASE:
            self._queue.pop(id(entrant), None)
            return
        self._leases.release(entrant.lease)
        entrant.lease = NO_LEASE
        self._advance()

    def _take(self, entrant: Entrant, key: int, cap: Cap) -> int:
        """Return the lease that `entrant` got; CLIENT_BUSY or TOTAL_BUSY, both negative, if it got none."""
        lease = self._leases.acquire(self._bucket, key, cap.client, cap.total)
        if lease >= 0:
            entrant.lease = lease
        return lease

    def _advance(self) -> None:
        """Let in who can be let in, round by round; one client at its own cap does not hold up the others.

        Who is let in may be over at once and come back here through `leave`: that turn is left to the one under way.
        """
        self._moved = True
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._moved:
                self._moved = False
                self._look_once()
        finally:
            self._advancing = False
        self._arm()

    def _look_once(self) -> None:
        """Look once at each that waits; a total cap that is reached is not tried again in this look."""
        now_ns = self._clock()
        reached: set[int] = set()  # networks may have total caps of their own
        for name, waiting in sorted(self._queue.items(), key=lambda item: item[1].round):
            if name not in self._queue:  # left meanwhile
                continue
            lease = TOTAL_BUSY if waiting.cap.total in reached else self._take(*waiting[:3])
            if lease >= 0:
                del self._queue[name]
                self._round = max(self._round, waiting.round)
                waiting.entrant.entered()
            elif waiting.deadline_ns <= now_ns:
                del self._queue[name]
                waiting.entrant.turned_away()
            if lease == TOTAL_BUSY:
                reached.add(waiting.cap.total)

    def _arm(self) -> None:
        if self._queue and self._timer is None:
            self._timer = self._loop.call_later(POLL_SECONDS, self._poll)

    def _poll(self) -> None:
        self._timer = None
        self._advance()
