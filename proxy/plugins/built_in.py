"""The plugins that come with hkpguard. They are thin: what they stand for is elsewhere.

Some are older than plugins and have a switch of their own among the settings. It stays the only one: the list of
plugins shows what it says, and setting a mode beside it is refused.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.plugins.contract import Plugin
from proxy.settings.limits import mildest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from proxy.config import Config, ModeWord
    from proxy.settings.plugins import PluginConfig


class AntiAbuse(Plugin):
    """Limits, budgets, traps, bans, and what verdicts and rules come to: the checks of the workers."""

    name = "antiabuse"
    version = version("hkpguard")

    def checks(self) -> Sequence[str]:
        """See `Plugin`."""
        return (
            "NotBanned",
            "NotTrapped",
            "NotSuspected",
            "OperationOffered",
            "AllowedNetwork",
            "PeersOnly",
            "AllowedOrigin",
            "WithinLimits",
        )


class RatelimitTarpit(Plugin):
    """The tarpit, which holds who walks into a trap."""

    name = "ratelimit-tarpit"
    version = version("hkpguard")


def _ml_abuse_detector() -> Plugin:
    # It loads onnxruntime, and these lines are read in every process: who does not run it goes without.
    from proxy.plugins.ml_abuse import MlAbuseDetector  # noqa: PLC0415

    return MlAbuseDetector()


def _ratelimit_ml() -> Plugin:
    from proxy.plugins.ratelimit_ml import RatelimitMl  # noqa: PLC0415 - it loads NumPy; likewise

    return RatelimitMl()


def _ratelimit_geo() -> Plugin:
    from proxy.plugins.ratelimit_geo import RatelimitGeo  # noqa: PLC0415 - likewise

    return RatelimitGeo()


def _ratelimit_threat_intel() -> Plugin:
    from proxy.plugins.ratelimit_threat_intel import RatelimitThreatIntel  # noqa: PLC0415 - likewise

    return RatelimitThreatIntel()


class BuiltIn(NamedTuple):
    """A plugin that comes with hkpguard.

    Attributes:
        make: Returns it.
        usual: Its mode where none is set.
        switch: The variable that is its mode instead; empty: it has a mode as all plugins have.
        mode: What that variable says.

    """

    make: Callable[[], Plugin]
    usual: ModeWord = "off"
    switch: str = ""
    mode: Callable[[Config], ModeWord] | None = None


def _limits(config: Config) -> ModeWord:
    return config.mode


def _tarpit(config: Config) -> ModeWord:
    if "off" in {config.mode, config.tarpit.mode}:
        return "off"
    return "enforce" if config.mode == config.traps.mode == "enforce" else "shadow"


def _adapt(config: Config) -> ModeWord:
    return mildest(config.mode, config.adapt.mode)


BUILT_IN: Final[dict[str, BuiltIn]] = {
    AntiAbuse.name: BuiltIn(AntiAbuse, "enforce", "HKPGUARD_MODE", _limits),
    RatelimitTarpit.name: BuiltIn(RatelimitTarpit, "enforce", "HKPGUARD_TARPIT__MODE", _tarpit),
    "ml-abuse-detector": BuiltIn(_ml_abuse_detector),
    "ratelimit-geo": BuiltIn(_ratelimit_geo),
    "ratelimit-ml": BuiltIn(_ratelimit_ml, "off", "HKPGUARD_ADAPT__MODE", _adapt),
    "ratelimit-threat-intel": BuiltIn(_ratelimit_threat_intel),
}


def mode_of(config: Config, name: str, own: PluginConfig) -> ModeWord:
    """Return the mode of a plugin: never stricter than that of the guard.

    Args:
        config: The configuration of the guard.
        name: Of the plugin.
        own: The configuration of the plugin.

    """
    built_in = BUILT_IN.get(name)
    if built_in is not None and built_in.mode is not None:
        return built_in.mode(config)
    word = own.mode or (built_in.usual if built_in else "off")
    return "shadow" if word == "enforce" != config.mode else word
