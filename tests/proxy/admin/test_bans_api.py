"""Bans over HTTP, who may ask, and the commands that ask."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner, Result

from fastpath import BanTable, Region
from models.coldness import Coldness
from proxy.admin.api import build_app
from proxy.admin.client import AdminError, ask
from proxy.admin.history import History
from proxy.admin.openapi import DOCUMENT
from proxy.admin.state import Known, NodeState
from proxy.budget_watch import BudgetWatch
from proxy.cli import app
from proxy.config import Config
from proxy.plugins.events import unheard
from proxy.policy.budgets import Tables
from proxy.telemetry.metrics import NodeMetrics
from proxy.verdicts import Verdicts
from tests.proxy.wardens_for_tests import FakeNode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from aiohttp import web

    Start = Callable[..., Awaitable["Site"]]

JSON = {"Content-Type": "application/json"}
TOKEN = "a-token-of-the-test"  # noqa: S105 - no secret
BEARER = {"Authorization": f"Bearer {TOKEN}"}
A, B, C = "192.0.2.1", "192.0.2.2", "192.0.2.3"


class Site(NamedTuple):
    """A node, and a client of its admin API."""

    node: FakeNode
    client: TestClient[web.Request, web.Application]
    environ: dict[str, str]

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Return status and JSON of an answer that the document describes."""
        data = None if body is None else json.dumps(body)
        options.setdefault("headers", JSON if body is not None else {})
        async with self.client.request(method, path, data=data, **options) as answer:
            assert answer.content_type == "application/json"
            described = "/api/v1/bans" if path.partition("?")[0] == "/api/v1/bans" else "/api/v1/bans/{network}"
            assert str(answer.status) in DOCUMENT["paths"][described][method.lower()]["responses"]
            return answer.status, await answer.json()

    async def run(self, *words: str) -> Result:
        """Run a command against it."""
        return await asyncio.to_thread(CliRunner().invoke, app, words, obj=self.environ)


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Return a starter of nodes with an admin API; settings without HKPGUARD_."""
    clients: list[TestClient[web.Request, web.Application]] = []
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())

    async def start(**settings: str) -> Site:
        node = FakeNode(tmp_path, **settings)
        region = Region.create(clients=1024, workers=1, upstreams=0)
        region.close()
        config = node.config()
        coldness = Coldness(region.secret)
        verdicts = Verdicts(BanTable(region.verdicts, region.secret), node.warden, publish=unheard)
        state = NodeState(config, region, [], Known(History(), node.warden, coldness, verdicts))
        metrics = NodeMetrics(region, node.warden, coldness, BudgetWatch(config, Tables.of(region).buckets))
        client = TestClient(TestServer(build_app(state, metrics, config)))
        clients.append(client)
        await client.start_server()
        own = {"HKPGUARD_ADMIN": f"127.0.0.1:{client.port}"}
        return Site(node, client, own | {f"HKPGUARD_{name}": value for name, value in settings.items()})

    yield start
    for client in clients:
        await client.close()
    structlog.reset_defaults()


@pytest.fixture
async def site(start: Start) -> Site:
    """Return a node with a few settings."""
    return await start(ALLOW="198.51.100.0/24")


# The verbs.


async def test_no_bans(site: Site) -> None:
    """Nobody is banned."""
    none = {"ladder": 0, "widened": 0, "manual": 0, "cluster": 0}
    assert await site.ask("GET", "/api/v1/bans") == (200, {"mode": "enforce", "bans": [], "in_force": none})


async def test_ban_and_unban(site: Site) -> None:
    """What is banned is in the list and kept out; what is lifted is not."""
    wanted = {"network": "2001:db8::7", "seconds": 7200, "reason": "they know why"}
    ban = {
        "network": "2001:db8::/64",
        "origin": "manual",
        "since": "2027-01-15T08:00:00Z",
        "until": "2027-01-15T10:00:00Z",
        "seconds_left": 7200,
        "rung": 0,
        "reason": "they know why",
        "node": None,
    }
    assert await site.ask("POST", "/api/v1/bans", wanted) == (201, ban | {"warnings": []})
    assert site.node.left("2001:db8::7") == 7200
    status, listed = await site.ask("GET", "/api/v1/bans")
    assert (status, listed["bans"], listed["in_force"]["manual"]) == (200, [ban], 1)
    lifted = {"lifted": [ban], "count": 1, "still_banned_by": None}
    assert await site.ask("DELETE", "/api/v1/bans/2001:db8::7") == (200, lifted)
    assert site.node.left("2001:db8::7") == 0


async def test_ban_of_usual_length(site: Site) -> None:
    """Without seconds, or with null, it is as long as the first rung."""
    for body in ({"network": A}, {"network": A, "seconds": None}):
        status, ban = await site.ask("POST", "/api/v1/bans", body)
        assert (status, ban["seconds_left"], ban["reason"]) == (201, 1800, "")


async def test_warnings(site: Site) -> None:
    """They come with the ban."""
    _, ban = await site.ask("POST", "/api/v1/bans", {"network": "127.0.0.1"})
    assert len(ban["warnings"]) == 1
    assert "loopback" in ban["warnings"][0]


async def test_most_recent_first(site: Site) -> None:
    """And no more than are asked for; the counts are of all."""
    for number in range(5):
        site.node.wait("1s")
        site.node.warden.ban(f"192.0.2.{number}")
    _, listed = await site.ask("GET", "/api/v1/bans?most=2")
    assert [ban["network"] for ban in listed["bans"]] == ["192.0.2.4", "192.0.2.3"]
    assert listed["in_force"]["manual"] == 5


@pytest.mark.parametrize("most", ["x", "-1", "", "99999"])
async def test_bad_most(site: Site, most: str) -> None:
    """400."""
    assert (await site.ask("GET", f"/api/v1/bans?most={most}"))[0] == 400


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"network": "192.0.2.0/25"}, "/24"),
        ({"network": "x" * 10_000}, "address"),
        ({"network": 5}, "network"),
        ({}, "network"),
        ({"network": A, "seconds": 0}, "1 second"),
        ({"network": A, "seconds": 10**30}, "365 days"),
        ({"network": A, "seconds": 1.5}, "seconds"),
        ({"network": A, "seconds": True}, "seconds"),
        ({"network": A, "seconds": "60"}, "seconds"),
        ({"network": A, "reason": None}, "reason"),
        ({"network": A, "reason": "x" * 201}, "200"),
        ({"network": A, "reason": "a\nb"}, "one line"),
        ({"network": A, "permanent": True}, "permanent"),
        ([], "body"),
        ("text", "body"),
    ],
)
async def test_bad_body(site: Site, body: Any, said: str) -> None:
    """400 with what is wrong, shortly, and nobody is banned."""
    status, answer = await site.ask("POST", "/api/v1/bans", body)
    assert status == 400
    assert said in answer["detail"]
    assert len(answer["detail"]) < 500
    assert site.node.in_table() == {}


@pytest.mark.parametrize("data", [b"", b"{", b"[" * 60_000, b"\xff\xfe", b'{"network": "\\ud800"}', b"1" * 10_000])
async def test_no_json(site: Site, data: bytes) -> None:
    """400, whatever was sent."""
    async with site.client.post("/api/v1/bans", data=data, headers=JSON) as answer:
        assert answer.status == 400
        assert len(await answer.text()) < 500


async def test_charset_that_nobody_knows(site: Site) -> None:
    """JSON is UTF-8, whatever the header says."""
    headers = {"Content-Type": "application/json; charset=klingon"}
    assert (await site.ask("POST", "/api/v1/bans", {"network": A}, headers=headers))[0] == 201


async def test_exempt(site: Site) -> None:
    """409 with the reason: who must not be banned is not."""
    for network in ("198.51.100.7", "198.51.100.0/24"):
        status, answer = await site.ask("POST", "/api/v1/bans", {"network": network})
        assert status == 409
        assert "HKPGUARD_ALLOW" in answer["detail"]
    assert site.node.in_table() == {}


async def test_no_room(site: Site) -> None:
    """503."""
    for number in range(site.node.table.capacity):
        site.node.table.put((2 << 56) + number, 10**18)
    assert (await site.ask("POST", "/api/v1/bans", {"network": "203.0.113.0/24"}))[0] == 503


@pytest.mark.parametrize("spelling", ["192.0.2.0/24", "192.0.2.0%2F24"])
async def test_unban_of_a_network(site: Site, spelling: str) -> None:
    """The slash may be escaped or not; all in it is lifted."""
    for each in (A, B, C):
        site.node.feed("trap", each, 4)
    status, answer = await site.ask("DELETE", f"/api/v1/bans/{spelling}")
    assert (status, answer["count"]) == (200, 4)
    assert {ban["network"] for ban in answer["lifted"]} == {A, B, C, "192.0.2.0/24"}
    assert site.node.in_table() == {}


async def test_unban_within_a_network(site: Site) -> None:
    """The answer says what still keeps the client out."""
    site.node.warden.ban(A)
    site.node.warden.ban("192.0.2.0/24")
    _, answer = await site.ask("DELETE", f"/api/v1/bans/{A}")
    assert answer["still_banned_by"]["network"] == "192.0.2.0/24"
    status, answer = await site.ask("DELETE", f"/api/v1/bans/{A}")
    assert status == 404
    assert "192.0.2.0/24" in answer["detail"]


@pytest.mark.parametrize(
    ("network", "status"), [(A, 404), ("rubbish", 400), ("192.0.2.0/25", 400), ("x" * 500, 400), ("%00", 400)]
)
async def test_nothing_to_lift(site: Site, network: str, status: int) -> None:
    """404 if nobody was banned, 400 if it is no network."""
    got, answer = await site.ask("DELETE", f"/api/v1/bans/{network}")
    assert got == status
    assert len(answer["detail"]) < 300


# Who may ask.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": ""}, 401),
        ({"Authorization": TOKEN}, 401),
        ({"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"Authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"Authorization": f"Basic {TOKEN}"}, 401),
        ({"Authorization": "Bearer tökén"}, 401),
        (BEARER, 200),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/bans", "/api/v1/clients/192.0.2.1", "/api/v1/top", "/metrics"])
async def test_token(start: Start, headers: dict[str, str], path: str, status: int) -> None:
    """Where one is set, nothing is told without it."""
    site = await start(ADMIN_TOKEN=TOKEN)
    async with site.client.get(path, headers=headers) as answer:
        assert answer.status == status
        assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
        assert TOKEN not in await answer.text()


async def test_token_for_changes(start: Start) -> None:
    """Nor is anything done."""
    site = await start(ADMIN_TOKEN=TOKEN)
    assert (await site.ask("POST", "/api/v1/bans", {"network": A}))[0] == 401
    assert site.node.in_table() == {}
    assert (await site.ask("POST", "/api/v1/bans", {"network": A}, headers=JSON | BEARER))[0] == 201
    assert (await site.ask("DELETE", f"/api/v1/bans/{A}"))[0] == 401
    assert (await site.ask("DELETE", f"/api/v1/bans/{A}", headers=BEARER))[0] == 200


async def test_what_needs_no_token(start: Start) -> None:
    """Balancers and probes know none; and paths that are only like these are not open."""
    site = await start(ADMIN_TOKEN=TOKEN)
    paths = {"/healthz": 200, "/readyz": 503, "/healthz/": 401, "/healthz/../metrics": 401, "/x": 401}
    for path, status in paths.items():
        async with site.client.get(path) as answer:
            assert answer.status == status, path


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1:11380", 200),
        ("[::1]:11380", 200),
        ("192.0.2.7:80", 200),
        ("localhost:11380", 200),
        ("LOCALHOST", 200),
        ("keys.example:11380", 403),
        ("evil.example:11380", 403),
        ("keys.example.evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example", 403),
        ("evil.example@127.0.0.1", 403),
        ("[::1", 403),
        ("127.0.0.1/evil.example", 403),
        ("", 403),
    ],
)
async def test_host(start: Start, host: str, status: int) -> None:
    """Only names that cannot be a stranger's who lets them point here, on every path."""
    site = await start()
    for path in ("/healthz", "/api/v1/bans"):
        async with site.client.get(path, headers={"Host": host}) as answer:
            assert answer.status == status


async def test_host_does_not_matter_with_a_token(start: Start) -> None:
    """A scraper that knows the token may call the node what it likes; the name alone opens nothing."""
    site = await start(ADMIN="keys.example:11380", ADMIN_TOKEN=TOKEN)
    for headers, status in ((BEARER, 200), ({}, 401)):
        async with site.client.get("/api/v1/bans", headers={"Host": "guard:11380", **headers}) as answer:
            assert answer.status == status


async def test_host_of_another_setting(site: Site) -> None:
    """The name of the admin address is one; others' are not."""
    async with site.client.get("/healthz", headers={"Host": "keys.example"}) as answer:
        assert answer.status == 403


async def test_old_client_without_host(site: Site) -> None:
    """A health check with HTTP/1.0 is no browser."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.0 200")
    writer.close()


async def test_two_hosts(site: Site) -> None:
    """Whoever names two has something in mind."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.client.port)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert (await reader.readline()).split()[1] in {b"400", b"403"}
    writer.close()


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:11380", 200),
        ("http://localhost:11380", 403),
        ("http://127.0.0.1:8080", 403),
        ("http://127.0.0.1", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
async def test_origin(start: Start, origin: str, status: int) -> None:
    """A web page of another host gets nothing, with the token or without one."""
    headers = {"Host": "127.0.0.1:11380", "Origin": origin}
    for settings, more in (({}, {}), ({"ADMIN_TOKEN": TOKEN}, BEARER)):
        site = await start(**settings)
        async with site.client.get("/api/v1/bans", headers=headers | more) as answer:
            assert answer.status == status


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_body_of_a_form(site: Site, kind: str) -> None:
    """415: what a web page may send anywhere without being asked first is not taken."""
    status, _ = await site.ask("POST", "/api/v1/bans", {"network": A}, headers={"Content-Type": kind})
    assert status == 415
    assert site.node.in_table() == {}


async def test_body_that_is_too_large(site: Site) -> None:
    """413."""
    async with site.client.post("/api/v1/bans", data=b" " * 70_000, headers=JSON) as answer:
        assert answer.status == 413


# The commands.


async def test_commands(site: Site) -> None:
    """They say what they did in a sentence."""
    done = await site.run("ban", "192.0.2.0/24", "--for", "2h", "--reason", "they know why")
    assert (done.exit_code, done.stdout) == (0, "192.0.2.0/24 is banned until 2027-01-15T10:00:00Z.\n")
    listed = await site.run("bans")
    assert all(word in listed.stdout for word in ("192.0.2.0/24", "manual", "7200", "1 manual"))
    listed = await site.run("bans", "--json", "--most", "5")
    assert json.loads(listed.stdout)["bans"][0]["reason"] == "they know why"
    explained = await site.run("explain", A)
    assert "BANNED until 2027-01-15T10:00:00Z: 192.0.2.0/24, manual (they know why)" in explained.stdout
    done = await site.run("unban", "192.0.2.0/24")
    assert (done.exit_code, done.stdout) == (0, "Lifted: 192.0.2.0/24.\n")


async def test_ban_of_the_usual_length(site: Site) -> None:
    """Without --for it is as long as the first rung; warnings go to standard error."""
    done = await site.run("ban", "127.0.0.1")
    assert done.stdout == "127.0.0.1 is banned until 2027-01-15T08:30:00Z.\n"
    assert "warning: it holds loopback" in done.stderr


async def test_unban_says_what_is_left(site: Site) -> None:
    """Of many bans the first are named; a network that still keeps the client out is a warning."""
    for number in range(12):
        site.node.warden.ban(f"192.0.2.{number}")
    site.node.warden.ban("198.18.0.0/24")
    site.node.warden.ban("198.18.0.1")
    done = await site.run("unban", "192.0.2.0/24")
    assert done.stdout.endswith(" and 2 more.\n")
    done = await site.run("unban", "198.18.0.1")
    assert done.stdout == "Lifted: 198.18.0.1.\n"
    assert "warning: 198.18.0.0/24 is still banned, until" in done.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("ban", "198.51.100.7"), 1, "HKPGUARD_ALLOW"),
        (("ban", "192.0.2.0/25"), 1, "'192.0.2.0/25': not an address, a.b.c.d/32, a.b.c.0/24"),
        (("ban", A, "--for", "soon"), 2, "'--for': 'soon' must be a time from 1s to 365d"),
        (("ban", A, "--for", "400d"), 2, "a time from 1s to 365d"),
        (("unban", A), 1, "192.0.2.1 was not banned"),
        (("unban", "../../x"), 1, "'../../x'"),
        (("bans", "--most", "0"), 2, "1"),
        (("ban",), 2, "NETWORK"),
    ],
)
async def test_commands_that_fail(site: Site, words: tuple[str, ...], code: int, said: str) -> None:
    """With a sentence on standard error, and no traceback."""
    done = await site.run(*words)
    assert done.exit_code == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


async def test_commands_send_the_token(start: Start) -> None:
    """That of HKPGUARD_ADMIN_TOKEN; without it they say what is missing."""
    site = await start(ADMIN_TOKEN=TOKEN)
    assert (await site.run("bans")).exit_code == 0
    del site.environ["HKPGUARD_ADMIN_TOKEN"]
    refused = await site.run("bans")
    assert refused.exit_code == 1
    assert "HKPGUARD_ADMIN_TOKEN" in refused.stderr


async def test_token_goes_to_nobody_else(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for web pages in the environment is not asked."""
    site = await start(ADMIN_TOKEN=TOKEN)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    assert (await site.run("bans")).exit_code == 0


async def answer_with(reply: bytes) -> tuple[asyncio.Server, Config]:
    """Return a server that answers everything so, and the configuration that names it."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, Config.from_env({"HKPGUARD_ADMIN": f"127.0.0.1:{server.sockets[0].getsockname()[1]}"})


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nOops", "is no guard: 500 Oops"),
        (b"HTTP/1.1 404 Nope\r\nContent-Length: 2\r\n\r\n[]", r"127.0.0.1:\d+ .HKPGUARD_ADMIN. is no guard: 404 Nope"),
        (b'HTTP/1.1 400 Bad\r\nContent-Length: 13\r\n\r\n{"title":"x"}', "x"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrats", "no guard answers at 127.0.0.1:"),
        (b"SSH-2.0-Server\r\n", "no guard answers at 127.0.0.1:"),
        (b"", "no guard answers at 127.0.0.1:"),
    ],
)
async def test_strange_answers(reply: bytes, said: str) -> None:
    """Whoever is there instead, a sentence comes of it."""
    server, config = await answer_with(reply)
    async with server:
        with pytest.raises(AdminError, match=said):
            await asyncio.to_thread(ask, config, "GET", "/api/v1/bans")


async def test_nobody_there() -> None:
    """The same where nothing listens."""
    server, config = await answer_with(b"")
    server.close()
    await server.wait_closed()
    with pytest.raises(AdminError, match="HKPGUARD_ADMIN"):
        await asyncio.to_thread(ask, config, "GET", "/api/v1/bans")
