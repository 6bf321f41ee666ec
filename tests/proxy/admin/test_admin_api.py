"""The admin API over HTTP: health, readiness, metrics, clients, and its own description."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

import numpy as np
import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client.parser import text_string_to_metric_families

from fastpath import (
    BanTable,
    ClientTable,
    Control,
    NetworkKind,
    Origin,
    PrefixBook,
    Region,
    client_key,
    monotonic_ns,
    network_key,
)
from fastpath.origin import LISTED_DENIED, LISTED_PRICED
from fastpath.prefix_build import Rows, build
from fastpath.record import FLAG_CACHED
from models.coldness import Coldness
from models.steps import whole
from proxy.admin.access import OPEN_PATHS
from proxy.admin.api import build_app
from proxy.admin.history import History
from proxy.admin.openapi import DOCUMENT
from proxy.admin.state import Known, NodeState
from proxy.budget_watch import BudgetWatch
from proxy.config import Config
from proxy.hkp.classes import OperationClass
from proxy.http.health import Health, HealthRules
from proxy.locations import Locations
from proxy.plugins.events import unheard
from proxy.policy.actions import Action, Reason, TurnedAway
from proxy.policy.budgets import Tables
from proxy.policy.fusion import Evidence
from proxy.policy.judge import Client
from proxy.policy.origins import digest
from proxy.policy.policy import Policy
from proxy.telemetry.metrics import NodeMetrics
from proxy.telemetry.numbers import FLAG_TLS
from proxy.verdicts import Verdicts
from proxy.warden import Warden
from tests.geo.databases_for_tests import BERLIN, write
from tests.proxy.admin.records_for_tests import block, record, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from aiohttp import web

SETTINGS = {
    "HKPGUARD_UPSTREAM": "http://127.0.0.1:1,http://127.0.0.1:2",
    "HKPGUARD_ALLOW": "198.51.100.0/24",
    "HKPGUARD_PEERS": "203.0.113.7/32",
    "HKPGUARD_LIMITS__CERT__BURST": "60",
}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
RULES = HealthRules(failures=1, down_ns=10_000_000_000, interval_ns=5_000_000_000)


class Node(NamedTuple):
    """A node without workers, and a client of its admin API."""

    region: Region
    history: History
    health: list[Health]
    warden: Warden
    coldness: Coldness
    verdicts: Verdicts
    state: NodeState
    client: TestClient[web.Request, web.Application]

    async def get(self, path: str) -> tuple[int, str]:
        """Return status and text of an answer."""
        async with self.client.get(path) as answer:
            return answer.status, await answer.text()

    async def ask(self, path: str) -> Any:
        """Return a JSON answer."""
        async with self.client.get(path) as answer:
            assert answer.content_type == "application/json"
            return await answer.json()


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    """Return a node that has just been started."""
    region = Region.create(clients=1024, workers=2, upstreams=2)
    config = Config.from_env({**SETTINGS, "HKPGUARD_STATE_DIR": str(tmp_path)})
    history = History()
    health = [Health(region.upstream(index), RULES) for index in range(2)]
    warden = Warden(config, BanTable(region.bans, region.secret))
    coldness = Coldness(region.secret)
    verdicts = Verdicts(BanTable(region.verdicts, region.secret), warden, publish=unheard)
    state = NodeState(config, region, health, Known(history, warden, coldness, verdicts))
    metrics = NodeMetrics(region, warden, coldness, BudgetWatch(config, Tables.of(region).buckets))
    async with TestClient(TestServer(build_app(state, metrics, config))) as client:
        yield Node(region, history, health, warden, coldness, verdicts, state, client)
    warden.close()
    region.close()


def spend(region: Region, times: int, address: bytes = bytes([192, 0, 2, 1])) -> None:
    """Let a client ask so often."""
    table = ClientTable(region.table, region.secret)
    profile = Policy(Config.from_env(SETTINGS), Tables.of(region)).profile(address)
    for _ in range(times):
        table.spend(profile.compiled, client_key(address), OperationClass.CERT, 1, monotonic_ns())


async def test_explain_tells_where_a_client_is(node: Node, tmp_path: Path) -> None:
    """Where a client is stands in the answer, by the databases of the node; nothing where there is no analyst's."""
    assert (await node.ask("/api/v1/clients/1.2.3.4"))["location"] is None
    path = write(tmp_path / "a.mmdb", {"1.2.3.0/24": BERLIN})
    node.state._locations = Locations(Config.from_env({**SETTINGS, "HKPGUARD_GEOIP_CITY": str(path)}))
    told = (await node.ask("/api/v1/clients/1.2.3.4"))["location"]
    assert (told["country"], told["city"], told["radius_km"], told["asn"]) == ("DE", "Berlin", 100.0, None)
    assert (await node.ask("/api/v1/clients/9.9.9.9"))["location"]["country"] == ""


async def test_explain_tells_of_evidence(node: Node) -> None:
    """All that speaks for or against a client and its network is told, with its weight and its end."""
    until_ns = monotonic_ns() + 60_000_000_000
    client, network = client_key(bytes([192, 0, 2, 1])), network_key(bytes([192, 0, 2, 1]))
    own = Evidence(client, "pace", 5.5, "regular as a clock", until_ns)
    whole(node.verdicts.hear([own, Evidence(network, "cohort", 4.0, "one of many", until_ns, shadow=True)]))
    told = await node.ask("/api/v1/clients/192.0.2.1")
    assert (told["verdict"]["standing"], told["verdict"]["log_odds"]) == ("delayed", 1.5)
    (piece,) = told["verdict"]["evidence"]
    assert (piece["kind"], piece["weight"], piece["reason"]) == ("pace", 5.5, "regular as a clock")
    assert 58 <= piece["seconds_left"] <= 60
    about = told["network"]["verdict"]
    assert (about["standing"], about["without_shadow_mode"], about["log_odds"]) == ("welcome", "priced", -4.0)


async def test_healthz(node: Node) -> None:
    """Alive is alive, whatever else is wrong."""
    node.region.control[Control.DRAINING] = 1
    assert await node.get("/healthz") == (200, "ok\n")


async def test_readyz(node: Node) -> None:
    """A node that can serve is ready, also if one of its keyservers is down."""
    node.health[0].failed(monotonic_ns())
    assert await node.get("/readyz") == (200, "ready\n")


async def test_readyz_without_a_keyserver(node: Node) -> None:
    """When no keyserver is up the node wants no traffic, and says why; when one is back it does."""
    for health in node.health:
        health.failed(monotonic_ns())
    assert await node.get("/readyz") == (503, "no upstream is up\n")
    node.health[1].checked(ok=True, now_ns=monotonic_ns())
    assert (await node.get("/readyz"))[0] == 200


async def test_readyz_while_draining(node: Node) -> None:
    """From SIGTERM on balancers send no more."""
    node.region.control[Control.DRAINING] = 1
    assert await node.get("/readyz") == (503, "draining\n")


async def test_readyz_after_a_bad_reload(node: Node) -> None:
    """A configuration that was refused leaves the node ready and in the old one; the text tells, until a good one."""
    node.region.control[Control.RELOAD_FAILURES] = 1
    node.region.control[Control.RELOAD_OK] = 0
    status, text = await node.get("/readyz")
    assert status == 200
    assert "refused" in text
    node.region.control[Control.RELOAD_OK] = 1
    assert await node.get("/readyz") == (200, "ready\n")


async def test_readyz_without_a_folder(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the warden cannot do leaves the node ready; the text tells."""
    monkeypatch.setattr(Warden, "degraded", "bans are not written down")
    assert await node.get("/readyz") == (200, "ready; bans are not written down\n")


async def test_metrics(node: Node) -> None:
    """The exposition is what Prometheus reads."""
    async with node.client.get("/metrics") as answer:
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        names = {family.name for family in text_string_to_metric_families(await answer.text())}
    assert "hkpguard_build_info" in names


async def test_client_that_was_never_seen(node: Node) -> None:
    """All its limits are full."""
    answer = await node.ask("/api/v1/clients/192.0.2.1")
    assert (answer["client"], answer["known"], answer["last"]) == ("192.0.2.1", False, [])
    assert all(limit["remaining"] == limit["burst"] for limit in answer["limits"])
    assert [limit["limit"] for limit in answer["limits"]][:2] == ["total", "cert"]


async def test_client_that_missed(node: Node) -> None:
    """How many more misses cost it nothing, in the class in which it missed."""
    packed = bytes([192, 0, 2, 1])
    policy = Policy(Config.from_env(SETTINGS), Tables.of(node.region))
    client = Client(packed, client_key(packed), 0, policy.profile(packed))
    for _ in range(15):
        policy.misses.note(client, OperationClass.IDENTITY, "a@example.org", 404, monotonic_ns())
    answer = await node.ask("/api/v1/clients/192.0.2.1")
    (row,) = [each for each in answer["limits"] if each["limit"].startswith("misses")]
    assert (row["limit"], row["mode"], row["burst"], row["remaining"]) == ("misses-identity", "enforce", 20, 5)


async def test_client_that_asked(node: Node) -> None:
    """State of each limit, and the last verdicts."""
    spend(node.region, 10)
    now_ns = monotonic_ns()
    node.history.feed(block(record(now_ns=now_ns, flags=FLAG_CACHED), refused(now_ns=now_ns)))
    answer = await node.ask("/api/v1/clients/192.0.2.1")
    limits = {limit["limit"]: limit for limit in answer["limits"]}
    assert answer["known"] is True
    assert 50 <= limits["cert"]["remaining"] < 60
    assert limits["cert"]["per_second"] == 5
    assert limits["cert"]["max_delay_seconds"] == 10
    assert 0 < limits["cert"]["full_in_seconds"] <= 2
    assert limits["identity"]["remaining"] == limits["identity"]["burst"]
    newest, oldest = answer["last"]
    assert (newest["action"], newest["reason"], newest["status"], newest["operation"]) == (
        "limit",
        "limit",
        429,
        "cert",
    )
    assert (oldest["action"], oldest["upstream_ms"], oldest["address_source"]) == ("allow", 1.5, "peer")
    assert (newest["cached"], oldest["cached"]) == (False, True)
    assert newest["request_id"] == "0123456789abcdef"


async def test_asking_about_a_client_leaves_no_trace(node: Node) -> None:
    """A question costs the client nothing and takes no place in the table."""
    for _ in range(3):
        await node.ask("/api/v1/clients/192.0.2.77")
    table = ClientTable(node.region.table, node.region.secret)
    assert table.peek(client_key(bytes([192, 0, 2, 77]))) is None


@pytest.mark.parametrize(
    ("address", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
    ],
)
async def test_address_of_a_client(node: Node, address: str, client: str) -> None:
    """The answer names the client that the address belongs to."""
    assert (await node.ask(f"/api/v1/clients/{address}"))["client"] == client


@pytest.mark.parametrize(
    ("address", "allowed", "peer"),
    [("198.51.100.9", True, False), ("203.0.113.7", False, True), ("192.0.2.1", False, False)],
)
async def test_what_a_client_is_granted(node: Node, address: str, *, allowed: bool, peer: bool) -> None:
    """Exempt networks and peers are told."""
    answer = await node.ask(f"/api/v1/clients/{address}")
    assert (answer["allowed_network"], answer["peer"]) == (allowed, peer)
    assert ("network-uploads" in [each["limit"] for each in answer["network"]["budgets"]]) is not peer


async def test_where_workers_know_a_client_to_be(node: Node) -> None:
    """The origin as workers find it, with the name of the rule that holds there; lists have names of their own."""
    rules = [{"name": "clouds", "kinds": ["hosting"], "deny": ["upload"]}]
    config = Config.from_env({**SETTINGS, "HKPGUARD_ORIGIN_RULES": json.dumps(rules)})
    node.state.reload(config, 1)
    words = [Origin(7, NetworkKind.HOSTING, rule).pack() for rule in (1, LISTED_DENIED, LISTED_PRICED)]
    rows = Rows.of([(bytes([192, 0, 2, number]), 32, word) for number, word in enumerate(words)])
    for _ in PrefixBook(node.region.origins, node.region.counts.prefixes).publish(build(rows)):
        pass
    node.region.control[Control.ORIGIN_RULES] = digest(config.origin_rules)
    told = [(await node.ask(f"/api/v1/clients/192.0.2.{number}"))["origin"] for number in range(4)]
    assert [each["rule"] for each in told] == ["clouds", "listed: denied", "listed: priced", None]
    assert told[0] == {"asn": 7, "kind": "hosting", "rule": "clouds"}
    budgets = (await node.ask("/api/v1/clients/192.0.2.0"))["network"]["budgets"]
    assert [each["limit"] for each in budgets][-2:] == ["network-prefixlogs", "hosting-certs"]
    assert told[3] == {"asn": None, "kind": "unknown", "rule": None}


@pytest.mark.parametrize("address", ["rubbish", "192.0.2", "192.0.2.1.5", "1" * 500, "192.0.2.1%20", "%00", "<b>"])
async def test_no_address(node: Node, address: str) -> None:
    """400 with a short reason in JSON, whatever was written there."""
    async with node.client.get(f"/api/v1/clients/{address}") as answer:
        assert (answer.status, answer.content_type) == (400, "application/json")
        assert len(await answer.text()) < 300


async def test_client_that_is_banned(node: Node) -> None:
    """By which network, until when, and what is held against it otherwise."""
    now_ns = monotonic_ns()
    trap = record("2001:db8::1", now_ns=now_ns, reason=Reason.TRAP, action=Action.TARPIT)
    node.warden.feed(block(trap))
    free = await node.ask("/api/v1/clients/2001:db8::2")
    assert (free["banned"], free["ban"], free["points"], free["rung"]) == (False, None, 25.0, 0)
    assert (free["points_for_a_ban"], free["never_banned"], free["shared_exit"]) == (100, False, False)
    node.warden.feed(block(trap, trap, trap))
    banned = await node.ask("/api/v1/clients/2001:db8::1")
    assert (banned["banned"], banned["points"], banned["rung"]) == (True, 0.0, 1)
    assert [each["kind"] for each in banned["offences"]] == ["trap"] * 4
    assert TIME.fullmatch(banned["offences"][0]["time"])
    ban = banned["ban"]
    assert (ban["network"], ban["origin"], ban["rung"], ban["reason"]) == ("2001:db8::/64", "ladder", 1, "4 trap")
    assert TIME.fullmatch(ban["since"])
    assert TIME.fullmatch(ban["until"])
    assert 1500 < ban["seconds_left"] < 2100
    node.warden.ban("2001:db8::/48", length_ns=10**15)
    assert (await node.ask("/api/v1/clients/2001:db8::1"))["ban"]["network"] == "2001:db8::/48"


async def test_client_that_is_never_banned(node: Node) -> None:
    """It says so of allowed networks."""
    assert (await node.ask("/api/v1/clients/198.51.100.9"))["never_banned"] is True


async def test_new_configuration_is_explained(node: Node) -> None:
    """After a reload the answers follow the new limits."""
    node.state.reload(Config.from_env({**SETTINGS, "HKPGUARD_LIMITS__CERT__BURST": "7"}), 1)
    limits = (await node.ask("/api/v1/clients/192.0.2.1"))["limits"]
    assert {limit["limit"]: limit["burst"] for limit in limits}["cert"] == 7


async def test_top(node: Node) -> None:
    """Who asked most, what was done, which keyservers are up, how full the table is."""
    spend(node.region, 1)
    now_ns = monotonic_ns()
    node.history.feed(block(record("2001:db8::1", now_ns=now_ns), *[refused(now_ns=now_ns)] * 2))
    node.health[1].failed(now_ns)
    answer = await node.ask("/api/v1/top")
    assert answer["clients"] == [
        {"client": "192.0.2.1", "requests": 2, "refused": 2},
        {"client": "2001:db8::/64", "requests": 1, "refused": 0},
    ]
    assert answer["operations"] == [
        {"operation": "cert", "action": "allow", "requests": 1},
        {"operation": "cert", "action": "limit", "requests": 2},
    ]
    assert [each["up"] for each in answer["upstreams"]] == [True, False]
    assert answer["table"]["used"] == 1
    assert answer["table"]["capacity"] >= 1024


async def test_top_of_networks_and_subjects(node: Node) -> None:
    """What is asked for most, by network and by subject; of a subject there is a hash, never the words."""
    now_ns = monotonic_ns()
    words = {"operation": OperationClass.WORDS, "subject_hash": 0xABC, "subject": b"alice liddell"}
    made = [record(f"192.0.2.{number}", now_ns=now_ns, **words, status=404) for number in (1, 2)]  # type: ignore[arg-type]  # as `record` has them
    made += [refused(now_ns=now_ns), record("198.51.100.1", now_ns=now_ns)]
    node.history.feed(block(*made))
    networks = await node.ask("/api/v1/top?by=network")
    assert networks["networks"] == [
        {"network": "192.0.2.0/24", "requests": 3, "distinct_subjects": 2, "not_found_share": 1.0,
         "refused_share": 0.333, "sent_bytes": 3 * 1234},
        {"network": "198.51.100.0/24", "requests": 1, "distinct_subjects": 1, "not_found_share": 0.0,
         "refused_share": 0.0, "sent_bytes": 1234},
    ]  # fmt: skip
    subjects = await node.ask("/api/v1/top?by=subject&most=1")
    assert subjects["subjects"] == [
        {"subject": "0000000000000001", "operation": "cert", "requests": 2, "distinct_clients": 2,
         "not_found_share": 0.0, "refused_share": 0.5, "sent_bytes": 2 * 1234}
    ]  # fmt: skip
    for answer in (networks, subjects):
        assert answer["seconds"] >= 1
        assert {"clients", "operations"}.isdisjoint(answer)
        assert len(answer["upstreams"]) == 2
    assert "alice" not in (await node.get("/api/v1/top?by=subject"))[1]


async def test_openapi_names_what_top_may_be_asked(node: Node) -> None:
    """All words that `by` may be, and the one that it is where nothing is said."""
    [_, by] = DOCUMENT["paths"]["/api/v1/top"]["get"]["parameters"]
    assert (by["name"], by["schema"]["enum"]) == ("by", ["client", "network", "subject"])
    plain, asked = await node.ask("/api/v1/top"), await node.ask(f"/api/v1/top?by={by['schema']['default']}")
    assert plain.keys() == asked.keys() >= {"clients", "operations"}


@pytest.mark.parametrize("by", ["", "clients", "NETWORK", "%C2%B2"])
async def test_bad_by(node: Node, by: str) -> None:
    """400 with the words that it may be."""
    status, text = await node.get(f"/api/v1/top?by={by}")
    assert (status, f"by={unquote(by)} is not one of client, network, subject" in json.loads(text)["title"]) == (
        400,
        True,
    )


async def test_networks_that_walk(node: Node) -> None:
    """Their scores are told of their clients, and in the list of the busiest; others are not in that list."""
    words = np.arange(1, 301, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    now_ns = monotonic_ns()
    walker, person = network_key(bytes([192, 0, 2, 1])), network_key(bytes([198, 51, 100, 1]))
    for network in (1, 2, person):
        node.coldness.feed(np.full(100, network, np.uint64), words[:100], now_ns - 7200 * 10**9)
    node.coldness.feed(np.full(200, walker, np.uint64), words[100:], now_ns)
    cold = (await node.ask("/api/v1/clients/192.0.2.77"))["network"]["cold"]
    assert cold == {"score": 0.957, "asked": 200, "cold": 200, "proven_share": 0.957, "usual_share": 0}
    assert (await node.ask("/api/v1/top"))["walking"] == [{"network": "192.0.2.0/24", **cold}]
    unsuspicious = (await node.ask("/api/v1/clients/198.51.100.9"))["network"]["cold"]
    assert (unsuspicious["score"], unsuspicious["cold"], unsuspicious["usual_share"]) == (0, 0, 1)
    unknown = (await node.ask("/api/v1/clients/203.0.113.9"))["network"]["cold"]
    assert set(unknown.values()) == {0}


async def test_who_is_turned_away(node: Node) -> None:
    """A client's knocks are told of it, and the most of the last minute in a list of their own; none is a request."""
    now_ns = monotonic_ns()
    knock = partial(record, now_ns=now_ns, action=Action.DROP, reason=TurnedAway.BANNED)
    knocks = [knock("192.0.2.9", age_seconds=61), knock(flags=FLAG_TLS), knock(action=Action.TARPIT)]
    node.history.door.feed([*knocks, knock("192.0.2.3", reason=99)])
    answer = await node.ask("/api/v1/clients/192.0.2.1")
    said = answer["turned_away"]
    assert TIME.fullmatch(said["first"])
    assert TIME.fullmatch(said["last"])
    told = {name: said[name] for name in ("connections", "held", "reason", "tls")}
    assert told == {"connections": 2, "held": 1, "reason": "banned", "tls": False}
    assert (answer["known"], answer["last"], answer["offences"], answer["points"]) == (False, [], [], 0)
    top = await node.ask("/api/v1/top")
    assert [(each["client"], each["connections"], each["reason"]) for each in top["turned_away"]] == [
        ("192.0.2.1", 2, "banned"),
        ("192.0.2.3", 1, "99"),
    ]
    assert top["clients"] == top["operations"] == []
    assert (await node.ask("/api/v1/clients/192.0.2.4"))["turned_away"] is None


@pytest.mark.parametrize(("most", "shown"), [("1", 1), ("2", 2), ("100", 3)])
async def test_most_of_top(node: Node, most: str, shown: int) -> None:
    """One may ask for fewer, or more."""
    now_ns = monotonic_ns()
    node.history.feed(block(*(record(f"192.0.2.{number}", now_ns=now_ns) for number in range(3))))
    assert len((await node.ask(f"/api/v1/top?most={most}"))["clients"]) == shown


@pytest.mark.parametrize("most", ["", "x", "-1", "1.5", "99999", "%C2%B2"])
async def test_bad_most(node: Node, most: str) -> None:
    """400 with a reason."""
    async with node.client.get(f"/api/v1/top?most={most}") as answer:
        assert (answer.status, answer.content_type) == (400, "application/json")


async def test_action_of_a_newer_worker(node: Node) -> None:
    """During an upgrade a record may hold numbers that we do not know; the answer shows them as numbers."""
    now_ns = monotonic_ns()
    node.history.feed(block(record(now_ns=now_ns, operation=200, reason=201, source=202)))
    (last,) = (await node.ask("/api/v1/clients/192.0.2.1"))["last"]
    assert (last["operation"], last["reason"], last["address_source"]) == ("200", "201", "202")


async def test_openapi(node: Node) -> None:
    """The description is served as it is, and says which version it describes."""
    document = await node.ask("/api/v1/openapi.json")
    assert document == DOCUMENT
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"]


async def test_openapi_describes_every_route_and_no_other(node: Node) -> None:
    """Routes and document are the same list."""
    app = node.client.app
    assert app is not None
    routes = {(route.method.lower(), _path(route)) for route in app.router.routes() if route.method != "HEAD"}
    described = {(method, path) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert routes == described


async def test_openapi_names_the_token(node: Node) -> None:
    """Everything but health and readiness wants it, where one is set."""
    document = await node.ask("/api/v1/openapi.json")
    (name,) = document["security"][0]
    assert document["components"]["securitySchemes"][name] == {"type": "http", "scheme": "bearer"}
    without = {path for path, methods in document["paths"].items() if methods.get("get", {}).get("security") == []}
    assert without == OPEN_PATHS


def _path(route: web.AbstractRoute) -> str:
    assert route.resource is not None
    return route.resource.canonical


ANSWERS = [
    ("/healthz", "/healthz", 200),
    ("/readyz", "/readyz", 200),
    ("/metrics", "/metrics", 200),
    ("/api/v1/clients/192.0.2.1", "/api/v1/clients/{address}", 200),
    ("/api/v1/clients/rubbish", "/api/v1/clients/{address}", 400),
    ("/api/v1/top?most=5", "/api/v1/top", 200),
    ("/api/v1/top?most=rubbish", "/api/v1/top", 400),
    ("/api/v1/top?by=subject", "/api/v1/top", 200),
    ("/api/v1/top?by=rubbish", "/api/v1/top", 400),
    ("/api/v1/bans", "/api/v1/bans", 200),
    ("/api/v1/bans?most=rubbish", "/api/v1/bans", 400),
    ("/api/v1/plugins", "/api/v1/plugins", 200),
    ("/api/v1/plugins/antiabuse", "/api/v1/plugins/{name}", 200),
    ("/api/v1/plugins/rubbish", "/api/v1/plugins/{name}", 404),
    ("/api/v1/plugins/antiabuse/routes/x", "/api/v1/plugins/{name}/routes/{route}", 404),
    ("/api/v1/events?kind=rubbish", "/api/v1/events", 400),
    ("/api/v1/openapi.json", "/api/v1/openapi.json", 200),
]


@pytest.mark.parametrize(("asked", "path", "status"), ANSWERS)
async def test_openapi_describes_every_answer(node: Node, asked: str, path: str, status: int) -> None:
    """Each status and media type that comes is in the document."""
    async with node.client.get(asked) as answer:
        assert answer.status == status
        described = DOCUMENT["paths"][path]["get"]["responses"]
        assert str(status) in described
        assert answer.content_type in described[str(status)]["content"]


async def test_other_methods_are_refused(node: Node) -> None:
    """Only bans and plugins can be changed."""
    for path, methods in DOCUMENT["paths"].items():
        for method in {"get", "post", "put", "delete", "patch"} - methods.keys():
            asked = re.sub(r"\{(name|route)\}", "antiabuse", re.sub(r"\{(address|network)\}", "192.0.2.1", path))
            async with node.client.request(method, asked) as answer:
                assert answer.status == 405


async def test_unknown_path(node: Node) -> None:
    """404."""
    assert (await node.get("/api/v1/nothing"))[0] == 404


async def test_captives(node: Node) -> None:
    """The operator sees who went to the tarpit, for what, and with which tool; nobody else is in the list."""
    held = {"action": Action.TARPIT, "reason": Reason.TRAP, "operation": OperationClass.UNKNOWN}
    visits = [
        record("192.0.2.1", subject=b"/.env\tscanner/1.0", **held),
        record("192.0.2.1", subject=b"/wp-login.php\tscanner/1.0", **held),
        record("192.0.2.2", subject=b"\x1b[2J\t", **held),
    ]
    node.history.captives.feed([*visits, record("192.0.2.9")])
    answer = await node.ask("/api/v1/tarpit")
    assert [(each["client"], each["connections"]) for each in answer["clients"]] == [("192.0.2.2", 1), ("192.0.2.1", 2)]
    assert answer["clients"][1]["paths"] == ["/.env", "/wp-login.php"]
    assert answer["clients"][1]["tools"] == ["scanner/1.0"]
    assert "\x1b" not in answer["clients"][0]["paths"][0]
    assert (await node.get("/api/v1/tarpit?most=x"))[0] == 400
