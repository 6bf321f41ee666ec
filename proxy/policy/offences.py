"""What counts as an offence, what it is worth, and when the same thing is a new one.

An offence is what no honest client does, or only one that is broken. How the line was drawn:

- A refresh of 300 keys with 100 unknown to the server earns nothing: 404 is the usual answer for keys that were never
  uploaded (HKP.md 5.4). Neither do 405, 501, 403 and the 413 of an upload: users try things, servers differ.
- gpg asks for the keys of a chunk one after the other, whatever it was told before, and ignores Retry-After; a CI job
  loops over ten keys. So a violation of a limit counts once for each client, class and EPISODE_NS: a refused chunk of
  21 keys is one offence, not 21. Only who goes on over his limit for minutes gets anywhere.
- gpg that was told hkps:// and meets a plain port sends 21 handshakes, which are 21 malformed heads. A browser opens
  connections in advance and leaves them silent, six at a time. So of what is malformed, too large or too slow the
  first counts, and within the episode only every 32nd after it: a flood is over the bound within 300 requests.
- A certificate asked for without a name, or under a mistyped one, is a 400 too. It is a mistake in a script, not in
  the protocol, and counts for nothing. A body that comes too slowly is a bad line.
- What the guard or the keyserver could not do (upstream, crowded), and what a client gave up (gone), is not the
  client's fault.
- Signed administration is rare, and who does it must not be locked out while things are mended.
- Who is banned already earns nothing: a retry does not make a ban longer.
"""

from collections import OrderedDict
from enum import IntEnum
from typing import Final, NamedTuple

from fastpath import Record
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason

EPISODE_NS: Final = 10_000_000_000
MOST_EPISODES: Final = 65_536
SHADOWS: Final = len(Action)  # an action that shadow mode kept from happening is recorded as its number and this


class OffenceKind(IntEnum):
    """What somebody did."""

    TRAP = 0  # asked for what no client of a keyserver asks for
    CANARY = 1  # asked for a certificate that only harvesters know
    MALFORMED = 2  # sent what is no HTTP, or has two meanings
    OVERSIZED = 3  # sent a head or a target over the size
    TIMEOUT = 4  # left the head of a request unfinished
    VIOLATION = 5  # went over a limit
    VERDICT = 6  # all that it did, taken together (fusion.py); no single record is it


class Worth(NamedTuple):
    """Points of an offence; `again`: within an episode each so-many-th after the first counts, 0: none."""

    points: int
    again: int


WORTH: Final = {
    OffenceKind.TRAP: Worth(25, again=1),
    OffenceKind.CANARY: Worth(25, again=1),
    OffenceKind.MALFORMED: Worth(10, again=32),
    OffenceKind.OVERSIZED: Worth(10, again=32),
    OffenceKind.TIMEOUT: Worth(5, again=32),
    OffenceKind.VIOLATION: Worth(5, again=0),
    OffenceKind.VERDICT: Worth(100, again=1),
}
# Reasons that are not here are no offence, whatever the status.
_KINDS: Final = {
    Reason.TRAP: OffenceKind.TRAP,
    Reason.CANARY: OffenceKind.CANARY,
    Reason.MALFORMED: OffenceKind.MALFORMED,
    Reason.TOO_LARGE: OffenceKind.OVERSIZED,
    Reason.TIMEOUT: OffenceKind.TIMEOUT,
    Reason.LIMIT: OffenceKind.VIOLATION,
    Reason.BUSY: OffenceKind.VIOLATION,
}
_HEAD_STATUSES: Final = frozenset({414, 431})
# Classes in which 400 says that the argument makes no sense.
_ARGUMENTS: Final = frozenset(
    {OperationClass.CERT, OperationClass.IDENTITY, OperationClass.WORDS, OperationClass.PREFIXLOG}
)


def offence_of(record: Record, *, shadow: bool = False) -> OffenceKind | None:
    """Return what a record is evidence of, None for nothing.

    Args:
        record: One request.
        shadow: Count also what was not done for want of more than shadow mode: bans are in shadow mode themselves.

    """
    kind = _KINDS.get(record.reason)  # type: ignore[call-overload]  # an integer is as good as its member
    if kind is None or record.operation == OperationClass.ADMIN:
        return None
    if record.action >= SHADOWS and not shadow:
        return None
    return kind if _meant(kind, record) else None


def _meant(kind: OffenceKind, record: Record) -> bool:
    """Tell offences from honest requests with the same reason."""
    if kind is OffenceKind.MALFORMED:
        return record.operation not in _ARGUMENTS
    if kind is OffenceKind.OVERSIZED:
        return record.status in _HEAD_STATUSES
    if kind is OffenceKind.TIMEOUT:
        return record.subject_hash == 0  # no head was read; after a head the hash is that of its subject
    if kind is OffenceKind.VIOLATION:
        return record.action % SHADOWS == Action.LIMIT
    return True


class Episodes:
    """Tells new offences from more of the same; of MOST_EPISODES at once, the oldest go first."""

    def __init__(self) -> None:
        """Nothing is going on."""
        self._running: OrderedDict[tuple[int, int, int], tuple[int, int]] = OrderedDict()  # start in ns, how often

    def counts(self, kind: OffenceKind, client: int, operation: int, time_ns: int) -> bool:
        """Take note of an offence, and tell whether it is a new one; times come (nearly) in their order."""
        again = WORTH[kind].again
        if again == 1:
            return True
        self._forget(time_ns)
        episode = (client, kind, operation if kind is OffenceKind.VIOLATION else 0)
        start_ns, times = self._running.get(episode, (time_ns, 0))
        self._running[episode] = (start_ns, times + 1)
        return times == 0 or (again > 0 and times % again == 0)

    def _forget(self, time_ns: int) -> None:
        while self._running:
            start_ns, _ = next(iter(self._running.values()))
            if start_ns + EPISODE_NS > time_ns and len(self._running) < MOST_EPISODES:
                return
            self._running.popitem(last=False)
