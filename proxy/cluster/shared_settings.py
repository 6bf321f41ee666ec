"""Which settings may be released for all nodes: those that say how clients are treated, not those of one machine.

A setting is shared if a reload can change it, and its value means the same on every node. So no addresses to listen on,
no sizes of shared memory, no secrets, and no paths of files: a file of that name may be another one elsewhere, or be
missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.config import KEYS
from proxy.settings.intel import FEEDS
from proxy.settings.kinds import FilePath, OrEmpty
from proxy.settings.plugins import COMMON, PLUGINS
from proxy.settings.sources import RELEASED, Fault, in_environment, toml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.settings.sources import Setting, SettingPath

MOST_POLICY_BYTES: Final = 256 * 1024
MOST_FAULTS: Final = 8  # that are told
GROUPS: Final = frozenset(
    {
        "adapt",
        "allow",
        "bans",
        "budgets",
        "cache",
        "intel",
        "limits",
        "misses",
        "mode",
        "networks",
        "origin_rules",
        "peers",
        "profile",
        "ratelimit_headers",
        "shared_exits",
        "static_paths",
        "sync",
        "tarpit",
        "traps",
        "unknown",
        "uploads",
        "verdicts",
        "word_min_chars",
        "word_search",
    }
)
# Of these groups, but sizes of one machine's memory.
OWN: Final = frozenset({("cache", "bytes"), ("tarpit", "connections"), ("tarpit", "kernel_bytes")})
NOT_SHARED: Final = "is of each node by itself, and cannot be released for all: set it in the environment or file there"


def is_shared(path: SettingPath) -> bool:
    """Tell whether a setting may be released for all."""
    if PLUGINS.holds(path):
        return path[2:3] != () and path[2] in COMMON  # what it has of its own may be a secret or a path
    if path not in KEYS or path in OWN or path[0] not in GROUPS or FEEDS.holds(path):
        return False
    kind = KEYS[path].kind
    return not kind.secret and not isinstance(kind.inner if isinstance(kind, OrEmpty) else kind, FilePath)


def read_shared(data: bytes) -> tuple[list[Setting], list[Fault]]:
    """Return the settings of a policy, and what is wrong with it, as far as it is wrong on every node."""
    if len(data) > MOST_POLICY_BYTES:
        return [], [Fault(RELEASED, None, f"is longer than {MOST_POLICY_BYTES} bytes")]
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        return [], [Fault(RELEASED, None, f"is not TOML: {error}")]
    settings, faults = toml(text, RELEASED, Fault(RELEASED, None, "is not TOML"))
    known = [
        setting
        for setting in settings
        if setting.path in KEYS or PLUGINS.holds(setting.path) or FEEDS.holds(setting.path)
    ]
    return settings, faults + [Fault(each.name, None, NOT_SHARED) for each in known if not is_shared(each.path)]


def overridden(settings: list[Setting], environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the variables of an environment that win over what is released."""
    variables = in_environment(environ)
    return tuple(sorted({variables[setting.path] for setting in settings if setting.path in variables}))


def told(faults: list[Fault]) -> str:
    """Return faults in a line."""
    more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
    return "; ".join(map(str, faults[:MOST_FAULTS])) + more
