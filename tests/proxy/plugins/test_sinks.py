"""Where events go by themselves: the log, and a webhook if there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from proxy.config import Config
from proxy.plugins.bus import Bus
from proxy.plugins.events import BanLifted, PluginBroken, UpstreamUp
from proxy.plugins.sinks import Sinks
from tests.proxy.plugins.test_slot import turns
from tests.proxy.plugins.test_webhook import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

LIFTED = BanLifted(network="192.0.2.7", origin="manual", by="operator")
WEBHOOK = {"EVENTS__WEBHOOK__URL": "http://127.0.0.1:9/", "EVENTS__WEBHOOK__SECRET": SECRET}


class Node:
    """Sinks of a bus."""

    def __init__(self, **settings: str) -> None:
        """Take settings without HKPGUARD_."""
        self.bus = Bus(boot="boot")
        self.sinks = Sinks(config(**settings), self.bus)

    def figures(self) -> dict[tuple[str, ...], float]:
        """Return the samples by name and labels."""
        families = self.sinks.collect()
        return {(each.name, *each.labels.values()): each.value for family in families for each in family.samples}


def config(**settings: str) -> Config:
    """Return a configuration."""
    return Config.from_env({f"HKPGUARD_{name}": value for name, value in settings.items()})


@pytest.fixture
def node() -> Iterator[Node]:
    """Return sinks that tell of bans as well."""
    node = Node(EVENTS__LOG="*")
    yield node
    node.sinks.close()


async def test_log(node: Node) -> None:
    """Events are lines of the log, those that mean trouble are warnings, and addresses are left out."""
    node.sinks.start()
    with capture_logs() as log:
        await turns()
        node.bus.publish(LIFTED)
        node.bus.publish(PluginBroken(plugin="x", reason="gone", seconds=5.0))
        await turns()
    lifted = {
        "event": "ban.lifted",
        "origin": "manual",
        "by": "operator",
        "node": "",
        "id": "boot-1",
        "log_level": "info",
    }
    broken = {"event": "plugin.broken", "plugin": "x", "seconds": 5.0, "id": "boot-2"}
    assert log == [{"process": "analyst", **line} for line in (lifted, {**broken, "log_level": "warning"})]


@pytest.mark.parametrize(("addresses", "logged"), [("off", None), ("on", "192.0.2.7")])
async def test_addresses_in_the_log(addresses: str, logged: str | None) -> None:
    """Addresses stand in the log only where all of it may have them."""
    node = Node(EVENTS__LOG="ban.*", LOG__ADDRESSES=addresses)
    node.sinks.start()
    with capture_logs() as log:
        await turns()
        node.bus.publish(LIFTED)
        await turns()
    node.sinks.close()
    assert [line.get("network") for line in log] == [logged]


async def test_reload() -> None:
    """Another configuration takes effect; the same one interrupts nothing."""
    node = Node(EVENTS__LOG="ban.*")
    node.sinks.start()
    await turns()
    before = node.sinks._tasks[0]
    node.sinks.reload(config(EVENTS__LOG="ban.*"))
    assert node.sinks._tasks[0] is before
    node.sinks.reload(config(EVENTS__LOG="upstream.*", EVENTS__REPLAY="1"))
    with capture_logs() as log:
        await turns()
        node.bus.publish(LIFTED)
        node.bus.publish(UpstreamUp(upstream="a:1"))
        await turns()
    node.sinks.close()
    assert [line["event"] for line in log] == ["upstream.up"]
    assert len(node.bus.subscribe("*", after="")) == 1


async def test_metrics() -> None:
    """Events are counted by kind, and what became of those for the webhook; without one there is none."""
    node = Node(**WEBHOOK, EVENTS__WEBHOOK__QUEUE="16")
    node.sinks.start()
    for _ in range(20):
        node.bus.publish(LIFTED)
    assert node.figures()["hkpguard_events_total", "ban.lifted"] == 20
    assert node.figures()["hkpguard_webhook_total", "dropped"] == 4
    node.sinks.close()
    assert node.figures()["hkpguard_webhook_total", "dropped"] == 0
