"""What a reload puts in force: of a configuration that is read again, all that needs no restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.config import Config

if TYPE_CHECKING:
    from collections.abc import Mapping

# Settings that are fixed while the processes live.
NEEDS_RESTART: Final = (
    "listen",
    "proxy_protocol",
    "upstream",
    "admin",
    "admin_token",
    "workers",
    "table_clients",
    "table_prefixes",
    "state_dir",
    "redis_url",
    "cluster",
)


class Renewed(NamedTuple):
    """A configuration that can take the place of another, and the settings that only another start would change."""

    config: Config
    needs_restart: list[str]


def renewed(environ: Mapping[str, str], running: Config, released: str = "") -> Renewed:
    """Return what a reload would put in force; ConfigError if it would be refused.

    Args:
        environ: As `Config.from_env` takes it.
        running: The configuration in force.
        released: The policy of the cluster, as TOML.

    """
    fresh = Config.from_env(environ, released=released)
    stays = [name for name in NEEDS_RESTART if getattr(fresh, name) != getattr(running, name)]
    mixed = fresh.model_copy(update={name: getattr(running, name) for name in stays})
    # Old and new must fit together as well.
    return Renewed(Config.from_env(mixed.environ(), try_files=False), stays)
