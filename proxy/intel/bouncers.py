"""What each bouncer knows of our decisions, so that it is told what has changed since. Pure.

It asks with `startup=true` and gets all; then, every ten seconds, with `startup=false` what is new and what is
deleted. What it was told last is remembered here for each bouncer by itself - its name and where it asks from - and
not the time of its question: so none loses a change for a clock, and one that nobody remembers is told all.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from proxy.intel.exports import STEP, decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from models.steps import Steps
    from proxy.intel.exports import Exported

MOST_BOUNCERS: Final = 16
SAME_SECONDS: Final = 1.5  # the end of a ban is no other one for the rounding of clocks


class Bouncers:
    """The bouncers of a node."""

    def __init__(self) -> None:
        """None has asked yet."""
        self._told: OrderedDict[str, Mapping[str, Exported]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many are remembered."""
        return len(self._told)

    def changes(self, bouncer: str, bans: Mapping[str, Exported], *, startup: bool, now_s: float) -> Steps[str]:
        """Return what a bouncer is to be told, as JSON, and remember that it was.

        Args:
            bouncer: Which.
            bans: All that are to be known; not to be changed afterwards.
            startup: It knows nothing.
            now_s: Seconds since 1970.

        """
        before = {} if startup else self._told.get(bouncer, {})
        self._told[bouncer] = bans
        self._told.move_to_end(bouncer)
        if len(self._told) > MOST_BOUNCERS:
            self._told.popitem(last=False)
        if bans is before:
            return _text([], [])
        new: list[str] = []
        gone: list[str] = []
        for number, (value, ban) in enumerate(bans.items()):
            if value not in before or _other(ban, before[value]):
                new.append(json.dumps(decision(ban, now_s)))
            if number % STEP == 0:
                yield
        for number, (value, ban) in enumerate(before.items()):
            if value not in bans:
                gone.append(json.dumps(decision(ban._replace(until_s=min(ban.until_s, now_s - 1)), now_s)))
            if number % STEP == 0:
                yield
        return _text(new, gone)


def _text(new: list[str], gone: list[str]) -> str:
    return f'{{"new": [{", ".join(new)}], "deleted": [{", ".join(gone)}]}}'


def _other(ban: Exported, before: Exported) -> bool:
    return abs(ban.until_s - before.until_s) > SAME_SECONDS
