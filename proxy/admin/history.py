"""What the records of the last minutes say: last verdicts of a client, and who asks most. Bounded."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastpath import Record

MOST_CLIENTS = 10_000
VERDICTS_OF_CLIENT = 16
SLICE_NS = 10_000_000_000
SLICES = 6
MOST_CLIENTS_OF_SLICE = 20_000


class Slice(NamedTuple):
    """Requests of ten seconds."""

    number: int  # time / SLICE_NS
    requests: Counter[int]  # by client
    refused: Counter[int]
    operations: Counter[tuple[int, int]]  # by operation and action


class History:
    """The recent past of a node, fed with records in the order of their writing."""

    def __init__(self) -> None:
        """Start empty."""
        self._verdicts: OrderedDict[int, deque[Record]] = OrderedDict()
        self._slices: deque[Slice] = deque(maxlen=SLICES)

    def feed(self, records: Iterable[Record]) -> None:
        """Take note of `records`."""
        for record in records:
            self._remember(record)
            self._count(record)

    def _remember(self, record: Record) -> None:
        verdicts = self._verdicts.pop(record.client, None)
        if verdicts is None:
            verdicts = deque(maxlen=VERDICTS_OF_CLIENT)
            if len(self._verdicts) >= MOST_CLIENTS:
                self._verdicts.popitem(last=False)
        verdicts.append(record)
        self._verdicts[record.client] = verdicts

    def _count(self, record: Record) -> None:
        number = record.time_ns // SLICE_NS
        if not self._slices or self._slices[-1].number < number:
            self._slices.append(Slice(number, Counter(), Counter(), Counter()))
        now = self._slices[-1]
        now.operations[record.operation, record.action] += 1
        if record.client in now.requests or len(now.requests) < MOST_CLIENTS_OF_SLICE:
            now.requests[record.client] += 1
            now.refused[record.client] += record.status >= 400 and record.upstream_us == 0

    def verdicts(self, client: int) -> list[Record]:
        """Return the last records of a client, the newest first."""
        return list(reversed(self._verdicts.get(client, ())))

    def top(self, most: int, now_ns: int) -> tuple[list[tuple[int, int, int]], Counter[tuple[int, int]]]:
        """
        Return who asked most in the last minute, and what was done.

        Returns:
            Up to `most` of (client key, requests, refused), and counts by (operation, action).
        """
        requests: Counter[int] = Counter()
        refused: Counter[int] = Counter()
        operations: Counter[tuple[int, int]] = Counter()
        for each in self._slices:
            if each.number > now_ns // SLICE_NS - SLICES:
                requests.update(each.requests)
                refused.update(each.refused)
                operations.update(each.operations)
        return [(client, count, refused[client]) for client, count in requests.most_common(most)], operations
