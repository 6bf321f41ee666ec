"""Which plugins there are, and on which terms: as the configuration has them, or an operator wants them meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.plugins.built_in import BUILT_IN, mode_of
from proxy.plugins.contract import describe
from proxy.plugins.discovery import installed
from proxy.settings.plugins import PluginConfig

if TYPE_CHECKING:
    from proxy.config import Config, ModeWord
    from proxy.plugins.contract import Description


class NoPlugin(Exception):
    """There is no plugin of this name."""


class Catalogue:
    """The plugins of one node, whether they run or not.

    Attributes:
        config: The configuration of the guard.
        installed: What other packages have, as of the last look.
        by_hand: What an operator has set since the configuration was read.

    """

    def __init__(self, config: Config) -> None:
        """Look what is installed."""
        self.config = config
        self.by_hand: dict[str, PluginConfig] = {}
        self.look()

    def look(self) -> None:
        """Look again what is installed."""
        self.installed = installed()

    def terms(self, name: str) -> PluginConfig:
        """Return the configuration that a plugin is to have."""
        return self.by_hand.get(name) or self.config.plugins.get(name) or PluginConfig()

    def mode(self, name: str, terms: PluginConfig) -> ModeWord:
        """Return the mode that a plugin has with a configuration of its own."""
        return mode_of(self.config, name, terms)

    def wanted(self) -> list[str]:
        """Return the names of those that should run."""
        names = dict.fromkeys((*BUILT_IN, *self.config.plugins, *self.by_hand))
        return [name for name in names if self.mode(name, self.terms(name)) != "off"]

    def names(self) -> list[str]:
        """Return the names of all that anybody has heard of."""
        known = (*BUILT_IN, *self.installed.places, *self.installed.problems, *self.config.plugins)
        return [*dict.fromkeys(known)]

    def know(self, name: str) -> None:
        """Raise NoPlugin if nobody has heard of a name."""
        if name not in self.names():
            raise NoPlugin(name)

    def description(self, name: str) -> Description | None:
        """Return what a plugin says of itself, though it does not run; only one that is built in can be asked."""
        if name not in BUILT_IN:
            return None
        try:
            return describe(BUILT_IN[name].make(), built_in=True)
        except Exception:  # noqa: BLE001 - what it is made of may be missing; whoever has it run is told what
            return None
