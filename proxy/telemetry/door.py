"""Who knocks: the clients whose connections were not taken on, how often, and why. For the operator alone.

Nothing is decided by it. A knock is no offence, and how many there are is no evidence: gpg opens a connection for each
key, and a program that is banned, or that speaks to the wrong port, tries again as often as it was made to.

Not every knock leaves a record (`fastpath.ring`), so in a flood the counts are too low; those of the metrics are not.
"""

from __future__ import annotations

from collections import OrderedDict
from heapq import nlargest
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.policy.actions import Action
from proxy.telemetry.numbers import FLAG_TLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastpath import Record

MOST_CLIENTS: Final = 1024


class Knocks(NamedTuple):
    """The knocks of one client; times are CLOCK_MONOTONIC."""

    client: int  # from client_key
    first_ns: int
    last_ns: int
    connections: int = 0  # since `first_ns`
    held: int = 0  # of them, by the tarpit
    reason: int = 0  # of the last one, a `TurnedAway`
    encrypted: bool = False  # whether the last one came to speak TLS


class Door:
    """The clients that knocked last, fed with the records of their knocks; no other state, no clock."""

    def __init__(self, most: int = MOST_CLIENTS) -> None:
        """Keep `most` of them, at least 1."""
        if most < 1:
            raise ValueError(f"most {most} is less than 1")
        self._most = most
        self._knocks: OrderedDict[int, Knocks] = OrderedDict()  # least recently fed first

    def feed(self, records: Iterable[Record]) -> None:
        """Count knocks. They come in the order of time, but for what workers wrote at nearly the same time."""
        for record in records:
            before = self._knocks.pop(record.client, None)
            if before is None:
                before = Knocks(record.client, record.time_ns, record.time_ns)
                if len(self._knocks) >= self._most:
                    self._knocks.popitem(last=False)
            self._knocks[record.client] = before._replace(
                last_ns=max(before.last_ns, record.time_ns),
                connections=before.connections + 1,
                held=before.held + (record.action == Action.TARPIT),
                reason=record.reason,
                encrypted=bool(record.flags & FLAG_TLS),
            )

    def of(self, client: int) -> Knocks | None:
        """Return the knocks of a client; None if it is not among those that knocked last."""
        return self._knocks.get(client)

    def busiest(self, most: int, since_ns: int) -> list[Knocks]:
        """Return at most `most` of those that have knocked since, who did most often first."""
        lately = (each for each in self._knocks.values() if each.last_ns >= since_ns)
        return nlargest(most, lately, key=attrgetter("connections"))
