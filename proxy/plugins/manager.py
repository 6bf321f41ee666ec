"""The plugins of a node: which there are, which run, and in which mode. Part of the analyst.

    built-in plugins, entry points -> opened (what are you?) -> plan (needs) -> slots, started in order

The configuration says what runs. An operator may say otherwise for a while: that holds until the next reload of the
configuration, or until the analyst begins anew. A change is a swap: another instance is started beside the old one and
takes its place between two calls; if it cannot be started, the old one was never away.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import monotonic_ns
from proxy.courtesy import Courtesy
from proxy.plugins.built_in import BUILT_IN
from proxy.plugins.catalogue import Catalogue, NoPlugin
from proxy.plugins.court import NoCourt
from proxy.plugins.discovery import given_to
from proxy.plugins.events import PluginChanged
from proxy.plugins.instance import Hosted, PluginFailure, Resident
from proxy.plugins.needs import plan
from proxy.plugins.runner import reason_of
from proxy.plugins.slot import Means, Slot
from proxy.settings.plugins import PLUGINS, PluginConfig, changed, shown
from proxy.settings.sources import variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray
    from prometheus_client.core import Metric

    from models.steps import Steps
    from proxy.config import Config
    from proxy.plugins.bus import Bus
    from proxy.plugins.contract import Common, Description
    from proxy.plugins.court import Court
    from proxy.plugins.instance import Instance
    from proxy.plugins.wire import Reply
    from proxy.policy.fusion import Evidence

CLOSE_SECONDS: Final = 1.5  # the supervisor does not wait much longer
FOLDER: Final = "plugins"  # in HKPGUARD_STATE_DIR
OUTCOMES: Final = ("ok", "failed", "late")


class Refused(Exception):
    """A change was not made, and everything is as it was; the text says why."""


class Manager(Collector):
    """All plugins of one node."""

    def __init__(
        self,
        config: Config,
        bus: Bus,
        court: Court | None = None,
        *,
        common: Common | None = None,
        courtesy: Courtesy | None = None,
    ) -> None:
        """Know the configuration; nothing runs yet.

        Args:
            config: The configuration.
            bus: For the events of plugins, and about them.
            court: Weighs what plugins find, that of plugins in shadow mode as well; without one nobody does.
            common: For plugins that are built in.
            courtesy: After each step of their work.

        """
        self._bus = bus
        self._court = court or NoCourt()
        self._common = common
        self._courtesy = courtesy or Courtesy()
        self._log = structlog.get_logger().bind(process="analyst")
        self._catalogue = Catalogue(config)
        self._slots: dict[str, Slot] = {}  # in the order of starting
        self._refused: dict[str, str] = {}  # why those that should run do not
        self._changing = asyncio.Lock()
        self._reloading: asyncio.Task[None] | None = None

    # Life.

    async def start(self) -> None:
        """Start all plugins that are not off, each after those that it needs."""
        async with self._changing:
            await self._start_missing()

    async def close(self) -> None:
        """Drain and stop all, the last one first; who takes too long is killed."""
        if self._reloading is not None:
            self._reloading.cancel()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                for name in reversed([*self._slots]):
                    await self._slots[name].close()
        except TimeoutError:
            for slot in self._slots.values():
                slot.instance.kill()

    def reload(self, config: Config) -> None:
        """Go on by another configuration, and forget what was set by hand; what has not changed is left alone."""
        self._catalogue.config = config
        self._reloading = asyncio.create_task(self._follow())

    def feed(self, records: NDArray[np.void]) -> Steps[None]:
        """Hand records, at least one, in the order of time, to all that run; step by step, and waiting for nobody."""
        if self._common is not None:
            yield from self._common.watch.feed(records)
        for slot in self._slots.values():
            if slot.instance.looks:
                slot.feed(records)

    async def _start_missing(self) -> None:
        self._catalogue.look()
        missing = [name for name in self._catalogue.wanted() if name not in self._slots]
        opened = dict(zip(missing, await asyncio.gather(*map(self._open, missing)), strict=True))
        there = {name: slot.instance for name, slot in self._slots.items()}
        running = there | {name: instance for name, instance in opened.items() if instance is not None}
        order, problems = plan({name: instance.description.needs for name, instance in running.items()})
        for name, problem in problems.items():
            self._refuse(name, problem)
            running[name].kill()
        for name in order:
            if name not in self._slots:
                self._slots[name] = slot = self._slot(running[name], self._catalogue.terms(name))
                await slot.run()
                self._tell(name)

    async def _open(self, name: str) -> Instance | None:
        try:
            return await self._opened(name, self._catalogue.terms(name))
        except PluginFailure as error:
            self._refuse(name, str(error))
        return None

    async def _opened(self, name: str, config: PluginConfig) -> Instance:
        """Return a new instance that is opened.

        Raises:
            PluginFailure: There is none.

        """
        if name in BUILT_IN:
            return self._resident(name)
        installed = self._catalogue.installed
        if name not in installed.places:
            raise PluginFailure(installed.problems.get(name, "is not installed"))
        instance = Hosted(installed.places[name], call_ns=config.call_ns, memory_bytes=config.memory)
        await instance.open()
        if instance.description.name != name:
            instance.kill()
            raise PluginFailure(f"calls itself {instance.description.name}, its entry point {name}")
        return instance

    def _resident(self, name: str) -> Resident:
        try:
            return Resident(BUILT_IN[name].make(), self._bus, self._courtesy, self._common)
        except Exception as error:  # what it is made of may be missing; the analyst goes on without it
            raise PluginFailure(f"cannot be loaded: {reason_of(error)}") from error

    def _slot(self, instance: Instance, config: PluginConfig) -> Slot:
        name = instance.description.name

        async def start(instance: Instance) -> None:
            for need in instance.description.needs:  # it may need others than at first: a new process, another version
                if need not in self._slots:
                    raise PluginFailure(f"needs {need}, which is off or not there", fatal=True)
                if self._slots[need].breaker.open:
                    raise PluginFailure(f"needs {need}, which is broken", fatal=True)
            await self._begin(name, instance, self._slots[name].config)

        means = Means(start, self._bus, self._log.bind(plugin=name), monotonic_ns, self._hear)
        return Slot(instance, config, self._catalogue.mode(name, config), means)

    async def _hear(self, evidence: list[Evidence]) -> None:
        await self._courtesy.through(self._court.hear(evidence))

    async def _begin(self, name: str, instance: Instance, config: PluginConfig) -> Reply:
        return await instance.start(given_to(config, str(Path(self._catalogue.config.state_dir) / FOLDER / name)))

    # Changes.

    async def change(self, name: str, values: Mapping[str, object]) -> None:
        """Set a plugin otherwise until the next reload: switch it on or off, or another of its settings.

        With no values it is begun anew, from the code that is installed now.

        Raises:
            NoPlugin: There is none of this name.
            Refused: It cannot be so; all is as it was.

        """
        async with self._changing:
            self._catalogue.look()
            self._catalogue.know(name)
            if name in BUILT_IN and BUILT_IN[name].switch and "mode" in values:
                raise Refused(f"{BUILT_IN[name].switch} is its switch: set that and reload")
            try:
                config = changed(self._catalogue.terms(name), values)
            except ValueError as error:
                raise Refused("; ".join(map(str, error.args))) from None
            await self._become(name, config)
            self._catalogue.by_hand[name] = config

    async def _become(self, name: str, config: PluginConfig) -> None:
        """Make a plugin what `config` says."""
        if self._catalogue.mode(name, config) == "off":
            await self._switch_off(name)
        else:
            await self._swap(name, config)
        self._refused.pop(name, None)
        self._tell(name)

    async def _switch_off(self, name: str) -> None:
        needed_by = [other for other, slot in self._slots.items() if name in slot.instance.description.needs]
        if needed_by:
            raise Refused(f"{', '.join(needed_by)} needs it")
        if slot := self._slots.pop(name, None):
            await slot.close()
            self._court.retract(name)

    async def _swap(self, name: str, config: PluginConfig) -> None:
        """Start a new instance, and put it in the place of the old one if there is one."""
        fresh: Instance | None = None
        try:
            fresh = await self._opened(name, config)
            self._check_needs(fresh.description)
            _check_health(await self._begin(name, fresh, config))
        except PluginFailure as error:
            if fresh is not None:
                fresh.kill()
            raise Refused(f"it cannot be started: {error}") from None
        if slot := self._slots.get(name):
            before = (slot.mode, slot.config.percent)
            await slot.replace(fresh, config, self._catalogue.mode(name, config))
            if (slot.mode, config.percent) != before:
                self._court.retract(name)  # it was said under other terms
        else:
            self._slots[name] = self._slot(fresh, config)
            await self._slots[name].run()

    def _check_needs(self, description: Description) -> None:
        needs = {name: slot.instance.description.needs for name, slot in self._slots.items()}
        problem = plan({**needs, description.name: description.needs}).problems.get(description.name)
        if problem:
            raise PluginFailure(problem)

    async def _follow(self) -> None:
        """Bring what runs in line with the configuration; who cannot be changed stays as it was."""
        async with self._changing:
            self._catalogue.by_hand.clear()
            self._refused.clear()
            for name in reversed([*self._slots]):  # whoever needs another is switched off before it
                config = self._catalogue.terms(name)
                if (self._slots[name].config, self._slots[name].mode) == (config, self._catalogue.mode(name, config)):
                    continue
                try:
                    await self._become(name, config)
                except Refused as error:
                    self._refuse(name, str(error))
            await self._start_missing()

    def _refuse(self, name: str, reason: str) -> None:
        self._refused[name] = reason
        self._log.error("plugin refused", plugin=name, reason=reason)

    def _tell(self, name: str) -> None:
        slot = self._slots.get(name)
        version = slot.instance.description.version if slot else ""
        self._bus.publish(PluginChanged(plugin=name, version=version, mode=slot.mode if slot else "off"))

    # What operators ask.

    @property
    def degraded(self) -> str:
        """What does not work as it should, without the words of plugins; empty if all is well."""
        refused = (f"plugin {name} is not as configured" for name in self._refused)
        return "; ".join(filter(None, (*refused, *(slot.degraded for slot in self._slots.values()))))

    @property
    def unready(self) -> str:
        """Why the node wants no traffic: a plugin without which it is not to work is broken; empty if none is."""
        return "; ".join(slot.degraded for slot in self._slots.values() if slot.unready)

    def list(self) -> list[dict[str, Any]]:
        """Return all plugins as plain data for JSON."""
        return [self.plugin(name) for name in self._catalogue.names()]

    def plugin(self, name: str) -> dict[str, Any]:
        """Return one plugin as plain data for JSON; NoPlugin if there is none of this name."""
        self._catalogue.know(name)
        config, slot = self._catalogue.terms(name), self._slots.get(name)
        described = slot.instance.description if slot else self._catalogue.description(name)
        built_in = BUILT_IN.get(name)
        return {
            "name": name,
            "version": described.version if described else "",
            "built_in": built_in is not None,
            "mode": slot.mode if slot else "off",
            "state": self._state(name),
            "problem": self._refused.get(name) or (slot.problem if slot else ""),
            "switch": (built_in.switch if built_in else "") or variable(PLUGINS.path(name, "mode")),
            "until_reload": name in self._catalogue.by_hand,
            "needs": list(described.needs) if described else [],
            "features": list(described.features) if described else [],
            "checks": list(described.checks) if described else [],
            "on_failure": described.on_failure if described else "open",
            "counts": dict(slot.counts) if slot else {},
            "settings": shown(config),
            "schema": described.settings if described else {},
        }

    def _state(self, name: str) -> str:
        slot = self._slots.get(name)
        if slot is None:
            return "refused" if name in self._refused else "off"
        return "broken" if slot.breaker.open else "running"

    async def ask(self, name: str, route: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return what a plugin answers to an operator.

        Raises:
            NoPlugin: It does not run, or has no such route.
            PluginFailure: It did not answer.

        """
        slot = self._slots.get(name)
        if slot is None or route not in slot.instance.routes:
            raise NoPlugin(name)
        return await slot.ask(route, query)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all plugins that run."""
        up = GaugeMetricFamily("hkpguard_plugin_up", "Plugins that run: 1, or 0 if broken", labels=("plugin",))
        calls = CounterMetricFamily("hkpguard_plugin_calls", "What plugins were asked", labels=("plugin", "outcome"))
        evidence = CounterMetricFamily("hkpguard_plugin_evidence", "Evidence that they found", labels=("plugin",))
        dropped = CounterMetricFamily("hkpguard_plugin_records_dropped", "Records they missed", labels=("plugin",))
        figures = GaugeMetricFamily("hkpguard_plugin_value", "Figures of their own", labels=("plugin", "name"))
        for name, slot in self._slots.items():
            up.add_metric((name,), not slot.breaker.open)
            evidence.add_metric((name,), slot.counts["evidence"])
            dropped.add_metric((name,), slot.counts["dropped"])
            for outcome in OUTCOMES:
                calls.add_metric((name, outcome), slot.counts[outcome])
            for figure, value in slot.figures.items():
                figures.add_metric((name, figure), value)
        yield from (up, calls, evidence, dropped, figures)


def _check_health(reply: Reply) -> None:
    if reply.health:
        raise PluginFailure(reply.health)
