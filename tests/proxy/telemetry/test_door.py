"""Who was turned away, for the operator: how often, when and why; bounded whoever knocks."""

from __future__ import annotations

import pytest

from fastpath import Record, client_key
from proxy.policy.actions import Action, TurnedAway
from proxy.telemetry.door import Door, Knocks
from proxy.telemetry.numbers import FLAG_TLS
from tests.proxy.admin.records_for_tests import record

ALICE, BOB = (client_key(bytes([192, 0, 2, number])) for number in (1, 2))


def knock(time_ns: int = 0, number: int = 1, action: Action = Action.DROP, **fields: int) -> Record:
    """Return the record of a knock of the client with this number."""
    return record(f"192.0.2.{number}", time_ns=time_ns, action=action, **{"reason": TurnedAway.FULL, **fields})


def test_nobody() -> None:
    """Nobody has knocked."""
    door = Door()
    door.feed([])
    assert (door.of(ALICE), door.busiest(10, 0)) == (None, [])


def test_knocks_of_a_client() -> None:
    """From when to when, how often, how many of them were held; of the last one why, and how it came."""
    door = Door()
    door.feed([knock(7), knock(9, action=Action.TARPIT), knock(1, number=2)])
    door.feed([knock(8, reason=TurnedAway.BANNED, flags=FLAG_TLS)])
    assert door.of(ALICE) == Knocks(
        ALICE, first_ns=7, last_ns=9, connections=3, held=1, reason=TurnedAway.BANNED, encrypted=True
    )
    assert door.of(BOB) == Knocks(BOB, first_ns=1, last_ns=1, connections=1)


@pytest.mark.parametrize(
    ("most", "since_ns", "shown"), [(10, 0, [BOB, ALICE]), (1, 0, [BOB]), (10, 6, [ALICE]), (10, 8, []), (0, 0, [])]
)
def test_who_knocks_most(most: int, since_ns: int, shown: list[int]) -> None:
    """Those that have knocked since, who did most often first."""
    door = Door()
    door.feed([knock(1, number=2), knock(5, number=2), knock(7)])
    assert [each.client for each in door.busiest(most, since_ns)] == shown


def test_clients_are_bounded() -> None:
    """A newcomer takes the place of the one that has not knocked for longest."""
    door = Door(most=2)
    door.feed([knock(1, number=1), knock(2, number=2), knock(3, number=1), knock(4, number=3)])
    assert door.of(BOB) is None
    alice, carol = door.busiest(10, 0)
    assert (alice.client, alice.connections, carol.connections) == (ALICE, 2, 1)
    with pytest.raises(ValueError, match="most 0 is less than 1"):
        Door(most=0)
