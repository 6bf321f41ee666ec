"""Bans in a running node: who earns one, what it withstands, and how an operator lifts it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tests.integration.gnupg import gnupg, make_cert
from tests.integration.http_client import BrokenError, Question, ask_once
from tests.integration.keyserver import Answer
from tests.integration.programs import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard, StartKeyserver
    from tests.integration.guard import Guard
    from tests.integration.keyserver import Asked


KEYS, UNKNOWN = 300, 100  # every third: gpg gives up when it finds none of the 21 keys of a chunk
SCANNER, BYSTANDER = "127.0.0.66", "127.0.1.1"
TRAP = Question("/.env", ("User-Agent: scanner/1.0",))
GET = Question("/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF0123456789ABCDEF01234567")
TOKEN = "correct-horse-battery"  # noqa: S105 - of this test
KNOCKS, ASKED = 2000, 10
TRAPS_FOR_A_BAN = 5  # at 25 points, with 100 for a ban and a little decay between


async def ok(_asked: Asked) -> Answer:
    """Answer anything."""
    return Answer()


async def banned(guard: Guard, address: str = SCANNER) -> bool:
    """Tell whether a get from an address is turned away."""
    try:
        await ask_once(guard.port, GET, client=address)
    except (BrokenError, ConnectionError):
        return True
    return False


async def scan(guard: Guard, address: str = SCANNER) -> None:
    """Ask for traps until it is enough; with the tarpit off, so that each is answered."""
    for _ in range(TRAPS_FOR_A_BAN):
        try:
            assert (await ask_once(guard.port, TRAP, client=address)).status == 404
        except (BrokenError, ConnectionError):
            break
    until(lambda: guard.client(address)["banned"], "the scanner is banned")


async def test_scanner_is_banned_by_all_workers(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Who asks for traps is turned away whichever worker it meets, and nobody else is; an operator sees why."""
    guard = start_guard(start_keyserver(ok).url, TARPIT__MODE="off")
    await scan(guard)
    assert [await banned(guard) for _ in range(20)] == [True] * 20
    assert not await banned(guard, BYSTANDER)
    account = guard.client(SCANNER)
    assert account["ban"]["network"] == SCANNER
    assert {each["kind"] for each in account["offences"]} == {"trap"}
    assert guard.metric('connections_refused_total{reason="banned"}') == 20


async def test_banned_client_that_knocks(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """An operator sees that a banned client goes on, and how often; it earns nothing by that, and is no request."""
    guard = start_guard(start_keyserver(ok).url)
    assert guard.command("ban", SCANNER)[0] == 0
    assert [await banned(guard) for _ in range(5)] == [True] * 5
    until(lambda: guard.client(SCANNER)["turned_away"] is not None, "the first knock is seen")
    until(lambda: guard.client(SCANNER)["turned_away"]["connections"] == 5, "all are seen")
    account = guard.client(SCANNER)
    assert (account["turned_away"]["reason"], account["turned_away"]["held"]) == ("banned", 0)
    assert (account["offences"], account["points"], account["verdict"]["evidence"], account["last"]) == ([], 0, [], [])
    assert "turned away: 5 connections" in " ".join(guard.command("explain", SCANNER)[1].split())
    assert SCANNER in guard.command("top", "--once")[1]
    assert not any(name.startswith("hkpguard_requests_total") for name in guard.metrics())
    assert guard.access_log() == []


async def test_flood_of_a_banned_client(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """However many knocks there are, all are counted, and no record of an honest request is lost."""
    guard = start_guard(start_keyserver(ok).url)
    assert guard.command("ban", SCANNER)[0] == 0
    for _ in range(ASKED):
        knocks = [banned(guard) for _ in range(KNOCKS // ASKED)]
        assert all(await asyncio.gather(*knocks))
        assert (await ask_once(guard.port, GET, client=BYSTANDER)).status == 200
    guard.await_metric('connections_refused_total{reason="banned"}', KNOCKS)
    until(lambda: len(guard.access_log()) == ASKED, "each request has its line")
    assert guard.metric("records_lost_total") == 0
    assert 0 < guard.client(SCANNER)["turned_away"]["connections"] <= KNOCKS


async def test_ban_withstands_deaths_and_restarts(
    start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path
) -> None:
    """A ban outlives a killed worker, a killed analyst, and the whole node."""
    settings = {"TARPIT__MODE": "off", "STATE_DIR": str(tmp_path / "state")}
    keyserver = start_keyserver(ok)
    first = start_guard(keyserver.url, **settings)
    await scan(first)
    for child in ("worker-0", "worker-1", "analyst"):
        killed = first.pid(child)
        os.kill(killed, signal.SIGKILL)
        until(lambda child=child, killed=killed: first.pid(child) != killed, f"{child} is replaced")
        assert await banned(first)
    until(lambda: first.readyz().status == 200, "the analyst is back")
    assert first.client(SCANNER)["banned"]
    os.kill(first.program.pid, signal.SIGTERM)
    until(lambda: not first.program.running, "the node has stopped")
    second = start_guard(keyserver.url, **settings)
    assert await banned(second)
    assert not await banned(second, BYSTANDER)


async def test_operator_bans_and_unbans(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """`ban`, `bans`, `explain` and `unban` do what they say, for an address and for a network."""
    guard = start_guard(start_keyserver(ok).url)
    for network in (SCANNER, "127.0.0.0/24"):
        status, out, err = guard.command("ban", network, "--for", "2h", "--reason", "a test")
        assert status == 0, err
        assert network in out
        assert await banned(guard)
        assert network in guard.command("bans")[1]
        assert guard.client(SCANNER)["ban"]["network"] == network
        assert guard.command("unban", network)[0] == 0
        assert not await banned(guard)
    assert guard.command("unban", SCANNER)[0] == 1


async def test_admin_token(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """With a token the API answers its holder only; the commands send it; health and readiness stay open."""
    guard = start_guard(start_keyserver(ok).url, ADMIN_TOKEN=TOKEN)
    assert guard.admin("/api/v1/bans")[0] == 401
    assert guard.admin("/metrics")[0] == 401
    assert guard.admin("/healthz")[0] == guard.admin("/readyz")[0] == 200
    status, out, _ = guard.command("explain", SCANNER, "--json")
    assert (status, json.loads(out)["banned"]) == (0, False)


async def test_refresh_with_unknown_keys_earns_nothing(
    start_guard: StartGuard, start_keyserver: StartKeyserver, need: Need
) -> None:
    """Gpg refreshes 300 keys of which the server has 200: no offence, no point, no ban."""
    need("gpg", "dirmngr")
    certs = {cert.fingerprint.upper(): cert for cert in (make_cert(f"Person {n}") for n in range(KEYS))}
    known = {wanted: cert for number, (wanted, cert) in enumerate(certs.items()) if number % 3}

    async def respond(asked: Asked) -> Answer:
        wanted = parse_qs(urlsplit(asked.target).query)["search"][0].removeprefix("0x").upper()
        return Answer(body=str(known[wanted]).encode()) if wanted in known else Answer(404, b"Not found\n")

    guard = start_guard(start_keyserver(respond).url, LIMITS__CERT__COUNT="50")  # else it takes a minute
    with gnupg(guard.keyserver) as gpg:
        gpg.import_(b"".join(map(bytes, certs.values())))
        said = gpg("--refresh-keys", seconds=60)
    assert f"Total number processed: {KEYS - UNKNOWN}" in said.err
    guard.await_metric('responses_total{code="404"}', UNKNOWN)
    account = guard.client("127.0.0.1")
    assert (account["banned"], account["points"], account["offences"]) == (False, 0.0, [])
