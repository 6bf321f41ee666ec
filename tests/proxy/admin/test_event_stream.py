"""Events over the admin API: live, replayed, bounded."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from proxy.admin import event_stream
from proxy.admin.access import Access
from proxy.admin.event_stream import EventStream
from proxy.config import Config
from proxy.plugins.bus import Bus
from proxy.plugins.events import BanLifted, ConfigReloaded, UpstreamUp
from tests.proxy.plugins.test_slot import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aiohttp import ClientResponse

TOKEN = "correct-horse-battery"  # noqa: S105 - of these tests
UP = UpstreamUp(upstream="a:1")
LIFTED = BanLifted(network="192.0.2.7", origin="manual", by="operator")


class Node(NamedTuple):
    """A bus, its listeners, and a client."""

    bus: Bus
    stream: EventStream
    client: TestClient[web.Request, web.Application]

    async def listen(self, query: str = "", **headers: str) -> ClientResponse:
        """Begin to listen."""
        given = {"Authorization": f"Bearer {TOKEN}", **{name.replace("_", "-"): text for name, text in headers.items()}}
        return await self.client.get(f"/api/v1/events{query}", headers=given)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    """Return a node where two may listen."""
    bus = Bus(boot="boot")
    stream = EventStream(bus, most=2)
    app = web.Application(middlewares=[Access(Config.from_env({"HKPGUARD_ADMIN_TOKEN": TOKEN})).check])
    app.router.add_get("/api/v1/events", stream.handle)
    async with TestClient(TestServer(app)) as client:
        yield Node(bus, stream, client)
        bus.close()


async def message(answer: ClientResponse) -> dict[str, Any]:
    """Read one message."""
    fields: dict[str, Any] = {}
    while line := (await asyncio.wait_for(answer.content.readline(), 10)).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


async def test_events_as_they_happen(node: Node) -> None:
    """Each event is a message with id, kind and JSON, addresses included."""
    async with await node.listen() as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        node.bus.publish(LIFTED)
        got = await message(answer)
        assert (got["id"], got["event"]) == ("boot-1", "ban.lifted")
        assert json.loads(got["data"])["data"]["network"] == "192.0.2.7"


async def test_kinds(node: Node) -> None:
    """Only what is asked for comes."""
    async with await node.listen("?kind=upstream.*&kind=config.reloaded") as answer:
        for event in (LIFTED, UP, ConfigReloaded(generation=1)):
            node.bus.publish(event)
        assert [(await message(answer))["event"] for _ in range(2)] == ["upstream.up", "config.reloaded"]


async def test_coming_back(node: Node) -> None:
    """With the last id come first those that were missed; without one only the new ones."""
    for number in range(1, 4):
        node.bus.publish(ConfigReloaded(generation=number))
    async with await node.listen(Last_Event_ID="boot-1") as back, await node.listen() as fresh:
        node.bus.publish(UP)
        assert [(await message(back))["id"] for _ in range(3)] == ["boot-2", "boot-3", "boot-4"]
        assert (await message(fresh))["id"] == "boot-4"


@pytest.mark.parametrize(
    "query", ["?kind=Ban", "?kind=", "?kind=ban", "?kind=*.placed", "?" + "&".join(["kind=*"] * 17)]
)
async def test_bad_kinds(node: Node, query: str) -> None:
    """What is no kind of event is refused, with those that there are."""
    async with await node.listen(query) as answer:
        assert answer.status == 400
        assert "ban.placed" in (await answer.json())["detail"]


async def test_token(node: Node) -> None:
    """Who has no token hears nothing."""
    async with await node.listen(Authorization="Bearer wrong") as answer:
        assert answer.status == 401


async def test_listeners_are_bounded(node: Node) -> None:
    """One too many is refused; when another leaves there is room."""
    first, second = await node.listen(), await node.listen()
    async with await node.listen() as third:
        assert third.status == 503
        assert "HKPGUARD_EVENTS__LISTENERS is 2" in (await third.json())["detail"]
    first.close()
    while node.stream.listeners == 2:
        node.bus.publish(UP)  # who left is noticed when there is something to say
        await turns()
    async with await node.listen() as third:
        assert third.status == 200
    second.close()


async def test_heartbeat(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """In silence a comment shows that the connection lives; no event is lost by it."""
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.0)
    async with await node.listen() as answer:
        assert await message(answer) == {":": ""}
        node.bus.publish(UP)
        while (got := await message(answer)) == {":": ""}:
            pass
        assert got["event"] == "upstream.up"


async def test_slow_listener(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that takes nothing is let go, after it has stalled nobody: its queue has dropped the oldest."""
    monkeypatch.setattr(event_stream, "WRITE_SECONDS", 0.05)
    large = BanLifted(network="x" * 100_000, origin="manual", by="operator")
    async with await node.listen("?kind=ban.*") as slow, await node.listen("?kind=upstream.*") as other:
        assert slow.connection is not None
        assert slow.connection.transport is not None
        slow.connection.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(600):
            node.bus.publish(large)
        node.bus.publish(UP)
        assert (await message(other))["event"] == "upstream.up"
        while node.stream.listeners == 2:
            await turns()
        assert node.stream.dropped > 0
        assert lost(node.stream) == node.stream.dropped


def lost(stream: EventStream) -> float:
    """Return what the metric says."""
    return next(sample.value for family in stream.collect() for sample in family.samples)


async def test_end(node: Node) -> None:
    """With the bus all connections end, so that nobody keeps the node from stopping."""
    async with await node.listen() as answer:
        node.bus.close()
        assert await answer.text() == ""
        await turns()
    assert node.stream.listeners == 0
