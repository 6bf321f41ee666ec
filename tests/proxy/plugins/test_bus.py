"""The event bus: everybody gets what they want, and nobody waits for anybody."""

from __future__ import annotations

import asyncio
import gc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.plugins.bus import Bus, DropPolicy, Subscription
from proxy.plugins.events import BanLifted, ConfigReloaded, Event, UpstreamDown, UpstreamUp

DOWN, UP = UpstreamDown(upstream="a:1"), UpstreamUp(upstream="a:1")
LIFTED = BanLifted(network="192.0.2.1", origin="manual", by="operator")


def bus(replay: int = 8) -> Bus:
    """Return a bus whose clock stands still."""
    return Bus(replay, wall=lambda: 0.0, boot="boot")


def reloads(count: int) -> list[Event]:
    """Return so many events."""
    return [ConfigReloaded(generation=number) for number in range(1, count + 1)]


async def taken(subscription: Subscription) -> list[Event]:
    """Take what waits."""
    return [(await anext(subscription)).event for _ in range(len(subscription))]


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (["*"], [DOWN, LIFTED, UP]),
        (["upstream.*"], [DOWN, UP]),
        (["upstream.up"], [UP]),
        (["ban.lifted", "upstream.down"], [DOWN, LIFTED]),
        (["upstream"], []),
        ([], []),
    ],
)
async def test_patterns(patterns: list[str], wanted: list[Event]) -> None:
    """A subscriber gets the kinds that it has named, in the order in which they happened."""
    channel = bus()
    subscription = channel.subscribe(*patterns)
    for event in (DOWN, LIFTED, UP):
        channel.publish(event)
    assert await taken(subscription) == wanted


@pytest.mark.parametrize(("policy", "left"), [("drop_oldest", [3, 4, 5]), ("drop_newest", [1, 2, 3])])
async def test_slow_subscriber_loses_its_own_events(policy: DropPolicy, left: list[int]) -> None:
    """A queue that is full drops by its policy, and counts; others have everything."""
    channel = bus()
    slow, other = channel.subscribe("*", most=3, policy=policy), channel.subscribe("*")
    for event in reloads(5):
        channel.publish(event)
    assert await taken(slow) == [reloads(5)[number - 1] for number in left]
    assert (slow.dropped, other.dropped) == (2, 0)
    assert await taken(other) == reloads(5)


async def test_waiting_subscriber_is_woken() -> None:
    """Who waits gets an event that comes later."""
    channel = bus()
    waiting = asyncio.ensure_future(anext(channel.subscribe("*")))
    await asyncio.sleep(0)
    channel.publish(UP)
    assert (await waiting).event == UP


async def test_cancelled_subscriber_loses_nothing() -> None:
    """A wait that is given up takes no event with it."""
    channel = bus()
    subscription = channel.subscribe("*")
    waiting = asyncio.ensure_future(anext(subscription))
    await asyncio.sleep(0)
    channel.publish(UP)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await taken(subscription) == [UP]


async def test_dying_subscriber_stalls_nobody() -> None:
    """One that raises in the midst of its work is gone; the others go on."""
    channel = bus()

    async def dies() -> None:
        with channel.subscribe("*") as subscription:
            async for _ in subscription:
                raise RuntimeError

    dying, other = asyncio.ensure_future(dies()), channel.subscribe("*")
    await asyncio.sleep(0)
    channel.publish(UP)
    with pytest.raises(RuntimeError):
        await dying
    channel.publish(DOWN)
    assert await taken(other) == [UP, DOWN]
    del dying


async def test_closed_subscription_ends() -> None:
    """After `close` what waits is still taken, then the iteration ends, and nothing more is queued."""
    channel = bus()
    with channel.subscribe("*") as subscription:
        channel.publish(UP)
    channel.publish(DOWN)
    assert [posted.event async for posted in subscription] == [UP]


async def test_forgotten_subscription_is_gone() -> None:
    """Nobody has to close what nobody holds any more."""
    channel = bus()
    channel.subscribe("*")
    gc.collect()
    assert len(channel._subscriptions) == 0


async def test_closed_bus_ends_all() -> None:
    """Listeners leave when the bus is closed, those that come later at once."""
    channel = bus()
    early = channel.subscribe("*")
    channel.close()
    assert [posted async for posted in early] == []
    assert [posted async for posted in channel.subscribe("*")] == []


@pytest.mark.parametrize(
    ("after", "replayed"),
    [
        (None, []),
        ("boot-5", []),
        ("boot-4", [5]),
        ("boot-3", [4, 5]),
        ("boot-2", [3, 4, 5]),  # the one before the first that is kept
        ("boot-1", [3, 4, 5]),
        ("other-4", [3, 4, 5]),  # of a process that is gone
        ("", [3, 4, 5]),
    ],
)
async def test_replay(after: str | None, replayed: list[int]) -> None:
    """Who comes back gets what came after the last event that it has seen, as far as it is kept, and then the new."""
    channel = bus(replay=3)
    for event in reloads(5):
        channel.publish(event)
    subscription = channel.subscribe("*", after=after)
    channel.publish(UP)
    assert await taken(subscription) == [*(reloads(5)[number - 1] for number in replayed), UP]


async def test_replay_of_more_than_may_wait() -> None:
    """What is kept for those who come back they get, however few new events may wait."""
    channel = bus(replay=5)
    for event in reloads(5):
        channel.publish(event)
    subscription = channel.subscribe("*", most=2, after="")
    assert (await taken(subscription), subscription.dropped) == (reloads(5), 0)


@pytest.mark.parametrize("replay", [0, 2])
async def test_resized_replay(replay: int) -> None:
    """Another number of events can be kept while it runs."""
    channel = bus()
    for event in reloads(5):
        channel.publish(event)
    channel.resize(replay)
    assert await taken(channel.subscribe("*", after="")) == reloads(5)[5 - replay :]


@given(
    st.lists(st.sampled_from([DOWN, UP, LIFTED])), st.integers(1, 5), st.sampled_from(["drop_oldest", "drop_newest"])
)
def test_everything_is_taken_or_counted(events: list[Event], most: int, policy: DropPolicy) -> None:
    """A queue is never longer than it may be, and what is missing is in the counter."""
    channel = bus()
    subscription = channel.subscribe("upstream.*", most=most, policy=policy)
    for event in events:
        channel.publish(event)
    wanted = [event for event in events if event is not LIFTED]
    assert len(subscription) <= most
    assert len(subscription) + subscription.dropped == len(wanted)
    assert sum(channel.published.values()) == len(events)
