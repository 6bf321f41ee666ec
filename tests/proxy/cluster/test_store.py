"""The store on a link of the test: what callers get, and what operators are told."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from fastpath import monotonic_ns
from proxy.cluster import store as store_module
from proxy.cluster.circuit import Cause, Trouble
from proxy.cluster.command import MOST_BYTES, MOST_COMMANDS, Command, Refusal, StoreDown
from proxy.cluster.keys import SHARDS, Family
from proxy.cluster.seal import Forged
from proxy.cluster.store import MOST_CALLERS, Store
from proxy.plugins.events import StoreBack, StoreLost
from tests.proxy.cluster.stub_for_tests import config_of, turns_until
from tests.proxy.cluster.virtual_time import VirtualLoop, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from proxy.plugins.events import Event

GET = Command("GET", (b"a",))
Act = Callable[[Sequence[Command]], Awaitable[list[object]]]


async def well(commands: Sequence[Command]) -> list[object]:
    """Answer everything."""
    return [b"OK" for _ in commands]


async def never(_commands: Sequence[Command]) -> list[object]:
    """Answer nothing."""
    await asyncio.Event().wait()
    return []


def ill(cause: Cause) -> Act:
    """Return a link that is so."""

    async def act(_commands: Sequence[Command]) -> list[object]:
        raise Trouble(cause, "it says")

    return act


class FakeLink:
    """A link that does what `act` says."""

    def __init__(self, act: Act = well, *, spread: bool = False, most_at_once: int = 2) -> None:
        """Begin with `act`."""
        self.act = act
        self.spread = spread
        self.most_at_once = most_at_once
        self.sent: list[Sequence[Command]] = []
        self.under_way = self.most_under_way = 0
        self.closed = False

    async def send(self, commands: Sequence[Command]) -> list[object]:
        """See `Link`."""
        self.sent.append(commands)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            return await self.act(commands)
        finally:
            self.under_way -= 1

    async def drop(self) -> None:
        """See `Link`."""

    async def close(self) -> None:
        """See `Link`."""
        self.closed = True


class Node:
    """A store that runs, and what it told."""

    def __init__(self, link: FakeLink, *, clock: Callable[[], int] = monotonic_ns, **settings: str) -> None:
        """Make it, with deadlines of 10 ms."""
        self.link = link
        self.events: list[Event] = []
        config = config_of(**{"CLUSTER__TIMEOUT": "10ms"} | settings)
        self.store = Store(config, publish=self.events.append, clock=clock, link=link)  # type: ignore[arg-type]

    def metric(self, name: str, **labels: str) -> float | None:
        """Return a sample."""
        registry = CollectorRegistry()
        registry.register(self.store)
        return registry.get_sample_value(f"hkpguard_store_{name}", labels)

    async def until(self, *, up: bool) -> None:
        """Wait until it is up, or down."""
        await turns_until(lambda: self.store.up is up)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe all the time."""
    monkeypatch.setattr(store_module, "PROBE_SECONDS", 0)
    monkeypatch.setattr(store_module, "DOUBT_SECONDS", 0)
    monkeypatch.setattr(store_module, "CONNECT_SECONDS", 0.02)
    monkeypatch.setattr("proxy.cluster.circuit.FIRST_WAIT_NS", 0)


@asynccontextmanager
async def running(link: FakeLink, *, up: bool = True) -> AsyncIterator[Node]:
    """Run a store until it is up, or has found that it is not."""
    node = Node(link)
    task = asyncio.create_task(node.store.run())
    await turns_until(lambda: node.store.up is up and (up or node.events))
    try:
        yield node
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert link.closed


async def test_down_until_it_has_run() -> None:
    """A store that was not connected yet is down, and says so."""
    node = Node(FakeLink())
    assert not node.store.up
    assert node.store.state.reason == Cause.UNASKED.value
    with pytest.raises(StoreDown) as caught:
        await node.store.pipeline([GET])
    assert not caught.value.maybe_done
    assert not node.link.sent


async def test_answers() -> None:
    """Answers come in order, refusals among them."""

    async def act(commands: Sequence[Command]) -> list[object]:
        return [Refusal("no") if command.what == "NO" else command.what for command in commands]

    async with running(FakeLink()) as node:
        node.link.act = act
        assert await node.store.pipeline([GET, Command("NO"), GET]) == ["GET", Refusal("no"), "GET"]
        assert await node.store.call("TTL", b"a") == "TTL"
        assert await node.store.pipeline([]) == []
        assert node.metric("commands_total", result="refused") == 1


async def test_connects() -> None:
    """The first connection is told in the log, and is no event."""
    with capture_logs() as log:
        async with running(FakeLink()) as node:
            assert node.store.degraded == ""
            assert node.metric("partitioned") == 0
    assert [line["event"] for line in log] == ["the store is connected"]
    assert node.events == []


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause not in {Cause.UNASKED, Cause.SLOW}])
async def test_is_lost_and_comes_back(cause: Cause) -> None:
    """Whatever happens to it, the store is down soon, back when that is over, and each is told once."""
    with capture_logs() as log:
        async with running(FakeLink()) as node:
            node.link.act = ill(cause)
            with pytest.raises(StoreDown):
                await node.store.pipeline([GET])
            await node.until(up=False)
            reason = f"{cause.value}: it says"
            assert node.store.state.reason == reason
            assert reason in node.store.degraded
            assert node.metric("partitioned") == 1
            for _ in range(50):
                await asyncio.sleep(0)
            node.link.act = well
            await node.until(up=True)
    assert [line["event"] for line in log] == [
        "the store is connected",
        "the store is out of reach, this node goes on alone",
        "the store is connected",
    ]
    assert [type(event) for event in node.events] == [StoreLost, StoreBack]


async def test_no_answer() -> None:
    """What hangs ends at the deadline, opens the circuit, and nobody waits after that."""
    async with running(FakeLink()) as node:
        node.link.act = never
        with pytest.raises(StoreDown) as caught:
            await node.store.pipeline([GET])
        assert caught.value.maybe_done
        await node.until(up=False)
        sent = len(node.link.sent)
        with pytest.raises(StoreDown) as caught:
            await node.store.pipeline([GET])
        assert not caught.value.maybe_done
        assert len(node.link.sent) == sent


@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
@pytest.mark.parametrize("timeout_s", [0.01, 0.1, 0.25, 0.5, 1.0])
def test_opens_within_a_second(monkeypatch: pytest.MonkeyPatch, timeout_s: float, *, busy: bool) -> None:
    """A store that falls silent is down a second after the first late answer at the latest, also if nobody asks."""
    monkeypatch.undo()  # waits are as they are

    async def fall_silent() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        node = Node(FakeLink(), clock=loop.clock, CLUSTER__TIMEOUT=f"{1000 * timeout_s:.0f}ms")
        task = asyncio.create_task(node.store.run())
        await asyncio.sleep(5)
        assert node.store.up
        node.link.act, began_s = never, loop.time()
        while node.store.up:
            if busy:
                with suppress(StoreDown):
                    await node.store.pipeline([GET])
            await asyncio.sleep(0.001)
        task.cancel()
        return loop.time() - began_s

    unasked_s = 0 if busy else store_module.PROBE_SECONDS
    assert run(fall_silent()) <= unasked_s + timeout_s + 1.01


async def test_one_slow_answer() -> None:
    """A single hiccup does not open the circuit, whoever asked meanwhile."""
    async with running(FakeLink(most_at_once=64)) as node:
        release = asyncio.Event()
        release.set()

        async def hiccup(commands: Sequence[Command]) -> list[object]:
            return await (well if commands[0].what == "SET" else never)(commands)

        node.link.act = hiccup
        calls = [node.store.pipeline([GET]) for _ in range(50)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(each, StoreDown) for each in results)
        assert node.store.up
        assert node.events == []


async def test_slow_connections_may_be_made() -> None:
    """Connecting may take longer than an answer; but a store that answers late stays down."""
    async with running(FakeLink(never), up=False) as node:

        async def late(commands: Sequence[Command]) -> list[object]:
            await asyncio.sleep(0.012)
            return await well(commands)

        node.link.act = late
        before = len(node.link.sent)
        await turns_until(lambda: len(node.link.sent) >= before + 6)
        assert not node.store.up


async def test_probes_write() -> None:
    """A probe writes a key of ours that ends by itself."""
    async with running(FakeLink()) as node:
        [command] = node.link.sent[0]
    assert command == Command("SET", (node.store.keys.key(Family.PROBE, ""),), (b"", "PX", 10_000))


async def test_probes_of_a_cluster() -> None:
    """Where shards may be on different servers, the store is up when all of them can be written."""
    async with running(FakeLink(spread=True)) as node:
        assert len(node.link.sent[0]) == len(node.link.sent[1]) == SHARDS
        await turns_until(lambda: len(node.link.sent) >= SHARDS + 4)
        shards = {command.keys[0] for commands in node.link.sent[2 : SHARDS + 2] for command in commands}
        assert len(shards) == SHARDS


async def test_probe_is_refused() -> None:
    """A server that refuses the probe for its own sake is not what we need."""

    async def refuse(commands: Sequence[Command]) -> list[object]:
        return [Refusal("ERR unknown command 'SET'") for _ in commands]

    async with running(FakeLink(refuse), up=False) as node:
        assert node.store.state.reason == f"{Cause.SETTINGS.value}: ERR unknown command 'SET'"


async def test_probe_is_refused_later() -> None:
    """The same when it was well before."""

    async def refuse(commands: Sequence[Command]) -> list[object]:
        return [Refusal("ERR unknown command 'SET'") for _ in commands]

    async with running(FakeLink()) as node:
        node.link.act = refuse
        await node.until(up=False)


async def test_who_waits_for_a_place_is_told() -> None:
    """When the store is lost meanwhile, who waits for a place is told so, and nothing is sent for him."""
    link, fail = FakeLink(most_at_once=1), asyncio.Event()

    async def full(commands: Sequence[Command]) -> list[object]:
        await fail.wait()
        return await ill(Cause.MEMORY)(commands)

    async with running(link) as node:
        link.act = full
        calls = [asyncio.ensure_future(node.store.pipeline([GET], seconds=5)) for _ in range(3)]
        await turns_until(lambda: [GET] in link.sent)
        fail.set()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [each.maybe_done for each in results if isinstance(each, StoreDown)] == [True, False, False]
        assert link.sent.count([GET]) == 1


async def test_old_answers_close_nothing() -> None:
    """An answer to what was asked before the store was lost does not make it well."""
    link, release = FakeLink(), asyncio.Event()

    async def late(commands: Sequence[Command]) -> list[object]:
        if commands[0] == GET:
            await release.wait()
            return [b"late"]
        return await ill(Cause.MEMORY)(commands)

    async with running(link) as node:
        link.act = late
        call = asyncio.ensure_future(node.store.pipeline([GET], seconds=5))
        await node.until(up=False)
        release.set()
        assert await call == [b"late"]
        assert [type(event) for event in node.events] == [StoreLost]


async def test_password_is_told_when_it_is_the_reason() -> None:
    """A wrong password that is met while the store is down anyway is told as well."""
    with capture_logs() as log:
        async with running(FakeLink(ill(Cause.LOST)), up=False) as node:
            node.link.act = ill(Cause.PASSWORD)
            await turns_until(lambda: len(node.events) == 2)
    assert [line["reason"] for line in log] == [f"{cause.value}: it says" for cause in (Cause.LOST, Cause.PASSWORD)]


async def test_places() -> None:
    """Only so many are under way at a time; others wait for a place within their deadline, and only so many."""
    link = FakeLink(most_at_once=2)
    async with running(link) as node:
        link.act = never
        calls = [asyncio.ensure_future(node.store.pipeline([GET], seconds=0.05)) for _ in range(MOST_CALLERS + 20)]
        results = await asyncio.gather(*calls, return_exceptions=True)
        texts = [str(each) for each in results]
        assert all(isinstance(each, StoreDown) for each in results)
        assert texts.count("too much is asked at once") >= 20
        sent = sum(commands[0] == GET for commands in link.sent)
        assert sum(each.maybe_done for each in results if isinstance(each, StoreDown)) == sent
        assert link.most_under_way == 2


@pytest.mark.parametrize(
    "commands",
    [[GET] * (MOST_COMMANDS + 1), [Command("SET", (b"a",), (bytes(MOST_BYTES),))]],
    ids=["commands", "bytes"],
)
async def test_bounds_of_a_pipeline(commands: list[Command]) -> None:
    """Too much at once is a mistake of the caller."""
    async with running(FakeLink()) as node:
        with pytest.raises(ValueError, match="too much for one pipeline"):
            await node.store.pipeline(commands)


async def test_publishes() -> None:
    """A message goes to the channel of its family."""
    async with running(FakeLink()) as node:
        await node.store.publish(Family.BAN, b"data")
        assert any(commands[0] == Command("PUBLISH", (), (b"hkpguard:ban", b"data")) for commands in node.link.sent)


async def test_figures() -> None:
    """Commands, bytes, times and what was forged are counted."""
    async with running(FakeLink()) as node:
        before = node.metric("commands_total", result="done") or 0
        await node.store.pipeline([GET, GET])
        assert (node.metric("commands_total", result="done") or 0) >= before + 2
        assert (node.metric("bytes_total", direction="sent") or 0) > 0
        assert (node.metric("bytes_total", direction="received") or 0) > 0
        assert (node.metric("seconds_count") or 0) > 0
        with pytest.raises(Forged):
            node.store.seal.open("ban", b"x")
        assert node.metric("forged_total", kind="ban") == 1
        node.link.act = ill(Cause.MEMORY)
        with pytest.raises(StoreDown):
            await node.store.pipeline([GET, GET])
        assert (node.metric("commands_total", result="failed") or 0) >= 2


def test_without_a_store_redis_is_not_loaded() -> None:
    """A node that stands alone never imports the client."""
    code = (
        "import sys\nimport proxy.analyst, proxy.node, proxy.cli\nassert not {'redis', 'hiredis'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
