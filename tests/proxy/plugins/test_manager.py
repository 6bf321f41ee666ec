"""Which plugins run, and what becomes of changes: built-in ones here; integration tests have those with processes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import BaseModel

from fastpath.record_array import record_array
from models.steps import whole
from proxy.config import Config
from proxy.plugins import built_in as built_in_plugins
from proxy.plugins.built_in import BUILT_IN, BuiltIn
from proxy.plugins.bus import Bus
from proxy.plugins.catalogue import NoPlugin
from proxy.plugins.contract import Host, Plugin
from proxy.plugins.manager import Manager, Refused
from tests.proxy.admin.records_for_tests import block, record
from tests.proxy.plugins.test_slot import turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from fastpath import Record
    from proxy.plugins.contract import Route


class Settings(BaseModel):
    """Of a plugin."""

    most: int = 5


class Story(Plugin):
    """A plugin that writes down what happens to it.

    Attributes:
        told: What happened to all of them.
        bad: What raises.

    """

    version = "1"
    settings = Settings
    features = ("words",)
    told: ClassVar[list[str]] = []
    bad: ClassVar[set[str]] = set()

    def set_up(self, host: Host) -> None:
        """See `Plugin`."""
        self._tell("set_up")
        self.config = host.config

    def start(self) -> None:
        """See `Plugin`."""
        self._tell("start")

    def stop(self) -> None:
        """See `Plugin`."""
        self._tell("stop")

    def detectors(self) -> Sequence[Any]:
        """See `Plugin`."""
        return [self]

    def look(self, block: Any, _now_ns: int) -> list[Any]:
        """See `Detector`."""
        self._tell(f"look {','.join(str(time) for time in block['time_ns'].tolist())}")
        return []

    def health(self) -> str:
        """See `Plugin`."""
        return "unwell" if "health" in self.bad else ""

    def metrics(self) -> Mapping[str, float]:
        """See `Plugin`."""
        return {"clients": 3.0}

    def routes(self) -> Mapping[str, Route]:
        """See `Plugin`."""
        return {"most": lambda _query: {"most": self.config.most}}  # type: ignore[attr-defined]

    def _tell(self, what: str) -> None:
        self.told.append(f"{self.name} {what}")
        if what in self.bad:
            raise RuntimeError(what)


class First(Story):
    """Needed by another."""

    name = "first"


class Second(Story):
    """Needs another."""

    name = "second"
    needs = ("first",)


class Node:
    """A manager of two plugins of a test."""

    def __init__(self, folder: Path, settings: Mapping[str, str]) -> None:
        """Take settings without HKPGUARD_."""
        self.folder = folder
        self.bus = Bus()
        self.listener = self.bus.subscribe("plugin.*")
        self.manager = Manager(self.config(settings), self.bus)

    def config(self, settings: Mapping[str, str]) -> Config:
        """Return a configuration."""
        given = {f"HKPGUARD_{name}": value for name, value in settings.items()}
        return Config.from_env({"HKPGUARD_STATE_DIR": str(self.folder), **given}, try_files=False)

    def states(self) -> dict[str, tuple[str, str]]:
        """Return state and mode of the two."""
        return {each["name"]: (each["state"], each["mode"]) for each in self.manager.list() if each["name"] in NAMES}

    def feed(self, *made: Record) -> None:
        """Show records."""
        whole(self.manager.feed(record_array(block(*made))))

    async def reload(self, **settings: str) -> None:
        """Read another configuration."""
        self.manager.reload(self.config(settings))
        await turns()


NAMES = ("first", "second")
BOTH = {"PLUGINS__FIRST__MODE": "shadow", "PLUGINS__SECOND__MODE": "enforce"}
RUNNING = {"first": ("running", "shadow"), "second": ("running", "enforce")}


@pytest.fixture
async def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Return a maker of nodes, which are closed after the test."""
    for name in [name for name in BUILT_IN if name not in {"antiabuse", "ratelimit-tarpit"}]:
        monkeypatch.delitem(built_in_plugins.BUILT_IN, name)
    for plugin in (Second, First):
        monkeypatch.setitem(built_in_plugins.BUILT_IN, plugin.name, BuiltIn(plugin))
    Story.told.clear()
    Story.bad.clear()
    made: list[Node] = []

    async def node(**settings: str) -> Node:
        made.append(Node(tmp_path, settings))
        await made[-1].manager.start()
        return made[-1]

    yield node
    Story.bad.clear()
    for each in made:
        await each.manager.close()


async def test_order(make: Any) -> None:
    """Plugins are started after those that they need, and stopped before them."""
    node = await make(**BOTH)
    assert node.states() == RUNNING
    await node.manager.close()
    assert Story.told == [
        "first set_up",
        "first start",
        "second set_up",
        "second start",
        "second stop",
        "first stop",
    ]


async def test_nothing_runs_unasked(make: Any) -> None:
    """What is installed and not named is off; what hkpguard always does is listed."""
    node = await make()
    assert Story.told == []
    assert {each["name"]: each["mode"] for each in node.manager.list()} == {
        "antiabuse": "enforce",
        "ratelimit-tarpit": "enforce",
        "first": "off",
        "second": "off",
    }


async def test_missing_need(make: Any) -> None:
    """A plugin whose need is off is refused, says why, and harms nobody."""
    node = await make(PLUGINS__SECOND__MODE="shadow")
    assert node.states()["second"] == ("refused", "off")
    assert node.manager.degraded == "plugin second is not as configured"
    assert node.manager.plugin("second")["problem"] == "needs first, which is off or not there"
    assert node.manager.plugin("antiabuse")["state"] == "running"


async def test_circle(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two that need each other are both refused."""
    monkeypatch.setattr(First, "needs", ("second",))
    node = await make(**BOTH)
    assert [state for state, _ in node.states().values()] == ["refused", "refused"]
    assert "needs itself" in node.manager.plugin("first")["problem"]


async def test_need_that_is_broken(make: Any) -> None:
    """A plugin is not started while one that it needs is broken."""
    Story.bad.add("start")
    node = await make(**BOTH)
    assert [state for state, _ in node.states().values()] == ["broken", "broken"]
    assert node.manager.degraded == "plugin first is broken; plugin second is broken"
    assert node.manager.plugin("second")["problem"] == "needs first, which is broken"


async def test_need_that_is_new(make: Any) -> None:
    """A plugin that needs others when it is begun anew, for its package was replaced, is broken and says why."""
    node = await make(**BOTH)
    slot = node.manager._slots["first"]
    slot.instance.description = slot.instance.description.model_copy(update={"needs": ("third",)})
    slot.instance._started = False  # its process has ended
    node.feed(record(now_ns=1))
    await turns()
    assert node.states()["first"] == ("broken", "shadow")
    assert node.manager.plugin("first")["problem"] == "needs third, which is off or not there"


@pytest.mark.parametrize(("guard", "mode"), [("enforce", "enforce"), ("shadow", "shadow"), ("off", "shadow")])
async def test_mode_of_the_guard(make: Any, guard: str, mode: str) -> None:
    """No plugin is stricter than the guard."""
    node = await make(PLUGINS__FIRST__MODE="enforce", MODE=guard)
    assert node.states()["first"] == ("running", mode)


async def test_feed(make: Any) -> None:
    """Records come to all who look; who looks at none gets none."""
    node = await make(**BOTH)
    Story.told.clear()
    node.feed(record(now_ns=1000), record(now_ns=3000))
    await turns()
    assert sorted(Story.told) == ["first look 1000,3000", "second look 1000,3000"]
    assert node.manager.plugin("antiabuse")["counts"] == {"ok": 1}


async def test_enable_and_disable(make: Any) -> None:
    """An operator switches plugins on and off; each change is told."""
    node = await make(**BOTH)
    await node.manager.change("second", {"mode": "off"})
    await node.manager.change("first", {"mode": "enforce"})
    assert node.states() == {"first": ("running", "enforce"), "second": ("off", "off")}
    assert node.manager.plugin("second")["until_reload"]
    told = [(await anext(node.listener)).event for _ in range(len(node.listener))]
    assert [(event.plugin, event.mode) for event in told[-2:]] == [("second", "off"), ("first", "enforce")]


async def test_needed_plugin_stays(make: Any) -> None:
    """What another needs cannot be switched off."""
    node = await make(**BOTH)
    with pytest.raises(Refused, match=r"^second needs it$"):
        await node.manager.change("first", {"mode": "off"})
    assert node.states() == RUNNING


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mode": "on"}, "^mode must be off, shadow or enforce$"),
        ({"percent": "101", "call": "x"}, r"percent must be .*; call must be"),
        ({"most": "many"}, r"it cannot be started: .*most"),
    ],
)
async def test_bad_change(make: Any, values: dict[str, str], words: str) -> None:
    """A change that cannot be is refused with all reasons, and the old instance was never away."""
    node = await make(**BOTH)
    Story.told.clear()
    with pytest.raises(Refused, match=words):
        await node.manager.change("first", values)
    assert node.states() == RUNNING
    assert "first stop" not in Story.told
    assert await node.manager.ask("first", "most", {}) == {"most": 5}


async def test_settings_by_hand(make: Any) -> None:
    """A setting of its own takes effect with the swap."""
    node = await make(**BOTH)
    await node.manager.change("first", {"most": "41"})
    assert await node.manager.ask("first", "most", {}) == {"most": 41}
    assert node.manager.plugin("first")["settings"]["most"] == "41"
    assert node.states() == RUNNING


@pytest.mark.parametrize("bad", ["set_up", "start", "health"])
async def test_reload_that_fails_is_rolled_back(make: Any, bad: str) -> None:
    """A new instance that cannot be started, or is not well, does not take the place of the old one."""
    node = await make(**BOTH)
    Story.bad.add(bad)
    with pytest.raises(Refused, match="it cannot be started"):
        await node.manager.change("first", {})
    Story.bad.clear()
    Story.told.clear()
    node.feed(record(now_ns=1))
    await turns()
    assert "first look 1" in Story.told
    assert node.states() == RUNNING


async def test_reload(make: Any) -> None:
    """A new instance is started before the old one is stopped."""
    node = await make(**BOTH)
    Story.told.clear()
    await node.manager.change("first", {})
    assert Story.told == ["first set_up", "first start", "first stop"]


async def test_change_of_what_has_a_switch(make: Any) -> None:
    """There is one truth about what is older than plugins."""
    node = await make()
    with pytest.raises(Refused, match="HKPGUARD_MODE is its switch"):
        await node.manager.change("antiabuse", {"mode": "off"})
    with pytest.raises(NoPlugin):
        await node.manager.change("nothing", {})


async def test_reloaded_configuration(make: Any) -> None:
    """What has changed is changed, what has not is left alone, and what was set by hand is forgotten."""
    node = await make(**BOTH)
    await node.manager.change("second", {"percent": "10"})
    Story.told.clear()
    await node.reload(**BOTH)
    assert Story.told == ["second set_up", "second start", "second stop"]
    assert not node.manager.plugin("second")["until_reload"]
    Story.told.clear()
    await node.reload()
    assert Story.told == ["second stop", "first stop"]
    await node.reload(**BOTH)
    assert node.states() == RUNNING


async def test_reloaded_configuration_that_cannot_be(make: Any) -> None:
    """A plugin that cannot be as a reload wants it stays as it was, and the others follow."""
    node = await make(**BOTH)
    await node.reload(PLUGINS__FIRST__MODE="off", PLUGINS__SECOND__MODE="enforce", MODE="shadow")
    assert node.states() == {"first": ("running", "shadow"), "second": ("running", "shadow")}
    assert node.manager.degraded == "plugin first is not as configured"
    assert node.manager.plugin("first")["problem"] == "second needs it"


@pytest.mark.parametrize(
    ("settings", "antiabuse", "tarpit"),
    [
        ({}, "enforce", "enforce"),
        ({"MODE": "shadow"}, "shadow", "shadow"),
        ({"MODE": "off"}, "off", "off"),
        ({"TARPIT__MODE": "off"}, "enforce", "off"),
        ({"TRAPS__MODE": "shadow"}, "enforce", "shadow"),
    ],
)
async def test_what_is_older_than_plugins(make: Any, settings: dict[str, str], antiabuse: str, tarpit: str) -> None:
    """The limits and the tarpit are listed with the mode that their own settings give them."""
    node = await make(**settings)
    modes = {each["name"]: each["mode"] for each in node.manager.list()}
    assert (modes["antiabuse"], modes["ratelimit-tarpit"]) == (antiabuse, tarpit)
    switches = {each["name"]: each["switch"] for each in node.manager.list()}
    assert (switches["antiabuse"], switches["ratelimit-tarpit"]) == ("HKPGUARD_MODE", "HKPGUARD_TARPIT__MODE")
    await node.reload()
    assert {each["mode"] for each in node.manager.list() if _is_older(each["name"])} == {"enforce"}


def _is_older(name: str) -> bool:
    return name in BUILT_IN and bool(BUILT_IN[name].switch)


async def test_metrics(make: Any) -> None:
    """Who runs is up, who is broken is not; calls, and figures of their own, are there."""
    node = await make(**BOTH)
    slot = node.manager._slots["first"]
    await slot._ask(lambda instance: instance.health())
    slot.figures = {"clients": 3.0}
    slot._failed("failed", "gone", fatal=True)
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for metric in node.manager.collect()
        for sample in metric.samples
    }
    assert samples["hkpguard_plugin_up", "first"] == 0
    assert samples["hkpguard_plugin_up", "second"] == 1
    assert samples["hkpguard_plugin_calls_total", "first", "failed"] == 1
    assert samples["hkpguard_plugin_value", "first", "clients"] == 3


async def test_unready(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node wants no traffic while a plugin is broken that is declared so, and only then."""
    monkeypatch.setattr(First, "on_failure", "closed")
    node = await make(**BOTH)
    assert node.manager.unready == ""
    fail = partial(node.manager._slots["first"]._failed, "failed", "gone", fatal=True)
    fail()
    assert node.manager.unready == "plugin first is broken"


async def test_built_in_that_cannot_be_made(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A built-in plugin whose parts are missing is refused, and the analyst goes on."""

    def broken() -> Plugin:
        raise ImportError("no model library")

    monkeypatch.setitem(built_in_plugins.BUILT_IN, "first", BuiltIn(broken))
    node = await make(PLUGINS__FIRST__MODE="shadow")
    assert node.manager.plugin("first")["problem"] == "cannot be loaded: ImportError: no model library"
    assert node.manager.plugin("antiabuse")["state"] == "running"


@pytest.mark.parametrize(
    ("values", "retracted"),
    [
        ({"mode": "off"}, ["first"]),
        ({"mode": "enforce"}, ["first"]),
        ({"percent": "5"}, ["first"]),
        ({"most": "6"}, []),
    ],
)
async def test_what_was_said_before(make: Any, values: dict[str, str], retracted: list[str]) -> None:
    """Evidence of a plugin that is off, or that counts in another way now, is taken back."""

    class Told:
        def __init__(self) -> None:
            self.retracted: list[str] = []

        def hear(self, evidence: Any) -> None:
            """See `Court`."""

        def retract(self, plugin: str) -> None:
            """See `Court`."""
            self.retracted.append(plugin)

    node = await make(PLUGINS__FIRST__MODE="shadow")
    court = node.manager._court = Told()
    await node.manager.change("first", values)
    assert court.retracted == retracted
