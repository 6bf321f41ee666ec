"""When another set of origins is composed, what becomes of it, and what is told when that fails."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from prometheus_client.core import CollectorRegistry

from fastpath import Control, NetworkKind, Origin, PrefixBook, Region
from fastpath.origin import unpack
from fastpath.prefix_build import Rows, build
from proxy.config import Config
from proxy.intel import composer as module
from proxy.intel.compose import Order, Outcome
from proxy.intel.composer import RETRY_SECONDS, Composed, Composer, Failed, origins_of, rest_after
from proxy.policy.origins import digest
from tests.geo.databases_for_tests import write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RULES: list[dict[str, object]] = [{"name": "a", "asns": [7], "deny": ["upload"]}]
OTHER_RULES: list[dict[str, object]] = [{"name": "b", "asns": [8], "deny": ["upload"]}]
ADDRESS = bytes([192, 0, 2, 1])


class World:
    """A node whose origins are composed by a fake."""

    def __init__(self, path: Path) -> None:
        """`path`: where its files are."""
        self.path = path
        self.region = Region.create(clients=8, workers=1, upstreams=0, prefixes=1024)
        self.region.close()
        self.book = PrefixBook(self.region.origins, 1024)
        self.orders: list[Order] = []
        self.composing = asyncio.Event()
        self.asn = 1
        self.prefixes: list[tuple[bytes, int, int]] = []
        self.problems: Sequence[str] = ()
        self.fails = ""
        self.now_s = 1e9
        self.composer = Composer(self.config(), self.region, compose=self.compose, wall=lambda: self.now_s)

    def config(self, rules: list[dict[str, object]] | None = None, databases: str = "") -> Config:
        """Return a configuration."""
        environ = {"STATE_DIR": str(self.path), "ORIGIN_RULES": json.dumps(rules or []), "GEOIP_ASN": databases}
        return Config.from_env({f"HKPGUARD_{name}": value for name, value in environ.items()})

    async def compose(self, order: Order) -> Composed:
        """Make a set with one network, or fail."""
        self.orders.append(order)
        self.composing.set()
        if self.fails:
            raise Failed(self.fails)
        rows = Rows.of(self.prefixes or [(ADDRESS, 24, Origin(self.asn).pack())])
        return Composed(build(rows), Outcome(1, self.problems))

    def turn(self, config: Config | None = None) -> tuple[int, int]:
        """Look for changes; return how often was composed so far, and what a client's ASN is."""
        if config is not None:
            self.composer.reload(config)
        asyncio.run(self.composer.turn())
        return len(self.orders), self.book.look_up(ADDRESS)

    @property
    def rules(self) -> int:
        """By which rules the set was composed."""
        return self.region.control[Control.ORIGIN_RULES]

    def metrics(self) -> dict[str, float]:
        """Return the metrics."""
        registry = CollectorRegistry()
        registry.register(self.composer)
        return {sample.name: sample.value for metric in registry.collect() for sample in metric.samples}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Return a node that takes no rests."""
    monkeypatch.setattr(module, "REST_SECONDS", 0)
    return World(tmp_path)


def test_without_a_guard(tmp_path: Path) -> None:
    """Who has no guard to ask composes what databases say for himself, and is told what cannot be read."""
    file = write(tmp_path / "asn.mmdb", {"192.0.2.0/24": {"autonomous_system_organization": "Some Hosting"}})
    environ = {"HKPGUARD_STATE_DIR": str(tmp_path)}
    assert origins_of(Config.from_env(environ)) == (None, "")
    environ["HKPGUARD_GEOIP_ASN"] = f"{file},{tmp_path / 'none'}"
    origins, missing = origins_of(Config.from_env(environ))
    assert origins is not None
    assert unpack(origins.look_up(ADDRESS)).kind is NetworkKind.HOSTING
    assert "none" in missing


def test_nothing_named_nothing_composed(world: World) -> None:
    """Without databases, lists and rules no process is started."""
    assert world.turn() == (0, 0)
    assert world.metrics()["hkpguard_origin_age_seconds"] == 0


def test_composed_once_and_again_when_something_changes(world: World) -> None:
    """A changed file, other files, and other rules: each makes another set; the same make none."""
    file = world.path / "asn.mmdb"
    file.write_bytes(b"one")
    config = world.config(databases=str(file))
    assert world.turn(config) == (1, 1)
    assert world.turn(config) == (1, 1)
    file.write_bytes(b"two, longer")
    world.asn = 2
    assert world.turn() == (2, 2)
    (world.path / "intel").mkdir()
    (world.path / "intel" / "combined").write_bytes(b"lists")
    assert world.turn()[0] == 3
    assert world.orders[-1].combined.endswith("intel/combined")
    assert world.turn(world.config(RULES, str(file)))[0] == 4
    assert world.orders[-1].rules[0].asns == [7]


def test_what_is_not_named_any_more_goes(world: World) -> None:
    """When nothing is left to be known, a last set says so."""
    world.turn(world.config(RULES))
    assert world.turn(world.config())[0] == 2
    assert world.orders[-1] == Order([], "", [])


def test_rules_are_told_behind_the_set(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a set of other rules is put in place nobody may obey a number; a set of the same rules changes nothing."""
    seen: list[tuple[int, int]] = []

    async def rest(_seconds: float) -> None:
        seen.append((world.rules, world.book.look_up(ADDRESS)))

    monkeypatch.setattr(asyncio, "sleep", rest)
    first, second = (world.config(rules) for rules in (RULES, OTHER_RULES))
    world.turn(first)
    assert world.rules == digest(first.origin_rules)
    seen.clear()
    world.asn = 2
    world.turn(second)
    assert world.rules == digest(second.origin_rules) != digest(first.origin_rules)
    assert {rules for rules, _ in seen} == {0}
    assert seen[0] == (0, 1)
    assert seen[-1] == (0, 2)
    seen.clear()
    world.turn(world.config(OTHER_RULES, str(world.path / "none")))
    assert {rules for rules, _ in seen} == {digest(second.origin_rules)}


def test_a_failure_leaves_the_last_set(world: World) -> None:
    """It is told, tried again after a while or when something changes, and over with the next good set."""
    world.turn(world.config(RULES))
    before = world.rules
    world.fails, world.asn = "status 1", 2
    config = world.config(OTHER_RULES)
    assert world.turn(config) == (2, 1)
    assert world.rules == before
    assert "status 1" in world.composer.degraded
    assert world.metrics()["hkpguard_origin_degraded"] == 1
    assert world.turn() == (2, 1)
    world.now_s += RETRY_SECONDS
    world.fails = ""
    assert world.turn() == (3, 2)
    assert (world.composer.degraded, world.metrics()["hkpguard_origin_degraded"]) == ("", 0)
    world.now_s += 10 * RETRY_SECONDS
    assert world.turn() == (3, 2)
    assert world.metrics()["hkpguard_origin_age_seconds"] == 10 * RETRY_SECONDS


def test_a_set_that_lacks_something(world: World) -> None:
    """A node without a set takes it, and says so; one that has a better one keeps that; the same lack is no news."""
    world.problems = ["a.mmdb: damaged"]
    assert world.turn(world.config(RULES)) == (1, 1)
    assert "a.mmdb: damaged" in world.composer.degraded
    world.asn = 2
    assert world.turn(world.config(OTHER_RULES)) == (2, 2)
    world.problems, world.asn = ["a.mmdb: damaged", "b.mmdb: damaged"], 3
    assert world.turn(world.config(RULES)) == (3, 2)
    world.problems = []
    assert world.turn(world.config()) == (4, 3)
    world.problems, world.asn = ["a.mmdb: damaged"], 4
    assert world.turn(world.config(RULES)) == (5, 3)


def test_a_set_without_room(world: World) -> None:
    """One that is larger than the book is a failure like another, and no rule is taken away for it."""
    world.turn(world.config(RULES))
    before = world.rules
    world.prefixes = [(bytes([10, 0, number >> 8, number & 255]), 32, number % 2 + 1) for number in range(40_000)]
    assert world.turn(world.config(OTHER_RULES)) == (2, 1)
    assert "bytes, not 0.." in world.composer.degraded
    assert world.rules == before


@pytest.mark.parametrize(("turn_s", "rest_s"), [(0.0, 5), (0.4, 5), (2.0, 20), (22.0, 60), (1e9, 60)])
def test_rest(turn_s: float, rest_s: float) -> None:
    """What changes is noticed within seconds, but composing does not take more than a tenth of the time for long."""
    assert rest_after(turn_s) == rest_s


def test_it_runs_until_it_is_cancelled(world: World) -> None:
    """A reload is looked at at once, not after a rest."""

    async def scenario() -> None:
        task = asyncio.create_task(world.composer.run())
        await asyncio.sleep(0)
        world.composer.reload(world.config(RULES))
        await world.composing.wait()
        task.cancel()

    async def bounded() -> None:
        async with asyncio.timeout(5):
            await scenario()

    asyncio.run(bounded())
    assert len(world.orders) == 1
