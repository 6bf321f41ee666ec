"""Bodies on their way through: what is refused never reaches the keyserver, what is admitted reaches it as it was."""

from __future__ import annotations

import json
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from fastpath import ClientTable, Excerpts, client_key
from fastpath.record import NO_UPSTREAM
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action, Reason
from proxy.telemetry.numbers import SHADOW
from tests.certs_for_tests import PADDING, armored, certificate, fat, form, key, malformed, packet, with_secret
from tests.proxy.http.harness import CLIENT, chunked, get, ok, turns, unused_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Message, Node

FORM, KEYS, JSON = "application/x-www-form-urlencoded", "application/pgp-keys", "application/json"
READ = {"UPLOADS__MODE": "enforce"}
GOOD = form(armored(certificate()))
LARGE = certificate() + packet(PADDING, bytes(8000)) * 20
BAD = form(armored(with_secret()))
PEER, TOR = "198.51.100.7", "185.220.101.1"
HASHQUERY = (1).to_bytes(4) + (16).to_bytes(4) + bytes(16)
ONE_UPLOAD = {"LIMITS__UPLOAD__BURST": "1", "LIMITS__UPLOAD__MAX_DELAY": "0s"}
PROBLEM = "Accept: application/problem+json"
FORBIDDEN_WORDS = ("too many", "insufficient", "no keys found")  # OpenKeychain reads them as something else


def post(
    body: bytes, *lines: str, target: str = "/pks/add", content_type: str | None = FORM, method: str = "POST"
) -> bytes:
    """Return a request with a body of known length."""
    typed = [f"Content-Type: {content_type}"] if content_type else []
    return get(target, *typed, *lines, f"Content-Length: {len(body)}", method=method) + body


async def refused(node: Node, request: bytes, peer: str = CLIENT) -> Message:
    """Return the answer to a request of which the keyserver does not hear."""
    client = await node.connect(request, peer=peer)
    reply = await client.reply()
    assert await node.keyserver.untouched()
    return reply


async def stored(node: Node, request: bytes, peer: str = CLIENT) -> Message:
    """Have the keyserver answer a request over new connections; return what it got."""
    got, reply = await node.ask(request, ok(b"stored\n", "Connection: close"), peer=peer)
    assert (reply.status, reply.body) == (200, b"stored\n")
    return got


def tats(node: Node, peer: str = CLIENT) -> tuple[int, ...] | None:
    """Return what a client owes."""
    return ClientTable(node.region.table, node.region.secret).peek(client_key(ip_address(peer).packed))


# What is stored.


@pytest.mark.parametrize(
    ("target", "content_type", "body", "method"),
    [
        ("/pks/add", FORM, GOOD, "POST"),
        ("/pks/v2/certs", KEYS, certificate(), "POST"),
        ("/pks/v2/certs", KEYS, LARGE, "POST"),
        ("/vks/v1/upload", JSON, json.dumps({"keytext": armored(certificate()).decode()}).encode(), "POST"),
        ("/", None, armored(certificate()), "PUT"),
    ],
)
async def test_good_upload(start: Start, target: str, content_type: str | None, body: bytes, method: str) -> None:
    """A certificate reaches the keyserver byte for byte, in each wrapping."""
    got = await stored(await start(READ), post(body, target=target, content_type=content_type, method=method))
    assert got.body == body


async def test_good_upload_in_chunks(start: Start) -> None:
    """A body of unknown length is read like others."""
    node = await start(READ)
    head = get("/pks/add", f"Content-Type: {FORM}", "Transfer-Encoding: chunked", method="POST")
    pieces = [GOOD[place : place + 100] for place in range(0, len(GOOD), 100)]
    assert (await stored(node, head + chunked(*pieces))).body == GOOD


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (GOOD, [key(0).name.encode()]),
        (form(armored(certificate(0) + certificate(1))), [b""]),
    ],
)
async def test_record_names_the_certificate(start: Start, body: bytes, named: list[bytes]) -> None:
    """An upload is about a certificate if it is the only one; of several it is about none."""
    node = await start(READ)
    await stored(node, post(body))
    assert [record.subject for record in node.records()] == named


@pytest.mark.parametrize(
    ("body", "peer", "seen"),
    [
        (certificate(), CLIENT, 1),
        (certificate(0) + certificate(1), CLIENT, 2),
        (fat(50), CLIENT, 4),
        (certificate(), PEER, 0),
    ],
)
async def test_user_ids_are_shown_to_the_analyst(start: Start, body: bytes, peer: str, seen: int) -> None:
    """The first four of an upload, but not of a peer, which passes on what others have written."""
    node = await start(READ | {"PEERS": PEER})
    await stored(node, post(form(armored(body))), peer=peer)
    found = Excerpts(node.region.excerpts(0)).take()
    assert [client for client, _ in found] == [client_key(ip_address(peer).packed)] * seen
    assert all(b"@" in text for _, text in found)


# What is refused.


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [(BAD, 422, "secret key"), (form(armored(fat(51))), 413, "user id"), (b"keytext=%zz", 400, "form")],
)
async def test_refused_upload(start: Start, body: bytes, status: int, text: str) -> None:
    """One plain line says what is wrong with the certificate, and the keyserver never hears of it."""
    node = await start(READ)
    reply = await refused(node, post(body))
    assert reply.status == status
    assert reply.fields["Content-Type"].startswith("text/plain")
    line = reply.body.decode().lower()
    assert text in line
    assert line.count("\n") == 1
    assert not any(word in line for word in FORBIDDEN_WORDS)
    (record,) = node.records()
    assert (record.upstream, record.status) == (NO_UPSTREAM, status)
    assert record.reason == (Reason.TOO_LARGE if status == 413 else Reason.UNWANTED)


async def test_problem_details_of_a_refused_upload(start: Start) -> None:
    """Programs get the same text as problem details."""
    node = await start(READ)
    plain = await refused(node, post(BAD))
    reply = await refused(node, post(BAD, PROBLEM))
    assert (reply.status, reply.fields["Content-Type"]) == (422, "application/problem+json")
    problem = json.loads(reply.body)
    assert problem["status"] == 422
    assert plain.body.decode().startswith(problem["detail"])
    assert "SECRET key" in problem["detail"]


async def test_malformed_certificates(start: Start) -> None:
    """None of them reaches the keyserver, and all of them free the memory that they took."""
    node = await start({**READ, "LIMITS__UPLOAD__MODE": "off", "LIMITS__TOTAL__MODE": "off"})
    for name, bad in malformed().items():
        if not bad.data or "future" in name:  # nothing to send; the clock of a worker is not NOW_S
            continue
        client = await node.connect()
        await client.send(post(bad.data, target="/pks/v2/certs", content_type=KEYS))
        assert ((await client.reply()).status, name) == (bad.status, name)
        assert node.guard.bodies.used_bytes == 0
        client.close()
    assert await node.keyserver.untouched()


@pytest.mark.parametrize(
    ("lines", "content_type", "target"),
    [((), None, "/pks/add"), ((), "text/plain", "/pks/add"), (("Content-Encoding: gzip",), FORM, "/pks/add"),
     ((), FORM, "/pks/add?keytext=a")],
)  # fmt: skip
async def test_head_that_cannot_be_right(
    start: Start, lines: tuple[str, ...], content_type: str | None, target: str
) -> None:
    """What its head gives away is refused before the client sends anything."""
    node = await start(READ)
    request = post(GOOD, *lines, "Expect: 100-continue", content_type=content_type, target=target)
    reply = await refused(node, request.removesuffix(GOOD))
    assert (reply.status, reply.fields["Connection"]) == (400, "close")


async def test_certificate_in_the_query_of_a_request_without_a_body(start: Start) -> None:
    """There is no body to look at, so nothing may be in the query that some servers take for one."""
    reply = await refused(await start(READ), get("/pks/add?keytext=a", "Content-Length: 0", method="POST"))
    assert reply.status == 400


async def test_connection_outlives_a_refused_upload(start: Start) -> None:
    """All of the body came: the next request on the connection is answered."""
    node = await start(READ)
    client = await node.connect(post(BAD))
    assert (await client.reply()).status == 422
    await client.send(post(GOOD))
    link = await node.keyserver.accept()
    assert (await link.request()).body == GOOD


async def test_upload_refused_in_the_middle(start: Start) -> None:
    """The refusal does not wait for the rest; the connection ends, since nobody will read it."""
    node = await start(READ)
    client = await node.connect(get("/pks/v2/certs", f"Content-Type: {KEYS}", "Content-Length: 9999", method="POST"))
    await client.send(with_secret())
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (422, "close")
    assert await node.keyserver.untouched()
    assert node.guard.bodies.used_bytes == 0


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [(post(BAD), 422), (post(b"keytext=%zz"), 400), (post(form(armored(fat(51)))), 413),
     (post(GOOD, content_type="text/plain"), 400)],
)  # fmt: skip
async def test_upload_refused_for_what_it_holds_is_paid_for(start: Start, request_bytes: bytes, status: int) -> None:
    """We had to read it: it takes its token of the limit, like one that is stored."""
    node = await start({**READ, **ONE_UPLOAD})
    assert (await refused(node, request_bytes)).status == status
    assert (await refused(node, post(GOOD))).status == 429


async def test_upload_refused_for_want_of_room_is_not_paid_for(start: Start) -> None:
    """A client whose other upload has all the memory that it may have finds its token again."""
    node = await start({**READ, "HTTP__BODY_BYTES": "1KiB", "HTTP__BODY_STORE_BYTES": "8KiB"})
    begun = get("/pks/add", f"Content-Type: {FORM}", "Content-Length: 1000", method="POST") + b"options=" + b"x" * 600
    await node.connect(begun)
    before = tats(node)
    reply = await refused(node, begun)
    assert (reply.status, node.records()[0].reason) == (429, Reason.BUSY)
    after = tats(node)
    assert before is not None
    assert after is not None
    assert after[OperationClass.UPLOAD] == before[OperationClass.UPLOAD]


async def test_other_bodies_that_are_refused_cost_nothing(start: Start) -> None:
    """A request for mail without an address in it takes none of the five of an hour."""
    node = await start({"LIMITS__MAIL__BURST": "1"})
    bad = post(b"{}", target="/vks/v1/request-verify", content_type=JSON)
    for _ in range(2):
        assert (await refused(node, bad)).status == 422
    await stored(node, mail("a@example.org"))


# Modes.


@pytest.mark.parametrize("settings", [{"UPLOADS__MODE": "shadow"}, {**READ, "MODE": "shadow"}])
@pytest.mark.parametrize("body", [BAD, form(armored(fat(51))), b"keytext=%zz"])
async def test_shadow(start: Start, settings: Mapping[str, str], body: bytes) -> None:
    """What would be refused is told, and reaches the keyserver as it was."""
    node = await start(settings)
    assert (await stored(node, post(body))).body == body
    (record,) = node.records()
    assert (record.action, record.reason, record.status) == (SHADOW + Action.DENY, Reason.UNWANTED, 200)


@pytest.mark.parametrize(
    ("lines", "content_type"), [((), None), ((), "text/plain"), (("Content-Encoding: gzip",), FORM)]
)
async def test_shadow_of_a_head(start: Start, lines: tuple[str, ...], content_type: str | None) -> None:
    """Shadow mode lets pass what the head alone would have had refused, and tells it."""
    node = await start({"UPLOADS__MODE": "shadow"})
    client = await node.connect(post(GOOD, *lines, content_type=content_type))
    assert not await node.keyserver.untouched()
    assert (await node.keyserver.wires[0].request()).body == GOOD
    await node.keyserver.wires[0].send(ok())
    assert (await client.reply()).status == 200
    (record,) = node.records()
    assert (record.action, record.reason) == (SHADOW + Action.DENY, Reason.UNWANTED)


async def test_shadow_says_nothing_of_a_good_upload(start: Start) -> None:
    """Only what would be refused is told."""
    node = await start({"UPLOADS__MODE": "shadow"})
    await stored(node, post(GOOD))
    (record,) = node.records()
    assert (record.action, record.reason) == (Action.ALLOW, Reason.NONE)


@pytest.mark.parametrize("settings", [{"UPLOADS__MODE": "off"}, {**READ, "MODE": "off"}])
async def test_off(start: Start, settings: Mapping[str, str]) -> None:
    """Nobody looks, and nobody says anything."""
    node = await start(settings)
    assert (await stored(node, post(BAD))).body == BAD
    assert (await stored(node, post(b"keys", content_type=None))).body == b"keys"
    assert [(record.action, record.reason) for record in node.records()] == [(Action.ALLOW, Reason.NONE)] * 2


async def test_mode_after_a_reload(start: Start) -> None:
    """A new configuration holds for the next upload."""
    node = await start(READ)
    assert (await refused(node, post(BAD))).status == 422
    node.reload({"UPLOADS__MODE": "off"})
    await stored(node, post(BAD))
    node.reload({**READ, "UPLOADS__CERTS": "1"})
    assert (await refused(node, post(form(armored(certificate(1) + certificate(2)))))).status == 413


async def test_allowed_network_is_read_as_well(start: Start) -> None:
    """No limit touches it; a keyserver is not to be broken by anybody."""
    node = await start({**READ, "ALLOW": "192.0.2.0/24", "BUDGETS__CERT_UPDATES__BURST": "1"})
    assert (await refused(node, post(BAD))).status == 422
    for _ in range(3):
        await stored(node, post(GOOD))


# Budgets.


async def test_update_beyond_the_budget(start: Start) -> None:
    """An upload that a budget refuses never reaches the keyserver, and gives its client's tokens back."""
    node = await start({**READ, "BUDGETS__CERT_UPDATES__BURST": "1"})
    await stored(node, post(GOOD))
    before = tats(node)
    for _ in range(2):
        reply = await refused(node, post(GOOD), peer=CLIENT)
        assert reply.status == 429
        assert int(reply.fields["Retry-After"]) <= 360
    assert tats(node) == before
    assert [record.reason for record in node.records()] == [Reason.NONE, Reason.BUDGET, Reason.BUDGET]


async def test_wait_for_a_budget(start: Start) -> None:
    """The second upload through a shared exit waits for its turn, with its body in our memory; then it goes on."""
    node = await start({**READ, "SHARED_EXITS": "185.220.101.0/24"})
    await stored(node, post(GOOD), peer=TOR)
    body = form(armored(certificate(2)))
    client = await node.connect(post(body), peer=TOR)
    assert await node.keyserver.untouched()
    assert (node.parked, node.guard.bodies.used_bytes) == (1, len(body))
    (timer,) = node.loop.timers
    assert 39 < timer.delay_seconds <= 40
    timer.fire()
    link = await node.keyserver.accept()
    assert (await link.request()).body == body
    await link.send(ok())
    assert (await client.reply()).status == 200
    _, record = node.records()
    assert (record.action, record.reason) == (Action.DELAY, Reason.BUDGET)
    assert (node.parked, node.guard.bodies.used_bytes) == (0, 0)


@pytest.mark.parametrize(
    ("own", "delay"), [("55s", 55), ("7s", 40)], ids=["the client's own is longer", "the budget's is longer"]
)
async def test_longer_of_two_waits(start: Start, own: str, delay: int) -> None:
    """A client that waits for its own token and for a budget waits once, for the later of the two."""
    limit = {"BURST": "1", "COUNT": "1", "PERIOD": own, "MAX_DELAY": "1m"}
    settings = {f"LIMITS__UPLOAD__{name}": value for name, value in limit.items()}
    node = await start({**READ, **settings, "SHARED_EXITS": "185.220.101.0/24"})
    await stored(node, post(GOOD), peer=TOR)
    await node.connect(post(form(armored(certificate(2)))), peer=TOR)
    (timer,) = node.loop.timers
    assert delay - 1 < timer.delay_seconds <= delay


async def test_gone_while_waiting_for_a_budget(start: Start) -> None:
    """Who leaves gets the tokens of the client back, and its memory is free."""
    node = await start({**READ, "SHARED_EXITS": "185.220.101.0/24"})
    await stored(node, post(GOOD), peer=TOR)
    before = tats(node, TOR)
    client = await node.connect(post(form(armored(certificate(2)))), peer=TOR)
    client.close()
    await turns()
    assert (node.parked, node.guard.bodies.used_bytes, node.loop.timers) == (0, 0, [])
    assert tats(node, TOR) == before
    assert await node.keyserver.untouched()


async def test_gone_before_the_body_is_judged(start: Start) -> None:
    """Others have a turn between the end of a large body and its judgement; who leaves in it gets the tokens back."""
    node = await start(READ)
    await stored(node, post(LARGE, content_type=KEYS))
    before = tats(node)
    client = await node.connect(post(LARGE, content_type=KEYS)[:-10])
    await turns()
    client.push(LARGE[-10:])
    client.close()
    await turns()
    assert await node.keyserver.untouched()
    assert [record.reason for record in node.records()] == [Reason.NONE, Reason.GONE]
    assert node.guard.bodies.used_bytes == 0
    assert tats(node) == before


async def test_budget_in_shadow_mode(start: Start) -> None:
    """What would be refused is told, and done."""
    node = await start({**READ, "BUDGETS__CERT_UPDATES__BURST": "1", "BUDGETS__CERT_UPDATES__MODE": "shadow"})
    for _ in range(2):
        await stored(node, post(GOOD))
    _, record = node.records()
    assert (record.action, record.reason, record.status) == (SHADOW + Action.LIMIT, Reason.BUDGET, 200)


@pytest.mark.parametrize(
    ("settings", "body", "action", "reason"),
    [
        ({**READ, "BUDGETS__CERT_UPDATES__BURST": "1", "BUDGETS__CERT_UPDATES__MODE": "shadow"}, GOOD,
         Action.LIMIT, Reason.BUDGET),
        ({"UPLOADS__MODE": "shadow"}, BAD, Action.DENY, Reason.UNWANTED),
    ],
)  # fmt: skip
async def test_shadow_of_an_upload_that_waits(
    start: Start, settings: Mapping[str, str], body: bytes, action: Action, reason: Reason
) -> None:
    """It waits for its own token, and what would have become of it is told all the same."""
    limit = {"BURST": "1", "COUNT": "1", "PERIOD": "55s", "MAX_DELAY": "1m"}
    node = await start({**settings, **{f"LIMITS__UPLOAD__{name}": value for name, value in limit.items()}})
    await stored(node, post(GOOD))
    client = await node.connect(post(body))
    (timer,) = node.loop.timers
    assert 54 < timer.delay_seconds <= 55
    timer.fire()
    link = await node.keyserver.accept()
    assert (await link.request()).body == body
    await link.send(ok())
    assert (await client.reply()).status == 200
    _, record = node.records()
    assert (record.action, record.reason, record.status) == (SHADOW + action, reason, 200)
    assert record.wait_us > 54_000_000


# Mail.


def mail(address: str, *, target: str = "/vks/v1/request-verify") -> bytes:
    """Return a request that has the keyserver send mail."""
    if target == "/vks/v1/request-verify":
        return post(json.dumps({"token": "t", "addresses": [address]}).encode(), target=target, content_type=JSON)
    field = "search_term" if target == "/manage" else "address"
    return post(f"{field}={address}".encode(), target=target)


async def test_second_mail_to_an_address(start: Start) -> None:
    """Whoever asks, on whichever page and however it is written: within the hour an address gets one mail."""
    node = await start()
    await stored(node, mail("a@example.org"))
    for target in ("/vks/v1/request-verify", "/manage", "/upload/request-verify", "/pks/v2/sendtoken"):
        for peer in (CLIENT, PEER):
            assert (await refused(node, mail("A <A@Example.org>", target=target), peer=peer)).status == 429
    await stored(node, mail("b@example.org"))


async def test_refused_mail_costs_its_client_nothing(start: Start) -> None:
    """The limit of the client is for what was sent."""
    node = await start({"LIMITS__MAIL__BURST": "2", "LIMITS__MAIL__MAX_DELAY": "0s"})
    await stored(node, mail("a@example.org"))
    before = tats(node)
    for _ in range(3):
        assert (await refused(node, mail("a@example.org"))).status == 429
    assert tats(node) == before
    await stored(node, mail("b@example.org"))


@pytest.mark.parametrize("body", [b"\xff" * 100, b'["\\ud800"', b"a=b&" * 100, b"[" * 10_000])
async def test_mail_to_nobody(start: Start, body: bytes) -> None:
    """Where no address can be read nothing is asked of the keyserver, whatever else is in the body."""
    node = await start()
    for content_type in (JSON, FORM):
        reply = await refused(node, post(body, target="/vks/v1/request-verify", content_type=content_type))
        assert reply.status in {413, 422}


# Reconciliation.

BROKEN = {
    "count": b"\xff" * 4 + HASHQUERY[4:],
    "nothing asked": bytes(4) + HASHQUERY[4:],
    "length of a digest": HASHQUERY[:4] + (2**31).to_bytes(4) + bytes(16),
    "short": HASHQUERY[:-1],
    "long": HASHQUERY + b"\0",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
async def test_broken_hashquery_of_a_peer(start: Start, body: bytes) -> None:
    """A peer is trusted in nothing that it says of lengths: 400, and the keyserver never hears of it."""
    node = await start({"PEERS": "198.51.100.0/24"})
    reply = await refused(node, post(body, target="/pks/hashquery", content_type=None), peer=PEER)
    assert reply.status == 400
    assert reply.body.startswith(b"A digest of a hashquery has" if body == BROKEN["length of a digest"] else b"")


async def test_chunked_hashquery(start: Start) -> None:
    """Peers announce the length; what does not is refused before it is read."""
    node = await start({"PEERS": "198.51.100.0/24"})
    head = get("/pks/hashquery", "Transfer-Encoding: chunked", method="POST")
    assert (await refused(node, head + chunked(HASHQUERY), peer=PEER)).status == 400


async def test_hashquery_of_a_peer(start: Start) -> None:
    """What peers really send passes, as often as they like; from others it does not."""
    node = await start({"PEERS": "198.51.100.0/24", "LIMITS__SYNC__BURST": "1"})
    for _ in range(3):
        got = await stored(node, post(HASHQUERY, target="/pks/hashquery", content_type=None), peer=PEER)
        assert got.body == HASHQUERY
    assert (await refused(node, post(HASHQUERY, target="/pks/hashquery"))).status == 403


@pytest.mark.parametrize(("digest", "status"), [("AB" * 16, 0), ("AB" * 15, 400), ("AB" * 20, 400), ("alice", 400)])
async def test_hget_of_a_peer(start: Start, digest: str, status: int) -> None:
    """A digest has 32 digits, for peers too."""
    node = await start({"PEERS": "198.51.100.0/24"})
    request = get(f"/pks/lookup?op=hget&search={digest}")
    if status:
        assert (await refused(node, request, peer=PEER)).status == status
    else:
        assert (await stored(node, request, peer=PEER)).target == f"/pks/lookup?op=hget&search={digest.lower()}"


# What the exchange does not do yet; each mark goes when it does.

EMPTY = {
    "hashquery": ("/pks/hashquery", PEER, 400),
    "request for mail": ("/pks/v2/sendtoken", CLIENT, 422),
    "upload": ("/pks/add", CLIENT, 422),
}


@pytest.mark.parametrize(("target", "peer", "status"), EMPTY.values(), ids=EMPTY)
async def test_request_without_its_body(start: Start, target: str, peer: str, status: int) -> None:
    """Nothing is not what such a request holds: the keyserver does not hear of it."""
    node = await start({**READ, "PEERS": "198.51.100.0/24"})
    client = await node.connect(post(b"", target=target), peer=peer)
    assert await node.keyserver.untouched()
    assert (await client.reply()).status == status


@pytest.mark.parametrize("body", [BAD, b"keytext=" + b"%2D" * 9], ids=["in the middle", "at the end"])
async def test_request_behind_a_refused_upload(start: Start, body: bytes) -> None:
    """A refused upload of which all is here does not swallow the request behind it."""
    node = await start(READ)
    client = await node.connect(post(body) + get("/pks/nowhere"))
    assert (await client.reply()).status == 422
    assert not await client.quiet()
    assert (await client.reply()).status == 404


async def test_mail_that_was_never_sent(start: Start) -> None:
    """If no keyserver could be asked, the address is still owed its mail."""
    node = await start({"UPSTREAM": f"http://127.0.0.1:{unused_port()}"})
    for _ in range(2):
        client = await node.connect(mail("a@example.org"))
        assert (await client.reply()).status == 503
