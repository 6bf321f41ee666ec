"""Watches the budgets of everybody, so that the operator hears of a flood before it slows anybody. Part of the analyst.

    calm --half of the burst is used--> filling --the next one would wait--> slowing
      ^------------- less than a quarter is used: there is room again ---------'

What slows first is who had most lately (`proxy.policy.sharing`); a member that uses up its own part is slowed before,
and that is no matter of everybody's. Where a burst is small it may be gone between two looks: then the first line is
the one that tells of slowing.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

import structlog

from fastpath import Mode
from proxy.plugins.events import BudgetAlarm, Event, unheard
from proxy.policy.budgets import BudgetKind
from proxy.policy.policy import budget_limit
from proxy.policy.sharing import is_slow, used

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from fastpath import BucketTable, Limit
    from proxy.config import Config
    from proxy.settings.limits import BudgetName

FILLING_FROM: Final = 0.5
CALM_BELOW: Final = 0.25
_KINDS: Final[Mapping[BudgetName, BudgetKind]] = {
    "exit_uploads": BudgetKind.EXIT_UPLOADS,
    "new_certs": BudgetKind.NEW_CERTS,
}
_OF: Final[Mapping[BudgetName, str]] = {
    "exit_uploads": "uploads from shared exits",
    "new_certs": "new certificates",
}


class Stage(IntEnum):
    """How it stands with a budget."""

    CALM = 0
    FILLING = 1
    SLOWING = 2


_EVENTS: Final = {
    Stage.CALM: "a budget of everybody has room again",
    Stage.FILLING: "half of a budget of everybody is used",
    Stage.SLOWING: "a budget of everybody is used up: uploads have to wait",
}


class BudgetWatch:
    """The budgets of a node that are of everybody; those that are off are not watched."""

    def __init__(self, config: Config, buckets: BucketTable, *, publish: Callable[[Event], None] = unheard) -> None:
        """`buckets`: of the node; they are only looked at."""
        self._publish = publish
        self._log = structlog.get_logger().bind(process="analyst")
        self._buckets = buckets
        self._stages: dict[BudgetName, Stage] = {}
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        limits = {name: budget_limit(config, name) for name in _KINDS}
        self._limits: dict[BudgetName, Limit] = {name: limit for name, limit in limits.items() if limit is not None}
        self._stages = {name: self._stages.get(name, Stage.CALM) for name in self._limits}

    def used(self, now_ns: int) -> dict[BudgetName, float]:
        """Return how much of the burst of each is used; above 1 some wait for what is yet to come."""
        return {name: used(limit, _KINDS[name], self._buckets, now_ns) for name, limit in self._limits.items()}

    def turn(self, now_ns: int) -> None:
        """Look, and tell what has changed; as often as one likes, each second is enough."""
        for name, part in self.used(now_ns).items():
            before, limit = self._stages[name], self._limits[name]
            after = Stage.CALM if part < CALM_BELOW else max(before, _stage(limit, part))
            if after is not before:
                self._stages[name] = after
                tell = self._log.info if after is Stage.CALM else self._log.warning
                mode = Mode(limit.mode).name.lower()
                tell(_EVENTS[after], budget=name, used=round(part, 2), mode=mode)
                self._publish(BudgetAlarm(budget=name, stage=after.name.lower(), used=round(part, 2), mode=mode))

    @property
    def degraded(self) -> str:
        """Which budgets slow uploads; empty if none does."""
        slowing = (
            name
            for name, stage in self._stages.items()
            if stage is Stage.SLOWING and self._limits[name].mode is Mode.ENFORCE
        )
        return "; ".join(f"the budget of {_OF[name]} is used up, and slows them" for name in slowing)


def _stage(limit: Limit, part: float) -> Stage:
    if is_slow(limit, part):
        return Stage.SLOWING
    return Stage.FILLING if part >= FILLING_FROM else Stage.CALM
