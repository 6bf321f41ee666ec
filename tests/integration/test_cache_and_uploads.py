"""One request of many, and uploads that the keyserver never sees: over two workers, with the keyserver's own count."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from tests.certs_for_tests import PUBLIC_KEY, armored, certificate, fat, flooded, key, packet, user_id, with_secret
from tests.integration.http_client import Question, Reply, ask, ask_once
from tests.integration.keyserver import Answer, Gate, ok
from tests.integration.programs import until

if TYPE_CHECKING:
    from tests.integration.conftest import StartGuard, StartKeyserver


CLIENT = "127.0.0.2"
CERT = Question(f"/pks/lookup?op=get&options=mr&search=0x{40 * '1'}")
MANY = 1000
POISONED = bytes(range(242)) * 2000  # as large as a certificate with 3000 signatures
UNCAPPED = {"CONNECTIONS_PER_CLIENT": "0", "CONNECTIONS_PER_NETWORK": "0"}
ROOMY = {"CACHE__MODE": "on", "LIMITS__CERT__MODE": "off", **UNCAPPED}


def upload(data: bytes) -> Question:
    """Return what gpg sends for a certificate."""
    body = urlencode({"keytext": armored(data).decode()}).encode()
    fields = ("Content-Type: application/x-www-form-urlencoded",)
    return Question("/pks/add", method="POST", fields=fields, body=body)


async def test_thousand_identical_requests_in_flight(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """They come over two workers while the keyserver works on the first: it is asked once, and all get its answer."""
    gate = Gate()
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url, **ROOMY)
    asking = [asyncio.create_task(ask_once(guarded.port, CERT, CLIENT)) for _ in range(MANY)]
    await asyncio.to_thread(until, lambda: server.in_flight == 1, "the keyserver is asked")
    await asyncio.sleep(1.0)
    gate.open()
    replies: list[Reply] = await asyncio.gather(*asking)
    assert {reply.status for reply in replies} == {200}
    assert len({reply.body for reply in replies}) == 1
    assert len(server.log) == 1


async def test_stampede_on_a_poisoned_key(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """A large answer is as many clients', each with limits of its own: nobody is refused, and it is asked for once."""
    gate = Gate(Answer(body=POISONED))
    server = start_keyserver(gate.respond)
    guarded = start_guard(server.url, CACHE__MODE="on", **UNCAPPED)
    asking = [asyncio.create_task(ask_once(guarded.port, CERT, f"127.1.{number}.1")) for number in range(200)]
    await asyncio.to_thread(until, lambda: server.in_flight == 1, "the keyserver is asked")
    await asyncio.sleep(0.5)
    gate.open()
    replies: list[Reply] = await asyncio.gather(*asking)
    assert {(reply.status, reply.body == POISONED) for reply in replies} == {(200, True)}
    assert len(server.log) == 1


def test_what_one_worker_keeps_all_serve(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Whichever worker takes the connection, the answer is there."""
    server = start_keyserver(ok)
    guarded = start_guard(server.url, **ROOMY)
    replies = [ask(guarded.port, CERT, CLIENT) for _ in range(40)]
    assert {reply.status for reply in replies} == {200}
    assert len(server.log) == 1
    assert sum("age" in {name.lower() for name in reply.fields} for reply in replies) == len(replies) - 1


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (flooded(3000), 413),
        (fat(300), 413),
        (with_secret(), 422),
        (certificate()[:-3], 422),
        (b"nothing", 422),
    ],
    ids=["flooded", "300 user IDs", "secret key", "cut off", "no key"],
)
def test_upload_that_the_keyserver_never_sees(
    start_guard: StartGuard, start_keyserver: StartKeyserver, data: bytes, status: int
) -> None:
    """It is refused with a line that says why; a good one passes."""
    server = start_keyserver(ok)
    guarded = start_guard(server.url)
    refused = ask(guarded.port, upload(data), CLIENT)
    assert refused.status == status
    assert refused.body.count(b"\n") == 1
    assert server.log == []
    assert ask(guarded.port, upload(certificate()), CLIENT).status == 200
    assert len(server.log) == 1


def test_flood_of_new_keys_with_one_user_id(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Five keys a day may have the same user ID, whoever uploads them, and however many addresses that are."""
    server = start_keyserver(ok)
    guarded = start_guard(server.url, BUDGETS__USER_ID__BURST="5")
    same = [packet(PUBLIC_KEY, key(number).body) + user_id("Alice <alice@example.org>") for number in range(9)]
    statuses = [ask(guarded.port, upload(data), f"127.{1 + number}.0.2").status for number, data in enumerate(same)]
    assert statuses == [200] * 5 + [429] * 4
    assert len(server.log) == 5
