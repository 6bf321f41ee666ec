"""The outbox: what the warden has done that other nodes should hear of, until somebody takes it.

It is coalesced, so it stays bounded however long nobody can be told: of a ban only whose it is, what it is is looked up
when it is told; of offences the last ones of each client.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.policy.offences import OffenceKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_KEYS: Final = 131_072
MOST_LIFTS: Final = 4096
MOST_OFFENDERS: Final = 16_384
LAST_OFFENCES: Final = 32  # of one client: with the usual points a third of them is a ban
VERDICT: Final = OffenceKind.VERDICT  # it is a ban at once, and is told as one


class Offence(NamedTuple):
    """What a client did."""

    client: int
    kind: OffenceKind
    operation: int
    time_ns: int


class Lift(NamedTuple):
    """Bans were lifted by hand: when, and until when they would have lasted."""

    time_ns: int
    until_ns: int


class Outbox:
    """What is to be told.

    Attributes:
        keys: Clients and networks whose bans have changed.
        lifts: Bans that were lifted.
        offences: By client; the one first that was quiet for the longest time.
        changed: Is called whenever something is to be told.

    """

    def __init__(self) -> None:
        """Nothing is."""
        self.keys: dict[int, None] = {}
        self.lifts: OrderedDict[int, Lift] = OrderedDict()
        self.offences: OrderedDict[int, deque[Offence]] = OrderedDict()
        self.changed: Callable[[], None] = lambda: None

    def banned(self, keys: Iterable[int]) -> None:
        """Note that the bans of some have changed, or may have."""
        self.keys.update(dict.fromkeys(keys))
        while len(self.keys) > MOST_KEYS:
            del self.keys[next(iter(self.keys))]
        if self.keys:
            self.changed()

    def lifted(self, key: int, time_ns: int, until_ns: int) -> None:
        """Note that an operator has lifted what keeps a client or network out."""
        self.lifts[key] = Lift(time_ns, until_ns)
        self.lifts.move_to_end(key)
        if len(self.lifts) > MOST_LIFTS:
            self.lifts.popitem(last=False)
        self.changed()

    def offended(self, client: int, kind: OffenceKind, operation: int, time_ns: int) -> None:
        """Note that a client did something."""
        self.offences.setdefault(client, deque(maxlen=LAST_OFFENCES)).append(Offence(client, kind, operation, time_ns))
        self.offences.move_to_end(client)
        if len(self.offences) > MOST_OFFENDERS:
            self.offences.popitem(last=False)
        self.changed()
