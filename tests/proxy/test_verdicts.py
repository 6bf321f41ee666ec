"""What becomes of evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from prometheus_client import CollectorRegistry

from fastpath import BAN_TABLE_BYTES, BanTable, Standing, client_key, network_key, parse_address
from models.steps import whole
from proxy.plugins.events import VerdictLowered, VerdictRaised
from proxy.policy.fusion import Evidence
from proxy.verdicts import CASES_AT_ONCE, Verdicts
from tests.proxy.wardens_for_tests import FakeNode

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.plugins.events import Event

ADDRESS = "192.0.2.1"
CLIENT, NETWORK = client_key(parse_address(ADDRESS)), network_key(parse_address(ADDRESS))
SECOND = 1_000_000_000


class Court(NamedTuple):
    """Verdicts, the warden behind them, the table that workers read, and what was published."""

    node: FakeNode
    table: BanTable
    verdicts: Verdicts
    published: list[Event]

    def hear(self, weight: float, subject: int = CLIENT, kind: str = "pace") -> None:
        """Bring evidence forward that counts for a minute."""
        whole(self.verdicts.hear([Evidence(subject, kind, weight, "too fast", self.node.now_ns + 60 * SECOND)]))

    def standing(self) -> Standing:
        """Return what workers see."""
        return Standing(self.table.standing(parse_address(ADDRESS), self.node.now_ns))


@pytest.fixture
def court(tmp_path: Path) -> Court:
    """Return verdicts of a node that has just been started."""
    node = FakeNode(tmp_path)
    table = BanTable(memoryview(bytearray(BAN_TABLE_BYTES)), bytes(16))
    published: list[Event] = []
    verdicts = Verdicts(table, node.warden, publish=published.append, clock=lambda: node.now_ns)
    return Court(node, table, verdicts, published)


def test_a_verdict_is_published(court: Court) -> None:
    """Who gets a harder standing, and who leaves one, is told with the reasons."""
    court.hear(5.5)
    court.node.now_ns += 60 * SECOND
    whole(court.verdicts.turn(court.node.now_ns))
    raised = VerdictRaised(
        subject=ADDRESS, before="welcome", after="delayed", log_odds=1.5, seconds=60, reasons=("too fast",)
    )
    lowered = VerdictLowered(subject=ADDRESS, before="delayed", after="welcome", log_odds=-4.0, seconds=0, reasons=())
    assert court.published == [raised, lowered]


def test_one_case_at_a_step(court: Court) -> None:
    """All that is said of a client is weighed in one step, in whatever order it was said; so is the end of it."""
    until_ns = court.node.now_ns + 60 * SECOND
    kinds = ("pace", "cohort")
    said = [Evidence(CLIENT + each, kind, 3.0, "too fast", until_ns) for kind in kinds for each in range(40)]
    steps = court.verdicts.hear(said)
    next(steps)
    assert [event.kind for event in court.published] == ["verdict.raised"]
    assert court.standing() == Standing.DELAYED
    assert len([*steps]) == 39
    assert len(court.published) == 40
    assert len([*court.verdicts.turn(until_ns)]) == -(-40 // CASES_AT_ONCE)
    assert len(court.published) == 80


def test_news_that_changes_nothing_is_not_published(court: Court) -> None:
    """Detectors say the same again and again; nobody wants to hear it."""
    court.hear(5.5)
    court.hear(5.6)
    assert len(court.published) == 1


@pytest.mark.parametrize(("more", "standing", "left"), [(0.9, Standing.TARPIT, 0), (1.0, Standing.BANNED, 1800)])
def test_only_the_worst_verdict_is_an_offence(court: Court, more: float, standing: Standing, left: int) -> None:
    """A ban comes from the warden, with its ladder, exemptions and memory."""
    court.hear(9.0)
    court.hear(more, kind="cohort")
    assert (court.standing(), court.node.left(ADDRESS)) == (standing, left)


def test_a_network_is_never_banned_for_a_verdict(court: Court) -> None:
    """It holds honest clients as well."""
    court.hear(9.0, NETWORK)
    court.hear(9.0, NETWORK, "cohort")
    assert (court.standing(), court.node.in_table()) == (Standing.DELAYED, {})


def test_slots_are_freed(court: Court) -> None:
    """What is over makes room in the table, also after an analyst that left it behind."""
    court.table.put(NETWORK, court.node.now_ns + 1, Standing.PRICED)
    whole(court.verdicts.turn(court.node.now_ns + 1))
    assert court.table.entries(0) == []


def test_metrics(court: Court) -> None:
    """Operators see how many verdicts are in force, and how many there were, by their standing; nobody's address."""
    registry = CollectorRegistry()
    registry.register(court.verdicts)
    court.hear(7.0)
    court.hear(9.0)

    def value(name: str, standing: str) -> float | None:
        return registry.get_sample_value(name, {"standing": standing})

    assert (value("hkpguard_verdicts", "tarpit"), value("hkpguard_verdicts", "limited")) == (1, 0)
    reached = [value("hkpguard_verdicts_reached_total", each) for each in ("limited", "tarpit", "banned")]
    assert reached == [1, 1, 0]
    assert registry.get_sample_value("hkpguard_cases") == 1


def test_forgotten(court: Court) -> None:
    """An operator who lifts a ban does not want to see it come back from the same evidence."""
    court.hear(9.0)
    court.verdicts.forget(CLIENT)
    whole(court.verdicts.turn(court.node.now_ns + SECOND))
    assert court.standing() == Standing.WELCOME
    assert court.verdicts.explain(CLIENT)["evidence"] == []
