"""Where events go that nobody asks for one by one: the log and the webhook."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from proxy.plugins.event_log import write_events
from proxy.plugins.events import EVENTS
from proxy.plugins.webhook import Webhook

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from prometheus_client.core import Metric

    from proxy.config import Config
    from proxy.plugins.bus import Bus


class Sinks(Collector):
    """The log and the webhook of one node."""

    def __init__(self, config: Config, bus: Bus) -> None:
        """Listen from `start` on."""
        self._config = config
        self._bus = bus
        self._webhook: Webhook | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._log = structlog.get_logger().bind(process="analyst")

    def start(self) -> None:
        """Listen."""
        self._run(write_events(self._config, self._bus))
        if self._config.events.webhook.url:
            self._webhook = Webhook(self._config.events.webhook, self._bus)
            self._run(self._webhook.run())

    def reload(self, config: Config) -> None:
        """Go on by another configuration; what waits for a receiver that is another now is dropped."""
        same = (config.events, config.log) == (self._config.events, self._config.log)
        self._config = config
        self._bus.resize(config.events.replay)
        if not same:
            self.close()
            self.start()

    def close(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()
        self._webhook = None

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        return self._webhook.degraded if self._webhook else ""

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of the bus and the webhook."""
        events = CounterMetricFamily("hkpguard_events", "Events on the bus", labels=("kind",))
        for kind in EVENTS:
            events.add_metric((kind,), self._bus.published[kind])
        sent = CounterMetricFamily(
            "hkpguard_webhook", "Events for the webhook, by what became of them", labels=("result",)
        )
        for result in ("sent", "retried", "given_up"):
            sent.add_metric((result,), self._webhook.counts[result] if self._webhook else 0)
        sent.add_metric(("dropped",), self._webhook.dropped if self._webhook else 0)
        yield from (events, sent)

    def _run(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._log.error("a sink of events ended", exc_info=error)
