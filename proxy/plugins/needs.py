"""In which order plugins are started: each after those that it needs."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Plan(NamedTuple):
    """The order of starting, the reverse of which is that of stopping, and why some cannot be started."""

    order: list[str]
    problems: dict[str, str]


def plan(needs: Mapping[str, Sequence[str]]) -> Plan:
    """Return a plan for plugins with these needs; whoever needs one that cannot be started cannot be either."""
    left = {name: tuple(each) for name, each in needs.items()}
    problems: dict[str, str] = {}
    while found := _missing(left) or _circle(left):
        problems |= found
        left = {name: each for name, each in left.items() if name not in found}
    return Plan(list(TopologicalSorter(left).static_order()), problems)


def _missing(needs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {
        name: f"needs {', '.join(missing)}, which is off or not there"
        for name, each in needs.items()
        if (missing := [need for need in each if need not in needs])
    }


def _circle(needs: Mapping[str, Sequence[str]]) -> dict[str, str]:
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        text = f"needs itself: {' < '.join(circle)}"  # graphlib lists each before the one that needs it
        return dict.fromkeys(circle, text)
    return {}
