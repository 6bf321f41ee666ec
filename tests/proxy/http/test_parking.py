"""Limits on the wire: requests that wait, requests that are refused, and what becomes of their tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from proxy.policy.actions import Action, Reason
from proxy.telemetry.numbers import SHADOW
from tests.proxy.http.harness import KEY_TARGET, get, ok, turns, until

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start
    from tests.proxy.http.harness import Node, Timer, Wire

WORDS = "/pks/lookup?op=index&search=alice+example"
UPLOAD = b"POST /pks/add HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n"
# One get a minute; up to two more are let in a minute later each.
SLOW = {
    "LIMITS__CERT__BURST": "1",
    "LIMITS__CERT__COUNT": "1",
    "LIMITS__CERT__PERIOD": "20s",
    "LIMITS__CERT__MAX_DELAY": "40s",
}


async def served(node: Node, request: bytes | None = None, **how: object) -> Wire:
    """Have one request answered; return the client's end. The keyserver's connection is not kept."""
    client, link = await node.begin(request or get(), **how)
    await link.send(ok(b"key\n", "Connection: close"))
    assert (await client.reply()).status == 200
    return client


def timer(node: Node) -> Timer:
    """Return the only timer."""
    (only,) = node.loop.timers
    return only


async def test_delayed_request_waits_and_goes_on(start: Start) -> None:
    """The second get waits for its token, here and not at the keyserver, and is then served like any other."""
    node = await start(SLOW)
    await served(node)
    client = await node.connect(get())
    assert node.parked == 1
    assert 19 < timer(node).delay_seconds <= 20
    assert await node.keyserver.untouched()
    assert await client.quiet()
    timer(node).fire()
    assert node.parked == 0
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok(b"key\n"))
    assert (await client.reply()).body == b"key\n"
    record = node.records()[-1]
    assert (record.action, record.reason, record.status) == (Action.DELAY, Reason.LIMIT, 200)
    assert 19_000_000 < record.wait_us <= 20_000_000


async def test_delays_add_up_and_then_end(start: Start) -> None:
    """Each waits for the one before; who would wait longer than the most is refused, and told for how long."""
    node = await start(SLOW)
    await served(node)
    for _ in range(2):
        await node.connect(get())
    first, second = (each.delay_seconds for each in node.loop.timers)
    assert 19 < second - first <= 20
    refused = await (await node.connect(get())).reply()
    assert (refused.status, refused.fields["Retry-After"]) == (429, "20")
    assert node.parked == 2


async def test_client_that_leaves_frees_its_place_at_once(start: Start) -> None:
    """A parked request whose client goes away is forgotten, its timer too, and its token is there for the next."""
    node = await start(SLOW)
    await served(node)
    client = await node.connect(get())
    first = timer(node).delay_seconds
    client.close()
    await until(lambda: node.parked == 0)
    assert node.loop.timers == []
    assert node.open == 1
    record = node.records()[-1]
    assert (record.action, record.reason, record.status) == (Action.DELAY, Reason.GONE, 0)
    await node.connect(get())
    assert timer(node).delay_seconds <= first
    assert await node.keyserver.untouched()


async def test_client_that_closes_its_side_while_parked_is_gone(start: Start) -> None:
    """Over TCP a close and a half-close look the same; the parked request of such a client is given up."""
    node = await start(SLOW)
    await served(node)
    client = await node.connect(get(), tcp=True)
    client.finish()
    await until(lambda: node.parked == 0)
    assert await client.to_end() == b""


async def test_reset_while_parked(start: Start) -> None:
    """A reset frees the place as well."""
    node = await start(SLOW)
    await served(node)
    client = await node.connect(get(), tcp=True)
    client.break_off()
    await until(lambda: node.parked == 0)
    assert node.loop.timers == []


async def test_pipeline_behind_a_parked_request_waits(start: Start) -> None:
    """What a client sends meanwhile is kept, and answered after it."""
    node = await start(SLOW)
    await served(node)
    client = await node.connect(get() + get("/nowhere"))
    await client.send(get("/nowhere"))
    assert await client.quiet()
    timer(node).fire()
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok(b"key\n"))
    assert [(await client.reply()).status for _ in range(3)] == [200, 404, 404]


async def test_flood_behind_a_parked_request_is_left_with_the_kernel(start: Start) -> None:
    """Watching for the end of a parked client does not mean to take in whatever it sends."""
    node = await start(SLOW)
    await served(node)
    client = await node.connect(get(), small=True)
    assert await client.push_all(get() * 20_000) < 300_000
    assert node.parked == 1


async def test_upload_waits_with_its_body(start: Start) -> None:
    """The body is read first; what is left of the wait is counted from the time of the decision."""
    settings = {"LIMITS__UPLOAD__BURST": "1", "LIMITS__UPLOAD__COUNT": "1", "LIMITS__UPLOAD__PERIOD": "5s"}
    node = await start(settings)
    await served(node, UPLOAD + b"keys")
    client = await node.connect(UPLOAD + b"k")
    await client.send(b"ey")
    assert node.parked == 0
    await client.send(b"s")
    assert node.parked == 1
    assert timer(node).delay_seconds < 5
    timer(node).fire()
    link = await node.keyserver.accept()
    assert (await link.request()).body == b"keys"
    await link.send(ok())
    assert (await client.reply()).status == 200


async def test_parked_requests_are_bounded(start: Start) -> None:
    """More parked requests than the operator allows are refused, and pay nothing."""
    node = await start({**SLOW, "PARKED": "1"})
    await served(node)
    waiting = await node.connect(get())
    delay = timer(node).delay_seconds
    crowded = await node.connect(get())
    assert (await crowded.reply()).status == 429
    assert node.records()[-1].reason == Reason.CROWDED
    waiting.close()
    await until(lambda: node.parked == 0)
    await node.connect(get())
    assert timer(node).delay_seconds <= delay


async def test_refused_request_pays_nothing(start: Start) -> None:
    """However often one asks while one is refused, the wait does not grow."""
    node = await start({**SLOW, "LIMITS__CERT__MAX_DELAY": "0"})
    client = await served(node)
    for _ in range(5):
        await client.send(get())
        assert (await client.reply()).fields["Retry-After"] == "20"


async def test_request_that_no_keyserver_took_is_refunded(start: Start) -> None:
    """Who got 503 because nobody could be reached has paid nothing."""
    node = await start({**SLOW, "LIMITS__CERT__MAX_DELAY": "0"})
    upstream = node.guard.upstreams.all[0]
    endpoints, upstream.endpoints = upstream.endpoints, ()
    client = await node.connect(get())
    assert (await client.reply()).status == 503
    upstream.endpoints = endpoints
    await served(node)


async def test_clients_are_kept_apart(start: Start) -> None:
    """Each IPv4 address, and each IPv6 /64, has a bucket of its own."""
    node = await start({**SLOW, "LIMITS__CERT__MAX_DELAY": "0"})
    for peer in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"):
        await served(node, peer=peer)
    for peer in ("192.0.2.1", "2001:db8::2", "2001:db8:0:1:ffff::"):
        client = await node.connect(get(), peer=peer)
        assert (await client.reply()).status == 429


async def test_allowed_network_is_never_limited(start: Start) -> None:
    """No limit, wait or cap touches HKPGUARD_ALLOW."""
    node = await start({**SLOW, "ALLOW": "192.0.2.0/24", "LIMITS__WORDS__CONCURRENT": "1"})
    for _ in range(5):
        await served(node)
    for _ in range(3):
        await node.begin(get(WORDS))
    assert node.loop.timers == []
    assert {(each.action, each.reason) for each in node.records()} == {(Action.ALLOW, Reason.ALLOWED_NETWORK)}


async def test_network_with_limits_of_its_own(start: Start) -> None:
    """The most specific network that names a client decides; the others keep the limits of everybody."""
    networks = [
        {"cidr": "192.0.2.0/24", "limits": {"cert": {"burst": 2}}},
        {"cidr": "192.0.2.128/25", "limits": {"cert": {"burst": 3}}},
    ]
    node = await start({**SLOW, "LIMITS__CERT__MAX_DELAY": "0", "NETWORKS": json.dumps(networks)})
    for peer, burst in (("198.51.100.1", 1), ("192.0.2.1", 2), ("192.0.2.200", 3)):
        for _ in range(burst):
            await served(node, peer=peer)
        client = await node.connect(get(), peer=peer)
        assert (await client.reply()).status == 429


@pytest.mark.parametrize("settings", [{"MODE": "shadow"}, {"LIMITS__CERT__MODE": "shadow"}])
async def test_shadow_refuses_nobody(start: Start, settings: dict[str, str]) -> None:
    """Everything is served at once, and the records say what would have been done."""
    node = await start({**SLOW, **settings})
    for _ in range(5):
        await served(node)
    assert node.loop.timers == []
    actions = [record.action for record in node.records()]
    assert actions == [Action.ALLOW, *[SHADOW + Action.DELAY] * 2, *[SHADOW + Action.LIMIT] * 2]


@pytest.mark.parametrize("settings", [{"MODE": "off"}, {"LIMITS__CERT__MODE": "off"}])
async def test_off_counts_nothing(start: Start, settings: dict[str, str]) -> None:
    """A limit that is off is not there."""
    node = await start({**SLOW, **settings})
    for _ in range(5):
        await served(node)
    assert {record.action for record in node.records()} == {Action.ALLOW}


async def test_new_policy_holds_from_the_next_request_on(start: Start) -> None:
    """A reload changes what the next request on the same connection meets, without closing it."""
    node = await start({**SLOW, "LIMITS__CERT__MAX_DELAY": "0"})
    client = await served(node)
    await client.send(get())
    assert (await client.reply()).status == 429
    node.reload({**SLOW, "ALLOW": "192.0.2.0/24"})
    await client.send(get())
    link = await node.keyserver.accept()
    await link.head()
    await link.send(ok(b"allowed\n"))
    assert (await client.reply()).body == b"allowed\n"
    node.reload({**SLOW, "LIMITS__CERT__MAX_DELAY": "0"})
    await client.send(get())
    assert (await client.reply()).status == 429


async def test_new_trust_holds_from_the_next_request_on(start: Start) -> None:
    """The same for the networks of trusted proxies."""
    node = await start()
    client, link = await node.begin(get(KEY_TARGET, "X-Forwarded-For: 192.0.2.9"), peer="10.0.0.1")
    await link.send(ok())
    await client.reply()
    node.reload({"TRUSTED_PROXIES": "10.0.0.0/8"})
    await client.send(get(KEY_TARGET, "X-Forwarded-For: 192.0.2.9"))
    assert (await link.request()).fields["X-Forwarded-For"] == "192.0.2.9, 10.0.0.1"
    await link.send(ok())
    await client.reply()
    node.reload({})
    await client.send(get(KEY_TARGET, "X-Forwarded-For: 192.0.2.9"))
    assert (await link.request()).fields["X-Forwarded-For"] == "10.0.0.1"


async def test_parked_request_keeps_the_policy_that_judged_it(start: Start) -> None:
    """A reload does not disturb who waits already."""
    node = await start(SLOW)
    await served(node)
    await node.connect(get())
    node.reload({"MODE": "off"})
    assert node.parked == 1
    timer(node).fire()
    assert b"GET" in await (await node.keyserver.accept()).head()


# Caps on what runs at once.


async def test_cap_of_a_client(start: Start) -> None:
    """A third word search of one client waits until one of the first two is done; another client's does not."""
    node = await start()
    (_, first), _ = await node.begin(get(WORDS)), await node.begin(get(WORDS))
    waiting = await node.connect(get(WORDS))
    assert await node.keyserver.untouched()
    await first.send(ok())
    assert b"GET" in await first.head()
    await first.send(ok(b"third\n"))
    assert (await waiting.reply()).body == b"third\n"


async def test_cap_of_a_class(start: Start) -> None:
    """The places of a class are for all clients together."""
    node = await start({"LIMITS__WORDS__CONCURRENT_TOTAL": "1"})
    _, link = await node.begin(get(WORDS))
    await node.connect(get(WORDS), peer="192.0.2.2")
    assert await node.keyserver.untouched()
    await link.send(ok())
    assert b"GET" in await link.head()


async def test_other_classes_are_not_held_up(start: Start) -> None:
    """A queue of word searches does not delay a get by fingerprint."""
    node = await start({"LIMITS__WORDS__CONCURRENT": "1"})
    await node.begin(get(WORDS))
    await node.connect(get(WORDS))
    await served(node)


async def test_no_place_in_time(start: Start) -> None:
    """Who finds no place is refused with 429, has paid nothing, and is told to come back a little later."""
    settings = {"LIMITS__WORDS__CONCURRENT": "1", "LIMITS__WORDS__QUEUE": "0", "LIMITS__WORDS__BURST": "2"}
    node = await start(settings)
    _, link = await node.begin(get(WORDS))
    for _ in range(3):
        client = await node.connect(get(WORDS))
        reply = await client.reply()
        assert reply.status == 429
        assert int(reply.fields["Retry-After"]) > 0
        assert "RateLimit" not in reply.fields
    assert {record.reason for record in node.records()} == {Reason.BUSY}
    await link.send(ok())
    await turns()
    await node.connect(get(WORDS))
    assert b"GET" in await link.head()


async def test_wait_for_a_place_ends(start: Start) -> None:
    """The queue has a time limit as well."""
    node = await start({"LIMITS__WORDS__CONCURRENT": "1", "LIMITS__WORDS__QUEUE": "1ms"})
    await node.begin(get(WORDS))
    client = await node.connect(get(WORDS))

    def refused() -> bool:
        for each in node.loop.timers:
            each.fire()
        return client.pull() > 0

    await until(refused)
    assert (await client.reply()).status == 429
    assert node.loop.timers == []


@pytest.mark.parametrize("end", ["reply", "death", "gone", "death under an upload"])
async def test_place_is_given_back_however_a_request_ends(start: Start, end: str) -> None:
    """Whatever becomes of a request, its place is free for the next."""
    node = await start({"LIMITS__WORDS__CONCURRENT": "1", "LIMITS__UPLOAD__CONCURRENT": "1"})
    request = UPLOAD + b"keys" if end == "death under an upload" else get(WORDS, "Connection: close")
    client, link = await node.begin(request, tcp=True)
    if end == "reply":
        await link.send(ok(b"", "Connection: close"))
    elif end == "gone":
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
        await client.head()
        client.break_off()
        await link.push_all(b"k" * 500_000)
    else:
        link.close()
    await turns()
    await node.connect(request)
    again = await node.keyserver.accept()
    assert b"HTTP/1.1" in await again.head()


async def test_client_that_leaves_the_queue(start: Start) -> None:
    """It takes no place later, and gets its token back."""
    node = await start({"LIMITS__WORDS__CONCURRENT": "1", "LIMITS__WORDS__BURST": "2"})
    _, link = await node.begin(get(WORDS))
    for _ in range(5):
        client = await node.connect(get(WORDS))
        assert await client.quiet()
        client.close()
        await until(lambda: node.open == 1)
    await link.send(ok())
    await turns()
    await node.connect(get(WORDS))
    assert b"GET" in await link.head()


async def test_cap_in_shadow_mode(start: Start) -> None:
    """A cap in shadow mode holds up nobody; the record says that it would have."""
    node = await start({"LIMITS__WORDS__CONCURRENT": "1", "LIMITS__WORDS__QUEUE": "0", "LIMITS__WORDS__MODE": "shadow"})
    await node.begin(get(WORDS))
    _, link = await node.begin(get(WORDS))
    await link.send(ok())
    await turns()
    (record,) = node.records()
    assert (record.action, record.reason, record.status) == (SHADOW + Action.LIMIT, Reason.BUSY, 200)


async def test_cap_in_shadow_mode_does_not_queue(start: Start) -> None:
    """Nor does it let anybody wait for a place."""
    node = await start({"LIMITS__WORDS__CONCURRENT": "1", "LIMITS__WORDS__MODE": "shadow"})
    await node.begin(get(WORDS))
    await node.connect(get(WORDS))
    assert not await node.keyserver.untouched()


async def test_delayed_and_then_queued(start: Start) -> None:
    """An upload that has waited for its token may still have to wait for a place; leaving then refunds it."""
    settings = {"LIMITS__UPLOAD__BURST": "1", "LIMITS__UPLOAD__PERIOD": "1m", "LIMITS__UPLOAD__CONCURRENT": "1"}
    node = await start(settings)
    await node.begin(UPLOAD + b"keys")
    client = await node.connect(UPLOAD + b"keys")
    first = timer(node).delay_seconds
    timer(node).fire()
    assert node.parked == 0
    assert await node.keyserver.untouched()
    client.close()
    await until(lambda: node.open == 1)
    node.loop.timers.clear()
    await node.connect(UPLOAD + b"keys")
    assert node.parked == 1
    assert max(each.delay_seconds for each in node.loop.timers) <= first
