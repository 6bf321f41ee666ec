"""Whether the store may be asked: a circuit breaker, without a clock or a socket of its own.

    closed  ... failures ...  open  -> probe after a wait (back-off, jitter) -> closed
                               ^                                   |
                               '------------- it failed -----------'

It opens within a second of the first failure that is no single slow answer:

- What the server says of itself (read-only, loading, out of memory, a wrong password) opens it at once.
- A connection that was lost may have been an old one: the second in a row opens it.
- One answer that did not come in time may have been a hiccup: the third in a row opens it, or the second after half a
  second. What was asked before the last failure was seen belongs to the same hiccup, however many calls that are.

After the first failure the store is probed at once, whether or not anybody else asks, so that this does not take longer
where little is asked. An answer forgives all. While the circuit is open nobody waits, and only probes ask. Waits
between these double, also if the store was back for a few seconds only, so that one that comes and goes does not fill
the log.
"""

from __future__ import annotations

from enum import Enum
from random import SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.settings.kinds import MILLISECOND, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable

HICCUP_NS: Final = SECOND // 2
SLOW_ANSWERS: Final = 3
LOST_CONNECTIONS: Final = 2
FIRST_WAIT_NS: Final = 250 * MILLISECOND
LONGEST_WAIT_NS: Final = 5 * SECOND
CALM_NS: Final = 10 * SECOND  # who was up for so long begins with the first wait
_CHANCE: Final = SystemRandom().random


class Cause(Enum):
    """Why the store did not do what it was asked, in words for operators."""

    UNASKED = "not connected yet"
    SLOW = "no answer in time"
    LOST = "no connection"
    LOADING = "it is loading its data"
    READ_ONLY = "it is a replica and takes no writes"
    MASTER_DOWN = "the replica has lost its master"
    CLUSTER_DOWN = "the cluster does not serve all slots"
    NO_MASTER = "no Sentinel knows a master that is up"
    MEMORY = "it is out of memory"
    NO_WRITES = "it refuses writes"
    BUSY = "a script blocks it"
    PASSWORD = "it refuses user or password"  # noqa: S105 - not a password
    PERMISSION = "its user lacks a permission"
    CERTIFICATE = "its certificate or ours is not accepted"
    SETTINGS = "it is not what HKPGUARD_REDIS_URL says"

    @property
    def to_mend(self) -> bool:
        """Whether it stays until somebody changes the configuration, here or there."""
        return self in {Cause.PASSWORD, Cause.PERMISSION, Cause.CERTIFICATE, Cause.SETTINGS}


class Trouble(Exception):
    """The store, or the way to it, does not work.

    Attributes:
        cause: Of which kind it is.
        maybe_done: Whether something may have been done.

    """

    def __init__(self, cause: Cause, text: str = "", *, maybe_done: bool = True) -> None:
        """Say what is known of it; no secrets."""
        super().__init__(f"{cause.value}: {text}" if text else cause.value)
        self.cause = cause
        self.maybe_done = maybe_done


class Change(NamedTuple):
    """The circuit has opened (`up` is false) or closed.

    Args:
        up: Which.
        cause: Why it is open, or had been.
        lasted_ns: How long it had been the other way.

    """

    up: bool
    cause: Cause
    lasted_ns: int


class Circuit:
    """The circuit of one store. Open at first: a probe has to succeed before anybody else may ask.

    Attributes:
        up: Whether it is closed.
        cause: Why it is open, or was.
        since_ns: Since when it is so.
        due_ns: When the next probe should be, if it is open or something failed.

    """

    def __init__(self, now_ns: int, *, chance: Callable[[], float] = _CHANCE) -> None:
        """Begin open.

        Args:
            now_ns: Monotonic.
            chance: A number from 0 to 1, another one each time.

        """
        self.up = False
        self.cause = Cause.UNASKED
        self.since_ns = now_ns
        self.due_ns = now_ns
        self._chance = chance
        self._wait_ns = FIRST_WAIT_NS
        self._failures = 0
        self._first_failure_ns = 0
        self._last_failure_ns = 0

    @property
    def doubtful(self) -> bool:
        """Whether something failed and it is closed yet."""
        return self.up and self._failures > 0

    def succeeded(self, now_ns: int) -> Change | None:
        """Take note of an answer; return the change if it closes the circuit. Of an open one only probes tell."""
        self._failures = 0
        return None if self.up else self._turn(now_ns, up=True)

    def failed(self, cause: Cause, began_ns: int, now_ns: int) -> Change | None:
        """Take note of a failure.

        Args:
            cause: Why.
            began_ns: When what failed was begun.
            now_ns: When it was seen.

        Returns:
            The change, if it opens the circuit; of an open one, on which only probes fail, if somebody should know: it
            was not asked before, or the cause is another now, and to be mended.

        """
        if not self.up:
            before, self.cause = self.cause, cause
            self._wait(now_ns)
            news = before is Cause.UNASKED or (cause is not before and cause.to_mend)
            return Change(False, cause, now_ns - self.since_ns) if news else None
        if self._failures and began_ns < self._last_failure_ns:
            return None
        if not self._failures:
            self._first_failure_ns = now_ns
        self._failures += 1
        self._last_failure_ns = self.due_ns = now_ns
        if not self._suffices(cause, now_ns):
            return None
        self.cause = cause
        if now_ns - self.since_ns > CALM_NS:
            self._wait_ns = FIRST_WAIT_NS
        change = self._turn(now_ns, up=False)
        self._wait(now_ns)
        return change

    def _suffices(self, cause: Cause, now_ns: int) -> bool:
        if cause is Cause.SLOW:
            late = self._failures > 1 and now_ns - self._first_failure_ns >= HICCUP_NS
            return late or self._failures >= SLOW_ANSWERS
        return cause is not Cause.LOST or self._failures >= LOST_CONNECTIONS

    def _turn(self, now_ns: int, *, up: bool) -> Change:
        change = Change(up, self.cause, now_ns - self.since_ns)
        self.up, self.since_ns, self._failures = up, now_ns, 0
        return change

    def _wait(self, now_ns: int) -> None:
        """Set the time of the next probe; half of the wait is chance, so that nodes do not come all at once."""
        self.due_ns = now_ns + int(self._wait_ns * (1 + self._chance()) / 2)
        self._wait_ns = min(2 * self._wait_ns, LONGEST_WAIT_NS)
