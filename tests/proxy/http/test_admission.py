"""The step `admit`: who is taken on, who is turned away and how, and who is left to the tarpit."""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from ssl import MemoryBIO, SSLWantReadError
from typing import TYPE_CHECKING, Any

import pytest

from fastpath import BanTable, client_key, monotonic_ns, network_key
from proxy.http.address import Source
from proxy.http.entrance import Entrance
from proxy.http.ja4 import pack_ja4
from proxy.http.tls import make_context
from proxy.policy.actions import Action, Reason, TurnedAway
from proxy.telemetry.numbers import SHADOW
from tests.proxy.http.harness import CLIENT, FPR, KEY_TARGET, Node, get, ok, turns, until
from tests.proxy.http.tls_harness import HOST, Pair, TlsWire, make_pair, trusting

if TYPE_CHECKING:
    from ssl import SSLContext

    from tests.proxy.http.conftest import Start

HOUR_NS = 3600 * 1_000_000_000
PACKED = ipaddress.ip_address(CLIENT).packed
OTHER = "198.51.100.77"
PROXY = "10.0.0.1"
V1 = f"PROXY TCP4 {OTHER} 10.0.0.1 50000 11371\r\n".encode()
V2 = bytes.fromhex("0d0a0d0a000d0a515549540a 2111 000c c633644d 0a000001 c350 2c6b")
NO_DEFER = {"TRUSTED_PROXIES": "10.0.0.0/8"}


def ban(node: Node, key: int) -> None:
    """Ban a client or a network for an hour."""
    assert BanTable(node.region.bans, node.region.secret).put(key, monotonic_ns() + HOUR_NS)


def turned_away(node: Node) -> dict[str, int]:
    """Return how many connections were turned away, by reason."""
    counts = node.snapshot().turned_away
    return {reason.name: counts[reason] for reason in TurnedAway if counts[reason]}


# Bans.


@pytest.mark.parametrize("key", [client_key(PACKED), network_key(PACKED)])
@pytest.mark.parametrize(("refusal", "end"), [("close", {"closed", "reset"}), ("reset", {"reset"})])
async def test_banned_client_is_turned_away(start: Start, key: int, refusal: str, end: set[str]) -> None:
    """A banned client's connection is closed before anything is read, silently or with a reset; others are served."""
    node = await start({"BANS__REFUSAL": refusal})
    ban(node, key)
    client = await node.connect(get(), tcp=True)
    assert await client.end() in end
    assert client.take(1) == b""
    assert (turned_away(node), node.open, node.records()) == ({"BANNED": 1}, 0, [])
    _, reply = await node.ask(get(), ok(), peer=OTHER)
    assert reply.status == 200


@pytest.mark.parametrize("settings", [{"ALLOW": CLIENT}, {"PEERS": CLIENT}, {"BANS__MODE": "off"}, {"MODE": "shadow"}])
async def test_whom_bans_pass_by(start: Start, settings: dict[str, str]) -> None:
    """Allowed networks and peers are served whatever stands in the table; so is everybody where bans do not hold."""
    node = await start(settings)
    ban(node, network_key(PACKED))
    _, reply = await node.ask(get(), ok())
    assert reply.status == 200


async def test_ban_binds_open_connections(start: Start) -> None:
    """Who is banned while a connection is open is told 403 with the next request, and the connection is closed."""
    node = await start()
    client, link = await node.begin(get())
    await link.send(ok())
    assert (await client.reply()).status == 200
    ban(node, client_key(PACKED))
    await client.send(get())
    reply = await client.reply()
    assert (reply.status, reply.fields["Connection"]) == (403, "close")
    assert await client.to_end() == b""
    assert node.records()[-1].reason == Reason.BANNED


async def test_ban_finds_clients_behind_a_trusted_proxy(start: Start) -> None:
    """Behind a proxy the client that it names is banned, not the proxy."""
    node = await start({"TRUSTED_PROXIES": CLIENT})
    ban(node, client_key(ipaddress.ip_address(OTHER).packed))
    client = await node.connect(get(KEY_TARGET, f"X-Forwarded-For: {OTHER}"))
    assert (await client.reply()).status == 403
    _, reply = await node.ask(get(KEY_TARGET, "X-Forwarded-For: 203.0.113.9"), ok())
    assert reply.status == 200


async def test_banned_scanner_is_held_if_the_operator_wants(start: Start) -> None:
    """With BANS__REFUSAL=tarpit a banned client is held if it asks for a trap; whatever else it asks, it is closed."""
    node = await start({"BANS__REFUSAL": "tarpit", "TARPIT__MODE": "sticky"})
    ban(node, client_key(PACKED))
    held = await node.connect(get("/.ENV?id=1%27%20OR%201=1"), tcp=True)
    others = (get(), get("/"), get("/favicon.ico"), get(method="OPTIONS"), b"GET", b"\x16\x03\x01\x02\x00" + bytes(60))
    for request in others:
        client = await node.connect(request, tcp=True)
        assert await client.end() in {"closed", "reset"}
    assert await held.quiet()
    assert node.guard.tarpit.held == 1


# Crowds.


async def test_client_may_hold_only_so_many_connections(start: Start) -> None:
    """A client over its cap is turned away until one of its connections is gone; others do not notice."""
    node = await start({"CONNECTIONS_PER_CLIENT": "3"})
    clients = [await node.connect() for _ in range(3)]
    assert await (await node.connect(get("/nowhere"), tcp=True)).end() in {"closed", "reset"}
    other = await node.connect(get("/nowhere"), peer=OTHER)
    assert (await other.reply()).status == 404
    assert turned_away(node) == {"CROWDED": 1}
    clients[0].close()
    await until(lambda: node.open == 3)
    again = await node.connect(get("/nowhere"))
    assert (await again.reply()).status == 404


async def test_network_may_hold_only_so_many_connections(start: Start) -> None:
    """The addresses of a /24 (or /48) share a second cap."""
    node = await start({"CONNECTIONS_PER_NETWORK": "3"})
    for last in range(3):
        await node.connect(peer=f"203.0.113.{last}")
    assert await (await node.connect(get("/nowhere"), peer="203.0.113.200", tcp=True)).end() in {"closed", "reset"}
    for last in range(3):
        await node.connect(peer=f"2001:db8:1:{last}::1")
    assert await (await node.connect(peer="2001:db8:1:ffff::1", tcp=True)).end() in {"closed", "reset"}
    assert (turned_away(node), node.open) == ({"CROWDED": 2}, 6)


@pytest.mark.parametrize("settings", [{"ALLOW": CLIENT}, {"PEERS": CLIENT}, {"TRUSTED_PROXIES": CLIENT}])
async def test_whom_caps_pass_by(start: Start, settings: dict[str, str]) -> None:
    """Proxies speak for many clients, and the operator's own machines and peers are known: no cap holds for them."""
    node = await start({"CONNECTIONS_PER_CLIENT": "1", "CONNECTIONS_PER_NETWORK": "1", **settings})
    for _ in range(5):
        await node.connect()
    assert (node.open, turned_away(node)) == (5, {})


async def test_refused_connections_are_not_counted_in(start: Start) -> None:
    """However many were turned away, a free place is a free place."""
    node = await start({"CONNECTIONS_PER_CLIENT": "1"})
    first = await node.connect()
    for _ in range(20):
        await node.connect(tcp=True)
    first.close()
    await until(lambda: node.open == 0)
    assert (await (await node.connect(get("/nowhere"))).reply()).status == 404


# Traps.


async def test_trap_is_held(start: Start) -> None:
    """Who asks for a trap gets no answer but the tarpit's; the record says what it asked for, and with what."""
    node = await start({"TARPIT__MODE": "sticky"})
    client = await node.connect(get("/.env?x=1", "User-Agent: scanner/1.0"), tcp=True)
    assert await client.quiet()
    assert (node.guard.tarpit.held, node.open) == (1, 0)
    assert node.snapshot().tarpit_held == 1
    (record,) = node.records()
    assert (record.action, record.reason, record.subject) == (Action.TARPIT, Reason.TRAP, b"/.env?x=1\tscanner/1.0")
    assert await node.keyserver.untouched()


@pytest.mark.parametrize(
    ("settings", "closes"),
    [({"TARPIT__MODE": "off"}, False), ({"TARPIT__CONNECTIONS": "0"}, True), ({"TARPIT__KERNEL_BYTES": "0"}, True)],
)
async def test_trap_without_room_is_a_plain_404(start: Start, settings: dict[str, str], *, closes: bool) -> None:
    """Where the tarpit is off or full, a trap is an unknown path with the same evidence; a full one closes."""
    node = await start(settings)
    client = await node.connect(get("/.env"), tcp=True)
    reply = await client.reply()
    assert (reply.status, reply.fields.all("Connection")) == (404, ["close"] * closes)
    assert (node.open == 0) == closes
    (record,) = node.records()
    assert (record.action, record.reason, record.status) == (Action.DENY, Reason.TRAP, 404)


@pytest.mark.parametrize(
    ("settings", "how"),
    [({"TRUSTED_PROXIES": CLIENT}, {}), (NO_DEFER, {"entrance": Entrance(proxy_header=True), "peer": PROXY})],
)
async def test_connection_of_a_proxy_is_not_held(start: Start, settings: dict[str, str], how: dict[str, Any]) -> None:
    """A proxy's connection is not its client's to lose: behind one a trap is a plain 404, with the same evidence."""
    node = await start({"TARPIT__MODE": "sticky", **settings})
    begin = V1 if how else b""
    client = await node.connect(begin + get("/.env", f"X-Forwarded-For: {OTHER}"), tcp=True, **how)
    assert (await client.reply()).status == 404
    assert (node.guard.tarpit.held, node.records()[0].reason) == (0, Reason.TRAP)


@pytest.mark.parametrize("line", ["Accept-Language: en", "Sec-Fetch-Site: cross-site"])
async def test_browser_in_a_trap_is_told_404(start: Start, line: str) -> None:
    """What a browser asks for, a page of somebody else may have told it to: no tarpit, and no evidence."""
    node = await start({"TRAPS__SUBJECTS": f"0x{FPR}"})
    client = await node.connect(get("/.env", line), tcp=True)
    assert (await client.reply()).status == 404
    await node.ask(get(KEY_TARGET, line), ok())
    assert [record.reason for record in node.records()] == [Reason.UNKNOWN, Reason.NONE]


async def test_trap_in_shadow_mode_is_recorded(start: Start) -> None:
    """In shadow mode a trap is answered as without traps, and the record says what would have been done."""
    for unknown, status in (("refuse", 404), ("pass", 200)):
        node = await start({"TRAPS__MODE": "shadow", "UNKNOWN": unknown})
        client = await node.connect(get("/.env"), tcp=True)
        if unknown == "pass":
            link = await node.keyserver.accept()
            await link.request()
            await link.send(ok())
        assert (await client.reply()).status == status
        (record,) = node.records()
        assert (record.action, record.reason) == (SHADOW + Action.TARPIT, Reason.TRAP)


async def test_held_connections_free_their_place(start: Start) -> None:
    """A held connection is no connection of the client's any more: scanners do not fill the worker."""
    node = await start({"CONNECTIONS_PER_CLIENT": "1", "TARPIT__MODE": "sticky"})
    for _ in range(4):
        await node.connect(get("/.env"), tcp=True)
    assert (node.guard.tarpit.held, node.open, turned_away(node)) == (4, 0, {})


async def test_canary_is_answered_and_recorded(start: Start) -> None:
    """A search for a canary reaches the keyserver like any other; only the record tells."""
    node = await start({"TRAPS__SUBJECTS": f"0x{FPR}"})
    _, reply = await node.ask(get(), ok())
    (record,) = node.records()
    assert (reply.status, record.action, record.reason) == (200, Action.ALLOW, Reason.CANARY)


# Entrances.


@pytest.mark.parametrize("header", [V1, V2])
@pytest.mark.parametrize("cut", [0, 1, 14, None])
async def test_proxy_header_names_the_client(start: Start, header: bytes, cut: int | None) -> None:
    """With PROXY required the header's client is counted, limited and forwarded; it may come in pieces."""
    node = await start(NO_DEFER)
    pieces = (header + get(),) if cut is None else (header[:cut], header[cut:] + get())
    client = await node.connect(entrance=Entrance(proxy_header=True), peer=PROXY, tcp=True)
    for piece in pieces:
        await client.send(piece)
    link = await node.keyserver.accept()
    got = await link.request()
    assert got.fields["X-Forwarded-For"] == OTHER
    await link.send(ok())
    assert (await client.reply()).status == 200
    (record,) = node.records()
    assert (record.client, record.source) == (client_key(ipaddress.ip_address(OTHER).packed), Source.PROXY_PROTOCOL)


@pytest.mark.parametrize(
    "begin", [b"GET / HTTP/1.1\r\n", b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\0", b"\x16\x03\x01"]
)
async def test_connection_without_proxy_header_is_dropped(start: Start, begin: bytes) -> None:
    """With PROXY required nothing is guessed: whatever is no header ends the connection."""
    node = await start(NO_DEFER)
    client = await node.connect(begin, entrance=Entrance(proxy_header=True), peer=PROXY, tcp=True)
    assert await client.end() in {"closed", "reset"}
    assert (turned_away(node), node.records()) == ({"UNTOLD": 1}, [])


async def test_proxy_that_leaves_within_its_header_is_dropped(start: Start) -> None:
    """A header that will never be complete ends with the connection; it does not keep the loop awake."""
    node = await start(NO_DEFER)
    client = await node.connect(V1[:10], entrance=Entrance(proxy_header=True), peer=PROXY, tcp=True)
    assert len(node.guard.arrivals) == 1
    client.sock.shutdown(socket.SHUT_WR)
    await until(lambda: not node.guard.arrivals)
    assert turned_away(node) == {"UNTOLD": 1}


async def test_proxy_header_has_its_time(start: Start) -> None:
    """A proxy that does not finish its header is dropped at the time limit."""
    node = await start(NO_DEFER, proxy_header_ns=0)
    client = await node.connect(V1[:10], entrance=Entrance(proxy_header=True), peer=PROXY, tcp=True)
    node.guard.sweep()
    assert await client.end() in {"closed", "reset"}
    assert (turned_away(node), len(node.guard.arrivals)) == ({"UNTOLD": 1}, 0)


@pytest.mark.parametrize("entrance", [Entrance(proxy_header=True), Entrance(direct=False)])
async def test_only_trusted_proxies_may_connect(start: Start, entrance: Entrance) -> None:
    """Where proxies are expected everybody else is turned away, PROXY header or not."""
    node = await start(NO_DEFER)
    client = await node.connect(V1 + get(), entrance=entrance, tcp=True)
    assert await client.end() in {"closed", "reset"}
    assert turned_away(node) == {"UNTRUSTED": 1}


async def test_proxy_header_means_nothing_where_it_is_not_required(start: Start) -> None:
    """Without the option a PROXY header is a malformed request, also from a trusted proxy."""
    node = await start(NO_DEFER)
    client = await node.connect(V1 + get(), peer=PROXY)
    assert (await client.reply()).status == 400


async def test_named_client_is_banned_and_counted(start: Start) -> None:
    """Bans and caps are asked about the client that the header names."""
    node = await start({**NO_DEFER, "CONNECTIONS_PER_CLIENT": "1"})
    through = Entrance(proxy_header=True)
    await node.connect(V1, entrance=through, peer=PROXY)
    second = await node.connect(V1 + get(), entrance=through, peer=PROXY, tcp=True)
    assert await second.end() in {"closed", "reset"}
    ban(node, client_key(PACKED))
    banned = V1.replace(OTHER.encode(), CLIENT.encode()) + get()
    third = await node.connect(banned, entrance=through, peer=PROXY, tcp=True)
    assert await third.end() in {"closed", "reset"}
    assert turned_away(node) == {"CROWDED": 1, "BANNED": 1}


@pytest.mark.parametrize(
    "header", [b"PROXY UNKNOWN\r\n", bytes.fromhex("0d0a0d0a000d0a515549540a 2000 0000"), V2[:13] + bytes(3)]
)
async def test_header_that_names_nobody_makes_nothing_credible(start: Start, header: bytes) -> None:
    """Forwarding fields behind such a header were written by anybody: they are not read."""
    node = await start(NO_DEFER)
    forged = get(KEY_TARGET, "X-Forwarded-For: 203.0.113.9")
    await node.connect(header + forged, peer=PROXY, entrance=Entrance(proxy_header=True), tcp=True)
    link = await node.keyserver.accept()
    assert (await link.request()).fields["X-Forwarded-For"] == PROXY


async def test_chain_behind_a_named_proxy_is_followed(start: Start) -> None:
    """If the client that the header names is a trusted proxy itself, its forwarding field is read."""
    node = await start({"TRUSTED_PROXIES": f"10.0.0.0/8,{OTHER}"})
    chained = get(KEY_TARGET, "X-Forwarded-For: 203.0.113.9")
    await node.connect(V1 + chained, peer=PROXY, entrance=Entrance(proxy_header=True), tcp=True)
    link = await node.keyserver.accept()
    assert (await link.request()).fields["X-Forwarded-For"] == f"203.0.113.9, {OTHER}"


async def test_local_proxy_header_speaks_for_the_proxy(start: Start) -> None:
    """The health check of a proxy (LOCAL) is its own request."""
    node = await start(NO_DEFER)
    local = bytes.fromhex("0d0a0d0a000d0a515549540a 2000 0000")
    client = await node.connect(local + get("/nowhere"), entrance=Entrance(proxy_header=True), peer=PROXY)
    assert (await client.reply()).status == 404
    assert node.records()[0].source == Source.TRUSTED_PEER


async def test_plain_request_where_both_are_possible(start: Start) -> None:
    """On a port for plain HTTP and TLS a plain request is served as such, whenever it comes."""
    node = await start()
    client = await node.connect(entrance=Entrance("http+https"))
    await turns()
    assert len(node.guard.arrivals) == 1
    await client.send(get("/nowhere"))
    assert (await client.reply()).status == 404
    assert len(node.guard.arrivals) == 0


async def test_bans_and_caps_hold_before_the_first_byte(start: Start) -> None:
    """A port for both asks about the client at accept like any other, and counts it in once."""
    node = await start({"CONNECTIONS_PER_CLIENT": "2"})
    both = Entrance("http+https")
    first, second = [await node.connect(entrance=both, tcp=True) for _ in range(2)]
    assert await (await node.connect(entrance=both, tcp=True)).end() in {"closed", "reset"}
    ban(node, client_key(ipaddress.ip_address(OTHER).packed))
    assert await (await node.connect(entrance=both, tcp=True, peer=OTHER)).end() in {"closed", "reset"}
    assert turned_away(node) == {"CROWDED": 1, "BANNED": 1}
    await first.send(get("/nowhere"))
    assert (await first.reply()).status == 404
    second.close()
    await until(lambda: not node.guard.arrivals)
    again = await node.connect(get("/nowhere"), entrance=both)
    assert (await again.reply()).status == 404


async def test_arrivals_take_a_place(start: Start) -> None:
    """Connections that are not served yet count among those that a worker may have open; a proxy's make no room."""
    node = await start({"CONNECTIONS": "16", **NO_DEFER})
    entrance = Entrance(proxy_header=True)
    for _ in range(16):
        await node.connect(entrance=entrance, tcp=True, peer=PROXY)
    assert await (await node.connect(entrance=entrance, tcp=True, peer=PROXY)).end() in {"closed", "reset"}
    assert (turned_away(node), len(node.guard.arrivals)) == ({"FULL": 1}, 16)


async def test_oldest_arrivals_make_room(start: Start) -> None:
    """Silence on a port for plain HTTP and TLS keeps nobody out, on no port: who has been silent for longest goes."""
    both = Entrance("http+https")
    node = await start({"CONNECTIONS": "32", **NO_DEFER})
    silent = [await node.connect(entrance=both, tcp=True, peer=f"203.0.{number}.1") for number in range(32)]
    client = await node.connect(get("/nowhere"), peer=OTHER)
    assert (await client.reply()).status == 404
    assert [await wire.end() in {"closed", "reset"} for wire in silent[:2]] == [True, True]
    assert len(node.guard.arrivals) == 30


@pytest.mark.parametrize("setting", ["TRUSTED_PROXIES", "ALLOW", "PEERS"])
async def test_known_arrivals_make_no_room(start: Start, setting: str) -> None:
    """Connections of proxies, peers and allowed networks are not closed for strangers while they are awaited."""
    both = Entrance("http+https")
    node = await start({"CONNECTIONS": "16", **NO_DEFER, setting: CLIENT})
    for _ in range(16):
        await node.connect(entrance=both, tcp=True)
    assert await (await node.connect(get("/nowhere"), peer=OTHER, tcp=True)).end() in {"closed", "reset"}
    assert (turned_away(node), len(node.guard.arrivals)) == ({"FULL": 1}, 16)


async def test_many_late_arrivals_are_dropped_in_turns(start: Start) -> None:
    """Those that are late together go a few at a time, with rests in which others are served."""
    node = await start(NO_DEFER, proxy_header_ns=0)
    for number in range(100):
        await node.connect(entrance=Entrance("http+https"), tcp=True, peer=f"203.0.{number}.1")
    node.guard.sweep()
    assert turned_away(node) == {"UNTOLD": 8}
    while node.loop.timers:
        node.loop.timers[0].fire()
    assert turned_away(node) == {"UNTOLD": 100}


async def test_silent_arrivals_are_dropped(start: Start) -> None:
    """Who connects to such a port and says nothing is dropped at the time limit, or when it leaves."""
    node = await start(proxy_header_ns=0)
    waiting = await node.connect(entrance=Entrance("http+https"), tcp=True)
    leaving = await node.connect(entrance=Entrance("http+https"), tcp=True)
    leaving.close()
    await until(lambda: len(node.guard.arrivals) == 1)
    node.guard.sweep()
    assert await waiting.end() in {"closed", "reset"}
    assert turned_away(node) == {"UNTOLD": 2}


# TLS.


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Return a certificate and its key."""
    return make_pair(tmp_path_factory.mktemp("tls"), "ec", "node")


@pytest.fixture(scope="module")
def context(pair: Pair) -> SSLContext:
    """Return what a node speaks TLS with."""
    return make_context(pair.cert, pair.key)


async def encrypted(node: Node, pair: Pair, *, scheme: str = "https", **how: Any) -> TlsWire:
    """Return the client's end of a TLS connection."""
    plain = await node.connect(entrance=Entrance(scheme, **how), tcp=True, peer=PROXY if how else CLIENT)
    if how:
        await plain.send(V1)
    node.clients.remove(plain)
    wire = TlsWire(plain.sock, trusting(pair))
    node.clients.append(wire)
    return wire


@pytest.mark.parametrize("scheme", ["https", "http+https"])
async def test_encrypted_request(start: Start, pair: Pair, context: SSLContext, scheme: str) -> None:
    """A request over TLS is served like any other, again and again; the keyserver learns that it was encrypted."""
    node = await start(context=context)
    client = await encrypted(node, pair, scheme=scheme)
    await client.shake()
    for _ in range(3):
        await client.send(get())
        link = node.keyserver.wires[0] if node.keyserver.wires else await node.keyserver.accept()
        got = await link.request()
        assert got.fields["X-Forwarded-Proto"] == "https"
        await link.send(ok(b"k" * 3000))
        assert (await client.reply()).body == b"k" * 3000


@pytest.mark.parametrize(("settings", "known"), [({}, True), ({"TRUSTED_PROXIES": CLIENT}, False)])
async def test_program_of_an_encrypted_client(
    start: Start,
    pair: Pair,
    context: SSLContext,
    settings: dict[str, str],
    known: bool,  # noqa: FBT001 - a row
) -> None:
    """Each record tells it; not that of a proxy, which speaks for others."""
    node = await start({**NO_DEFER, **settings}, context=context)
    client = await encrypted(node, pair)
    outgoing = MemoryBIO()
    with pytest.raises(SSLWantReadError):
        trusting(pair).wrap_bio(MemoryBIO(), outgoing, server_hostname=HOST).do_handshake()
    expected = pack_ja4(outgoing.read()[5:]) if known else bytes(16)
    assert len(expected) == 16
    await client.shake()
    link = None
    for _ in range(2):
        await client.send(get())
        link = link or await node.keyserver.accept()
        await link.request()
        await link.send(ok())
        await client.reply()
    assert [record.fingerprint for record in node.records()] == [expected] * 2


async def test_encrypted_request_behind_a_proxy_header(start: Start, pair: Pair, context: SSLContext) -> None:
    """A TCP proxy in front names the client, and TLS begins behind its header."""
    node = await start(NO_DEFER, context=context)
    client = await encrypted(node, pair, proxy_header=True)
    await client.shake()
    await client.send(get())
    link = await node.keyserver.accept()
    assert (await link.request()).fields["X-Forwarded-For"] == OTHER


async def test_unfinished_handshake_has_its_time(start: Start, pair: Pair, context: SSLContext) -> None:
    """A handshake that is not done in time ends, and is counted, but is no offence; nor is silence."""
    node = await start(handshake_ns=0, context=context)
    begun, silent = await encrypted(node, pair), await encrypted(node, pair)
    await begun.raw(begun.hello())
    node.guard.sweep()
    await begun.rest()  # what it was told before, and the end
    assert await silent.rest() == b""
    node.guard.sweep()
    assert (turned_away(node), node.records(), node.open) == ({"HANDSHAKE": 2}, [], 0)


async def test_oldest_handshakes_make_room(start: Start, pair: Pair, context: SSLContext) -> None:
    """Who leaves handshakes unfinished does not keep others from theirs: where there are too many the oldest go."""
    node = await start({"HANDSHAKES": "2"}, context=context)
    half_open = [await encrypted(node, pair) for _ in range(2)]
    for wire in half_open:
        await wire.raw(wire.hello())
    client = await encrypted(node, pair)
    await client.shake()
    await client.send(get("/nowhere"))
    assert (await client.reply()).status == 404
    await half_open[0].rest()  # and the end
    assert node.open == 2


async def test_encrypted_trap_is_held_in_silence(start: Start, pair: Pair, context: SSLContext) -> None:
    """A trap over TLS is held, and never written to: a plain byte would be nonsense there."""
    node = await start({"TARPIT__INTERVAL": "100ms"}, context=context)
    client = await encrypted(node, pair)
    await client.shake()
    await client.send(get("/.env"))
    assert (node.guard.tarpit.held, node.open) == (1, 0)
    with suppress(BlockingIOError):
        client.sock.recv(65536)  # the ticket of the handshake
    node.guard.tarpit.turn(monotonic_ns() + HOUR_NS // 60)
    with pytest.raises(BlockingIOError):
        client.sock.recv(1)
