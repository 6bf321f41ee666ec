"""Which plugins are installed, and whether they take their settings.

Those of others are known by their entry points, which are read without running anything. What a plugin says of itself,
and of its settings, is asked in the process that it would run in (`child.py`): no process of ours imports its code.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import entry_points
from itertools import repeat
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from proxy.plugins.built_in import BUILT_IN
from proxy.plugins.contract import Description, describe
from proxy.plugins.instance import START_SECONDS, child_command, child_environment
from proxy.plugins.needs import plan
from proxy.plugins.runner import Runner
from proxy.plugins.wire import CHECK, HEAD, Hello, Reply, SetUp, frame
from proxy.settings.plugins import NAME, PLUGINS, concealed
from proxy.settings.sources import Fault, Setting, SettingPath, variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from proxy.settings.plugins import PluginConfig, Plugins

GROUP: Final = "hkpguard.plugins"
MOST_AT_ONCE: Final = 4  # plugins that are asked


class Installed(NamedTuple):
    """The plugins of others that can be loaded, as name and MODULE:CLASS, and why some cannot."""

    places: dict[str, str]
    problems: dict[str, str]


class Checked(NamedTuple):
    """What a plugin said when it was asked about its settings."""

    description: Description | None
    faults: list[tuple[str, str]]  # which setting (`mode` if it is about none), and what is wrong


def installed() -> Installed:
    """Return the plugins of others."""
    places: dict[str, str] = {}
    problems: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        if point.name in BUILT_IN:
            problems[point.name] = f"{point.value} has the name of a built-in plugin"
        elif not NAME.fullmatch(point.name):
            problems[point.name] = "its name must be lower-case words with hyphens between them"
        elif places.setdefault(point.name, point.value) != point.value:
            problems[point.name] = f"{places[point.name]} and {point.value} have the same name"
    return Installed({name: place for name, place in places.items() if name not in problems}, problems)


def given_to(config: PluginConfig, state_dir: str = "") -> SetUp:
    """Return what a plugin is set up with."""
    return SetUp(own=dict(config.own), features=dict(config.features), state_dir=state_dir)


def plugin_conflicts(plugins: Plugins, settings: Sequence[Setting]) -> list[Fault]:
    """Return what is wrong with plugins that the configuration names: settings, needs, and whether they are there.

    Args:
        plugins: Their configurations.
        settings: Where these come from; names of faults are taken from them.

    """
    if not plugins:
        return []
    found = installed()
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:  # they are processes: one that hangs delays no other
        answers = pool.map(check, plugins.keys(), plugins.values(), repeat(found))
        checked = dict(zip(plugins, answers, strict=True))
    faults = {(name, *fault) for name, each in checked.items() for fault in each.faults}
    running = [name for name in (*BUILT_IN, *plugins) if _runs(name, plugins)]
    described = {name: each.description for name, each in checked.items() if each.description}
    needs = {name: described[name].needs if name in described else () for name in running}
    faults |= {(name, "mode", problem) for name, problem in plan(needs).problems.items()}
    by_path = {setting.path: setting for setting in settings}
    return [_fault(name, word, problem, by_path) for name, word, problem in sorted(faults)]


def _runs(name: str, plugins: Plugins) -> bool:
    if name in BUILT_IN and BUILT_IN[name].switch:
        return True
    usual = BUILT_IN[name].usual if name in BUILT_IN else "off"
    return ((plugins[name].mode if name in plugins else None) or usual) != "off"


def check(name: str, config: PluginConfig, found: Installed) -> Checked:
    """Ask a plugin about its settings; one that is off need not be there."""
    if name in BUILT_IN:
        built_in = BUILT_IN[name]
        if built_in.switch and config.mode is not None:
            return Checked(None, [("mode", f"is not to be set: {built_in.switch} is its switch")])
        plugin = built_in.make()
        return Checked(describe(plugin, built_in=True), list(Runner(plugin).faults(given_to(config)).faults))
    if name in found.problems:
        return Checked(None, [("mode", found.problems[name])])
    if (config.mode or "off") == "off":
        return Checked(None, [])
    if name not in found.places:
        there = ", ".join((*BUILT_IN, *found.places))
        return Checked(None, [("mode", f"no plugin of this name is installed; there are {there}")])
    return _ask(name, config, found.places[name])


def _ask(name: str, config: PluginConfig, place: str) -> Checked:
    """Ask a plugin in a process of its own."""
    question = frame(CHECK, given_to(config).model_dump_json().encode())
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, and a place that an installed package names
            child_command(place, config.memory),
            input=question,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(),
            timeout=START_SECONDS,
            check=False,
        )
        hello, reply = _messages(done.stdout)
    except subprocess.TimeoutExpired:
        return Checked(None, [("mode", f"cannot be loaded: no answer in {START_SECONDS:g} s")])
    except (ValueError, OSError):
        return Checked(None, [("mode", "cannot be loaded: its process ended, or answers what is not allowed")])
    if hello.description is None:
        return Checked(None, [("mode", f"cannot be loaded: {hello.failed}")])
    if hello.description.name != name:
        return Checked(None, [("mode", f"calls itself {hello.description.name}, its entry point {name}")])
    return Checked(hello.description, [*reply.faults, *([("mode", reply.failed)] if reply.failed else [])])


def _messages(data: bytes) -> tuple[Hello, Reply]:
    """Read the first frame, and the second if there is one; ValueError if they are not as they should be."""
    payloads: list[bytes] = []
    while len(data) >= HEAD.size and len(payloads) < 2:  # noqa: PLR2004 - a greeting and an answer
        size, _ = HEAD.unpack_from(data)
        payloads.append(data[HEAD.size : HEAD.size + size])
        data = data[HEAD.size + size :]
    if not payloads:
        raise ValueError("no answer")
    try:
        reply = Reply.model_validate_json(payloads[1]) if len(payloads) > 1 else Reply()
        return Hello.model_validate_json(payloads[0]), reply
    except ValidationError as error:
        raise ValueError("not an answer") from error


def _fault(name: str, word: str, problem: str, settings: Mapping[SettingPath, Setting]) -> Fault:
    path = PLUGINS.path(name, *word.split("__"))
    setting = settings.get(path, Setting(path, None, variable(path)))
    shown = None if setting.value is None else concealed(word, str(setting.value))
    return Fault(setting.name, shown, problem)
