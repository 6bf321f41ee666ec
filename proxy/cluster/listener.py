"""Hears what nodes publish, for one listener of this node: connects again by itself, and tells of each gap.

Messages wait in a bounded queue. What a listener has not taken when it is full is dropped, and so is what was lost with
a connection: in both cases it hears of a `Gap`, and reads the whole state. As a subscription is in force before its gap
is told, nothing falls between the state that is read then and the messages after it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import aclosing
from random import SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from proxy.cluster.circuit import Trouble
from proxy.cluster.seal import MAC_BYTES, MOST_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from proxy.cluster.keys import Family
    from proxy.cluster.link import Link

WAIT_SECONDS: Final = 1.0  # until it subscribes again; half of it is chance
MOST_WAITING: Final = 4096
MOST_MESSAGE_BYTES: Final = MAC_BYTES + MOST_BYTES


class Message(NamedTuple):
    """What a node published. `data` is hostile: `Seal.open` first."""

    family: Family
    data: bytes


class Gap(NamedTuple):
    """Messages may have been missed before this moment, and those after it are not: read the whole state now.

    It is the first thing that a listener hears, too.
    """


class Listener:
    """An async iterator over messages and gaps, without an end but `close`.

    Attributes:
        counts: Of messages that were `heard`, those that were `dropped`, and `gaps`.
        problem: Why nothing is heard, though the store is up; empty if all is well.

    """

    def __init__(
        self, channels: Mapping[bytes, Family], link: Link, *, up: Callable[[], Awaitable[object]], most: int
    ) -> None:
        """Made by `Store.listen`.

        Args:
            channels: Whose messages come on which.
            link: The way to the store.
            up: Waits until the store is up.
            most: Messages that may wait.

        """
        self.counts: Counter[str] = Counter()
        self.problem = ""
        self._channels = channels
        self._link = link
        self._up = up
        self._most = most
        self._queue: deque[Message | Gap] = deque()
        self._ready = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _task: self._ready.set())

    def __aiter__(self) -> Self:
        """Iterate over messages and gaps as they come."""
        return self

    async def __anext__(self) -> Message | Gap:
        """Wait for the next; cancelling loses none."""
        while not self._queue:
            if self._task.done():
                if not self._task.cancelled() and (error := self._task.exception()):
                    raise error
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    async def close(self) -> None:
        """Hear no more; the iteration ends."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        chance = SystemRandom().random
        while True:
            await self._up()
            try:
                async with aclosing(self._link.hear([*self._channels])) as heard:
                    async for each in heard:
                        self.problem = ""
                        self._offer(each)
            except Trouble as trouble:
                self.problem = str(trouble)
            await asyncio.sleep(WAIT_SECONDS * (1 + chance()) / 2)

    def _offer(self, heard: tuple[bytes, bytes] | None) -> None:
        if heard is None:
            self._gap()
            return
        family = self._channels.get(heard[0])
        if family is None or len(heard[1]) > MOST_MESSAGE_BYTES:
            self.counts["dropped"] += 1
            return
        if len(self._queue) >= self._most:
            self._gap()
        self.counts["heard"] += 1
        self._queue.append(Message(family, heard[1]))
        self._ready.set()

    def _gap(self) -> None:
        """Forget what waits: who hears of the gap reads the whole state, which holds all that."""
        self.counts["gaps"] += 1
        self.counts["dropped"] += sum(isinstance(each, Message) for each in self._queue)
        self._queue.clear()
        self._queue.append(Gap())
        self._ready.set()
