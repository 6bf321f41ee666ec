"""The place of a plugin: fed, watched, left alone when it fails, and exchanged without losing anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from fastpath import client_key
from fastpath.record_array import record_array
from proxy.plugins import slot
from proxy.plugins.breaker import FAILURES, FIRST_NS
from proxy.plugins.bus import Bus
from proxy.plugins.contract import Description
from proxy.plugins.events import ConfigReloaded, PluginSaid, UpstreamUp
from proxy.plugins.instance import Instance, PluginFailure
from proxy.plugins.slot import MOST_BACKLOG_BYTES, Means, Slot
from proxy.plugins.wire import Logged, Piece, Reply, SetUp
from proxy.settings.kinds import DAY
from proxy.settings.plugins import plugin_config
from tests.proxy.admin.records_for_tests import block, record

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from proxy.config import ModeWord
    from proxy.policy.fusion import Evidence

SECOND = 1_000_000_000
CLIENT = client_key(bytes([192, 0, 2, 1]))
BLOCK = record_array(block(record()))
FOUND = Reply(evidence=(Piece(subject=CLIENT, kind="seen", weight=1.0, reason="seen", until_ns=5 * SECOND),))


class FakeInstance(Instance):
    """A plugin that does what a test says.

    Attributes:
        seen: What it was shown and told.
        fails: What it raises; it takes `takes_ns` for each call.

    """

    def __init__(self, node: Node, name: str = "fake", *, on_failure: str = "open") -> None:
        """Run from `start` on."""
        self.description = Description.model_validate({"name": name, "version": "1", "on_failure": on_failure})
        self.seen: list[object] = []
        self.fails: PluginFailure | None = None
        self.takes_ns = 0
        self.offers = Reply(looks=True, routes=("top",), subscriptions=("upstream.*", "plugin.said"))
        self.answers = FOUND
        self.healthy = Reply()
        self.gate: asyncio.Event | None = None
        self._node = node

    async def open(self) -> None:
        """See `Instance`."""

    async def start(self, given: SetUp) -> Reply:  # noqa: ARG002 - a fake
        """See `Instance`."""
        self.seen.append("start")
        return self._offers(await self._call(self.offers))

    async def look(self, records: NDArray[np.void], now_ns: int) -> Reply:  # noqa: ARG002 - a fake
        """See `Instance`."""
        self.seen.append(len(records))
        return await self._call(self.answers)

    async def hear(self, kind: str, data: dict[str, Any]) -> Reply:  # noqa: ARG002 - a fake
        """See `Instance`."""
        self.seen.append(kind)
        return await self._call(Reply())

    async def ask(self, route: str, query: Mapping[str, str]) -> Reply:
        """See `Instance`."""
        return await self._call(Reply(answer={"route": route, **query}))

    async def health(self) -> Reply:
        """See `Instance`."""
        return await self._call(self.healthy)

    async def stop(self) -> None:
        """See `Instance`."""
        self.seen.append("stop")
        self._started = False

    def kill(self) -> None:
        """See `Instance`."""
        self.seen.append("kill")
        self._started = False

    async def _call(self, reply: Reply) -> Reply:
        if self.gate is not None:
            await self.gate.wait()
        self._node.now_ns += self.takes_ns
        if self.fails is not None:
            raise self.fails
        return reply


class Node:
    """A slot with a clock, a bus and somebody who takes evidence."""

    def __init__(self, mode: ModeWord = "enforce", **settings: str) -> None:
        """Take settings of the plugin."""
        self.now_ns = SECOND
        self.bus = Bus()
        self.listener = self.bus.subscribe("plugin.*", "evidence.*")
        self.evidence: list[Evidence] = []
        self.weighing: asyncio.Event | None = None
        self.plugin = FakeInstance(self)
        log = structlog.get_logger().bind(plugin="fake")
        means = Means(self.start, self.bus, log, lambda: self.now_ns, self.hear)
        self.slot = Slot(self.plugin, plugin_config(settings), mode, means)

    async def start(self, instance: Instance) -> object:
        """Start an instance."""
        return await instance.start(SetUp())

    async def hear(self, evidence: list[Evidence]) -> None:
        """Take evidence, when others have had their turn."""
        await (self.weighing.wait() if self.weighing else asyncio.sleep(0))
        self.evidence += evidence

    async def feed(self, times: int = 1) -> None:
        """Hand over blocks, one after the other."""
        for _ in range(times):
            self.slot.feed(BLOCK)
            await turns()

    async def events(self) -> list[str]:
        """Return the kinds of the events that were told."""
        return [(await anext(self.listener)).event.kind for _ in range(len(self.listener))]


async def turns() -> None:
    """Let all tasks go on until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_evidence() -> None:
    """What a plugin finds is handed over under its own name, and told."""
    node = Node()
    await node.slot.run()
    await node.feed()
    (evidence,) = node.evidence
    assert (evidence.subject, evidence.kind, evidence.weight, evidence.shadow) == (CLIENT, "fake.seen", 1.0, False)
    assert await node.events() == ["evidence.found"]
    assert node.slot.counts == {"ok": 2, "evidence": 1}
    await node.slot.close()
    assert node.plugin.seen == ["start", len(BLOCK), "stop"]


@pytest.mark.parametrize(
    ("mode", "percent", "shadow"), [("enforce", "100", False), ("enforce", "0", True), ("shadow", "100", True)]
)
async def test_mode_of_evidence(mode: ModeWord, percent: str, *, shadow: bool) -> None:
    """In shadow mode, and for clients that are not among the percentage, evidence binds nobody."""
    node = Node(mode, percent=percent)
    await node.slot.run()
    await node.feed()
    assert [each.shadow for each in node.evidence] == [shadow]
    await node.slot.close()


async def test_evidence_for_ever() -> None:
    """Evidence counts for a day at most, whatever a plugin says."""
    node = Node()
    piece = Piece(subject=CLIENT, kind="seen", weight=1.0, reason="", until_ns=2**62)
    node.plugin.answers = Reply(evidence=(piece,))
    await node.slot.run()
    await node.feed()
    assert [each.until_ns for each in node.evidence] == [node.now_ns + DAY]
    await node.slot.close()


async def test_raising_plugin_is_left_alone() -> None:
    """After three failures in a row it is killed and not asked; what it misses is counted, and it is told."""
    node = Node()
    await node.slot.run()
    node.plugin.fails = PluginFailure("ValueError: no")
    await node.feed(FAILURES + 2)
    assert node.plugin.seen == ["start", *[len(BLOCK)] * FAILURES, "kill"]
    assert node.slot.counts == {"ok": 1, "failed": FAILURES, "dropped": FAILURES + 2}
    assert await node.events() == ["plugin.broken"]
    assert (node.slot.degraded, node.slot.problem) == ("plugin fake is broken", "ValueError: no")
    await node.slot.close()


async def test_plugin_comes_back() -> None:
    """When its time is over it is started anew and tried; if it works it is told, and evidence counts again."""
    node = Node()
    await node.slot.run()
    node.plugin.fails = PluginFailure("killed", fatal=True)
    await node.feed()
    node.plugin.fails = None
    await node.feed()
    assert node.evidence == []
    node.now_ns += FIRST_NS
    await node.feed()
    assert len(node.evidence) == 1
    assert await node.events() == ["plugin.broken", "plugin.restored", "evidence.found"]
    assert node.slot.degraded == ""
    await node.slot.close()


async def test_slow_plugin() -> None:
    """An answer that took too long counts, and so does the time: three in a row open the circuit."""
    node = Node(call="100ms")
    await node.slot.run()
    node.plugin.takes_ns = SECOND
    await node.feed(FAILURES + 1)
    assert len(node.evidence) == FAILURES
    assert node.slot.counts["late"] == FAILURES
    assert node.slot.breaker.reason == "took 1 s, may take 0.1 s"
    await node.slot.close()


async def test_hanging_plugin_stalls_nobody() -> None:
    """While a plugin is asked, feeding and publishing return at once, and its backlog is bounded."""
    node = Node()
    await node.slot.run()
    node.plugin.gate = asyncio.Event()
    large = record_array(block(record()) * (MOST_BACKLOG_BYTES // BLOCK.nbytes // 2))
    for _ in range(5):
        node.slot.feed(large)
        node.bus.publish(UpstreamUp(upstream="a:1"))
        await turns()
    assert node.slot.counts["dropped"] == 2 * len(large)  # one is being shown, two wait
    node.plugin.gate.set()
    await turns()
    assert node.plugin.seen.count(len(large)) == 3
    await node.slot.close()


async def test_time_of_others_is_not_its_own() -> None:
    """A plugin that let others work for most of a call is not late."""
    node = Node(call="100ms")
    await node.slot.run()
    node.plugin.takes_ns = node.plugin.away_ns = SECOND
    await node.feed(FAILURES)
    assert node.slot.counts["late"] == 0
    node.plugin.away_ns = SECOND // 2
    await node.feed(FAILURES)
    assert node.slot.counts["late"] == FAILURES
    await node.slot.close()


async def test_evidence_is_weighed_before_anything_else() -> None:
    """Who sets a plugin otherwise waits until what it has found is weighed: it was said under the old terms."""
    node = Node()
    await node.slot.run()
    node.weighing = asyncio.Event()
    await node.feed()
    fresh = FakeInstance(node)
    await fresh.start(SetUp())
    swap = asyncio.ensure_future(node.slot.replace(fresh, plugin_config({}), "shadow"))
    await turns()
    assert not swap.done()
    node.weighing.set()
    await swap
    assert [each.shadow for each in node.evidence] == [False]
    await node.slot.close()


async def test_plugin_that_cannot_start() -> None:
    """It is broken from the beginning, and tried again later."""
    node = Node()
    node.plugin.fails = PluginFailure("OSError: no disk")
    await node.slot.run()
    assert (node.slot.degraded, node.slot.problem) == ("plugin fake is broken", "OSError: no disk")
    node.plugin.fails = None
    node.now_ns += FIRST_NS
    await node.feed()
    assert len(node.evidence) == 1
    await node.slot.close()


@pytest.mark.parametrize(("on_failure", "unready"), [("open", False), ("closed", True)])
async def test_declared_failure(on_failure: str, *, unready: bool) -> None:
    """Only a plugin that is declared so makes the node want no traffic while it is broken."""
    node = Node()
    node.slot.instance = FakeInstance(node, on_failure=on_failure)
    await node.slot.run()
    assert not node.slot.unready
    node.slot.instance.fails = PluginFailure("gone", fatal=True)
    await node.feed()
    assert node.slot.unready is unready
    await node.slot.close()


async def test_events() -> None:
    """A plugin hears of what it wants to hear, and not of itself."""
    node = Node()
    await node.slot.run()
    node.bus.publish(ConfigReloaded(generation=1))
    node.bus.publish(UpstreamUp(upstream="a:1"))
    node.bus.publish(PluginSaid(plugin="fake", topic="x"))
    node.bus.publish(PluginSaid(plugin="other", topic="x"))
    await turns()
    assert node.plugin.seen == ["start", "upstream.up", "plugin.said"]
    await node.slot.close()


async def test_what_it_says() -> None:
    """Its events go to the bus under its name, whatever it calls itself; its lines go to the log."""
    node = Node()
    await node.slot.run()
    node.plugin.answers = Reply(
        said=(PluginSaid(plugin="antiabuse", topic="x"),),
        logged=(Logged(level="warning", text="hot", more={"event": "forged"}),),
    )
    with structlog.testing.capture_logs() as log:
        await node.feed()
    said = (await anext(node.listener)).event
    assert isinstance(said, PluginSaid)
    assert said.plugin == "fake"
    assert log == [
        {"event": "plugin says", "plugin": "fake", "text": "hot", "said_event": "forged", "log_level": "warning"}
    ]
    await node.slot.close()


async def test_swap_loses_nothing() -> None:
    """Records that come while the old one is busy go to the one that takes its place, and it is drained then."""
    node = Node()
    await node.slot.run()
    old, node.plugin.gate = node.plugin, asyncio.Event()
    await node.feed(2)
    fresh = FakeInstance(node)
    await fresh.start(SetUp())
    swap = asyncio.ensure_future(node.slot.replace(fresh, plugin_config({"percent": "0"}), "enforce"))
    await turns()
    assert not swap.done()
    node.plugin.gate.set()
    await swap
    await turns()
    assert old.seen == ["start", len(BLOCK), "stop"]
    assert fresh.seen == ["start", len(BLOCK)]
    assert [each.shadow for each in node.evidence] == [False, True]
    node.bus.publish(UpstreamUp(upstream="a:1"))
    await turns()
    assert fresh.seen[-1] == "upstream.up"
    assert "upstream.up" not in old.seen
    await node.slot.close()


async def test_name_of_a_slot() -> None:
    """A plugin whose new process calls itself otherwise goes on under the name of its slot: it speaks for no other."""
    node = Node()
    await node.slot.run()
    node.plugin.description = Description.model_validate({"name": "other", "version": "1"})
    await node.feed()
    assert [each.kind for each in node.evidence] == ["fake.seen"]
    await node.slot.close()


async def test_question_after_the_end() -> None:
    """A question that waited while its plugin was switched off does not begin it anew."""
    node = Node()
    await node.slot.run()
    node.plugin.gate = asyncio.Event()
    await node.feed()
    ended = asyncio.ensure_future(node.slot.close())
    question = asyncio.ensure_future(node.slot.ask("top", {}))
    await turns()
    node.plugin.gate.set()
    await ended
    with pytest.raises(PluginFailure):
        await question
    assert node.plugin.seen == ["start", len(BLOCK), "stop"]


async def test_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """That a plugin is not well is for everybody, what it says of itself is not: it may hold an address."""
    monkeypatch.setattr(slot, "HEALTH_SECONDS", 0.0)
    node = Node()
    node.plugin.healthy = Reply(health="too much from 192.0.2.7")
    await node.slot.run()
    while not node.slot.health:
        await turns()
    assert (node.slot.degraded, node.slot.problem) == ("plugin fake is not well", "too much from 192.0.2.7")
    await node.slot.close()


async def test_error_of_ours() -> None:
    """A plugin that cannot be fed because of an error of ours is broken, does not starve, and is tried again."""
    node = Node()
    await node.slot.run()

    def broken(_: list[Evidence]) -> None:
        raise KeyError("ours")

    means, node.slot._means = node.slot._means, node.slot._means._replace(on_evidence=broken)
    await node.feed()
    assert (node.slot.degraded, node.slot.problem) == ("plugin fake is broken", "KeyError: 'ours'")
    node.slot._means = means
    node.now_ns += FIRST_NS
    await node.feed()
    assert len(node.evidence) == 1
    assert node.slot.degraded == ""
    await node.slot.close()


async def test_question() -> None:
    """Operators get an answer, KeyError for what it does not answer, and the reason if it is broken."""
    node = Node()
    await node.slot.run()
    assert await node.slot.ask("top", {"most": "5"}) == {"route": "top", "most": "5"}
    with pytest.raises(KeyError):
        await node.slot.ask("nothing", {})
    node.plugin.fails = PluginFailure("gone", fatal=True)
    for _ in range(2):
        with pytest.raises(PluginFailure, match="gone"):
            await node.slot.ask("top", {})
    await node.slot.close()
