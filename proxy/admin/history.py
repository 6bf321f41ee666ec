"""What the records of the last minutes say: last verdicts of a client, who asks most, and who was held.

Records are kept as they came, in blocks, and looked at only when somebody asks: taking note of one costs next to
nothing, and an operator's question a few hundredths of a second. Bounded: the newest MOST_RECORDS of the node.

In a flood that is less than a minute. So what goes on in networks and about subjects is added up as it comes
(`models.totals`), from the first question on until nobody has asked for a while: it costs a microsecond for each
request, which a node at which nobody looks need not pay.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath import RECORD_BYTES, Record, records
from fastpath.record_array import RECORD_DTYPE, are_refused, record_array
from models.steps import whole
from models.totals import BY_NETWORK, BY_SUBJECT, Totals
from proxy.telemetry.captives import Captives
from proxy.telemetry.door import Door

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from models.steps import Steps

MOST_RECORDS = 65_536
VERDICTS_OF_CLIENT = 16
NANOSECONDS = 1_000_000_000
WATCHED_NS: Final = 600 * NANOSECONDS


class By(StrEnum):
    """Of what the busiest are looked for."""

    CLIENT = "client"
    NETWORK = "network"
    SUBJECT = "subject"


GROUPINGS: Final = {By.NETWORK: BY_NETWORK, By.SUBJECT: BY_SUBJECT}


@dataclass(slots=True)
class Watched:
    """Totals that somebody looks at."""

    totals: Totals
    begun_ns: int  # it has had what came until then
    asked_ns: int


class Activity(NamedTuple):
    """What happened in the last `seconds`."""

    seconds: int
    clients: list[tuple[int, int, int]]  # (client key, requests, refused), the busiest first
    operations: Counter[tuple[int, int]]  # by (operation, action)


class History:
    """The recent past of a node, fed with blocks of records in the order of their writing.

    Attributes:
        captives: The clients that the tarpit held last; fed apart, with records.
        door: The clients that were turned away last; fed apart, with records of knocks.

    """

    def __init__(self) -> None:
        """Start empty."""
        self.captives = Captives()
        self.door = Door()
        self._watched: dict[By, Watched] = {}
        self._blocks: deque[bytes] = deque()
        self._bytes = 0

    def feed(self, block: bytes) -> None:
        """Keep a block of records; forget the oldest ones beyond the bound."""
        if not block:
            return
        self._blocks.append(block)
        self._bytes += len(block)
        while self._bytes > MOST_RECORDS * RECORD_BYTES and len(self._blocks) > 1:
            self._bytes -= len(self._blocks.popleft())

    def show(self, made: NDArray[np.void]) -> Steps[None]:
        """Add records of RECORD_DTYPE, in the order of time, to the totals that are watched, step by step."""
        for by, watched in [*self._watched.items()]:
            times = made["time_ns"]
            if len(made) and int(times[-1]) - watched.asked_ns > WATCHED_NS:
                del self._watched[by]
                continue
            yield from watched.totals.feed(made[np.searchsorted(times, watched.begun_ns, "right") :])

    def totals(self, by: By, now_ns: int) -> Totals:
        """Return those of networks or of subjects.

        They begin with the records that are kept, and are gone when nobody has asked for WATCHED_NS.
        """
        watched = self._watched.get(by) or self._watch(by)
        watched.asked_ns = now_ns
        return watched.totals

    def _watch(self, by: By) -> Watched:
        kept = record_array(b"".join(self._blocks))
        totals = Totals(GROUPINGS[by])
        whole(totals.feed(kept))
        begun_ns = int(kept["time_ns"][-1]) if len(kept) else 0
        watched = self._watched[by] = Watched(totals, begun_ns, 0)
        return watched

    def verdicts(self, client: int) -> list[Record]:
        """Return the last records of a client, the newest first."""
        found: list[Record] = []
        for block in reversed(self._blocks):
            if len(found) >= VERDICTS_OF_CLIENT:
                break
            places = np.flatnonzero(np.frombuffer(block, RECORD_DTYPE)["client"] == client) * RECORD_BYTES
            found += reversed(records(b"".join(block[place : place + RECORD_BYTES] for place in places)))
        return found[:VERDICTS_OF_CLIENT]

    def top(self, most: int, now_ns: int, seconds: int = 60) -> Activity:
        """Return who asked most, `most` of them, and what was done, in at most the last `seconds`."""
        kept = np.frombuffer(b"".join(self._blocks), RECORD_DTYPE)
        late = kept["time_ns"] >= now_ns - seconds * NANOSECONDS  # the block of another worker may hold newer ones
        oldest_ns = int(kept["time_ns"][late].min(initial=now_ns))
        clients, places, counts = np.unique(kept["client"][late], return_inverse=True, return_counts=True)
        refused = np.bincount(places[are_refused(kept)[late]], minlength=len(clients))
        busiest = np.argsort(-counts, kind="stable")[:most]
        done = zip(kept["operation"][late].tolist(), kept["action"][late].tolist(), strict=True)
        return Activity(
            max(1, (now_ns - oldest_ns) // NANOSECONDS),
            [(int(clients[each]), int(counts[each]), int(refused[each])) for each in busiest],
            Counter(done),
        )
