"""What an operator hears of the budgets of everybody: before they slow anybody, when they do, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from proxy.budget_watch import BudgetWatch
from proxy.config import Config
from proxy.policy.budgets import BudgetKind
from proxy.policy.policy import budget_limit
from proxy.policy.sharing import Share, Sharing
from tests.proxy.policy.tables_for_tests import tables_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.plugins.events import Event

SECOND = 1_000_000_000
NOW = 1_000_000 * SECOND
HALF = "half of a budget of everybody is used"
SLOW = "a budget of everybody is used up: uploads have to wait"
OVER = "a budget of everybody has room again"


class Node:
    """The buckets of a node, and who watches them."""

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        """Take settings without HKPGUARD_."""
        self.buckets = tables_of(64).buckets
        self.config = config(settings)
        self.events: list[Event] = []
        self.watch = BudgetWatch(self.config, self.buckets, publish=self.events.append)
        self.now_ns = NOW
        self._members = 0

    def upload(self, count: int) -> None:
        """Let so many new certificates come, each from another network."""
        limit = budget_limit(self.config, "new_certs")
        assert limit is not None
        for _ in range(count):
            self._members += 1
            share = Share(BudgetKind.NEW_CERTS, self._members, 1)
            for bill in Sharing(self.buckets).bills(limit, share, self.now_ns):
                self.buckets.spend(bill.budget, bill.key, bill.cost, self.now_ns)

    def told(self, seconds: int = 0) -> list[str]:
        """Let time pass, and return what is told meanwhile."""
        with capture_logs() as log:
            for _ in range(seconds + 1):
                self.watch.turn(self.now_ns)
                self.now_ns += SECOND
        assert {line["budget"] for line in log} <= {"new_certs"}
        return [line["event"] for line in log]


def config(settings: Mapping[str, str] | None = None) -> Config:
    """Return a configuration from settings without HKPGUARD_."""
    return Config.from_env({f"HKPGUARD_{name}": value for name, value in (settings or {}).items()})


def test_alarm_comes_before_anybody_is_slowed() -> None:
    """Of 600: at 300 the operator hears of it, at 440 the first have to wait, below 150 it is over. Each once."""
    node = Node()
    assert node.told(10) == []
    node.upload(299)
    assert node.told() == []
    node.upload(2)
    assert node.told(10) == [HALF]
    node.upload(138)
    assert node.told() == []
    node.upload(5)
    assert node.told(10) == [SLOW]
    node.upload(200)
    assert node.told(2000) == []
    assert node.told(3600) == [OVER]


def test_alarm_is_published() -> None:
    """What the log says goes to the bus as well."""
    node = Node()
    node.upload(600)
    node.told(10_000)
    assert [event.values(addresses=True)["stage"] for event in node.events] == ["slowing", "calm"]


def test_alarm_does_not_flutter() -> None:
    """Around the half it is told once; again only after less than a quarter was used."""
    node = Node()
    node.upload(305)
    told = node.told(60)
    for _ in range(20):
        node.upload(10)
        told += node.told(60)
    assert told == [HALF]
    assert node.told(3600) == [OVER]
    node.upload(305)
    assert node.told() == [HALF]


def test_flood_that_is_quicker_than_a_look() -> None:
    """What is used up at once is told as that only."""
    node = Node()
    node.upload(600)
    assert node.told(10) == [SLOW]


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({}, "the budget of new certificates is used up, and slows them"),
        ({"MODE": "shadow"}, ""),
        ({"BUDGETS__NEW_CERTS__MODE": "shadow"}, ""),
    ],
)
def test_readiness_tells_while_it_slows(settings: dict[str, str], text: str) -> None:
    """And nothing before, after, or of what only watches; the log tells of that as well."""
    node = Node(settings)
    node.upload(400)
    assert node.told() == [HALF]
    assert node.watch.degraded == ""
    node.upload(200)
    assert node.told() == [SLOW]
    assert node.watch.degraded == text
    node.told(3600)
    assert node.watch.degraded == ""


def test_budget_that_is_off() -> None:
    """It is not watched; one that is switched on again by a reload is."""
    node = Node()
    node.upload(600)
    node.watch.reload(config({"BUDGETS__NEW_CERTS__MODE": "off"}))
    assert node.told(10) == []
    assert set(node.watch.used(node.now_ns)) == {"exit_uploads"}
    node.watch.reload(config())
    assert node.told() == [SLOW]


def test_reload_goes_by_the_new_burst() -> None:
    """What was told is not told again."""
    node = Node()
    node.upload(320)
    assert node.told() == [HALF]
    node.watch.reload(config({"BUDGETS__EXIT_UPLOADS__BURST": "50"}))
    assert node.told(10) == []
    node.watch.reload(config({"BUDGETS__NEW_CERTS__BURST": "300"}))
    assert node.told() == [SLOW]


def test_used() -> None:
    """Of both budgets, as parts of their bursts."""
    node = Node()
    node.upload(150)
    assert node.watch.used(node.now_ns) == {"exit_uploads": 0.0, "new_certs": pytest.approx(0.25)}
