"""Settings of plugins: what all have, what each has of its own, and how they are written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.config import Config, ConfigError
from proxy.settings.plugins import PluginConfig, Share, changed, plugin_config

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "HKPGUARD_PLUGINS__SLOW_REPEATS__MODE": "shadow",
    "hkpguard_plugins__slow_repeats__features": "words:10,Mails:0",
    "HKPGUARD_PLUGINS__SLOW_REPEATS__MOST": "20",
    "HKPGUARD_PLUGINS__SLOW_REPEATS__API_TOKEN": "hush-hush",
    "HKPGUARD_PLUGINS__OTHER__DEEP__LEVEL": "1",
}


def config_of(settings: dict[str, str]) -> Config:
    """Return a configuration whose plugins nobody asks."""
    return Config.from_env(settings, try_files=False)


def test_settings() -> None:
    """Underscores of a variable are hyphens of a name; what not all plugins have is the plugin's own, as written."""
    plugins = config_of(SETTINGS).plugins
    assert set(plugins) == {"slow-repeats", "other"}
    plugin = plugins["slow-repeats"]
    assert (plugin.mode, plugin.percent, plugin.features) == ("shadow", 100, (("words", 10), ("mails", 0)))
    assert plugin.own == (("api_token", "hush-hush"), ("most", "20"))
    assert plugins["other"] == PluginConfig(own=(("deep__level", "1"),))


def test_written_down_and_read_back() -> None:
    """`environ` means the same configuration; what may be a secret is not shown."""
    config = config_of(SETTINGS)
    assert config_of(config.environ()) == config
    lines = config.describe()
    assert "HKPGUARD_PLUGINS__SLOW_REPEATS__MOST=20" in lines
    assert "HKPGUARD_PLUGINS__SLOW_REPEATS__API_TOKEN=***" in lines
    assert "hush-hush" not in "".join(lines)


def test_file(tmp_path: Path) -> None:
    """TOML says the same, with its own kinds of values."""
    path = tmp_path / "hkpguard.toml"
    path.write_text('[plugins.slow_repeats]\nmode = "enforce"\nmost = 20\nstrict = true\n', encoding="utf-8")
    plugins = config_of({"HKPGUARD_CONFIG": str(path)}).plugins
    assert plugins == {"slow-repeats": PluginConfig(mode="enforce", own=(("most", "20"), ("strict", "true")))}


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("HKPGUARD_PLUGINS__X__MODE", "on", "=on: must be off, shadow or enforce"),
        ("HKPGUARD_PLUGINS__X__PERCENT", "101", "=101: must be a whole number from 0 to 100"),
        ("HKPGUARD_PLUGINS__X__FEATURES", "words", "'words' must be a feature and a percentage"),
        ("HKPGUARD_PLUGINS__X__MEMORY", "1MiB", "must be a size from 16MiB to 4096MiB"),
        ("HKPGUARD_PLUGINS__X", "1", "is a group of settings; it has mode, percent"),
        ("HKPGUARD_PLUGINS__9__MODE", "off", "is not the name of a plugin"),
        ("HKPGUARD_PLUGINS____MODE", "off", "is not the name of a plugin"),
        ("HKPGUARD_PLUGINS", "1", "is not a setting"),
    ],
)
def test_faults(name: str, value: str, words: str) -> None:
    """What is not allowed is a fault under the name that the user typed."""
    with pytest.raises(ConfigError) as caught:
        config_of({name: value})
    (fault,) = map(str, caught.value.faults)
    assert fault.startswith(name)
    assert words in fault


def test_change() -> None:
    """A change leaves everything else as it is; all that is not allowed is told at once."""
    before = plugin_config({"mode": "shadow", "call": "1s", "most": "5"})
    after = changed(before, {"mode": "enforce", "most": "6"})
    assert after == plugin_config({"mode": "enforce", "call": "1s", "most": "6"})
    with pytest.raises(ValueError, match="mode must be") as caught:
        changed(before, {"mode": "x", "percent": "-1"})
    assert len(caught.value.args) == 2


@pytest.mark.parametrize("text", ["words:101", "words", "Wörds:1", "words:-1", ":5", "words:1000"])
def test_share_that_is_none(text: str) -> None:
    """A share is a word and a percentage."""
    with pytest.raises(ValueError, match="a feature and a percentage"):
        Share().parse(text)
