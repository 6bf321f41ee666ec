"""What the records of the last minutes say: last verdicts of a client, who asks most, and who was held.

Records are kept as they came, in blocks, and looked at only when somebody asks: taking note of one costs next to
nothing, and an operator's question a few hundredths of a second. Bounded: the newest MOST_RECORDS of the node.
"""

from __future__ import annotations

from collections import Counter, deque
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from fastpath import RECORD_BYTES, Record, records
from proxy.telemetry.captives import Captives

if TYPE_CHECKING:
    from collections.abc import Iterator

MOST_RECORDS = 65_536
VERDICTS_OF_CLIENT = 16
NANOSECONDS = 1_000_000_000


class Activity(NamedTuple):
    """What happened in the last `seconds`."""

    seconds: int
    clients: list[tuple[int, int, int]]  # (client key, requests, refused), the busiest first
    operations: Counter[tuple[int, int]]  # by (operation, action)


class History:
    """The recent past of a node, fed with blocks of records in the order of their writing.

    Attributes:
        captives: The clients that the tarpit held last; fed apart, with records.

    """

    def __init__(self) -> None:
        """Start empty."""
        self.captives = Captives()
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

    def _newest(self) -> Iterator[Record]:
        for block in reversed(self._blocks):
            yield from reversed(records(block))

    def verdicts(self, client: int) -> list[Record]:
        """Return the last records of a client, the newest first."""
        return list(islice((each for each in self._newest() if each.client == client), VERDICTS_OF_CLIENT))

    def top(self, most: int, now_ns: int, seconds: int = 60) -> Activity:
        """Return who asked most, `most` of them, and what was done, in at most the last `seconds`."""
        since_ns = now_ns - seconds * NANOSECONDS
        requests: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        operations: Counter[tuple[int, int]] = Counter()
        oldest_ns = now_ns
        for record in self._newest():
            if record.time_ns < since_ns:
                continue  # not break: the block of another worker may hold newer ones
            oldest_ns = min(oldest_ns, record.time_ns)
            requests[record.client] += 1
            refused[record.client] += record.refused
            operations[record.operation, record.action] += 1
        clients = [(client, count, refused[client]) for client, count in requests.most_common(most)]
        return Activity(max(1, (now_ns - oldest_ns) // NANOSECONDS), clients, operations)
