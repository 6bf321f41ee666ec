"""Settings of plugins: those that all plugins have, and what each has of its own.

    HKPGUARD_PLUGINS__<NAME>__MODE=shadow        of all plugins: the fields of `PluginConfig`
    HKPGUARD_PLUGINS__<NAME>__WORDS=30           of its own: handed to the plugin as it was written

Which plugins there are, and what each of them allows, is not known here: see `proxy/plugins/discovery.py`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, NamedTuple

from pydantic import Field

from proxy.settings.kinds import MIB, MILLISECOND, SECOND, Choice, Duration, Kind, ListOf, OrEmpty, Size, Whole
from proxy.settings.limits import ModeWord
from proxy.settings.named import NamedGroup
from proxy.settings.section import Key, Section, keys
from proxy.settings.sources import MASK, Fault, Setting, variable

NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+){0,7}")
FEATURE: Final = re.compile(r"(?P<name>[a-z][a-z0-9_]{0,31}):(?P<percent>[0-9]{1,3})")
SECRETIVE: Final = re.compile(r"secret|token|password|key")
ALL: Final = 100  # per cent


@dataclass(frozen=True, slots=True)
class Share(Kind[tuple[str, int]]):
    """A feature of a plugin, and for how many of a hundred clients it is on."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"a feature and a percentage, such as words:10 (0 to {ALL})"

    def parse(self, given: object) -> tuple[str, int]:
        """See `Kind`."""
        match = FEATURE.fullmatch(given.strip().lower()) if isinstance(given, str) else None
        if not match or int(match["percent"]) > ALL:
            raise self.refusal()
        return match["name"], int(match["percent"])

    def render(self, value: tuple[str, int]) -> str:
        """See `Kind`."""
        return f"{value[0]}:{value[1]}"


class PluginConfig(Section):
    """What all plugins have."""

    mode: Annotated[ModeWord | None, OrEmpty(Choice(("off", "shadow", "enforce")))] = None  # the plugin's usual one
    percent: Annotated[int, Whole(0, ALL)] = ALL  # of clients for whom `enforce` holds; for the others it is shadow
    features: Annotated[tuple[tuple[str, int], ...], ListOf(Share())] = ()  # those that are not on for everybody
    call_ns: Annotated[int, Duration(MILLISECOND, 10 * SECOND)] = Field(default=500 * MILLISECOND, alias="call")
    memory: Annotated[int, Size(16 * MIB, 4096 * MIB)] = 128 * MIB  # beyond what its empty process has
    own: tuple[tuple[str, str], ...] = ()  # its own settings, as they were written


COMMON: Final[Mapping[str, Key]] = {key.path[0]: key for key in keys(PluginConfig, besides=("own",))}
Plugins = Mapping[str, PluginConfig]


class PluginsReading(NamedTuple):
    """The settings of plugins by their names, and what was wrong with some."""

    plugins: dict[str, PluginConfig]
    faults: list[Fault]


def _problems(name: str, word: str, value: object) -> list[str]:
    if not NAME.fullmatch(name):
        return ["is not the name of a plugin: lower-case words with _ between them"]
    if not word:
        return [f"is a group of settings; it has {', '.join(COMMON)}, and what the plugin has of its own"]
    return COMMON[word].kind.problems(value) if word in COMMON else []


PLUGINS: Final = NamedGroup(("plugins",), _problems)


def read_plugins(settings: Iterable[Setting]) -> PluginsReading:
    """Return what settings of PLUGINS say of each plugin."""
    given, faults = PLUGINS.read(settings)
    return PluginsReading({name: plugin_config(values) for name, values in given.items()}, faults)


def plugin_config(values: Mapping[str, object]) -> PluginConfig:
    """Return the configuration that valid values make, those of its own among them."""
    own = tuple(sorted((word, _text(value)) for word, value in values.items() if word not in COMMON))
    return PluginConfig.model_validate({**{word: values[word] for word in values if word in COMMON}, "own": own})


def changed(config: PluginConfig, values: Mapping[str, object]) -> PluginConfig:
    """Return a configuration with other values.

    Raises:
        ValueError: With one argument for each that is not allowed.

    """
    problems = [
        f"{word} {problem}"
        for word, value in values.items()
        if word in COMMON
        for problem in COMMON[word].kind.problems(value)
    ]
    if problems:
        raise ValueError(*problems)
    return plugin_config({**dict(_texts(config)), **values})


def settings_of(plugins: Plugins) -> Iterator[tuple[str, str]]:
    """Yield the settings of all plugins as an environment has them; those that have their default are left out."""
    for name, config in sorted(plugins.items()):
        for word, text in _texts(config):
            yield variable(PLUGINS.path(name, word)), text


def shown(config: PluginConfig) -> dict[str, Any]:
    """Return all settings of a plugin as text, without what may be a secret."""
    common = {word: key.text(config) for word, key in COMMON.items()}
    return common | {word: concealed(word, text) for word, text in config.own}


def concealed(word: str, text: str) -> str:
    """Return a value of a plugin's own setting, or a mask if its name says that it is secret."""
    return MASK if text and SECRETIVE.search(word.lower()) else text


def _texts(config: PluginConfig) -> Iterator[tuple[str, str]]:
    usual = PluginConfig()
    yield from ((word, text) for word, key in COMMON.items() if (text := key.text(config)) != key.text(usual))
    yield from config.own


def _text(value: object) -> str:
    """Return a value of TOML as the environment would have it."""
    return value if isinstance(value, str) else json.dumps(value)
