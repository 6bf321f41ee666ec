"""Reports, what is known of an address, and bans for others, over HTTP."""

from __future__ import annotations

from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from fastpath import BanTable, Region, Standing, client_key, parse_address
from models.coldness import Coldness
from models.steps import whole
from proxy.admin.api import build_app
from proxy.admin.history import History
from proxy.admin.state import Known, NodeState
from proxy.budget_watch import BudgetWatch
from proxy.intel import combined
from proxy.intel.combining import Spared, Voice, combine
from proxy.intel.desk import LOOK_NS, IntelDesk
from proxy.intel.listing import Listing, ListingKind, Listings
from proxy.plugins.events import unheard
from proxy.policy.budgets import Tables
from proxy.policy.fusion import Evidence
from proxy.settings.intel import IntelConfig
from proxy.telemetry.metrics import NodeMetrics
from proxy.verdicts import Verdicts
from tests.proxy.intel.feeds_for_tests import NOBODY
from tests.proxy.wardens_for_tests import FakeNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web

ADMIN, FIRST, SECOND, BOUNCER = ("admin-token-1234", "first-reporter-1", "second-reporter-", "bouncer-key-1234")
CLIENT = "9.8.7.6"
HOUR_NS = 3600 * 10**9


class Site(NamedTuple):
    """A node with an admin API."""

    node: FakeNode
    verdicts: Verdicts
    desk: IntelDesk
    client: TestClient[web.Request, web.Application]
    folder: Path

    async def report(self, token: str = FIRST, **body: Any) -> tuple[int, dict[str, Any]]:
        """Report somebody."""
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.post(
            "/api/v1/intel/reports", json={"network": CLIENT, **body}, headers=headers
        ) as answer:
            return answer.status, await answer.json()

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """Ask; return status and body of the answer."""
        given = {name.replace("_", "-"): text for name, text in headers.items()}
        async with self.client.get(path, headers=given) as answer:
            return answer.status, await (
                answer.json(content_type=None) if "json" in answer.content_type else answer.text()
            )

    async def stream(self, query: str = "?startup=false", key: str = BOUNCER) -> tuple[int, Any]:
        """Ask for decisions."""
        return await self.get(f"/v1/decisions/stream{query}", X_Api_Key=key)

    @property
    def standing(self) -> Standing:
        """What CLIENT has earned."""
        return Standing[self.verdicts.explain(client_key(parse_address(CLIENT)))["standing"].upper()]

    def later(self, ns: int = LOOK_NS) -> None:
        """Let time pass."""
        self.node.now_ns += ns
        self.node.day_ns += ns


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[Site]]]:
    """Give a way to start nodes: it takes settings."""
    clients = []
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    (tmp_path / "reporters").write_text(f"first {FIRST}\nsecond {SECOND}\n")
    (tmp_path / "bouncers").write_text(f"firewall {BOUNCER}\n")
    keys = {"REPORTERS_FILE": str(tmp_path / "reporters"), "BOUNCERS_FILE": str(tmp_path / "bouncers")}

    async def begin(**settings: str) -> Site:
        usual = {"ADMIN_TOKEN": ADMIN, **{f"INTEL__{word}": path for word, path in keys.items()}}
        node = FakeNode(tmp_path, **usual | settings)
        region = Region.create(clients=1024, workers=1, upstreams=0)
        region.close()
        config = node.config()
        verdicts = Verdicts(
            BanTable(region.verdicts, region.secret), node.warden, publish=unheard, clock=lambda: node.now_ns
        )
        state = NodeState(config, region, [], Known(History(), node.warden, Coldness(region.secret), verdicts))
        metrics = NodeMetrics(
            region, node.warden, Coldness(region.secret), BudgetWatch(config, Tables.of(region).buckets)
        )
        desk = IntelDesk(config, node.warden, verdicts, clock=lambda: node.now_ns, wall=lambda: node.day_ns / 1e9)
        client = TestClient(TestServer(build_app(state, metrics, config, desk=desk)))
        clients.append(client)
        await client.start_server()
        return Site(node, verdicts, desk, client, tmp_path)

    yield begin
    for client in clients:
        await client.close()
    structlog.reset_defaults()


@pytest.fixture
async def site(start: Callable[..., Awaitable[Site]]) -> Site:
    """Return a node with reporters, a bouncer and an operator."""
    return await start(ALLOW="8.8.8.0/24")


# Reports.


async def test_two_reporters(site: Site) -> None:
    """One reporter is noted, however often; when another one agrees it becomes evidence, with their names."""
    assert await site.report() == (202, {"outcome": "noted", "network": CLIENT, "seconds": 21_600})
    assert (await site.report())[1]["outcome"] == "noted"
    assert site.standing is Standing.WELCOME
    site.later()
    assert (await site.report(SECOND, seconds=60))[1]["outcome"] == "agreed"
    assert site.standing is Standing.PRICED
    told = site.verdicts.explain(client_key(parse_address(CLIENT)))["evidence"]
    assert [each["reason"] for each in told] == ["reported by second, first"]
    site.later(60 * 10**9)
    whole(site.verdicts.turn(site.node.now_ns))
    assert site.standing is Standing.WELCOME


@pytest.mark.parametrize(
    ("kind", "weight", "shadow", "outcome"),
    [("other.word", 2.0, False, "agreed"), ("other.word", 0.5, False, "noted"), ("other.word", 5.0, True, "noted"),
     ("reports.agreed", 5.0, False, "noted")],
)  # fmt: skip
async def test_own_evidence(site: Site, kind: str, weight: float, shadow: bool, outcome: str) -> None:  # noqa: FBT001
    """A report counts if this node has something of its own that binds, and reports are not."""
    subject = client_key(parse_address(CLIENT))
    whole(site.verdicts.hear([Evidence(subject, kind, weight, "x", site.node.now_ns + HOUR_NS, shadow=shadow)]))
    assert (await site.report())[1]["outcome"] == outcome


async def test_ban_agrees(site: Site) -> None:
    """So does a ban."""
    site.node.warden.ban(CLIENT)
    assert (await site.report())[1]["outcome"] == "agreed"


@pytest.mark.parametrize(
    ("token", "body", "status"),
    [
        ("", {}, 401),
        (ADMIN, {}, 401),
        (BOUNCER, {}, 401),
        (FIRST, {"network": "8.8.8.8"}, 409),
        (FIRST, {"network": "10.0.0.1"}, 409),
        (FIRST, {"network": "127.0.0.1"}, 409),
        (FIRST, {"network": "fe80::1"}, 409),
        (FIRST, {"network": "9.8.7.0/24"}, 400),
        (FIRST, {"network": "keys.example"}, 400),
        (FIRST, {"seconds": 0}, 400),
        (FIRST, {"seconds": 700_000}, 400),
        (FIRST, {"seconds": "9"}, 400),
        (FIRST, {"reason": "a\nb"}, 400),
        (FIRST, {"reason": "x" * 201}, 400),
        (FIRST, {"more": 1}, 400),
        (FIRST, {"network": "2a00:1:2:3::4"}, 202),
    ],
)
async def test_report_refused(site: Site, token: str, body: dict[str, Any], status: int) -> None:
    """Only reporters may, only about public clients that nobody has allowed, and only as it is written."""
    assert (await site.report(token, **body))[0] == status


@pytest.mark.parametrize(
    ("network", "said"),
    [("10.0.0.1", "10.0.0.1 is no public address, or in HKPGUARD_ALLOW"), ("9.8", "'9.8': not an ")],
)
async def test_refusal_names_the_network(site: Site, network: str, said: str) -> None:
    """Whoever reports from a list sees which row it was."""
    assert (await site.report(network=network))[1]["detail"].startswith(said)


@pytest.mark.parametrize(("addresses", "named"), [("off", {}), ("on", {"network": CLIENT})])
async def test_audit(start: Callable[..., Awaitable[Site]], addresses: str, named: dict[str, str]) -> None:
    """Each report is in the log, with its reporter and what became of it; the client only if the log has addresses."""
    with capture_logs() as logs:
        site = await start(ALLOW="8.8.8.0/24", LOG__ADDRESSES=addresses)
        await site.report(reason="a secret")
        await site.report(SECOND)
        await site.report(network="8.8.8.8")
    told = [each for each in logs if each["event"] == "report"]
    assert [(each["reporter"], each["outcome"]) for each in told] == [
        ("first", "noted"), ("second", "agreed"), ("first", "refused"),
    ]  # fmt: skip
    assert {"network": told[0].get("network")} == {"network": None} | named
    assert "a secret" not in str(logs)


async def test_reporter_who_reports_too_much(site: Site) -> None:
    """There is a bound, which concerns nobody else."""
    statuses = [(await site.report())[0] for _ in range(70)]
    assert (statuses.count(202), statuses.count(429)) == (60, 10)
    assert (await site.report(SECOND))[0] == 202


async def test_key_of_a_reporter_opens_nothing_else(site: Site) -> None:
    """The admin API is for the operator."""
    for path in ("/api/v1/bans", "/metrics", f"/api/v1/intel/{CLIENT}", "/api/v1/intel/blocklist"):
        for key in (FIRST, BOUNCER):
            assert (await site.get(path, Authorization=f"Bearer {key}"))[0] == 401


async def test_without_files_nobody_may(start: Callable[..., Awaitable[Site]]) -> None:
    """Without a file of keys there are no reporters, and CrowdSec's API is off."""
    site = await start(INTEL__REPORTERS_FILE="", INTEL__BOUNCERS_FILE="", ADMIN_TOKEN="")
    assert (await site.report())[0] == 401
    assert (await site.report(""))[0] == 401
    assert await site.stream(key="") == (403, {"message": "access forbidden"})
    assert (await site.get("/v1/decisions/stream"))[0] == 403


async def test_keys_are_read_again(site: Site) -> None:
    """With a reload; a file that became bad leaves the keys as they were, and is told."""
    config = site.node.config()
    (site.folder / "reporters").write_text("first another-reporter\n")
    site.desk.reload(config)
    assert (await site.report())[0] == 401
    assert (await site.report("another-reporter"))[0] == 202
    (site.folder / "reporters").write_text("bad\n")
    site.desk.reload(config)
    assert (await site.report("another-reporter"))[0] == 202
    assert "cannot be read" in site.desk.degraded


# What is known.


async def test_about(site: Site) -> None:
    """The operator sees who lists an address, what follows, and who has reported it."""
    listings = Listings.of([Listing(ip_network("9.8.7.0/24"), 1.0)])
    verdicts = combine(
        [Voice("ipsum", ListingKind.ABUSE, 1.0, "g", listings)], Spared(NOBODY, NOBODY), IntelConfig(), 0
    )
    combined.write(site.folder / "intel" / "combined", verdicts, ["ipsum"])
    site.later()
    await site.report(reason="scans")
    status, told = await site.get(f"/api/v1/intel/{CLIENT}", Authorization=f"Bearer {ADMIN}")
    assert status == 200
    assert told["listed"] == {"rule": "denied", "kind": "unknown", "weight": 6.0, "feeds": ["ipsum"]}
    assert told["reports"] == [{"reporter": "first", "reason": "scans", "seconds_left": 21_600}]
    assert told["verdict"]["standing"] == "welcome"
    assert (await site.get("/api/v1/intel/1.1.1.1", Authorization=f"Bearer {ADMIN}"))[1]["listed"] is None
    assert (await site.get("/api/v1/intel/1.1", Authorization=f"Bearer {ADMIN}"))[0] == 400


# Bans for others.


@pytest.mark.parametrize(
    ("form", "body"), [("", f"{CLIENT}\n"), ("?format=plain", f"{CLIENT}\n"), ("?format=timed", f"{CLIENT} 3600\n")]
)
async def test_blocklist(site: Site, form: str, body: str) -> None:
    """Bouncers and the operator get the bans as a list."""
    site.node.warden.ban(CLIENT, length_ns=HOUR_NS)
    assert await site.get(f"/api/v1/intel/blocklist{form}", X_Api_Key=BOUNCER) == (200, body)
    assert await site.get(f"/api/v1/intel/blocklist{form}", Authorization=f"Bearer {ADMIN}") == (200, body)
    assert (await site.get(f"/api/v1/intel/blocklist{form}"))[0] == 401


async def test_other_formats(site: Site) -> None:
    """STIX as well; and there are no others."""
    site.node.warden.ban(CLIENT)
    status, told = await site.get("/api/v1/intel/blocklist?format=stix", X_Api_Key=BOUNCER)
    assert (status, len(told["objects"])) == (200, 1)
    assert (await site.get("/api/v1/intel/blocklist?format=xml", X_Api_Key=BOUNCER))[0] == 400


async def test_shadow_mode_bans_nobody_elsewhere(start: Callable[..., Awaitable[Site]]) -> None:
    """What refuses nobody here is not to be refused by others."""
    site = await start(MODE="shadow")
    site.node.warden.ban(CLIENT)
    assert await site.get("/api/v1/intel/blocklist", X_Api_Key=BOUNCER) == (200, "")
    assert await site.stream("?startup=true") == (200, {"new": [], "deleted": []})


async def test_stream(site: Site) -> None:
    """A bouncer is told all at its start, then what has changed."""
    site.node.warden.ban(CLIENT, length_ns=HOUR_NS)
    status, told = await site.stream("?startup=true&scopes=ip,range")
    assert status == 200
    assert [(each["value"], each["duration"], each["scenario"]) for each in told["new"]] == [
        (CLIENT, "1h0m0s", "hkpguard/manual")
    ]
    assert await site.stream() == (200, {"new": [], "deleted": []})
    site.node.warden.lift(CLIENT)
    site.node.warden.ban("2a00:1:2::/48")
    site.later()
    _, told = await site.stream()
    assert [each["value"] for each in told["new"]] == ["2a00:1:2::/48"]
    assert [each["value"] for each in told["deleted"]] == [CLIENT]
    assert await site.stream("?startup=true&scopes=country") == (200, {"new": None, "deleted": None})


@pytest.mark.parametrize("key", ["", ADMIN, FIRST, BOUNCER[:-1], f"{BOUNCER}x"])
async def test_key_of_a_bouncer(site: Site, key: str) -> None:
    """Only the key of a bouncer opens the stream."""
    assert (await site.stream(key=key))[0] == 403
    async with site.client.post("/v1/usage-metrics", json={}, headers={"X-Api-Key": key}) as answer:
        assert answer.status == 403


async def test_usage_metrics(site: Site) -> None:
    """What bouncers push is taken, so that they do not complain."""
    async with site.client.post("/v1/usage-metrics", json={"x": 1}, headers={"X-Api-Key": BOUNCER}) as answer:
        assert answer.status == 201


async def test_metrics(site: Site) -> None:
    """What became of reports is counted."""
    await site.report()
    await site.report(SECOND)
    await site.report(network="8.8.8.8")
    await site.stream()
    samples = {
        (each.name, *each.labels.values()): each.value for family in site.desk.collect() for each in family.samples
    }
    assert samples["hkpguard_intel_reports_total", "noted"] == 1
    assert samples["hkpguard_intel_reports_total", "agreed"] == 1
    assert samples["hkpguard_intel_reports_total", "refused"] == 1
    assert samples["hkpguard_intel_reported",] == 1
    assert samples["hkpguard_intel_bouncers",] == 1
