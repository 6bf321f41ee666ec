"""A log that is played to a node."""

from collections import Counter
from collections.abc import Iterable, Mapping

import pytest

from proxy.config import Config
from proxy.policy.actions import Action, Reason
from proxy.replay.charges import SIZE_BYTES
from proxy.replay.line import SECOND_NS, Line
from proxy.replay.tally import Fate
from proxy.replay.world import World

BEGIN_NS = 1_700_000_000 * SECOND_NS
HERE, THERE = bytes([203, 0, 113, 7]), bytes([198, 51, 100, 7])
BURST, PER_S = 60, 5  # of the limit of certificates


def _get(second: float, number: int = 0, address: bytes = HERE, status: int = 200, **figures: int) -> Line:
    target = f"/pks/lookup?op=get&options=mr&search=0x{number:040X}"
    return Line(BEGIN_NS + int(second * SECOND_NS), address, "GET", target, status, **figures)


def _asked(second: float, target: str, status: int = 404) -> Line:
    return Line(BEGIN_NS + int(second * SECOND_NS), HERE, "GET", target, status)


def _played(lines: Iterable[Line], environ: Mapping[str, str] | None = None, *, patient: bool = True) -> World:
    world = World(Config.from_env({"HKPGUARD_TABLE_CLIENTS": "1024"} | dict(environ or {})), patient=patient)
    world.play(lines)
    world.end()
    return world


def _total(burst: int) -> dict[str, str]:
    """Return settings by which a client has so many tokens, and hardly any more."""
    values = {"BURST": str(burst), "COUNT": "1", "PERIOD": "1h"}
    return {f"HKPGUARD_LIMITS__TOTAL__{name}": value for name, value in values.items()}


def _fates(world: World, address: bytes = HERE) -> dict[str, int]:
    [fortune] = [each for key, each in world.tally.clients.items() if key == world.node.client(address).key]
    return {fate.name.lower(): count for fate, count in zip(Fate, fortune.fates, strict=True) if count}


REFRESH = [_get(number / 100, number) for number in range(300)]  # as gpg does on loopback, without a guard


def test_a_refresh_is_slowed_down_and_loses_nothing() -> None:
    """As it would be with a guard in front: gpg waits for each answer."""
    world = _played(REFRESH)
    fates = _fates(world)
    assert fates.keys() == {"answered", "delayed"}
    assert sum(fates.values()) == 300
    assert BURST <= fates["answered"] <= BURST + PER_S
    assert world.tally.wait_ns <= SECOND_NS // PER_S


def test_who_does_not_wait_runs_into_the_limit() -> None:
    """If clients keep the pace of the log, what cannot wait ten seconds is refused."""
    fates = _fates(_played(REFRESH, patient=False))
    assert fates["refused"] > 150
    assert sum(fates.values()) == 300


def test_networks_are_told_apart() -> None:
    """What one does costs no other anything."""
    world = _played(sorted([*REFRESH, _get(2, 1, THERE)]))
    assert _fates(world, THERE) == {"answered": 1}


@pytest.mark.parametrize(
    ("line", "reason", "fate"),
    [
        (_asked(0, "/.env"), Reason.TRAP, Fate.REFUSED),
        (_asked(0, "/nothing"), Reason.UNKNOWN, Fate.DECLINED),  # nor did the keyserver know it
        (_asked(0, "/nothing", 200), Reason.UNKNOWN, Fate.REFUSED),
        (_asked(0, ""), Reason.MALFORMED, Fate.DECLINED),
        (_asked(0, "/pks/lookup?search=%", 200), Reason.MALFORMED, Fate.REFUSED),
        (_asked(0, "/pks/lookup?op=index&search=ab", 200), Reason.NOT_OFFERED, Fate.REFUSED),
    ],
)
def test_refusals(line: Line, reason: Reason, fate: Fate) -> None:
    """They have the reasons of a worker; what the keyserver had no answer to is no loss."""
    world = _played([line])
    assert list(_fates(world)) == [fate.name.lower()]
    [(_, told, _)] = world.tally.verdicts
    assert told == reason


def test_traps_lead_to_a_ban() -> None:
    """Four of them; what comes later is refused because of it, until it ends."""
    traps = [_asked(second, "/.env") for second in range(4)]
    world = _played([*traps, _get(10), _get(3600)])
    assert _fates(world) == {"answered": 1, "refused": 4, "banned": 1}
    assert world.node.bans.placed == 1


def test_misses_are_those_of_the_log() -> None:
    """Who searches for what nobody has runs out of tokens sooner than who finds it."""

    def searches(status: int) -> list[Line]:
        return [_asked(0, f"/pks/lookup?op=index&search={number}@d{number}.example", status) for number in range(50)]

    assert _fates(_played(searches(200))) == {"answered": 50}
    assert _fates(_played(searches(404)))["answered"] == 30  # twenty at a token, ten at three


def test_large_answers_are_charged_and_asked_for_in_advance() -> None:
    """By their size, if the log tells it; as dear as a certificate may be each."""
    total = _total(100)
    large = [_get(second, size_bytes=20 * SIZE_BYTES) for second in range(10)]
    small = [_get(second, size_bytes=1000) for second in range(10)]
    assert _fates(_played(small, total)) == {"answered": 10}
    assert _fates(_played(large, total)) == {"answered": 5, "refused": 5}


def test_slow_answers_are_charged_if_others_are_quick() -> None:
    """By the time of the keyserver, if the log tells it; what is slow for all is nobody's fault."""
    total = _total(600)
    usual = [_get(second, second, THERE, service_us=1000) for second in range(400)]
    slow = [_get(1000 + second, 7, service_us=22_700) for second in range(60)]
    assert _fates(_played([*usual, *slow], total))["answered"] == 30
    assert _fates(_played([each._replace(address=HERE) for each in slow], total)) == {"answered": 60}


def test_settings_decide() -> None:
    """Another limit, another outcome; in shadow mode all are answered, and what would have been is told."""
    assert _fates(_played(REFRESH, {"HKPGUARD_LIMITS__CERT__BURST": "300"})) == {"answered": 300}
    world = _played(REFRESH, {"HKPGUARD_MODE": "shadow"})
    assert _fates(world) == {"answered": 300}
    shadows = Counter[int]()
    for (_, _, shadow), count in world.tally.verdicts.items():
        shadows[shadow] += count
    assert shadows[Action.LIMIT] > 100


def test_the_same_log_has_the_same_outcome() -> None:
    """However it is cut into pieces."""
    whole, pieces = _played(REFRESH), World(Config.from_env({"HKPGUARD_TABLE_CLIENTS": "1024"}))
    for start in range(0, len(REFRESH), 7):
        pieces.play(REFRESH[start : start + 7])
    pieces.end()
    assert pieces.tally.verdicts == whole.tally.verdicts
    assert pieces.tally.allowed == whole.tally.allowed
