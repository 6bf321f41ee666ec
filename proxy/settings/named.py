"""Groups of settings whose members users name: HKPGUARD_PLUGINS__<NAME>__<WORD>."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from proxy.settings.sources import Fault, Setting, SettingPath


class Members(NamedTuple):
    """What settings say of each member of a group, by its name and their words, and what was wrong with some."""

    values: dict[str, dict[str, object]]
    faults: list[Fault]


@dataclass(frozen=True, slots=True)
class NamedGroup:
    """A group of settings. In a variable the hyphens of a member's name are underscores.

    Args:
        place: Where it stands: ("intel", "feeds").
        problems: Tells what is wrong with the name of a member, the word of a setting and its value.

    """

    place: SettingPath
    problems: Callable[[str, str, object], list[str]]

    def holds(self, path: SettingPath) -> bool:
        """Tell whether a setting belongs to a member."""
        return len(path) > len(self.place) and path[: len(self.place)] == self.place

    def path(self, name: str, *words: str) -> SettingPath:
        """Return where a setting of a member stands."""
        return *self.place, name.replace("-", "_"), *words

    def read(self, settings: Iterable[Setting]) -> Members:
        """Return what settings, all of which the group `holds`, say of each member."""
        members = Members(defaultdict(dict), [])
        for setting in settings:
            step, *words = setting.path[len(self.place) :]
            name, word = step.replace("_", "-"), "__".join(words)
            problems = self.problems(name, word, setting.value)
            members.faults.extend(Fault(setting.name, setting.value, problem) for problem in problems)
            if not problems:
                members.values[name][word] = setting.value
        return members
