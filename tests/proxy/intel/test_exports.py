"""Bans, as others hear of them."""

from __future__ import annotations

import json

import pytest
import stix2

from fastpath import parse_network
from models.steps import whole
from proxy.intel.bouncers import MOST_BOUNCERS, Bouncers
from proxy.intel.exports import Exported, bundle, decision, duration, exported, plain, timed
from proxy.intel.formats import FORMATS, Reading
from proxy.intel.formats.crowdsec import seconds_of
from proxy.policy.offender import Ban, Origin
from proxy.settings.kinds import SECOND
from tests.proxy.intel.feeds_for_tests import NOW_S, texts

NOW = 10**15
OFFSET = int(NOW_S) * SECOND - NOW
ONE = Exported("1.2.3.4", NOW_S - 60, NOW_S + 3661, "ladder")
NET = Exported("2a00:1:2::/64", NOW_S - 60, NOW_S + 30, "manual")


def ban(network: str, seconds: int = 60, origin: Origin = Origin.LADDER) -> Ban:
    """Return a ban that began a minute ago."""
    return Ban(parse_network(network), origin, NOW - 60 * SECOND, NOW + seconds * SECOND, 1, "secret reason")


@pytest.mark.parametrize(
    ("bans", "told"),
    [
        ([], {}),
        ([ban("1.2.3.4")], {"1.2.3.4": 60}),
        ([ban("1.2.3.4"), ban("1.2.3.4", 90, Origin.MANUAL)], {"1.2.3.4": 90}),
        ([ban("1.2.3.4"), ban("1.2.3.0/24")], {"1.2.3.0/24": 60}),
        ([ban("1.2.3.4", 90), ban("1.2.3.0/24")], {"1.2.3.4": 90, "1.2.3.0/24": 60}),
        ([ban("2a00:1:2:3::"), ban("2a00:1:2::/48")], {"2a00:1:2::/48": 60}),
    ],
)
def test_who_is_told(bans: list[Ban], told: dict[str, int]) -> None:
    """Each address or network once, with the ban that ends last; what another one covers is left out."""
    assert {value: each.until_s - NOW_S for value, each in whole(exported(bans, OFFSET)).items()} == told


def test_no_reasons() -> None:
    """Why somebody is banned stays here."""
    text = json.dumps([*whole(exported([ban("1.2.3.4")], OFFSET)).values()])
    assert "secret" not in text


def test_lists() -> None:
    """A line each; with the seconds left, at least one."""
    assert plain([ONE, NET]) == "1.2.3.4\n2a00:1:2::/64\n"
    assert timed([ONE, NET._replace(until_s=NOW_S - 5)], NOW_S) == "1.2.3.4 3661\n2a00:1:2::/64 1\n"
    assert plain([]) == timed([], NOW_S) == ""


def test_stix() -> None:
    """The standard library takes the bundle; the same ban has the same id each time; our own reader reads it."""
    told = bundle([ONE, NET], NOW_S)
    parsed = stix2.parse(json.dumps(told), allow_custom=False)
    assert [each.pattern for each in parsed.objects] == [
        "[ipv4-addr:value = '1.2.3.4']",
        "[ipv6-addr:value = '2a00:1:2::/64']",
    ]
    assert [each["id"] for each in bundle([ONE, NET], NOW_S + 9)["objects"]] == [each["id"] for each in told["objects"]]
    read = FORMATS["stix"].parse(json.dumps(told).encode(), Reading(NOW_S))
    assert texts(read.listings) == ["1.2.3.4/32", "2a00:1:2::/64"]
    assert not FORMATS["stix"].parse(json.dumps(bundle([], NOW_S)).encode(), Reading(NOW_S)).listings


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0h0m0s"), (3661.4, "1h1m1s"), (-1, "-0h0m1s"), (-0.2, "0h0m0s"), (86_400 * 400, "9600h0m0s")],
)
def test_duration(seconds: float, text: str) -> None:
    """Times are as Go writes them, and our own reader reads them."""
    assert duration(seconds) == text
    assert seconds_of(text) == round(seconds)


def test_decision() -> None:
    """A decision is as bouncers read it, and its number fits into JSON."""
    told = decision(ONE, NOW_S)
    assert told == {
        "id": told["id"],
        "origin": "hkpguard",
        "type": "ban",
        "scope": "Ip",
        "value": "1.2.3.4",
        "duration": "1h1m1s",
        "scenario": "hkpguard/ladder",
    }
    assert 0 <= told["id"] < 2**53
    assert decision(NET, NOW_S)["scope"] == "Range"


# Bouncers.


class Line:
    """Bouncers, and what they were told."""

    def __init__(self) -> None:
        """Nobody has asked."""
        self.bouncers = Bouncers()

    def ask(self, *bans: Exported, who: str = "a", startup: bool = False) -> tuple[list[str], list[str]]:
        """Return what is new, and what is deleted."""
        known = {each.value: each for each in bans}
        told = json.loads(whole(self.bouncers.changes(who, known, startup=startup, now_s=NOW_S)))
        assert all(each["duration"].startswith("-") for each in told["deleted"])
        return [each["value"] for each in told["new"]], [each["value"] for each in told["deleted"]]


def test_changes() -> None:
    """All at the start, then what is new, changed or gone; each bouncer by itself."""
    line = Line()
    assert line.ask(ONE, startup=True) == (["1.2.3.4"], [])
    assert line.ask(ONE) == ([], [])
    assert line.ask(ONE, NET) == (["2a00:1:2::/64"], [])
    assert line.ask(ONE, NET, who="b") == (["1.2.3.4", "2a00:1:2::/64"], [])
    assert line.ask(ONE._replace(until_s=NOW_S + 9999), NET) == (["1.2.3.4"], [])
    assert line.ask(ONE._replace(until_s=NOW_S + 9999.5), NET) == ([], [])
    assert line.ask(NET) == ([], ["1.2.3.4"])
    assert line.ask() == ([], ["2a00:1:2::/64"])
    assert line.ask(ONE, startup=True) == (["1.2.3.4"], [])
    assert line.ask(ONE, startup=True) == (["1.2.3.4"], [])


def test_stranger_is_told_all() -> None:
    """Who is not remembered, as after a restart of the guard, is told all, also without saying that it begins."""
    line = Line()
    line.ask(ONE, startup=True)
    for number in range(MOST_BOUNCERS):
        line.ask(ONE, who=str(number))
    assert len(line.bouncers) == MOST_BOUNCERS
    assert line.ask(ONE) == (["1.2.3.4"], [])
