"""`GET /api/v1/events`: events as they happen, as server-sent events (WHATWG HTML, 9.2).

A listener that comes back names the last event that it has seen (`Last-Event-ID`, browsers do so by themselves), and
gets those after it that are still kept. One that is slower than events come loses the oldest, and is told how many; one
that takes nothing at all is let go.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from proxy.admin.access import problem
from proxy.plugins.events import EVENTS
from proxy.settings.events import PATTERN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from proxy.plugins.bus import Bus, Subscription
    from proxy.plugins.events import Posted

HEARTBEAT_SECONDS: Final = 15.0  # so that proxies between do not end a silent connection, and we notice who left
WRITE_SECONDS: Final = 10.0
MOST_PATTERNS: Final = 16
HEADERS: Final = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # for nginx
}


class EventStream(Collector):
    """The listeners of one node.

    Attributes:
        listeners: How many there are.
        most: How many there may be.
        dropped: Events that slow ones lost, those told of so far.

    """

    def __init__(self, bus: Bus, most: int) -> None:
        """Have no listeners yet."""
        self.most = most
        self.listeners = 0
        self.dropped = 0
        self._bus = bus

    def routes(self) -> Sequence[web.RouteDef]:
        """Return what is asked where."""
        return (web.get("/api/v1/events", self.handle),)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve one listener until it leaves, or the node ends."""
        patterns = request.query.getall("kind", ["*"])
        if len(patterns) > MOST_PATTERNS or not all(map(PATTERN.fullmatch, patterns)):
            return problem(400, "not kinds of events", f"such as ban.placed, ban.* or *; there are {', '.join(EVENTS)}")
        if self.listeners >= self.most:
            return problem(503, "too many listeners", f"HKPGUARD_EVENTS__LISTENERS is {self.most}")
        response = web.StreamResponse(headers=HEADERS)
        self.listeners += 1
        try:
            with self._bus.subscribe(*patterns, after=request.headers.get("Last-Event-ID")) as subscription:
                await response.prepare(request)
                await self._serve(response, subscription)
        except ConnectionError:
            pass  # it has left
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()  # it takes nothing: what is buffered for it would stay
        finally:
            self.listeners -= 1
        return response

    def collect(self) -> Iterator[Metric]:
        """Yield what slow listeners lost."""
        lost = "Events that slow listeners of the admin API lost"
        yield CounterMetricFamily("hkpguard_events_lost", lost, value=self.dropped)

    async def _serve(self, response: web.StreamResponse, subscription: Subscription) -> None:
        told = 0
        while True:
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS):
                    text = _message(await anext(subscription))
            except TimeoutError:
                text = ":\n\n"
            except StopAsyncIteration:
                return
            if subscription.dropped > told:
                self.dropped += subscription.dropped - told
                told = subscription.dropped
                text = f": {told} events were lost, for want of room\n\n{text}"
            async with asyncio.timeout(WRITE_SECONDS):
                await response.write(text.encode())


def _message(posted: Posted) -> str:
    """Return an event as a message; JSON has no line breaks."""
    wire = posted.wire(addresses=True)
    return f"id: {posted.id}\nevent: {posted.event.kind}\ndata: {json.dumps(wire)}\n\n"
