"""Who is banned and for how long: rows of what happens at which second, and what is held against whom then."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import client_key, key_text, parents, parse_network
from proxy.config import BansConfig, Config
from proxy.policy import offender
from proxy.policy.exemptions import Exemptions
from proxy.policy.ladder import ADOPTED, JITTER, SWEEP_NS, Ladder, is_client
from proxy.policy.offences import OffenceKind
from proxy.policy.offender import LAST_OFFENCES, Ban, Origin
from tests.proxy.admin.records_for_tests import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MINUTE, HOUR, DAY = 60, 3600, 86_400
ALICE, BOB = parse_network("192.0.2.1"), parse_network("198.51.100.2")
NET24 = parse_network("192.0.2.0/24")
NET48 = parse_network("2001:db8::/48")
SETTINGS = {
    "HKPGUARD_BANS__LADDER": "30m,2h,8h",
    "HKPGUARD_BANS__FORGET": "1d",
    "HKPGUARD_BANS__HALF_LIFE": "10m",
    "HKPGUARD_BANS__SHARED": "1m",
    "HKPGUARD_BANS__WIDEN_IPV4": "3",
    "HKPGUARD_BANS__WIDEN_IPV6": "2",
}


def rules(**changes: str) -> BansConfig:
    """Return the rules above, with changes."""
    return Config.from_env(SETTINGS | {f"HKPGUARD_BANS__{name}": value for name, value in changes.items()}).bans


def exempt(never: str = "", shared: str = "") -> Exemptions:
    """Return exemptions of networks that are separated by spaces."""
    return Exemptions(map(ip_network, never.split()), map(ip_network, shared.split()))


def no_jitter() -> float:
    """Return the middle of the range: bans of the ladder are exactly as long as it says."""
    return 0.5


def make(exemptions: Exemptions | None = None, random: Callable[[], float] = no_jitter, **changes: str) -> Ladder:
    """Return a ladder."""
    return Ladder(rules(**changes), exemptions or exempt(), random)


def do(ladder: Ladder, event: str, now_ns: int) -> None:
    """Let something happen: "trap 192.0.2.1", "ban 192.0.2.1 60", "lift 192.0.2.0/24"; "" is the passing of time."""
    verb, _, rest = event.partition(" ")
    network, _, seconds = rest.partition(" ")
    if verb == "ban":
        ladder.ban(parse_network(network), now_ns, length_ns=int(seconds) * SECOND, reason="by hand")
    elif verb == "lift":
        ladder.lift(parse_network(network), now_ns)
    elif verb:
        times, _, kind = verb.rpartition("x")
        for _ in range(int(times or 1)):
            ladder.offend(parse_network(network), OffenceKind[kind.upper()], now_ns)
    ladder.expire(now_ns)


def held(ladder: Ladder, client: str, now_ns: int) -> str:
    """Return what is held against a client: "banned 1800", "25 points", "rung 1", or several of them, or "free"."""
    account = ladder.account(parse_network(client), now_ns)
    ban = account.ban
    name = "" if ban is None or key_text(ban.key) == key_text(parse_network(client)) else f" with {key_text(ban.key)}"
    parts = [
        f"banned {(ban.until_ns - now_ns) / SECOND:g}{name}" if ban else "",
        f"{account.points:.3g} points" if account.points >= 0.05 else "",
        f"rung {account.rung}" if account.rung else "",
    ]
    return ", ".join(filter(None, parts)) or "free"


Event = tuple[float, str, str, str]
A, B, C, D = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
# (what, events: (at which second, what happens, to whom we look, what is held against them))
HISTORIES: Sequence[tuple[str, Sequence[Event]]] = [
    ("nobody", [(0, "", A, "free")]),
    (
        "four traps",
        [
            (0, f"trap {A}", A, "25 points"),
            (0, f"trap {A}", A, "50 points"),
            (0, f"trap {A}", A, "75 points"),
            (0, f"trap {A}", A, "banned 1800, rung 1"),
            (0, "", B, "free"),
        ],
    ),
    (
        "four traps within seconds",
        [(t, f"trap {A}", A, "") for t in (0, 1, 2)] + [(3, f"trap {A}", A, "banned 1800, rung 1")],
    ),
    ("ten malformed heads", [(0, f"9xmalformed {A}", A, "90 points"), (0, f"malformed {A}", A, "banned 1800, rung 1")]),
    ("twenty violations", [(0, f"19xviolation {A}", A, "95 points"), (0, f"violation {A}", A, "banned 1800, rung 1")]),
    (
        "points decay by half in the half-life",
        [
            (0, f"3xtrap {A}", A, "75 points"),
            (10 * MINUTE, "", A, "37.5 points"),
            (20 * MINUTE, f"trap {A}", A, "43.8 points"),
            (30 * MINUTE, f"3xtrap {A}", A, "96.9 points"),
            (HOUR, "", A, "12.1 points"),
            (DAY, "", A, "free"),
        ],
    ),
    (
        "somebody over his limit for an hour, in a new episode each minute, is not banned",
        [(t * MINUTE, f"violation {A}", A, "") for t in range(60)] + [(HOUR, "", A, "68.6 points")],
    ),
    (
        "somebody over his limit all the time is, after a few minutes",
        [(t * 10, f"violation {A}", A, "") for t in range(22)] + [(220, f"violation {A}", A, "banned 1800, rung 1")],
    ),
    (
        "the ladder up to its ceiling",
        [
            (0, f"4xtrap {A}", A, "banned 1800, rung 1"),
            (1800, "", A, "rung 1"),
            (1800, f"4xtrap {A}", A, "banned 7200, rung 2"),
            (9000, f"4xtrap {A}", A, "banned 28800, rung 3"),
            (37_800, f"4xtrap {A}", A, "banned 28800, rung 3"),
            (66_600, f"4xtrap {A}", A, "banned 28800, rung 3"),
        ],
    ),
    (
        "points are gone with the ban, and nothing during it makes it longer",
        [
            (0, f"3xtrap {A}", A, "75 points"),
            (1, f"trap {A}", A, "banned 1800, rung 1"),
            (2, f"100xtrap {A}", A, "banned 1799, rung 1"),
            (1800, f"100xviolation {A}", A, "banned 1, rung 1"),
            (1801, "", A, "rung 1"),
            (1801, f"trap {A}", A, "25 points, rung 1"),
        ],
    ),
    (
        "a record from during the ban that comes when it is over",
        [
            (0, f"4xtrap {A}", A, "banned 1800, rung 1"),
            (1800, "", A, "rung 1"),
            (1799, f"trap {A}", A, "banned 1, rung 1"),
        ],
    ),
    (
        "rungs are forgotten one by one, from the end of the last ban on",
        [
            (0, f"4xtrap {A}", A, "banned 1800, rung 1"),
            (1800, f"4xtrap {A}", A, "banned 7200, rung 2"),
            (9000 + DAY - 1, "", A, "rung 2"),
            (9000 + DAY, "", A, "rung 1"),
            (9000 + DAY, f"4xtrap {A}", A, "banned 7200, rung 2"),
            (16_200 + 3 * DAY, "", A, "free"),
            (16_200 + 3 * DAY, f"4xtrap {A}", A, "banned 1800, rung 1"),
        ],
    ),
    (
        "a network of which enough addresses are banned, which narrows again",
        [
            (0, f"4xtrap {A}", D, "free"),
            (10, f"4xtrap {B}", D, "free"),
            (20, f"4xtrap {C}", D, "banned 1780 with 192.0.2.0/24"),
            (21, f"4xtrap {D}", D, "banned 1779 with 192.0.2.0/24"),  # what its neighbours did earns it nothing
            (1799, "", D, "banned 1 with 192.0.2.0/24"),
            (1800, "", D, "free"),
            (1800, "", B, "banned 10, rung 1"),
            (1800, f"4xtrap {D}", D, "banned 1800, rung 1"),
            (1800, "", "192.0.2.99", "banned 10 with 192.0.2.0/24"),
            (1810, "", "192.0.2.99", "free"),
        ],
    ),
    (
        "a network narrows when one of its addresses is let go",
        [
            (0, f"4xtrap {A}", D, "free"),
            (0, f"4xtrap {B}", D, "free"),
            (0, f"4xtrap {C}", D, "banned 1800 with 192.0.2.0/24"),
            (1, f"lift {B}", D, "free"),
            (1, "", A, "banned 1799, rung 1"),
            (1, "", B, "free"),
        ],
    ),
    (
        "IPv6: a /64, its /56, the /48",
        [
            (0, "4xtrap 2001:db8::1", "2001:db8::ffff:1", "banned 1800, rung 1"),
            (0, "", "2001:db8:0:1::", "free"),
            (60, "4xtrap 2001:db8:0:2::", "2001:db8:0:1::", "banned 1740 with 2001:db8::/56"),
            (60, "", "2001:db8:0:100::", "free"),
            (90, "4xtrap 2001:db8:0:100::", "2001:db8:0:101::", "banned 1770 with 2001:db8::/48"),
            (90, "", "2001:db8:1::", "free"),
            (1859, "", "2001:db8:0:101::", "banned 1 with 2001:db8::/48"),
            (1860, "", "2001:db8:0:101::", "free"),
        ],
    ),
    (
        "a ban by hand, of a client: nothing is held against it but the ban",
        [(0, f"ban {A} 60", A, "banned 60"), (1, f"4xtrap {A}", A, "banned 59"), (60, "", A, "free")],
    ),
    (
        "a ban by hand, in the place of another",
        [(0, f"ban {A} 60", A, "banned 60"), (1, f"ban {A} 10", A, "banned 10"), (11, "", A, "free")],
    ),
    (
        "bans by hand stand on their own: they make no network banned",
        [
            (0, f"ban {A} 60", A, "banned 60"),
            (0, f"ban {B} 60", B, "banned 60"),
            (0, f"ban {C} 60", C, "banned 60"),
            (0, "", D, "free"),
        ],
    ),
    (
        "of two bans the longer is told",
        [
            (0, f"4xtrap {A}", A, "banned 1800, rung 1"),
            (0, f"ban {A} 60", A, "banned 1800, rung 1"),
            (0, "ban 192.0.2.0/24 3600", A, "banned 3600 with 192.0.2.0/24, rung 1"),
            (1800, "", A, "banned 1800 with 192.0.2.0/24, rung 1"),
            (1800, "", B, "banned 1800 with 192.0.2.0/24"),
        ],
    ),
    (
        "who is let go has a clean slate",
        [
            (0, f"4xtrap {A}", A, "banned 1800, rung 1"),
            (1800, f"4xtrap {A}", A, "banned 7200, rung 2"),
            (1801, f"lift {A}", A, "free"),
            (1801, f"3xtrap {A}", A, "75 points"),
            (1801, f"lift {A}", A, "free"),
            (1801, f"4xtrap {A}", A, "banned 1800, rung 1"),
        ],
    ),
    (
        "to let go a network is to let go all in it",
        [
            (0, f"4xtrap {A}", A, "banned 1800, rung 1"),
            (0, f"trap {B}", B, "25 points"),
            (0, f"ban {C} 600", C, "banned 600"),
            (0, "ban 192.0.2.0/24 600", D, "banned 600 with 192.0.2.0/24"),
            (1, "4xtrap 198.51.100.2", "198.51.100.2", "banned 1800, rung 1"),
            (1, "lift 192.0.2.0/24", A, "free"),
            (1, "", B, "free"),
            (1, "", C, "free"),
            (1, "", D, "free"),
            (1, "", "198.51.100.2", "banned 1800, rung 1"),
        ],
    ),
    (
        "to let go a client is not to let go its network",
        [
            (0, "ban 192.0.2.0/24 600", A, "banned 600 with 192.0.2.0/24"),
            (0, f"lift {A}", A, "banned 600 with 192.0.2.0/24"),
        ],
    ),
]


@pytest.mark.parametrize("events", [events for _, events in HISTORIES], ids=[name for name, _ in HISTORIES])
def test_histories(events: Sequence[Event]) -> None:
    """What is held against whom, when, wherever the clock began; an empty text is not looked at."""
    for origin in (0, 10**18):
        ladder = make()
        for seconds, event, client, expected in events:
            now_ns = origin + int(seconds * SECOND)
            do(ladder, event, now_ns)
            assert not expected or held(ladder, client, now_ns) == expected, f"after {seconds} s"


SHARED = "192.0.2.1/32"
SHARED_HISTORIES: Sequence[tuple[str, Sequence[Event]]] = [
    (
        "short bans, again and again, without climbing",
        [
            (0, f"4xtrap {A}", A, "banned 57"),  # at most a minute: jitter only shortens
            (57, f"4xtrap {A}", A, "banned 57"),
            (DAY, f"4xtrap {A}", A, "banned 57"),
        ],
    ),
    (
        "neighbours are not banned for it, nor it for them",
        [
            (0, f"4xtrap {A}", A, "banned 57"),
            (0, f"4xtrap {B}", B, "banned 1800, rung 1"),
            (0, f"4xtrap {C}", C, "banned 1800, rung 1"),
            (0, f"4xtrap {D}", D, "banned 1800, rung 1"),
            (57, "", A, "free"),
            (57, "", "192.0.2.99", "free"),
        ],
    ),
]


@pytest.mark.parametrize("events", [each for _, each in SHARED_HISTORIES], ids=[name for name, _ in SHARED_HISTORIES])
def test_shared_exits(events: Sequence[Event]) -> None:
    """Many people are behind them: they get short bans, and only for themselves."""
    ladder = make(exempt(shared=SHARED))
    for seconds, event, client, expected in events:
        do(ladder, event, int(seconds * SECOND))
        assert held(ladder, client, int(seconds * SECOND)) == expected


def test_shared_exit_of_a_short_ladder() -> None:
    """They are never banned for longer than others."""
    ladder = make(exempt(shared=SHARED), LADDER="10s,1h")
    do(ladder, f"4xtrap {A}", 0)
    assert held(ladder, A, 0) == "banned 9.5"


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8:5::7", "2001:db8:5::8", "203.0.113.9"])
def test_who_is_never_banned(address: str) -> None:
    """Whatever they do, nothing is held against them; and their network is not banned for their neighbours."""
    ladder = make(exempt(never="192.0.2.1/32 2001:db8:5::7/128 203.0.113.0/24"))
    do(ladder, f"100xtrap {address}", 0)
    assert held(ladder, address, 0) == "free"
    for neighbour in (B, C, D):
        do(ladder, f"4xtrap {neighbour}", 0)
    assert held(ladder, address, 0) == "free"
    assert {ban.origin for ban in ladder.bans(0)} == {Origin.LADDER}


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 5))
def test_jitter(random: float, bans: int) -> None:
    """Every ban is within a tenth of its rung; that of a shared exit within a tenth below."""
    ladder = make(exempt(shared="198.51.100.2/32"), lambda: random)
    rungs = [1800, 7200, 28_800]
    now_ns = 0
    for number in range(bans):
        ban = shared = None
        for _ in range(4):
            ban = ladder.offend(ALICE, OffenceKind.TRAP, now_ns)
            shared = ladder.offend(BOB, OffenceKind.TRAP, now_ns)
        assert ban
        assert shared
        rung = rungs[min(number, 2)]
        assert rung * (1 - JITTER) <= (ban.until_ns - now_ns) / SECOND <= rung * (1 + JITTER)
        assert 60 * (1 - JITTER) <= (shared.until_ns - now_ns) / SECOND <= 60
        now_ns = ban.until_ns


def test_jitter_reaches_both_ends() -> None:
    """It is a tenth, and random."""
    lengths = []
    for random in (0.0, 0.999999):
        ladder = make(random=iter([random]).__next__)
        do(ladder, f"4xtrap {A}", 0)
        lengths.append(round(ladder.until(ALICE, 0) / SECOND))
    assert lengths == [1620, 1980]


def test_ban_that_is_earned_is_told() -> None:
    """The offence that earns it returns it, with its reason; the others return nothing."""
    ladder = make()
    kinds = [OffenceKind.VIOLATION, OffenceKind.TRAP, OffenceKind.TRAP, OffenceKind.TRAP]
    assert [ladder.offend(ALICE, kind, 5) for kind in kinds] == [None] * 4
    ban = ladder.offend(ALICE, OffenceKind.TRAP, 6)
    assert ban == Ban(ALICE, Origin.LADDER, 6, 6 + 1800 * SECOND, 1, "4 trap, 1 violation")


def test_last_offences() -> None:
    """The last eight and their times, the newest first."""
    ladder = make(POINTS="1000")
    for time in range(10):
        ladder.offend(ALICE, OffenceKind(time % 6), time)
    assert ladder.account(ALICE, 10).offences == [(OffenceKind(time % 6), time) for time in range(9, 1, -1)]
    assert LAST_OFFENCES == 8
    assert ladder.account(BOB, 10).offences == []


def test_account_of_the_exempt() -> None:
    """It says who is never banned, and who is a shared exit."""
    ladder = make(exempt("192.0.2.1/32", "198.51.100.2/32"))
    assert [(ladder.account(key, 0).never, ladder.account(key, 0).shared) for key in (ALICE, BOB)] == [
        (True, False),
        (False, True),
    ]


# Bounds.


def test_offenders_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who offended the longest ago is forgotten first; who offended again is not."""
    monkeypatch.setattr(offender, "MOST_OFFENDERS", 3)
    ladder = make()
    for now, event in enumerate((f"trap {A}", f"trap {B}", f"trap {C}", f"trap {A}", f"trap {D}")):
        do(ladder, event, now)
    assert [held(ladder, each, 4) for each in (A, B, C, D)] == ["50 points", "free", "25 points", "25 points"]
    assert len(ladder.recorded()) == 3
    assert parse_network(B) in ladder.take_changes()


def test_banned_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all places held by the banned, others are not remembered until one of them is free."""
    monkeypatch.setattr(offender, "MOST_OFFENDERS", 2)
    ladder = make()
    do(ladder, f"4xtrap {A}", 0)
    do(ladder, f"4xtrap {B}", 10 * SECOND)
    do(ladder, f"4xtrap {C}", 11 * SECOND)
    assert [held(ladder, each, 11 * SECOND) for each in (A, B, C)] == [
        "banned 1789, rung 1",
        "banned 1799, rung 1",
        "free",
    ]
    do(ladder, f"4xtrap {C}", 1800 * SECOND)
    assert held(ladder, C, 1800 * SECOND) == "free"  # the ban of A was only just over
    do(ladder, f"4xtrap {C}", 1801 * SECOND)
    assert [held(ladder, each, 1801 * SECOND) for each in (A, B, C)] == [
        "free",
        "banned 9, rung 1",
        "banned 1800, rung 1",
    ]


def test_forgotten_when_nothing_is_left() -> None:
    """Clients without points and rungs take no room; whoever keeps records is told."""
    ladder = make()
    do(ladder, f"trap {A}", 0)
    do(ladder, "4xtrap 198.51.100.2", 0)
    ladder.take_changes()
    do(ladder, "", HOUR * SECOND + SWEEP_NS)
    assert ladder.recorded() == {BOB}
    ladder.take_changes()
    do(ladder, "", (HOUR + DAY) * SECOND)
    assert ladder.recorded() == set()
    assert ladder.take_changes() == {BOB}


# For who places and writes.


def test_changes() -> None:
    """Each key whose bans changed is told once, with the networks around it."""
    ladder = make()
    steps = [
        (0, f"3xtrap {A}", set()),
        (0, f"trap {A}", {ALICE, NET24}),
        (0, "", set()),
        (1, f"trap {A}", set()),
        (2, f"lift {A}", {ALICE, NET24}),
        (3, "ban 192.0.2.0/24 10", {NET24}),
        (13, "", {NET24}),
        (14, "ban 2001:db8::/56 10", set(parents(parse_network("2001:db8::"))) | {parse_network("2001:db8::/56")}),
    ]
    for seconds, event, changed in steps:
        do(ladder, event, seconds * SECOND)
        assert ladder.take_changes() == changed, event


def test_until() -> None:
    """Of exactly a key, whatever is around it, the end of the last of its bans."""
    ladder = make()
    do(ladder, f"4xtrap {A}", 0)
    do(ladder, f"ban {A} 3600", 0)
    do(ladder, "ban 192.0.2.0/24 60", 0)
    assert ladder.until(ALICE, 0) == 3600 * SECOND
    assert ladder.until(NET24, 0) == 60 * SECOND
    assert ladder.until(parse_network(B), 0) == 0
    assert ladder.until(ALICE, 3600 * SECOND) == 0


def test_latest() -> None:
    """Bans in force, the most recent first, no more than are asked for."""
    ladder = make()
    do(ladder, f"4xtrap {A}", 1)
    do(ladder, f"ban {B} 60", 3)
    do(ladder, "ban 203.0.113.0/24 60", 2)
    assert [(key_text(ban.key), ban.origin.value) for ban in ladder.latest(10, 4)] == [
        (B, "manual"),
        ("203.0.113.0/24", "manual"),
        (A, "ladder"),
    ]
    assert [key_text(ban.key) for ban in ladder.latest(1, 4)] == [B]
    assert [key_text(ban.key) for ban in ladder.latest(10, 61 * SECOND)] == [A]


def test_records() -> None:
    """Written down are bans, and those that are over as long as their rung counts; no points, no networks."""
    ladder = make()
    for each in (A, B, C):
        do(ladder, f"4xtrap {each}", 0)
    do(ladder, f"trap {D}", 0)
    do(ladder, f"ban {D} 60", 0)
    own = Ban(ALICE, Origin.LADDER, 0, 1800 * SECOND, 1, "4 trap")
    assert ladder.record(ALICE, 0) == ladder.record(ALICE, 1801 * SECOND) == [own]
    assert ladder.record(ALICE, (1800 + DAY) * SECOND) == []
    assert ladder.record(NET24, 0) == []
    assert [ban.origin for ban in ladder.record(parse_network(D), 0)] == [Origin.MANUAL]
    assert ladder.record(parse_network(D), 60 * SECOND) == []


# Other rules.


def reloaded(ladder: Ladder, now_ns: int, exemptions: Exemptions | None = None, **changes: str) -> list[str]:
    """Reload; return what was lifted."""
    return [key_text(ban.key) for ban in ladder.reload(rules(**changes), exemptions or exempt(), now_ns)]


def test_reload_lifts_bans_of_the_exempt() -> None:
    """Who is allowed, a peer or a trusted proxy from now on is let go, and so is a network that was banned by hand."""
    ladder = make()
    for each in (A, B, C):
        do(ladder, f"4xtrap {each}", 0)
    do(ladder, "ban 203.0.113.0/24 3600", 0)
    do(ladder, "trap 203.0.113.9", 0)
    assert sorted(reloaded(ladder, SECOND, exempt("192.0.2.1/32 203.0.113.9/32"))) == [
        "192.0.2.0/24",
        "192.0.2.1",
        "203.0.113.0/24",
    ]
    assert [held(ladder, each, SECOND) for each in (A, B, C, D, "203.0.113.9")] == [
        "free",
        "banned 1799, rung 1",
        "banned 1799, rung 1",
        "free",
        "free",
    ]
    assert ladder.take_changes() >= {ALICE, NET24, parse_network("203.0.113.0/24")}


def test_reload_lets_shared_exits_go() -> None:
    """A long ban of what turns out to be a shared exit ends within bans.shared; its rung is forgotten."""
    ladder = make()
    for each in (A, B, C):
        do(ladder, f"4xtrap {each}", 0)
    assert reloaded(ladder, SECOND, exempt(shared=SHARED)) == []
    assert [held(ladder, each, SECOND) for each in (A, D)] == ["banned 60", "free"]
    do(ladder, "", 61 * SECOND)
    assert held(ladder, A, 61 * SECOND) == "free"


def test_reload_changes_widths_and_not_lengths() -> None:
    """Networks follow the new numbers at once, bans in force stay as long as they are, the next goes by the new."""
    ladder = make()
    for each in (A, B):
        do(ladder, f"4xtrap {each}", 0)
    reloaded(ladder, SECOND, WIDEN_IPV4="2", LADDER="10s,20s")
    assert held(ladder, D, SECOND) == "banned 1799 with 192.0.2.0/24"
    assert NET24 in ladder.take_changes()
    reloaded(ladder, SECOND, WIDEN_IPV4="3", LADDER="10s,20s")
    assert held(ladder, D, SECOND) == "free"
    assert NET24 in ladder.take_changes()
    do(ladder, f"4xtrap {A}", 1800 * SECOND)
    assert held(ladder, A, 1800 * SECOND) == "banned 20, rung 2"
    do(ladder, f"4xtrap {A}", 1820 * SECOND)
    assert held(ladder, A, 1820 * SECOND) == "banned 20, rung 2"


def test_reload_keeps_the_ends() -> None:
    """After it bans still end, each once."""
    ladder = make()
    do(ladder, f"4xtrap {A}", 0)
    do(ladder, f"ban {B} 60", 0)
    for _ in range(10):
        reloaded(ladder, SECOND)
    assert len(ladder._ends) == 2
    ladder.take_changes()
    do(ladder, "", 60 * SECOND)
    assert ladder.take_changes() == {parse_network(B), NET24}


# What was before.


def test_restore() -> None:
    """Bans that were written down are in force, with their networks; of those that are over the rung counts."""
    ladder = make()
    for number in (1, 2, 3):
        key = parse_network(f"192.0.2.{number}")
        ladder.restore(Ban(key, Origin.LADDER, -10, (number * 100) * SECOND, 2, "4 trap"), 0)
    ladder.restore(Ban(NET48, Origin.MANUAL, -10, 50 * SECOND, 0, "why"), 0)
    ladder.restore(Ban(BOB, Origin.LADDER, -100 * SECOND, -10 * SECOND, 1, ""), 0)
    assert held(ladder, A, 0) == "banned 100, rung 2"  # the network's ends with the first of three
    assert held(ladder, D, 0) == "banned 100 with 192.0.2.0/24"
    assert held(ladder, "2001:db8:0:7::", 0) == "banned 50 with 2001:db8::/48"
    assert held(ladder, "198.51.100.2", 0) == "rung 1"
    do(ladder, "4xtrap 198.51.100.2", 0)
    assert held(ladder, "198.51.100.2", 0) == "banned 7200, rung 2"
    assert ladder.take_changes() >= {ALICE, NET24, NET48, BOB}


def test_restore_of_the_exempt() -> None:
    """Who must not be banned any more is not; whoever keeps records is told."""
    ladder = make(exempt("192.0.2.1/32"))
    ladder.restore(Ban(ALICE, Origin.LADDER, 0, 100, 1), 0)
    assert held(ladder, A, 0) == "free"
    assert ALICE in ladder.take_changes()


@pytest.mark.parametrize(
    ("key", "written", "banned", "origin", "rung"),
    [
        (ALICE, None, 500, Origin.LADDER, 1),  # earned after the last writing
        (ALICE, Ban(ALICE, Origin.LADDER, 0, 400 * SECOND, 2), 500, Origin.LADDER, 2),  # the same ban, exactly
        (ALICE, Ban(ALICE, Origin.LADDER, 0, -400 * SECOND, 2), 500, Origin.LADDER, 2),  # over by the clock of the day
        (ALICE, Ban(ALICE, Origin.MANUAL, 0, 400 * SECOND), 500, Origin.MANUAL, 0),
        (NET24, Ban(NET24, Origin.MANUAL, 0, 400 * SECOND), 500, Origin.MANUAL, 0),
        (NET24, None, 500, Origin.MANUAL, 0),
    ],
)
def test_adopt(key: int, written: Ban | None, banned: int, origin: Origin, rung: int) -> None:
    """A ban that is in force goes on as it is, whatever was written down of it."""
    ladder = make()
    if written:
        ladder.restore(written, 5 * SECOND)
    ladder.adopt(key, 500 * SECOND, 5 * SECOND)
    (ban,) = ladder.bans_on(key, 5 * SECOND)
    assert (ban.until_ns, ban.origin, ban.rung) == (banned * SECOND, origin, rung)
    assert ban.since_ns == (0 if written and written.until_ns > 0 else 5 * SECOND)
    if written is None and origin is Origin.MANUAL:
        assert ban.reason == ADOPTED
    do(ladder, "", 500 * SECOND)
    assert ladder.until(key, 500 * SECOND) == 0


def test_adopt_clients_and_their_network() -> None:
    """A network that is banned because of its clients is so again, and not by hand."""
    ladder = make()
    for number, seconds in ((1, 300), (2, 200), (3, 100)):
        ladder.adopt(parse_network(f"192.0.2.{number}"), seconds * SECOND, 0)
    ladder.adopt(NET24, 100 * SECOND, 0)
    (ban,) = ladder.bans_on(NET24, 0)
    assert (ban.origin, ban.until_ns) == (Origin.WIDENED, 100 * SECOND)


def test_adopt_of_the_exempt_and_of_shared_exits() -> None:
    """The former are let go, the latter do not climb."""
    ladder = make(exempt("192.0.2.1/32", "198.51.100.2/32"))
    ladder.adopt(ALICE, 500, 0)
    ladder.adopt(BOB, 500, 0)
    assert held(ladder, A, 0) == "free"
    assert ALICE in ladder.take_changes()
    assert ladder.account(BOB, 0).rung == 0


def test_adopt_leaves_two_bans_alone() -> None:
    """With a ban by hand beside that of the ladder, which of them ends then is not known."""
    ladder = make()
    ladder.restore(Ban(ALICE, Origin.LADDER, 0, 100, 1), 0)
    ladder.restore(Ban(ALICE, Origin.MANUAL, 0, 200), 0)
    ladder.adopt(ALICE, 250, 0)
    assert sorted(ban.until_ns for ban in ladder.bans_on(ALICE, 0)) == [100, 200]


# Any history.

CLIENTS = [client_key(bytes([192, 0, 2, number])) for number in range(4)]
EVENTS = st.lists(
    st.tuples(st.sampled_from(["trap", "ban", "lift", "expire"]), st.sampled_from(CLIENTS), st.integers(1, 2000)),
    max_size=60,
)


@given(EVENTS)
def test_any_history(events: list[tuple[str, int, int]]) -> None:
    """Whatever happens: the list of bans is what the single questions say, and all that ends is told as a change."""
    ladder = make()
    told: dict[int, int] = {}
    now_ns = 0
    for verb, client, seconds in events:
        now_ns += seconds * SECOND // 4
        if verb == "trap":
            for _ in range(4):
                ladder.offend(client, OffenceKind.TRAP, now_ns)
        elif verb == "ban":
            ladder.ban(client, now_ns, length_ns=seconds * SECOND, reason="")
        elif verb == "lift":
            ladder.lift(client, now_ns)
        ladder.expire(now_ns)
        told.update((key, ladder.until(key, now_ns)) for key in ladder.take_changes())
        listed: dict[int, int] = {}
        for ban in ladder.bans(now_ns):
            listed[ban.key] = max(listed.get(ban.key, 0), ban.until_ns)
        assert listed == {key: until for key, until in told.items() if until > now_ns}
        assert (NET24 in listed) is (
            sum(any(ban.origin is Origin.LADDER for ban in ladder.bans_on(each, now_ns)) for each in CLIENTS) >= 3
        )


def test_is_client() -> None:
    """An IPv4 address or an IPv6 /64, and nothing larger."""
    for text, client in (("192.0.2.1", True), ("2001:db8::", True), ("::1", True)):
        assert is_client(parse_network(text)) is client
    for text in ("192.0.2.0/24", "2001:db8::/56", "2001:db8::/48"):
        assert not is_client(parse_network(text))
