"""The event bus of the analyst: who publishes never waits, and who listens cannot make others wait.

    publish -> queue of each subscriber (bounded) -> its own task
            -> the last N, for those who come back

Subscribers are not called: they take. So one that raises, hangs or is slow harms its own queue alone, which then drops
events and counts them. One that is forgotten goes with its last reference.

For one thread, that of the event loop.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, deque
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final, Literal, Self
from weakref import WeakSet

from proxy.plugins.events import Posted

if TYPE_CHECKING:
    from collections.abc import Callable

    from proxy.plugins.events import Event

DropPolicy = Literal["drop_oldest", "drop_newest"]
DEFAULT_MOST: Final = 256
DEFAULT_REPLAY: Final = 256


class Subscription:
    """The events of some kinds, for one listener: an async iterator, ended by `close` or with the bus.

    Attributes:
        dropped: Events that it lost because its queue was full.

    """

    def __init__(self, patterns: tuple[str, ...], most: int, policy: DropPolicy) -> None:
        """Made by `Bus.subscribe`."""
        self.dropped = 0
        self._patterns = patterns
        self._most = most
        self._policy = policy
        self._queue: deque[Posted] = deque()
        self._ready = asyncio.Event()
        self._closed = False

    def __len__(self) -> int:
        """Return how many events wait."""
        return len(self._queue)

    def __enter__(self) -> Self:
        """Listen."""
        return self

    def __exit__(self, *_args: object) -> None:
        """Listen no more."""
        self.close()

    def __aiter__(self) -> Self:
        """Iterate over events as they come."""
        return self

    async def __anext__(self) -> Posted:
        """Wait for the next event; cancelling loses none."""
        while not self._queue:
            if self._closed:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def close(self) -> None:
        """Take no more events, and end the iteration after those that wait."""
        self._closed = True
        self._ready.set()

    def offer(self, posted: Posted) -> None:
        """Queue an event if it is one of those wanted."""
        if self._closed or not any(fnmatchcase(posted.event.kind, pattern) for pattern in self._patterns):
            return
        if len(self._queue) >= self._most:
            self.dropped += 1
            if self._policy == "drop_newest":
                return
            self._queue.popleft()
        self._queue.append(posted)
        self._ready.set()


class Bus:
    """The bus of one process.

    Attributes:
        published: How many events there were, by kind.

    """

    def __init__(
        self, replay: int = DEFAULT_REPLAY, *, wall: Callable[[], float] = time.time, boot: str | None = None
    ) -> None:
        """Make a bus without subscribers.

        Args:
            replay: Events that are kept for those who come back, 0 or more.
            wall: The clock of the day, seconds since 1970.
            boot: Tells this bus from the one before a restart; random if it is not given.

        """
        self.published: Counter[str] = Counter()
        self._boot = boot or secrets.token_hex(4)
        self._wall = wall
        self._next = 1
        self._kept: deque[Posted] = deque(maxlen=replay)
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._closed = False

    def publish(self, event: Event) -> None:
        """Hand an event to all who want it; never waits and never fails."""
        posted = Posted(self._next, f"{self._boot}-{self._next}", self._wall(), event)
        self._next += 1
        self.published[event.kind] += 1
        self._kept.append(posted)
        for subscription in self._subscriptions:
            subscription.offer(posted)

    def subscribe(
        self,
        *patterns: str,
        most: int = DEFAULT_MOST,
        policy: DropPolicy = "drop_oldest",
        after: str | None = None,
    ) -> Subscription:
        """Listen to kinds of events until the subscription is closed, or nobody holds it any more.

        Args:
            patterns: `ban.placed`, `ban.*` or `*`; of several each counts.
            most: Events that may wait; more if there are more to begin with.
            policy: Which go when there are more.
            after: Begin with the events that are kept and came after the one with this id; if it is not known (it is
                older, or of another process), with all that are kept. None: with the next one.

        """
        missed = [] if after is None else self._after(after)
        subscription = Subscription(patterns, max(most, len(missed)), policy)
        for posted in missed:
            subscription.offer(posted)
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.close()
        return subscription

    def close(self) -> None:
        """End all subscriptions."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()

    def resize(self, replay: int) -> None:
        """Keep another number of events."""
        self._kept = deque(self._kept, maxlen=replay)

    def _after(self, given: str) -> list[Posted]:
        kept = list(self._kept)
        return kept[next((index + 1 for index, posted in enumerate(kept) if posted.id == given), 0) :]
