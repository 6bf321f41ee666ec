"""What follows from all feeds together."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.origin import LISTED_DENIED, LISTED_PRICED, NetworkKind
from proxy.intel.combined import Combined, write
from proxy.intel.combining import LOUDEST, Spared, Voice, combine
from proxy.intel.listing import ListingKind, Listings
from proxy.policy.fusion import MOST_WEIGHT
from proxy.settings.intel import IntelConfig
from tests.proxy.intel.feeds_for_tests import NOBODY, NOW_S, listings, prefixes

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.intel.combining import Verdicts

BOUNDS = IntelConfig.model_validate({"deny": "90", "price": "40", "deny_feeds": "2"})
RULES = {0: "", LISTED_PRICED: "priced", LISTED_DENIED: "denied"}
NO_ONE = Spared(NOBODY, NOBODY)


def voice(name: str, of: Listings, kind: str = "abuse", *, group: str = "", weight: float = 1.0) -> Voice:
    """Return a feed that says something."""
    return Voice(name, ListingKind(kind), weight, group or name, of)


def rule(verdicts: Verdicts, address: str) -> str:
    """Return the rule of the longest prefix that holds an address."""
    return RULES[int(verdicts.rules[row])] if (row := row_of(verdicts, address)) is not None else ""


def row_of(verdicts: Verdicts, address: str) -> int | None:
    """Return which prefix is the longest that holds an address, by looking at all."""
    wanted = ip_address(address)
    found = [
        (int(length), row)
        for row, (network, length) in enumerate(zip(verdicts.networks, verdicts.lengths, strict=True))
        if wanted in network_of(network.tobytes(), int(length))
    ]
    return max(found)[1] if found else None


def network_of(packed: bytes, length: int):  # noqa: ANN201 - of either family
    """Return the network of a row."""
    return (
        ip_network((packed[12:], length - 96))
        if packed.startswith(bytes(10) + b"\xff\xff") and length >= 96
        else ip_network((packed, length))
    )


LOUD, FAIR, FAINT = (listings("1.2.3.4", severity=each) for each in (0.9, 0.5, 0.2))


@pytest.mark.parametrize(
    ("voices", "expected"),
    [
        ([voice("a", LOUD)], "denied"),
        ([voice("a", FAIR)], "priced"),
        ([voice("a", FAINT)], ""),
        ([voice("a", FAIR), voice("b", FAIR)], "denied"),
        ([voice("a", FAIR, group="g"), voice("b", FAIR, group="g")], "priced"),
        ([voice("a", LOUD, group="g"), voice("b", FAINT, group="g")], "denied"),
        ([voice("a", FAIR), voice("b", FAINT)], "priced"),
        ([voice("a", FAINT), voice("b", FAINT), voice("c", FAINT)], ""),
        ([voice("a", FAIR, weight=1.8)], "denied"),
        ([voice("a", LOUD, weight=0.5)], "priced"),
        ([voice("a", LOUD, weight=0.0)], ""),
        ([voice("a", LOUD, "scanner")], "denied"),
        ([voice("a", LOUD, "hosting")], ""),
        ([voice("a", LOUD), voice("w", LOUD, "warning")], ""),
        ([voice("a", LOUD), voice("b", LOUD), voice("t", FAINT, "tor")], ""),
        ([voice("a", LOUD), voice("m", FAINT, "mobile")], ""),
        ([voice("a", LOUD), voice("v", FAINT, "vpn")], "denied"),
        ([voice("a", listings("1.2.3.4", severity=0.9, until_s=NOW_S))], ""),
        ([voice("a", listings("1.2.3.4", severity=0.9, until_s=NOW_S + 1))], "denied"),
        ([], ""),
    ],
)
def test_rule(voices: list[Voice], expected: str) -> None:
    """One loud voice denies, or two independent ones; less is priced, or no rule; and some networks are never hit."""
    assert rule(combine(voices, NO_ONE, BOUNDS, NOW_S), "1.2.3.4") == expected


@pytest.mark.parametrize(
    ("outer", "inner", "at", "expected"),
    [
        ("1.2.3.0/24", "1.2.3.4", "1.2.3.4", "denied"),
        ("1.2.3.0/24", "1.2.3.4", "1.2.3.5", "priced"),
        ("1.2.0.0/16", "1.2.3.0/24", "1.2.3.5", "denied"),
        ("1.2.3.0/24", "1.2.3.255", "1.2.3.255", "denied"),
        ("1.2.3.0/24", "1.2.3.0", "1.2.3.0", "denied"),
        ("2a00::/32", "2a00::/64", "2a00::1", "denied"),
        ("2a00::/32", "2a00::/64", "2a00:0:0:1::1", "priced"),
    ],
)
def test_nested(outer: str, inner: str, at: str, expected: str) -> None:
    """Who names a network speaks of all in it as well, where somebody else names a part."""
    voices = [voice("a", listings(outer)), voice("b", listings(inner))]
    assert rule(combine(voices, NO_ONE, BOUNDS, NOW_S), at) == expected


@pytest.mark.parametrize("which", ["never", "shared"])
@pytest.mark.parametrize(
    ("spared", "at", "expected"),
    [
        ("1.2.3.4/32", "1.2.3.4", ""),
        ("1.2.3.0/24", "1.2.3.4", ""),
        ("1.0.0.0/8", "1.2.3.4", ""),
        ("0.0.0.0/0", "1.2.3.4", ""),
        ("1.2.3.0/28", "1.2.3.200", "denied"),
        ("2a00::/16", "1.2.3.4", "denied"),
        ("::/0", "1.2.3.4", "denied"),
    ],
)
def test_spared(which: str, spared: str, at: str, expected: str) -> None:
    """There is no rule where the configuration allows no ban; a hole in a listed network spares only what is in it."""
    named = NO_ONE._replace(**{which: prefixes(spared)})
    verdicts = combine([voice("a", listings("1.2.3.0/24", "1.2.3.4", severity=1.0))], named, BOUNDS, NOW_S)
    assert rule(verdicts, at) == expected


def test_hole_is_in_the_set() -> None:
    """Who is allowed within a listed network has a prefix of his own, which says that there is no rule."""
    verdicts = combine(
        [voice("a", listings("1.2.0.0/16", severity=1.0))], Spared(prefixes("1.2.3.0/24"), NOBODY), BOUNDS, NOW_S
    )
    row = row_of(verdicts, "1.2.3.4")
    assert row is not None
    assert (verdicts.lengths[row], verdicts.rules[row], verdicts.weights[row]) == (96 + 24, 0, 0)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (["tor"], NetworkKind.TOR),
        (["hosting", "tor", "vpn"], NetworkKind.TOR),
        (["cloud"], NetworkKind.HOSTING),
        (["vpn", "hosting"], NetworkKind.VPN),
        (["abuse"], NetworkKind.UNKNOWN),
    ],
)
def test_kind(words: list[str], kind: NetworkKind) -> None:
    """Lists that accuse nobody say what a network is; who is an exit in a data centre is an exit."""
    voices = [voice(str(number), FAIR, word) for number, word in enumerate(words)]
    verdicts = combine(voices, NO_ONE, BOUNDS, NOW_S)
    assert verdicts.kinds.tolist() == [kind]


@pytest.mark.parametrize(
    ("severities", "weight"), [([0.5], 3.0), ([0.5, 0.5], 4.5), ([1.0], LOUDEST), ([1.0, 1.0], LOUDEST), ([0.0], 0.0)]
)
def test_weight(severities: list[float], weight: float) -> None:
    """Evidence grows with each voice, and never beyond what one source may say."""
    voices = [voice(str(n), listings("1.2.3.4", severity=each)) for n, each in enumerate(severities)]
    verdicts = combine(voices, NO_ONE, BOUNDS, NOW_S)
    assert verdicts.weights.tolist() == pytest.approx([weight], abs=0.01)
    assert max(verdicts.weights) <= MOST_WEIGHT


@pytest.mark.parametrize(("mode", "denied"), [("enforce", True), ("shadow", True), ("off", False)])
def test_modes(mode: str, denied: bool) -> None:  # noqa: FBT001 - a row
    """Off, lists make no rule, and what they say is there to be seen; workers know what shadow mode is."""
    bounds = BOUNDS.model_copy(update={"mode": mode})
    verdicts = combine([voice("a", LOUD)], NO_ONE, bounds, NOW_S)
    assert verdicts.rules.tolist() == [LISTED_DENIED * denied]
    assert verdicts.weights.tolist() == pytest.approx([5.4], abs=0.01)


def test_thirty_two_feeds() -> None:
    """Each of 32 feeds is remembered by its bit."""
    voices = [voice(str(number), listings(f"1.2.{number}.0/24", "9.9.9.9")) for number in range(32)]
    verdicts = combine(voices, NO_ONE, BOUNDS, NOW_S)
    assert verdicts.feeds[row_of(verdicts, "1.2.31.7") or 0] == 1 << 31
    assert verdicts.feeds[row_of(verdicts, "9.9.9.9") or 0] == 2**32 - 1


NETWORKS = st.builds(
    lambda bits, length: IPv4Network((int(IPv4Address("1.2.0.0")) + bits >> 32 - length << 32 - length, length)),
    st.integers(0, 255),
    st.integers(24, 32),
)
SAYINGS = st.tuples(st.lists(NETWORKS, max_size=8), st.sampled_from([0.2, 0.5, 0.95]), st.sampled_from("gh"))


@given(st.lists(SAYINGS, max_size=4), st.lists(NETWORKS, max_size=3), st.integers(0, 255))
def test_against_looking_at_all(
    said: list[tuple[list[IPv4Network], float, str]], never: list[IPv4Network], last: int
) -> None:
    """Whatever overlaps, the longest prefix has what is said of an address by all networks around it."""
    voices = [
        voice(str(number), listings(*map(str, networks), severity=severity), group=group)
        for number, (networks, severity, group) in enumerate(said)
    ]
    verdicts = combine(voices, Spared(prefixes(*map(str, never)), NOBODY), BOUNDS, NOW_S)
    address = IPv4Address("1.2.0.0") + last
    loud = {"g": 0.0, "h": 0.0}
    for networks, severity, group in said:
        if any(address in network for network in networks):
            loud[group] = max(loud[group], severity)
    expected = (
        "denied"
        if max(loud.values()) >= 0.9 or min(loud.values()) >= 0.4
        else "priced"
        if max(loud.values()) >= 0.4
        else ""
    )
    if any(address in network for network in never):
        expected = ""
    assert rule(verdicts, str(address)) == expected


def test_file(tmp_path: Path) -> None:
    """What follows can be looked up in a file, by address, with the names of the feeds."""
    path = tmp_path / "combined"
    voices = [voice("a", listings("1.2.3.0/24", "2a00::/32", severity=1.0)), voice("b", listings("1.2.3.4"), "vpn")]
    write(path, combine(voices, NO_ONE, BOUNDS, NOW_S), ["a", "b"])
    combined = Combined(path)
    found = combined.find(ip_address("1.2.3.4").packed)
    assert found is not None
    assert (found.rule, found.kind, found.feeds) == (LISTED_DENIED, NetworkKind.VPN, ("a", "b"))
    assert found.weight == pytest.approx(LOUDEST)
    other = combined.find(ip_address("2a00::1").packed)
    assert other is not None
    assert (other.kind, other.feeds) == (NetworkKind.UNKNOWN, ("a",))
    assert combined.find(ip_address("1.2.4.1").packed) is None
    assert (len(combined), combined.count(LISTED_DENIED)) == (3, 3)


def test_empty_file(tmp_path: Path) -> None:
    """Nothing said is a file as well."""
    write(tmp_path / "combined", combine([], NO_ONE, BOUNDS, NOW_S), [])
    assert Combined(tmp_path / "combined").find(bytes(4)) is None


def test_order_does_not_matter() -> None:
    """The rules are the same in whatever order feeds are named."""
    voices = [
        voice(str(n), listings(f"1.2.{n}.0/24", "1.2.0.0/20", severity=0.3 + n / 10), group=str(n % 2))
        for n in range(5)
    ]
    there, back = combine(voices, NO_ONE, BOUNDS, NOW_S), combine(voices[::-1], NO_ONE, BOUNDS, NOW_S)
    assert np.array_equal(there.rules, back.rules)
    assert np.array_equal(there.networks, back.networks)
