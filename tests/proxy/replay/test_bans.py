"""What refusals lead to."""

import pytest

from fastpath import client_key
from proxy.config import Config
from proxy.hkp.operation import Operation, OperationClass
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import Tables
from proxy.policy.judge import Verdict
from proxy.replay.bans import Bans
from proxy.replay.node import START_NS, empty_region
from proxy.settings.kinds import HOUR, SECOND

ADDRESS = bytes([203, 0, 113, 7])
SEARCH = Operation(OperationClass.IDENTITY, "p@example.org", 1, b"")
LIMITED = Verdict(Action.LIMIT, Reason.LIMIT, 429)
TRAPPED = Verdict(Action.TARPIT, Reason.TRAP, 404)
TRAP = Operation(OperationClass.UNKNOWN, "", 1, b"", 404, trap=True)


@pytest.mark.parametrize(
    ("operation", "verdict", "each_s", "needed"),
    [
        (SEARCH, LIMITED, 11, 20),
        (SEARCH, LIMITED, 1, 191),  # the twentieth episode of ten seconds
        (TRAP, TRAPPED, 1, 4),
        (TRAP, Verdict(Action.DENY, Reason.UNKNOWN, 404), 1, 0),
    ],
)
def test_bans_are_earned_as_with_the_analyst(operation: Operation, verdict: Verdict, each_s: int, needed: int) -> None:
    """By offences; an unknown path is none, and neither is a retry within the episode."""
    shared = Tables.of(empty_region())
    bans = Bans(Config.from_env({"HKPGUARD_BANS__HALF_LIFE": "1d"}), shared.bans, lambda: 0.5)
    for turn in range(1000):
        bans.note(ADDRESS, operation, verdict, START_NS + turn * each_s * SECOND)
        if bans.placed:
            assert turn + 1 == needed
            break
    assert bool(bans.placed) == bool(needed)
    assert shared.bans.used(START_NS + 1000 * SECOND) == bool(needed)


def test_a_ban_that_is_over_makes_room() -> None:
    """It is taken out of the table, and not only past its time."""
    shared = Tables.of(empty_region())
    bans = Bans(Config.from_env({}), shared.bans, lambda: 0.5)
    for _ in range(4):
        bans.note(ADDRESS, TRAP, TRAPPED, START_NS)
    bans.turn(START_NS + SECOND)
    assert shared.bans.until(client_key(ADDRESS), START_NS) == START_NS + HOUR // 2
    bans.turn(START_NS + HOUR)
    assert shared.bans.until(client_key(ADDRESS), START_NS) == 0


@pytest.mark.parametrize(("mode", "placed"), [("enforce", 0), ("shadow", 1), ("off", 0)])
def test_what_shadow_mode_kept_from_happening_counts_in_shadow_mode_only(mode: str, placed: int) -> None:
    """Who was not refused is not banned for it; but an operator who watches wants to know who would have been."""
    bans = Bans(Config.from_env({"HKPGUARD_BANS__MODE": mode}), Tables.of(empty_region()).bans, lambda: 0.5)
    allowed = Verdict(Action.ALLOW, Reason.LIMIT, shadow=Action.LIMIT)
    for turn in range(30):
        bans.note(ADDRESS, SEARCH, allowed, START_NS + turn * 11 * SECOND)
    assert bans.placed == placed
