"""Where settings come from (environment, policy of the cluster, TOML file), and the faults that are found in them.

A source becomes a flat list of `Setting`, each with its path (`("limits", "cert", "burst")`), its raw value
and its name as the user typed it. What the values mean is not known here: see `kinds.py`, `proxy/config.py`.
"""

import re
import tomllib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Final, NamedTuple

PREFIX: Final = "HKPGUARD_"
FILE_KEY: Final = ("config",)
RELEASED: Final = "the policy of the cluster"
URL_USER: Final = re.compile(r"//\S*@")  # greedy: a password may hold an @ and a comma
URL_QUERY: Final = re.compile(r"(//[^\s?]+\?)[^\s\"]+")  # where some have their keys
MASK: Final = "***"
LONGEST_VALUE: Final = 80  # characters of a value that are repeated in a fault

SettingPath = tuple[str, ...]


class Fault(NamedTuple):
    """One thing wrong with the configuration."""

    name: str  # as typed by the user: HKPGUARD_MODE, or "mode in /etc/hkpguard.toml"
    value: object  # as given; None if it is not about a value
    problem: str

    def __str__(self) -> str:
        """Return one line for the operator, without passwords."""
        given = "" if self.value is None else f"={_shortened(masked(self.value))}"
        return f"{self.name}{given}: {masked(self.problem)}"


class ConfigError(Exception):
    """The configuration cannot be used; holds every fault that was found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults, at least one."""
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


class Setting(NamedTuple):
    """One value as the user gave it."""

    path: SettingPath
    value: object
    name: str


class Reading(NamedTuple):
    """What the sources say: known settings by path, and what was wrong with the rest."""

    settings: dict[SettingPath, Setting]
    faults: list[Fault]


def masked(value: object) -> str:
    """Return a value as text, with the user and password of every URL hidden, and its query."""
    return URL_QUERY.sub(rf"\1{MASK}", URL_USER.sub(f"//{MASK}@", str(value)))


def variable(path: SettingPath) -> str:
    """Return the environment variable of a setting: HKPGUARD_LIMITS__CERT__BURST."""
    return PREFIX + "__".join(path).upper()


def read(
    environ: Mapping[str, str],
    known: Collection[SettingPath],
    taken: Callable[[SettingPath], bool] = lambda _: False,
    released: str = "",
) -> Reading:
    """Read the environment, what was released for the whole cluster (TOML), and the file that the environment names.

    The environment wins over what was released, and that over the file. Unknown and repeated keys are faults; what is
    `taken` is known to somebody else.
    """
    from_environment = _environment(environ)
    file = next((setting for setting in from_environment if setting.path == FILE_KEY), None)
    from_environment = [setting for setting in from_environment if setting.path != FILE_KEY]
    from_file, file_faults = _file(file) if file else ([], [])
    from_release, release_faults = toml(released, RELEASED, Fault(RELEASED, None, "is not TOML"))
    faults = [*file_faults, *release_faults]
    for source in (from_file, from_release, from_environment):
        faults += _repeated(source)
        faults += [fault for setting in source if not taken(setting.path) and (fault := _unknown(setting, known))]
    all_sources = (*from_file, *from_release, *from_environment)
    every = {setting.path: setting for setting in all_sources if setting.path in known or taken(setting.path)}
    return Reading(every, faults)


def nested(settings: Mapping[SettingPath, Setting]) -> dict[str, object]:
    """Return the values as the tree that their paths spell. No path may be the beginning of another."""
    tree: dict[str, object] = {}
    for path, setting in settings.items():
        node = tree
        for step in path[:-1]:
            node = node.setdefault(step, {})  # type: ignore[assignment]  # inner nodes are ours, always dicts
        node[path[-1]] = setting.value
    return tree


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def in_environment(environ: Mapping[str, str]) -> Mapping[SettingPath, str]:
    """Return the variables of an environment by what they set."""
    return {setting.path: setting.name for setting in _environment(environ)}


def _environment(environ: Mapping[str, str]) -> list[Setting]:
    return [
        Setting(tuple(name[len(PREFIX) :].lower().split("__")), value, name)
        for name, value in environ.items()
        if name.upper().startswith(PREFIX)
    ]


def _file(setting: Setting) -> tuple[list[Setting], list[Fault]]:
    path = Path(str(setting.value))
    not_toml = Fault(setting.name, setting.value, "is not TOML")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        return [], [Fault(setting.name, setting.value, f"cannot be read: {error.strerror}")]
    except UnicodeDecodeError as error:
        return [], [not_toml._replace(problem=f"is not TOML: {error}")]
    return toml(text, str(path), not_toml)


def toml(text: str, where: str, not_toml: Fault) -> tuple[list[Setting], list[Fault]]:
    """Return the settings of a TOML text, and what is wrong with it.

    Args:
        text: The text.
        where: What names of settings say after `in`.
        not_toml: The fault if it is none; its problem is completed.

    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return [], [not_toml._replace(problem=f"{not_toml.problem}: {error}")]
    return list(_leaves(table, (), where)), []


def _leaves(table: Mapping[str, object], above: SettingPath, file: str) -> Iterator[Setting]:
    for key, value in table.items():
        path = (*above, key)
        if isinstance(value, dict) and value:
            yield from _leaves(value, path, file)
        else:
            yield Setting(tuple(step.lower() for step in path), value, f"{'.'.join(path)} in {file}")


def _repeated(settings: Sequence[Setting]) -> list[Fault]:
    """Find keys that differ only in case; which of them wins would be chance."""
    times = Counter(setting.path for setting in settings)
    again = [setting for setting in settings if times[setting.path] > 1]
    return [Fault(setting.name, None, "is set more than once, spelt differently") for setting in again]


def _unknown(setting: Setting, known: Collection[SettingPath]) -> Fault | None:
    if setting.path in known:
        return None
    depth = len(setting.path)
    below = sorted({path[depth] for path in known if path[:depth] == setting.path})
    if below and setting.value == {}:
        return None  # a TOML table with nothing in it
    if below:
        return Fault(setting.name, setting.value, f"is a group of settings; it has {', '.join(below)}")
    return Fault(setting.name, None, f"is not a setting{_hint('__'.join(setting.path), known)}")


def _hint(wrong: str, known: Collection[SettingPath]) -> str:
    names = {"__".join(path): path for path in known}
    near = get_close_matches(wrong, names, n=1, cutoff=0.75)
    return f"; did you mean {variable(names[near[0]])}?" if near else ""
