"""Who is listed, and who was bad lately: from lists, records and events to evidence."""

from __future__ import annotations

import threading
from ipaddress import ip_network
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from fastpath import client_key, parse_address
from geo.place import Holder, Location
from models.coldness import Coldness
from models.watch import Watch
from proxy.config import Config
from proxy.intel import combined
from proxy.intel.combining import Spared, Voice, combine
from proxy.intel.listing import Listing, ListingKind, Listings
from proxy.plugins.built_in import BUILT_IN, mode_of
from proxy.plugins.contract import Common, Host
from proxy.plugins.ratelimit_threat_intel import LISTED, LOOK_NS, REPUTATION, SAVE_NS, RatelimitThreatIntel, Settings
from proxy.plugins.runner import Notebook
from proxy.policy.actions import Action
from proxy.settings.intel import IntelConfig
from proxy.settings.kinds import MINUTE
from proxy.settings.plugins import PluginConfig
from tests.models.traffic_for_tests import records
from tests.proxy.intel.feeds_for_tests import NOBODY, NOW_S

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from proxy.policy.fusion import Evidence

NOW = 10**15
NAME = "ratelimit-threat-intel"
BAD, GOOD, SIX = "1.2.3.4", "9.9.9.9", "2a00:1:2:3::4"


class Stage:
    """The plugin with lists, records and clocks of a test."""

    def __init__(self, folder: Path, features: Mapping[str, int] | None = None, **settings: Any) -> None:
        """Take the settings of the plugin; its state is below `folder`."""
        self.folder = folder
        self.now_s = NOW_S
        self.now_ns = NOW
        self.plugin = RatelimitThreatIntel(wall=lambda: self.now_s)
        self.notebook = Notebook()
        atlas = SimpleNamespace(locate=lambda _packed: Location(holder=Holder(64_500, "")))
        own = folder / "plugins" / NAME
        own.mkdir(parents=True, exist_ok=True)
        self.plugin.set_up(
            Host(
                config=Settings(**settings),
                log=self.notebook,
                bus=self.notebook,
                state_dir=own,
                features=features or {},
                common=Common(Coldness(bytes(16)), Watch(), cast("Any", atlas)),
            )
        )

    def list(self, *texts: str, severity: float = 0.5, name: str = "ipsum") -> None:
        """Have a feed list networks; it is noticed at the next look."""
        listings = Listings.of(Listing(ip_network(text), severity) for text in texts)
        voices = [Voice(name, ListingKind.ABUSE, 1.0, name, listings)]
        verdicts = combine(voices, Spared(NOBODY, NOBODY), IntelConfig(), NOW_S)
        combined.write(self.folder / "intel" / "combined", verdicts, [name])
        self.now_ns += LOOK_NS

    def look(self, *addresses: str, **fields: Any) -> dict[tuple[str, str], Evidence]:
        """Show a request of each address, and return what was said, by address and kind."""
        rows = [
            {"client": client_key(parse_address(each)), "address": mapped(each), "time_ns": self.now_ns, **fields}
            for each in addresses
        ]
        said = [each for each in self.plugin.look(records(*rows), self.now_ns) if each is not None]
        names = {client_key(parse_address(each)): each for each in addresses}
        return {(names[each.subject], each.kind): each for each in said}


def mapped(text: str) -> np.void:
    """Return an address as records have it."""
    packed = parse_address(text)
    return np.void(packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed)


def test_listed(tmp_path: Path) -> None:
    """Who is in a list is told of with the name of the feed, and nobody else is."""
    stage = Stage(tmp_path)
    stage.list("1.2.3.0/24", "2a00:1::/32")
    said = stage.look(BAD, GOOD, SIX)
    assert set(said) == {(BAD, LISTED), (SIX, LISTED)}
    evidence = said[BAD, LISTED]
    assert (evidence.weight, evidence.reason) == (pytest.approx(3.0), "listed by ipsum")
    assert evidence.until_ns == stage.now_ns + 15 * MINUTE
    assert stage.plugin.metrics()["prefixes"] == 2


def test_said_once(tmp_path: Path) -> None:
    """What was said is said again when half of its time is over, and not before."""
    stage = Stage(tmp_path)
    stage.list(BAD)
    assert stage.look(BAD)
    stage.now_ns += 7 * MINUTE
    assert not stage.look(BAD)
    stage.now_ns += MINUTE
    assert (BAD, LISTED) in stage.look(BAD)


def test_withdrawn(tmp_path: Path) -> None:
    """Who is in no list any more is told of at his next request, with no weight; and newly listed ones at theirs."""
    stage = Stage(tmp_path)
    stage.list(BAD)
    stage.look(BAD, GOOD)
    stage.list(GOOD, name="other")
    said = stage.look(BAD, GOOD)
    assert said[BAD, LISTED].weight == 0
    assert said[GOOD, LISTED].reason == "listed by other"


def test_feeds_that_are_gone(tmp_path: Path) -> None:
    """Without feeds there is no list, and nothing wrong with that."""
    stage = Stage(tmp_path)
    stage.list(BAD)
    stage.look(BAD)
    (tmp_path / "intel" / "combined").unlink()
    stage.now_ns += LOOK_NS
    assert stage.look(BAD)[BAD, LISTED].weight == 0
    assert stage.plugin.health() == ""


def test_damaged_list(tmp_path: Path) -> None:
    """A file that is damaged at the start is told, and taken when it is good."""
    (tmp_path / "intel").mkdir()
    (tmp_path / "intel" / "combined").write_bytes(b"x" * 100)
    stage = Stage(tmp_path)
    assert "cannot be read" in stage.plugin.health()
    stage.list(BAD)
    assert (BAD, LISTED) in stage.look(BAD)
    assert stage.plugin.health() == ""


def test_weight_and_feature(tmp_path: Path) -> None:
    """The operator bounds the weight, and for how many clients there is any."""
    stage = Stage(tmp_path, most_weight=1.0)
    stage.list(BAD, severity=1.0)
    assert stage.look(BAD)[BAD, LISTED].weight == 1.0
    stage = Stage(tmp_path, {LISTED: 0, "reputation": 0})
    assert not stage.look(BAD)


BAN = {"network": BAD, "origin": "ladder", "seconds": 60, "rung": 1, "reason": "x", "mode": "enforce"}


@pytest.mark.parametrize(
    ("kind", "data", "weight"),
    [
        ("ban.placed", BAN, 1.1),
        ("ban.placed", BAN | {"origin": "manual"}, 1.1),
        ("ban.placed", BAN | {"origin": "widened"}, 0.0),
        ("ban.placed", BAN | {"mode": "shadow"}, 0.0),
        ("ban.placed", BAN | {"network": "1.2.3.0/24"}, 0.1),
        ("verdict.raised", {"subject": BAD, "after": "tarpit"}, 0.65),
        ("verdict.raised", {"subject": BAD, "after": "priced"}, 0.0),
        ("verdict.raised", {"subject": BAD, "after": "banned"}, 0.0),
    ],
)
def test_reputation(tmp_path: Path, kind: str, data: dict[str, Any], weight: float) -> None:
    """Bans that were earned and hard verdicts leave points; what follows from others, or binds nobody, does not."""
    stage = Stage(tmp_path)
    stage.plugin.subscriptions()[kind](kind, data)
    said = stage.look(BAD)
    assert (said[BAD, "reputation"].weight if said else 0.0) == pytest.approx(weight, abs=0.06)


def test_recovery(tmp_path: Path) -> None:
    """Who behaves for an hour has half of his points left; who is refused has not behaved."""
    left = {}
    for status in (200, 429):
        stage = Stage(tmp_path / str(status))
        stage.plugin.subscriptions()["ban.placed"]("ban.placed", BAN)
        for _ in range(60):
            stage.now_s += 60
            stage.look(BAD, status=status, action=Action.ALLOW if status == 200 else Action.LIMIT)
        left[status] = stage.plugin.routes()["reputation"]({"address": BAD})["client"]
    assert left[200] == pytest.approx(0.48, abs=0.03)
    assert left[429] == pytest.approx(0.97, abs=0.03)


def test_who_was_listed_has_a_reputation(tmp_path: Path) -> None:
    """A listing leaves something behind, for its network and its ASN as well, that fades; it does not add up."""
    stage = Stage(tmp_path)
    stage.list(BAD, severity=1.0)
    for _ in range(20):
        stage.look(BAD)
        stage.now_ns += 10 * MINUTE
    told = stage.plugin.routes()["reputation"]({"address": BAD})
    assert (told["client"], told["network"]) == (pytest.approx(0.5, abs=0.05), pytest.approx(0.125, abs=0.02))
    assert stage.plugin.routes()["reputation"]({"address": GOOD})["asn"] > 0


def test_kept_over_restarts(tmp_path: Path) -> None:
    """Reputations outlive the plugin; a damaged file is told, and costs them."""
    stage = Stage(tmp_path)
    stage.plugin.subscriptions()["ban.placed"]("ban.placed", BAN)
    stage.plugin.stop()
    assert (BAD, "reputation") in Stage(tmp_path).look(BAD)
    path = tmp_path / "plugins" / NAME / "reputation"
    path.write_bytes(path.read_bytes()[:-1])
    assert not Stage(tmp_path).look(BAD)


def test_saved_meanwhile(tmp_path: Path) -> None:
    """Every few minutes they are written down, by a thread."""
    stage = Stage(tmp_path)
    stage.look(GOOD)
    stage.plugin.subscriptions()["ban.placed"]("ban.placed", BAN)
    stage.now_ns += SAVE_NS
    stage.look(GOOD)
    for thread in threading.enumerate():
        if thread.name == REPUTATION:
            thread.join(10)
    assert (tmp_path / "plugins" / NAME / "reputation").exists()


def test_bad_question(tmp_path: Path) -> None:
    """What is no address is no question."""
    with pytest.raises(ValueError, match=r".*"):
        Stage(tmp_path).plugin.routes()["reputation"]({})


def test_off_by_default() -> None:
    """It runs if it is switched on."""
    assert mode_of(Config.from_env({}), NAME, PluginConfig()) == "off"
    assert BUILT_IN[NAME].make().name == NAME
