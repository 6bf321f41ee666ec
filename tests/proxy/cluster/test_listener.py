"""What a listener hears: messages in order, and each gap."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from proxy.cluster import listener as listener_module
from proxy.cluster.circuit import Cause, Trouble
from proxy.cluster.keys import Family
from proxy.cluster.listener import MOST_MESSAGE_BYTES, Gap, Listener, Message
from tests.proxy.cluster.stub_for_tests import turns_until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

CHANNELS = {b"p:ban": Family.BAN, b"p:cache": Family.CACHE}
Said = tuple[bytes, bytes] | None | Trouble


class FakeLink:
    """Hears what the test says."""

    def __init__(self) -> None:
        """Hear nothing yet."""
        self.said: asyncio.Queue[Said] = asyncio.Queue()
        self.subscriptions = 0

    def say(self, *said: Said) -> None:
        """Have it heard."""
        for each in said:
            self.said.put_nowait(each)

    async def hear(self, channels: Sequence[bytes]) -> AsyncGenerator[tuple[bytes, bytes] | None]:
        """See `Link`."""
        assert [*channels] == [*CHANNELS]
        self.subscriptions += 1
        while True:
            said = await self.said.get()
            if isinstance(said, Trouble):
                raise said
            yield said


@asynccontextmanager
async def listening(
    *said: Said, most: int = 3, up: bool = True
) -> AsyncIterator[tuple[Listener, FakeLink, asyncio.Event]]:
    """Listen, with a store that is up or that the test says to be."""
    link, upped = FakeLink(), asyncio.Event()
    if up:
        upped.set()
    link.say(*said)
    listener = Listener(CHANNELS, link, up=upped.wait, most=most)  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(10):
            yield listener, link, upped
    finally:
        await listener.close()


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subscribe again at once."""
    monkeypatch.setattr(listener_module, "WAIT_SECONDS", 0)


async def test_messages() -> None:
    """The first thing that is heard is a gap, then messages in their order."""
    async with listening(None, (b"p:ban", b"1"), (b"p:cache", b"2")) as (listener, _, _):
        heard = [await anext(listener) for _ in range(3)]
    assert heard == [Gap(), Message(Family.BAN, b"1"), Message(Family.CACHE, b"2")]
    assert listener.counts == {"gaps": 1, "heard": 2, "dropped": 0}


async def test_lost_and_back() -> None:
    """A subscription that is lost is made again, and that there is a gap is told when it holds."""
    lost = Trouble(Cause.LOST)
    async with listening(None, (b"p:ban", b"1"), lost, None, (b"p:ban", b"2")) as (listener, link, _):
        heard = [await anext(listener) for _ in range(2)]
        heard += [await anext(listener) for _ in range(2)]
        assert heard == [Gap(), Message(Family.BAN, b"1"), Gap(), Message(Family.BAN, b"2")]
        assert link.subscriptions == 2


async def test_gap_takes_the_place_of_what_waits() -> None:
    """Who is slow reads the whole state, and none of the messages before."""
    lost = Trouble(Cause.LOST)
    async with listening(None, (b"p:ban", b"1"), lost, None, (b"p:ban", b"2")) as (listener, link, _):
        await turns_until(lambda: listener.counts["gaps"] == listener.counts["heard"] == 2)
        assert [await anext(listener) for _ in range(2)] == [Gap(), Message(Family.BAN, b"2")]
        assert listener.counts["dropped"] == 1
        assert link.said.empty()


async def test_too_slow() -> None:
    """A queue that is full is dropped, with a gap in its place; it never holds more than it may."""
    many = [(b"p:ban", b"%d" % number) for number in range(7)]
    async with listening(None, *many, most=3) as (listener, _, _):
        await turns_until(lambda: listener.counts["heard"] == 7)
        heard = [await anext(listener) for _ in range(2)]
        assert heard[0] == Gap()
        assert len(listener._queue) <= 3
        assert listener.counts["dropped"] >= 4


async def test_hostile_messages() -> None:
    """What is too large, or of a channel that nobody asked for, is dropped."""
    huge = bytes(MOST_MESSAGE_BYTES + 1)
    async with listening(None, (b"p:ban", huge), (b"other", b"x"), (b"p:ban", b"1")) as (listener, _, _):
        assert [await anext(listener) for _ in range(2)] == [Gap(), Message(Family.BAN, b"1")]
        assert listener.counts["dropped"] == 2


async def test_waits_for_the_store() -> None:
    """While the store is down nobody subscribes."""
    async with listening(Trouble(Cause.LOST), None, up=False) as (listener, link, up):
        for _ in range(20):
            await asyncio.sleep(0)
        assert link.subscriptions == 0
        up.set()
        await turns_until(lambda: listener.problem)
        assert await anext(listener) == Gap()
        assert listener.problem == ""
        assert link.subscriptions == 2


async def test_close() -> None:
    """A listener that is closed ends the iteration."""
    async with listening(None) as (listener, _, _):
        assert await anext(listener) == Gap()
        await listener.close()
        assert [each async for each in listener] == []
