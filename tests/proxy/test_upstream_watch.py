"""The watch of the upstreams: what it asks, what workers see of it, and what it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from fastpath import Region
from proxy import upstream_watch
from proxy.config import Config
from proxy.plugins.events import UpstreamDown, UpstreamUp
from proxy.upstream_watch import UpstreamWatch

if TYPE_CHECKING:
    from proxy.plugins.events import Event
    from proxy.settings.addresses import Address

SECOND = 1_000_000_000
ONE, TWO = "192.0.2.1:11371", "192.0.2.2:11371"


class Site:
    """Two keyservers, and who watches them.

    Attributes:
        away: Those that do not answer.
        asked: What each was asked.
        told: The events.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let both answer."""
        self.away: set[str] = set()
        self.asked: dict[str, dict[str, Any]] = {}
        self.told: list[Event] = []
        self.now_ns = 1000 * SECOND
        monkeypatch.setattr(upstream_watch, "answers", self._answers)
        region = Region.create(clients=8, workers=1, upstreams=2)
        region.close()
        self.watch = UpstreamWatch(self.config(), region, publish=self.told.append, clock=lambda: self.now_ns)

    def config(self, **settings: str) -> Config:
        """Return the configuration; `settings` without HKPGUARD_."""
        given = {"UPSTREAM": f"http://{ONE},http://{TWO}"} | settings
        return Config.from_env({f"HKPGUARD_{name}": value for name, value in given.items()})

    async def _answers(self, address: Address, path: str, **how: object) -> bool:
        self.asked[str(address)] = {"path": path, **how}
        return str(address) not in self.away

    async def turn(self, *away: str) -> list[bool]:
        """Let these be away for a turn; return who is up for workers then."""
        self.away = set(away)
        self.now_ns += 5 * SECOND
        await self.watch.turn()
        return [health.up(self.now_ns) for health in self.watch.health]


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return a site."""
    return Site(monkeypatch)


async def test_what_changes_is_told_once(site: Site) -> None:
    """Workers see at once who is away; others hear when it goes and when it is back, and of nobody who stays."""
    assert await site.turn() == [True, True]
    assert await site.turn(TWO) == [True, False]
    assert await site.turn(TWO) == [True, False]
    assert site.told == [UpstreamDown(upstream=TWO)]
    assert await site.turn(ONE) == [False, True]
    assert site.told[1:] == [UpstreamDown(upstream=ONE), UpstreamUp(upstream=TWO)]


async def test_a_check_ends_a_rest(site: Site) -> None:
    """An upstream that failed requests is up again as soon as it answers, and nobody hears of what was in between."""
    for _ in range(3):
        site.watch.health[0].failed(site.now_ns)
    assert not site.watch.health[0].up(site.now_ns)
    assert await site.turn() == [True, True]
    assert site.told == []


async def test_settings(site: Site) -> None:
    """It asks as the configuration says, from the next turn after a reload on."""
    await site.turn()
    assert site.asked[ONE] == {"path": "/", "seconds": 3.0, "introduce": False}
    health = {"HEALTH__PATH": "/pks/lookup", "HEALTH__TIMEOUT": "1s", "HEALTH__FAILURES": "1"}
    site.watch.reload(site.config(UPSTREAM_PROXY_PROTOCOL="v2", **health))
    await site.turn()
    assert site.asked[TWO] == {"path": "/pks/lookup", "seconds": 1.0, "introduce": True}
    site.watch.health[0].failed(site.now_ns)
    assert not site.watch.health[0].up(site.now_ns)
