"""The process that fetches: all feeds together, and what it leaves on disk."""

from __future__ import annotations

import asyncio
import tarfile
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.origin import LISTED_DENIED, LISTED_PRICED, NetworkKind
from proxy.intel import courier as courier_module
from proxy.intel.combined import Combined
from proxy.intel.courier import Courier
from proxy.intel.watch import settings_for_courier
from proxy.intel.web import FetchFailed
from proxy.peer_store import Learnt, PeerStore, Resolved
from tests.proxy.intel.feeds_for_tests import NOW_S, FakeSource, config_of, listings

if TYPE_CHECKING:
    from proxy.config import Config

SHARED = Path(__file__).parents[4] / "shared" / "data" / "dev.tar.xz"
URL = {"url": "https://lists.example/a.txt"}


class Office:
    """A courier with sources that a test scripts, and a clock that it sets."""

    def __init__(self, config: Config, **sources: FakeSource) -> None:
        """Take the sources by the hosts of their feeds."""
        self.now_s = NOW_S
        self.told: list[dict[str, Any]] = []
        self._sources = sources
        self.courier = Courier(config, self.told.append, wall=lambda: self.now_s, make=self._make)
        self._path = Path(config.state_dir) / "intel" / "combined"

    def _make(self, feed: Any, _marks: object) -> FakeSource:
        return self._sources[feed.url.split("/")[2].partition(".")[0]]

    async def turn(self) -> None:
        """Ask all feeds once, and combine."""
        for feed in self.courier._feeds:
            await self.courier.ask(feed)
        await self.courier.combine()

    def rule(self, address: str) -> int:
        """Return what follows for an address."""
        found = Combined(self._path).find(ip_address(address).packed)
        return found.rule if found else 0


async def test_what_follows_is_written_down(tmp_path: Path) -> None:
    """Two independent feeds deny what both list; when one of them withdraws it, it is only priced."""
    config = config_of(tmp_path, {"a": {"url": "https://a.x/"}, "b": {"url": "https://b.x/"}})
    office = Office(
        config,
        a=FakeSource(listings("1.2.3.4", "1.2.3.5"), listings("1.2.3.5")),
        b=FakeSource(listings("1.2.3.4", "1.2.3.5")),
    )
    await office.turn()
    assert office.rule("1.2.3.4") == office.rule("1.2.3.5") == LISTED_DENIED
    await office.turn()
    assert office.rule("1.2.3.4") != LISTED_DENIED
    assert office.rule("1.2.3.5") == LISTED_DENIED
    assert office.told[-1] == {"combined": {"prefixes": 2, "denied": 1, "priced": 1}}


async def test_restart_with_all_sources_gone(tmp_path: Path) -> None:
    """After a restart what followed holds, although nobody answers; until the lists expire."""
    config = config_of(tmp_path, {"a": {"url": "https://a.x/", "weight": "200", "expires": "1h"}})
    await Office(config, a=FakeSource(listings("1.2.3.4"))).turn()
    office = Office(config, a=FakeSource(FetchFailed("no connection")))
    await office.turn()
    assert office.rule("1.2.3.4") == LISTED_DENIED
    assert office.told[0]["outcome"] == "failed"
    office.now_s += 3600
    await office.turn()
    assert office.rule("1.2.3.4") == 0
    assert any(each.get("listings") == 0 for each in office.told)


async def test_listing_that_ends(tmp_path: Path) -> None:
    """A listing with an end goes when that comes, without anybody being asked."""
    office = Office(
        config_of(tmp_path, {"a": {"url": "https://a.x/"}}),
        a=FakeSource(listings("1.2.3.4", severity=1.0, until_s=NOW_S + 600)),
    )
    await office.turn()
    assert office.rule("1.2.3.4") == LISTED_DENIED
    office.now_s += 600
    await office.courier.combine()
    assert office.rule("1.2.3.4") == 0


async def test_nothing_new_is_not_written(tmp_path: Path) -> None:
    """As long as nothing has changed the file stays, so nobody reads it again."""
    office = Office(config_of(tmp_path, {"a": {"url": "https://a.x/"}}), a=FakeSource(listings("1.2.3.4"), None))
    await office.turn()
    before = (tmp_path / "intel" / "combined").stat().st_ino
    await office.turn()
    assert (tmp_path / "intel" / "combined").stat().st_ino == before


@pytest.mark.parametrize("word", ["ALLOW", "PEERS", "TRUSTED_PROXIES"])
async def test_who_is_never_denied(tmp_path: Path, word: str) -> None:
    """Networks of these settings are spared, whatever lists say."""
    config = config_of(tmp_path, {"a": {"url": "https://a.x/", "weight": "200"}}, **{word: "1.2.3.0/25"})
    office = Office(config, a=FakeSource(listings("1.2.3.0/24")))
    await office.turn()
    assert (office.rule("1.2.3.4"), office.rule("1.2.3.200")) == (0, LISTED_DENIED)


async def test_learnt_peers_are_spared(tmp_path: Path) -> None:
    """So are the peers that the keyserver told of, once they are known."""
    config = config_of(tmp_path, {"a": {"url": "https://a.x/", "weight": "200"}})
    office = Office(config, a=FakeSource(listings("1.2.3.4"), None))
    await office.turn()
    assert office.rule("1.2.3.4") == LISTED_DENIED
    PeerStore(str(tmp_path)).save(Learnt(1, {"k:1": ("p.x",)}, {"p.x": Resolved(("1.2.3.4",), 1)}))
    await office.turn()
    assert office.rule("1.2.3.4") == 0


async def test_feeds_that_are_not_configured_any_more(tmp_path: Path) -> None:
    """Their lists go."""
    await Office(config_of(tmp_path, {"a": {"url": "https://a.x/"}}), a=FakeSource(listings("1.2.3.4"))).turn()
    office = Office(config_of(tmp_path, {"b": {"url": "https://b.x/"}}), b=FakeSource(listings("1.2.3.5")))
    await office.turn()
    assert {path.name for path in (tmp_path / "intel").iterdir()} == {"b.feed", "combined"}


async def test_disk_full(tmp_path: Path) -> None:
    """What cannot be written is told, and tried again at the next turn."""
    office = Office(config_of(tmp_path, {"a": {"url": "https://a.x/"}}), a=FakeSource(listings("1.2.3.4"), None))
    path = tmp_path / "intel" / "combined"
    path.mkdir()
    (path / "in the way").touch()
    await office.turn()
    assert "not written down" in office.told[-1]["combined"]["problem"]
    (path / "in the way").unlink()
    path.rmdir()
    await office.turn()
    assert office.told[-1]["combined"]["prefixes"] == 1


async def test_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself it asks what is due, and combines."""
    monkeypatch.setattr(courier_module, "SETTLE_SECONDS", 0)
    path = tmp_path / "list.txt"
    path.write_text("1.2.3.4\n")
    told: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    courier = Courier(config_of(tmp_path, {"a": {"url": str(path)}}), told.put_nowait)
    work = asyncio.create_task(courier.run())
    try:
        async with asyncio.timeout(10):
            while "combined" not in (said := await told.get()) or not said["combined"]["prefixes"]:
                pass
    finally:
        work.cancel()


PUBLIC = {
    "ipsum": {"url": "ipsum/ipsum.txt"},
    "vpn": {"url": "x4bnet/output/vpn/ipv4.txt", "kind": "vpn"},
    "hosting": {"url": "x4bnet/output/datacenter/ipv4.txt", "kind": "hosting"},
    "clouds": {"url": "ipranges/amazon/ipv4.txt", "kind": "cloud"},
    "exits": {"url": "tor/latest.exits.csv", "format": "tor"},
}


@pytest.mark.skipif(not SHARED.is_file(), reason="the public lists (../shared/data/dev.tar.xz) are not here")
async def test_public_lists(tmp_path: Path) -> None:
    """Real lists of 180,000 networks: most of ipsum is priced, what ten lists have is denied, and no exit of Tor is."""
    with tarfile.open(SHARED) as archive:
        for name, public in PUBLIC.items():
            found = archive.extractfile(f"./ti/{public['url']}")
            assert found is not None
            (tmp_path / name).write_bytes(found.read())
    feeds = {name: feed | {"url": f"{tmp_path}/{name}"} for name, feed in PUBLIC.items()}
    told: list[dict[str, Any]] = []
    courier = Courier(config_of(tmp_path, feeds), told.append)
    for feed in courier._feeds:
        await courier.ask(feed)
    await courier.combine()
    assert {each["outcome"] for each in told if "outcome" in each} == {"new"}
    combined = Combined(tmp_path / "intel" / "combined")
    assert told[-1]["combined"]["prefixes"] == len(combined) > 150_000
    assert combined.count(LISTED_PRICED) > 100_000
    assert combined.count(LISTED_DENIED) > 1000
    verdicts = combined.verdicts
    exits = verdicts.kinds == NetworkKind.TOR
    assert exits.sum() > 1000
    assert not verdicts.rules[exits].any()


def test_settings_for_courier(tmp_path: Path) -> None:
    """It knows what it needs, and none of the guard's secrets."""
    config = config_of(
        tmp_path,
        {"a": URL},
        ADMIN_TOKEN="x" * 32,
        ALLOW="1.2.3.0/24",
        INTEL__REPORTERS_FILE="/r",
        INTEL__DENY="70",
        INTEL__DENY_FEEDS="3",
    )
    settings = settings_for_courier(config)
    assert settings["HKPGUARD_ALLOW"] == "1.2.3.0/24"
    assert settings["HKPGUARD_INTEL__DENY"] == "70"
    assert settings["HKPGUARD_INTEL__DENY_FEEDS"] == "3"
    assert settings["HKPGUARD_INTEL__FEEDS__A__URL"] == URL["url"]
    assert not any("TOKEN" in name or "REPORTERS" in name or "BOUNCERS" in name for name in settings)
