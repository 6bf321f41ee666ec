"""What a reload puts in force, and what it leaves for a restart."""

import pytest

from proxy.config import Config, ConfigError
from proxy.renewal import NEEDS_RESTART, renewed

RUNNING = {"HKPGUARD_UPSTREAM": "http://127.0.0.1:11381", "HKPGUARD_WORKERS": "2"}


def test_what_needs_a_restart_stays() -> None:
    """It is named, and as it was; all else is as the environment has it now."""
    running = Config.from_env(RUNNING)
    fresh = RUNNING | {"HKPGUARD_WORKERS": "3", "HKPGUARD_ADMIN": "127.0.0.1:1", "HKPGUARD_MODE": "shadow"}
    config, stays = renewed(fresh, running)
    assert stays == ["admin", "workers"]
    assert config == running.model_copy(update={"mode": "shadow"})


def test_they_are_settings() -> None:
    """Each name is one of the configuration."""
    assert set(NEEDS_RESTART) <= set(Config.model_fields)


@pytest.mark.parametrize(
    "changed",
    [
        {"HKPGUARD_MODE": "loud"},
        {"HKPGUARD_REDIS_URL": "", "HKPGUARD_CLUSTER__SECRET": "short"},
    ],
)
def test_what_is_refused(changed: dict[str, str]) -> None:
    """A bad value, also of what needs a restart."""
    with pytest.raises(ConfigError):
        renewed(RUNNING | changed, Config.from_env(RUNNING))


def test_released() -> None:
    """The policy of the cluster counts where the environment says nothing."""
    running = Config.from_env(RUNNING)
    assert renewed(RUNNING, running, 'mode = "shadow"').config.mode == "shadow"
    assert renewed(RUNNING | {"HKPGUARD_MODE": "off"}, running, 'mode = "shadow"').config.mode == "off"
