"""What a store was asked, and how long it took: counters and a histogram for Prometheus."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

from proxy.cluster.command import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.cluster.command import Answer

BOUNDS_SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
RESULTS: Final = ("done", "refused", "failed")
_FRAME_BYTES: Final = 6  # the least that RESP puts around a value


class Tally:
    """Counts for one store."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self._commands: Counter[str] = Counter()
        self._sent = self._received = 0
        self._buckets = [0] * (len(BOUNDS_SECONDS) + 1)
        self._sum_ns = 0

    def answered(self, answers: Sequence[Answer], sent_bytes: int, took_ns: int) -> None:
        """Count a pipeline that was answered."""
        refused = sum(isinstance(answer, Refusal) for answer in answers)
        self._commands["refused"] += refused
        self._commands["done"] += len(answers) - refused
        self._sent += sent_bytes
        self._received += sum(map(_size, answers))
        self._buckets[bisect_left(BOUNDS_SECONDS, took_ns / 1e9)] += 1
        self._sum_ns += took_ns

    def failed(self, commands: int, sent_bytes: int) -> None:
        """Count a pipeline to which no answer came, or none in time."""
        self._commands["failed"] += commands
        self._sent += sent_bytes

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        commands = CounterMetricFamily("hkpguard_store_commands", "What became of commands", labels=("result",))
        for result in RESULTS:
            commands.add_metric((result,), self._commands[result])
        size = CounterMetricFamily("hkpguard_store_bytes", "Size of commands and answers", labels=("direction",))
        size.add_metric(("sent",), self._sent)
        size.add_metric(("received",), self._received)
        seconds = HistogramMetricFamily("hkpguard_store_seconds", "Time of pipelines that were answered")
        edges = [*map(str, BOUNDS_SECONDS), "+Inf"]
        seconds.add_metric((), list(zip(edges, map(float, accumulate(self._buckets)), strict=True)), self._sum_ns / 1e9)
        yield from (commands, size, seconds)


def _size(answer: Answer) -> int:
    """Return the size of an answer in RESP, to a few bytes for each value."""
    if isinstance(answer, list):
        return _FRAME_BYTES + sum(map(_size, answer))
    return _FRAME_BYTES + (len(answer) if isinstance(answer, bytes) else 0)
