"""The warden: from records to bans that workers obey, over restarts, deaths and clocks that are set."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from fastpath import Standing, client_key, parse_address, parse_network
from proxy.policy.offences import OffenceKind
from proxy.policy.offender import Origin
from proxy.warden import LONGEST_NS, Exempt, NoRoom
from tests.proxy.admin.records_for_tests import SECOND, block
from tests.proxy.wardens_for_tests import FakeNode, do

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

A, B, C, D = "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4"
SIX = "2001:db8::1"


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., FakeNode]:
    """Return a starter of nodes that share a folder."""
    return lambda **settings: FakeNode(tmp_path / "state", **settings)


# (what, events: (what happens, for how long which client is kept out after it))
HISTORIES: list[tuple[str, list[tuple[str, str, int]]]] = [
    (
        "a ban is in force at once, and ends by itself",
        [(f"3xtrap {A}", A, 0), (f"trap {A}", A, 1800), ("pass 1799s", A, 1), ("pass 1s", A, 0)],
    ),
    ("served requests are nothing", [(f"10000xserved {A}", A, 0)]),
    (
        "a refresh of 300 keys with 100 unknown earns nothing",
        [(f"200xserved {A}", A, 0), (f"100xunknown {A}", A, 0), (f"3xtrap {A}", A, 0)],
    ),
    ("a refused chunk of a refresh is one offence", [(f"21xviolation {A}", A, 0), (f"3xtrap {A}", A, 0)]),
    (
        "who is over a limit all the time",
        [(event, A, 0) for _ in range(21) for event in (f"30xviolation {A}", "wait 10s")]
        + [(f"30xviolation {A}", A, 0), ("wait 10s", A, 0), (f"violation {A}", A, 1800)],
    ),
    ("retries make it no longer", [(f"4xtrap {A}", A, 1800), ("wait 60s", A, 1740), (f"99xrefused {A}", A, 1740)]),
    ("a flood of rubbish", [(f"200xmalformed {A}", A, 0), (f"120xmalformed {A}", A, 1800)]),
    ("harvesting of canaries", [(f"3xcanary {SIX}", SIX, 0), (f"canary {SIX}", SIX, 1800)]),
    (
        "a network and back",
        [
            (f"4xtrap {A}", D, 0),
            (f"4xtrap {B}", D, 0),
            (f"4xtrap {C}", D, 1800),
            (f"unban {C}", D, 0),
            (f"4xtrap {C}", D, 1800),
            ("wait 30m", D, 0),
        ],
    ),
    (
        "a restart",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 60s", A, 1740),
            ("restart", A, 1740),
            ("wait 29m", A, 0),
            (f"4xtrap {A}", A, 7200),
            ("restart", A, 7200),
            ("wait 2h", A, 0),
            ("restart", A, 0),
            (f"4xtrap {A}", A, 28_800),
        ],
    ),
    (
        "a power cut: what the last turn has written is there",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 1s", A, 1799),
            (f"4xtrap {B}", B, 1800),
            ("crash", A, 1799),
            ("wait 1s", B, 0),
        ],
    ),
    (
        "a power cut after the clock was set",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 1s", A, 1799),
            ("clock +3d", A, 1799),
            ("wait 1s", A, 1798),
            ("crash", A, 1798),
        ],
    ),
    (
        "networks after a restart",
        [
            (f"4xtrap {A}", D, 0),
            (f"4xtrap {B}", D, 0),
            (f"4xtrap {C}", D, 1800),
            ("wait 1m", D, 1740),
            ("restart", D, 1740),
            ("wait 29m", D, 0),
        ],
    ),
    (
        "points are not kept over a restart",
        [(f"3xtrap {A}", A, 0), ("wait 1s", A, 0), ("restart", A, 0), (f"trap {A}", A, 0)],
    ),
    (
        "bans by hand after a restart",
        [
            (f"ban {A} 1h", A, 3600),
            ("ban 2001:db8::/48 1d", SIX, 86_400),
            ("restart", A, 3600),
            ("restart", SIX, 86_400),
            ("unban 2001:db8::/48", SIX, 0),
            ("restart", SIX, 0),
            ("wait 1h", A, 0),
        ],
    ),
    (
        "an analyst that is killed before it has written anything",
        [
            (f"4xtrap {A}", A, 1800),
            ("pass 60s", A, 1740),
            ("kill", A, 1740),
            ("wait 1s", A, 1739),
            ("restart", A, 1739),
            ("wait 1739s", A, 0),
            (f"4xtrap {A}", A, 7200),
        ],
    ),
    (
        "an analyst that is killed with a network banned",
        [
            (f"4xtrap {A}", D, 0),
            (f"4xtrap {B}", D, 0),
            (f"4xtrap {C}", D, 1800),
            ("kill", D, 1800),
            (f"unban {B}", D, 0),
            ("kill", D, 0),
            ("kill", A, 1800),
        ],
    ),
    (
        "an analyst that is killed after an unban",
        [(f"4xtrap {A}", A, 1800), ("wait 1s", A, 1799), (f"unban {A}", A, 0), ("kill", A, 0), ("restart", A, 0)],
    ),
    (
        "clocks that are set neither lift nor lengthen a ban",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 1s", A, 1799),
            ("clock +3d", A, 1799),
            ("wait 1s", A, 1798),
            ("clock -10d", A, 1798),
            ("wait 1s", A, 1797),
            ("wait 1797s", A, 0),
        ],
    ),
    (
        "a clock that is set is set for the next start as well",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 1s", A, 1799),
            ("clock +3d", A, 1799),
            ("wait 1s", A, 1798),
            ("restart", A, 1798),
        ],
    ),
    (
        "a clock that is set at the last moment",
        [(f"4xtrap {A}", A, 1800), ("wait 1s", A, 1799), ("clock +10m", A, 1799), ("restart", A, 1799)],
    ),
    (
        "a clock that is set back",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 1s", A, 1799),
            ("clock -3d", A, 1799),
            ("wait 1s", A, 1798),
            ("restart", A, 1798),
        ],
    ),
    (
        "a clock that is set while the analyst is dead does not matter: memory knows when the ban ends",
        [
            (f"4xtrap {A}", A, 1800),
            ("wait 10s", A, 1790),
            ("clock +3d", A, 1790),
            ("kill", A, 1790),
            ("clock -9d", A, 1790),
            ("kill", A, 1790),
            ("wait 1790s", A, 0),
            (f"4xtrap {A}", A, 7200),
        ],
    ),
]


@pytest.mark.parametrize("events", [events for _, events in HISTORIES], ids=[name for name, _ in HISTORIES])
def test_histories(start: Callable[..., FakeNode], events: list[tuple[str, str, int]]) -> None:
    """Who is kept out for how many seconds, after what."""
    node = start()
    for event, client, left in events:
        do(node, event)
        assert node.left(client) == left, event


def test_workers_see_the_standing(start: Callable[..., FakeNode]) -> None:
    """Banned, or held in the tarpit, as HKPGUARD_BANS__REFUSAL says; after a reload that of all bans changes."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "ban 198.51.100.0/24 1h")
    addresses = [parse_address(text) for text in (A, "198.51.100.77")]
    for refusal, standing in (("tarpit", Standing.TARPIT), ("reset", Standing.BANNED), ("close", Standing.BANNED)):
        node.reload(BANS__REFUSAL=refusal)
        assert {node.table.standing(each, node.now_ns) for each in addresses} == {standing}
    assert node.in_table() == {A: 1800, "198.51.100.0/24": 3600}


def test_slots_of_the_table_are_freed(start: Callable[..., FakeNode]) -> None:
    """Bans that are over take no room."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "wait 30m")
    assert node.in_table() == {}
    assert not node.table.remove(parse_network(A))


# Modes.


@pytest.mark.parametrize(
    ("settings", "mode", "left"),
    [
        ({}, "enforce", 1800),
        ({"MODE": "shadow"}, "shadow", 1800),
        ({"BANS__MODE": "shadow"}, "shadow", 1800),
        ({"MODE": "off"}, "off", 0),
        ({"BANS__MODE": "off"}, "off", 0),
        ({"BANS__MODE": "off", "MODE": "shadow"}, "off", 0),
    ],
)
def test_modes(start: Callable[..., FakeNode], settings: dict[str, str], mode: str, left: int) -> None:
    """In shadow mode the table is as it would be: workers see to it that nobody is refused. Off: nothing counts."""
    node = start(**settings)
    do(node, f"4xtrap {A}")
    assert (node.warden.mode, node.left(A)) == (mode, left)


@pytest.mark.parametrize(
    ("settings", "left"),
    [
        ({}, 1800),
        ({"BANS__MODE": "off"}, 0),
        ({"BANS__POINTS": "101"}, 0),
        ({"ALLOW": A}, 0),
        ({"VERDICTS__MODE": "shadow"}, 0),
        ({"VERDICTS__MODE": "off"}, 0),
        ({"VERDICTS__MODE": "shadow", "BANS__MODE": "shadow"}, 1800),
    ],
)
def test_a_verdict(start: Callable[..., FakeNode], settings: dict[str, str], left: int) -> None:
    """A verdict that binds is worth a ban at the usual number of points, which is told; never of who is allowed."""
    node = start(**settings)
    node.warden.convict(client_key(parse_address(A)))
    assert node.left(A) == left
    assert [event.kind for event in node.told] == ["ban.placed"] * (left > 0)


@pytest.mark.parametrize(("mode", "left"), [("enforce", 0), ("shadow", 1800)])
def test_shadow_actions(start: Callable[..., FakeNode], mode: str, left: int) -> None:
    """What shadow mode only would have done is held against nobody whom bans really keep out."""
    node = start(BANS__MODE=mode)
    trap = node.record("trap", A)
    node.warden.feed(block(*[trap._replace(action=trap.action + 6)] * 4))
    assert node.left(A) == left


def test_mode_after_a_reload(start: Callable[..., FakeNode]) -> None:
    """It is that of the new configuration; bans in force stay."""
    node = start(BANS__MODE="off")
    do(node, f"4xtrap {A}")
    node.reload(BANS__MODE="enforce")
    do(node, f"4xtrap {A}")
    node.reload(BANS__MODE="off")
    assert (node.warden.mode, node.left(A)) == ("off", 1800)


# Who is never banned, and shared exits.


@pytest.mark.parametrize("setting", ["ALLOW", "PEERS", "TRUSTED_PROXIES"])
def test_who_is_never_banned(start: Callable[..., FakeNode], setting: str) -> None:
    """Neither for what they do, nor with their network, nor by hand; on reload bans of them are lifted."""
    node = start()
    for each in (A, B, C):
        do(node, f"4xtrap {each}")
    assert node.left(D) == 1800
    node.reload(**{setting: A})
    assert [node.left(each) for each in (A, B, C, D)] == [0, 1800, 1800, 0]
    do(node, f"100xtrap {A}")
    assert node.left(A) == 0
    for network in (A, "192.0.2.0/24"):
        with pytest.raises(Exempt, match=f"{network} is, or holds, an address of HKPGUARD_ALLOW"):
            node.warden.ban(network)
    assert sorted(node.in_table()) == [B, C]
    do(node, "restart")
    assert [node.left(each) for each in (A, B)] == [0, 1800]


def test_bans_of_the_exempt_are_lifted_at_the_start(start: Callable[..., FakeNode]) -> None:
    """Also those that were written down, or are in memory, before the setting came."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "wait 1s")
    node.settings["ALLOW"] = A
    do(node, "kill")
    assert node.in_table() == {}
    do(node, "wait 1s")
    del node.settings["ALLOW"]
    do(node, "restart")
    assert node.left(A) == 0


def test_shared_exits(start: Callable[..., FakeNode], tmp_path: Path) -> None:
    """Setting and file name them: short bans that do not climb, and no ban of their network."""
    file = tmp_path / "exits"
    file.write_text(f"{B}\n")
    node = start(SHARED_EXITS=A, SHARED_EXITS_FILE=str(file))
    for _ in range(3):
        for each in (A, B, C):
            do(node, f"4xtrap {each}")
        assert [node.left(each) for each in (A, B, D)] == [57, 57, 0]
        do(node, "wait 57s")
    file.write_text(f"{C}\n{D}\n")
    node.reload()
    assert node.left(C) == 60
    file.write_text("rubbish\n")
    node.reload()
    assert "line 1" in node.warden.degraded
    do(node, f"4xtrap {D}")
    assert node.left(D) == 57
    file.write_text("")
    node.reload()
    assert node.warden.degraded == ""


def test_shared_exits_by_origin(start: Callable[..., FakeNode]) -> None:
    """Who shares an address, as its origin says, is banned briefly; as soon as it says so, and as long."""
    node = start()
    node.exits.add(parse_network(A))
    do(node, f"4xtrap {A}")
    assert node.left(A) == 57
    do(node, "wait 57s")
    node.exits.clear()
    do(node, f"4xtrap {A}")
    assert node.left(A) > 1000


# By hand.


def test_ban_by_hand(start: Callable[..., FakeNode]) -> None:
    """As long as one says, else as long as the first rung; written down at once; the list shows it."""
    node = start()
    placed = node.warden.ban("198.51.100.0/24", reason="they know why")
    assert placed.warnings == []
    assert (placed.ban.origin, placed.ban.until_ns - node.now_ns, placed.ban.reason) == (
        Origin.MANUAL,
        1800 * SECOND,
        "they know why",
    )
    node.warden.ban("2001:db8::/56", length_ns=LONGEST_NS)
    assert node.in_table() == {"198.51.100.0/24": 1800, "2001:db8::/56": 365 * 86_400}
    assert len(node.warden.latest(10)) == 2
    do(node, "kill")
    assert {ban.reason for ban in node.warden.latest(10)} == {"they know why", ""}


@pytest.mark.parametrize(
    ("network", "length_ns", "reason", "said"),
    [
        ("192.0.2.0/25", None, "", "/24"),
        ("rubbish", None, "", "address"),
        ("", None, "", "address"),
        (A, 0, "", "1 second to 365 days"),
        (A, -SECOND, "", "1 second to 365 days"),
        (A, LONGEST_NS + 1, "", "1 second to 365 days"),
        (A, None, "x" * 201, "200 characters"),
        (A, None, "two\nlines", "one line"),
        (A, None, "\x1b[31m", "one line"),
    ],
)
def test_bad_ban_by_hand(
    start: Callable[..., FakeNode], network: str, length_ns: int | None, reason: str, said: str
) -> None:
    """It is refused with what is allowed, and nothing happens."""
    node = start()
    with pytest.raises(ValueError, match=said):
        node.warden.ban(network, length_ns=length_ns, reason=reason)
    assert node.in_table() == {}


@pytest.mark.parametrize(
    ("network", "settings", "warning"),
    [
        ("127.0.0.1", {}, "loopback"),
        ("::1", {}, "loopback"),
        (A, {"SHARED_EXITS": "192.0.2.0/28"}, "shared exit"),
        ("192.0.2.0/24", {"SHARED_EXITS": "192.0.2.0/28"}, "shared exit"),
        (A, {"MODE": "shadow"}, "shadow mode"),
        (A, {"BANS__MODE": "off"}, "bans are off"),
        (A, {"STATE_DIR": "/dev/null"}, "restart"),
    ],
)
def test_warnings(start: Callable[..., FakeNode], network: str, settings: dict[str, str], warning: str) -> None:
    """A ban that may not be meant is carried out, with a warning."""
    node = start(**settings)
    (said,) = node.warden.ban(network).warnings
    assert warning in said
    assert len(node.in_table()) == 1


def test_lift(start: Callable[..., FakeNode]) -> None:
    """It says what was lifted, and what still keeps the client out."""
    node = start()
    do(node, f"4xtrap {A}")
    do(node, "ban 192.0.2.0/24 1h")
    lifted, still = node.warden.lift(A)
    assert ([ban.origin for ban in lifted], still and still.key) == ([Origin.LADDER], parse_network("192.0.2.0/24"))
    assert node.in_table() == {"192.0.2.0/24": 3600}
    lifted, still = node.warden.lift("192.0.2.0/24")
    assert ([ban.origin for ban in lifted], still) == ([Origin.MANUAL], None)
    assert node.warden.lift(A) == ([], None)
    assert node.in_table() == {}


def test_lift_of_a_network_lifts_all_in_it(start: Callable[..., FakeNode]) -> None:
    """Clients, smaller networks and the ban of its own, by hand or not."""
    node = start()
    for each in ("2001:db8::", "2001:db8:0:1::", "2001:db8:0:100::"):
        do(node, f"4xtrap {each}")
    do(node, "ban 2001:db8:0:500::/56 1h")
    do(node, "ban 2001:db8:1:: 1h")
    lifted, _ = node.warden.lift("2001:db8::/48")
    assert len(lifted) == 6  # three /64, their /56, the /48, the ban by hand
    assert node.in_table() == {"2001:db8:1::/64": 3600}


# Room.


def fill(node: FakeNode) -> None:
    """Leave no room in the table."""
    for number in range(node.table.capacity):
        assert node.table.put(client_key((0x0A000000 + number).to_bytes(4)), node.now_ns + 600 * SECOND)


def test_full_table(start: Callable[..., FakeNode]) -> None:
    """A ban by hand is refused; one that is earned waits for room, and the state says so."""
    node = start()
    fill(node)
    with pytest.raises(NoRoom, match="65536"):
        node.warden.ban(A)
    node.feed("trap", A, 4)
    assert A not in node.in_table()
    assert "1 are not in force" in node.warden.degraded
    do(node, "wait 1s")
    assert "1 are not in force" in node.warden.degraded
    do(node, "pass 10m")
    node.warden.turn(node.now_ns)
    node.warden.turn(node.now_ns)
    assert node.in_table() == {A: 1800 - 601}
    assert node.warden.degraded == ""


# What others ask.


def test_counts(start: Callable[..., FakeNode]) -> None:
    """Offences by kind, bans in force by origin."""
    node = start()
    assert dict(node.warden.in_force) == {Origin.LADDER: 0, Origin.WIDENED: 0, Origin.MANUAL: 0, Origin.CLUSTER: 0}
    for each in (A, B, C):
        do(node, f"4xtrap {each}")
    do(node, f"33xmalformed {SIX}")
    do(node, f"5xviolation {SIX}")
    do(node, "ban 203.0.113.0/24 1h")
    assert dict(node.warden.in_force) == {Origin.LADDER: 3, Origin.WIDENED: 1, Origin.MANUAL: 1, Origin.CLUSTER: 0}
    assert node.warden.offences == {OffenceKind.TRAP: 12, OffenceKind.MALFORMED: 2, OffenceKind.VIOLATION: 1}


def test_account_and_times(start: Callable[..., FakeNode]) -> None:
    """What is held against a client; times as the clock of the day tells them now."""
    node = start()
    do(node, f"trap {A}")
    do(node, "wait 10s")
    account = node.warden.account(parse_network(A))
    assert (account.ban, round(account.points), account.rung) == (None, 25, 0)
    ((kind, time_ns),) = account.offences
    assert (kind, node.warden.day_seconds(time_ns)) == (OffenceKind.TRAP, node.day_ns / SECOND - 10)
    do(node, "clock +1h")
    assert node.warden.day_seconds(time_ns) == node.day_ns / SECOND - 10


def test_seconds_left(start: Callable[..., FakeNode]) -> None:
    """Rounded up, and 0 when it is over."""
    node = start()
    ban = node.warden.ban(A).ban
    lefts = []
    for passed_ns in (0, 1, 1799 * SECOND, 1800 * SECOND - 1, 1800 * SECOND, 5000 * SECOND):
        node.now_ns = ban.since_ns + passed_ns
        lefts.append(node.warden.seconds_left(ban))
    assert lefts == [1800, 1800, 1, 1, 0, 0]


def test_log_has_no_addresses(start: Callable[..., FakeNode]) -> None:
    """The log says how many were banned, once a turn, and what operators did; never whom it hit."""
    node = start()
    with capture_logs() as log:
        do(node, f"4xtrap {A}")
        do(node, f"4xtrap {SIX}")
        do(node, "wait 1s")
        do(node, "wait 1s")
        do(node, "ban 198.51.100.7 1h")
        do(node, "unban 198.51.100.7")
        node.reload(ALLOW=A)
    assert [(each["event"], each.get("clients", each.get("count"))) for each in log] == [
        ("banned", 2),
        ("banned by hand", None),
        ("bans lifted by hand", 1),
        ("bans lifted: nobody may ban these clients and networks any more", 1),
    ]
    assert not any(address in str(log) for address in ("192.0.2", "2001:db8", "198.51.100"))


def test_bans_are_told(start: Callable[..., FakeNode]) -> None:
    """Others hear of each ban as it begins, of a network that is banned with its clients once, and of who is let go."""
    node = start()
    for last in (1, 2, 3, 4):
        do(node, f"4xtrap 192.0.2.{last}")
        do(node, "wait 1s")
    do(node, "ban 192.0.2.9 1h")
    do(node, "ban 198.51.100.7 1h")
    do(node, "unban 198.51.100.7")
    node.reload(ALLOW="192.0.2.1")
    told = [(type(event).__name__, *event.values(addresses=True).values()) for event in node.told]
    clients = [("BanPlaced", f"192.0.2.{last}", "ladder", 1800, 1, "4 trap", "enforce", "") for last in (1, 2, 3)]
    network = [each[:3] for each in told if each[1] == "192.0.2.0/24"]
    assert [each for each in told if each[1] != "192.0.2.0/24"] == [
        *clients,
        ("BanPlaced", "192.0.2.9", "manual", 3600, 0, "", "enforce", ""),
        ("BanPlaced", "198.51.100.7", "manual", 3600, 0, "", "enforce", ""),
        ("BanLifted", "198.51.100.7", "manual", "operator", ""),
        ("BanLifted", "192.0.2.1", "ladder", "reload", ""),
    ]
    assert network == [("BanPlaced", "192.0.2.0/24", "widened"), ("BanLifted", "192.0.2.0/24", "widened")]


def test_bans_that_are_taken_up_are_not_told(start: Callable[..., FakeNode]) -> None:
    """After a restart others hear of what is new, not of what was told before."""
    node = start()
    for last in (1, 2, 3):
        do(node, f"4xtrap 192.0.2.{last}")
    node.restart()
    do(node, "wait 1s")
    assert node.told == []
    do(node, f"4xtrap {SIX}")
    assert len(node.told) == 1
