"""Which plugins there are, and on which terms they run."""

from __future__ import annotations

import pytest

from proxy.config import Config
from proxy.plugins import catalogue as catalogues
from proxy.plugins.built_in import BUILT_IN
from proxy.plugins.catalogue import Catalogue, NoPlugin
from proxy.plugins.discovery import Installed
from proxy.settings.plugins import PluginConfig

ON = PluginConfig(mode="enforce")


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Return that of a node where one plugin is installed, one cannot be used, and one is only configured."""
    found = Installed({"installed": "package:Plugin"}, {"twice": "is installed twice"})
    monkeypatch.setattr(catalogues, "installed", lambda: found)
    settings = {"HKPGUARD_PLUGINS__ABSENT__MODE": "shadow", "HKPGUARD_PLUGINS__RATELIMIT_GEO__PERCENT": "10"}
    return Catalogue(Config.from_env(settings, try_files=False))


def test_names(catalogue: Catalogue) -> None:
    """Everybody has heard of what is built in, installed or configured, usable or not; of nothing else."""
    assert catalogue.names() == [*BUILT_IN, "installed", "twice", "absent"]
    catalogue.know("twice")
    with pytest.raises(NoPlugin):
        catalogue.know("other")


def test_terms(catalogue: Catalogue) -> None:
    """They are those of the configuration, unless an operator has set others."""
    assert catalogue.terms("ratelimit-geo").percent == 10
    assert catalogue.terms("installed") == PluginConfig()
    catalogue.by_hand["ratelimit-geo"] = ON
    assert catalogue.terms("ratelimit-geo") == ON


def test_who_should_run(catalogue: Catalogue) -> None:
    """All that are not off: built-in ones as is usual for them, those of others only if somebody says so."""
    usual = catalogue.wanted()
    assert {"antiabuse", "absent"} <= {*usual}
    assert {"installed", "ratelimit-geo"}.isdisjoint(usual)
    catalogue.by_hand |= {"installed": ON, "absent": PluginConfig(mode="off")}
    assert {*catalogue.wanted()} == {*usual, "installed"} - {"absent"}


def test_descriptions(catalogue: Catalogue) -> None:
    """What is built in says what it is though it does not run; code of others is not asked."""
    described = catalogue.description("antiabuse")
    assert described is not None
    assert described.name == "antiabuse"
    assert catalogue.description("installed") is None
