"""What a connection leaves behind that is not taken on: a record of its own, and one stroke; nothing of a request."""

from __future__ import annotations

import ipaddress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from fastpath import KNOCK_RECORDS, BanTable, Record, Ring, client_key, monotonic_ns
from fastpath.record import FINGERPRINT_BYTES, NO_UPSTREAM
from proxy.http.address import Source
from proxy.http.entrance import Entrance
from proxy.http.tls import make_context
from proxy.policy.actions import Action, TurnedAway
from proxy.telemetry.numbers import FLAG_TLS
from tests.proxy.http.harness import CLIENT, Node, get, ok, turns
from tests.proxy.http.tls_harness import make_pair

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ssl import SSLContext

    from tests.proxy.http.conftest import Start

HOUR_NS = 3600 * 1_000_000_000
OTHER = "2001:db8::7"
PROXY = "10.0.0.1"
TRUSTED = {"TRUSTED_PROXIES": "10.0.0.0/8"}
NAMED = f"PROXY TCP6 {OTHER} 2001:db8::1 50000 11371\r\n".encode()
PLAIN, SECURE, EITHER = Entrance(), Entrance("https"), Entrance("http+https")
BEHIND, SECURE_BEHIND = Entrance(proxy_header=True), Entrance("https", proxy_header=True)
NOTHING = Record._make((*[0] * 16, NO_UPSTREAM, b"", b"", bytes(FINGERPRINT_BYTES)))


class Knock(NamedTuple):
    """How a connection comes, and what its record says."""

    reason: TurnedAway
    entrance: Entrance = PLAIN
    first: bytes = b""
    peer: str = CLIENT
    settings: Mapping[str, str] = MappingProxyType({})
    deadlines: Mapping[str, Any] = MappingProxyType({})  # ns
    open_before: int = 0  # connections of the same kind
    client: str = CLIENT
    source: Source = Source.PEER
    tls: bool = False
    held: bool = False


TARPIT = {"BANS__REFUSAL": "tarpit", "TARPIT__MODE": "sticky"}
AT_ONCE = {"proxy_header_ns": 0, "handshake_ns": 0}
KNOCKS = {
    "banned": Knock(TurnedAway.BANNED, first=get()),
    "banned, with a reset": Knock(TurnedAway.BANNED, settings={"BANS__REFUSAL": "reset"}),
    "banned, over TLS": Knock(TurnedAway.BANNED, SECURE, tls=True),
    "banned, and held": Knock(TurnedAway.BANNED, first=get("/.env"), settings=TARPIT, held=True),
    "banned, with nothing to hold it for": Knock(TurnedAway.BANNED, first=get(), settings=TARPIT),
    "banned, named by a proxy": Knock(
        TurnedAway.BANNED, BEHIND, NAMED, PROXY, TRUSTED, client=OTHER, source=Source.PROXY_PROTOCOL
    ),
    "banned, named by a proxy, over TLS": Knock(
        TurnedAway.BANNED, SECURE_BEHIND, NAMED, PROXY, TRUSTED, client=OTHER, source=Source.PROXY_PROTOCOL, tls=True
    ),
    "too many of a client": Knock(TurnedAway.CROWDED, settings={"CONNECTIONS_PER_CLIENT": "2"}, open_before=2),
    "too many of a network": Knock(TurnedAway.CROWDED, settings={"CONNECTIONS_PER_NETWORK": "2"}, open_before=2),
    "too many of all, who are known": Knock(
        TurnedAway.FULL, EITHER, settings={"CONNECTIONS": "16", "ALLOW": CLIENT}, open_before=16
    ),
    "too many of all, behind proxies": Knock(
        TurnedAway.FULL, BEHIND, peer=PROXY, settings={"CONNECTIONS": "16", **TRUSTED}, open_before=16, client=PROXY
    ),
    "no trusted proxy": Knock(TurnedAway.UNTRUSTED, SECURE_BEHIND, NAMED, settings=TRUSTED, tls=True),
    "a bad PROXY header": Knock(TurnedAway.UNTOLD, BEHIND, get(), PROXY, TRUSTED, client=PROXY),
    "a late PROXY header": Knock(TurnedAway.UNTOLD, BEHIND, NAMED[:9], PROXY, TRUSTED, AT_ONCE, client=PROXY),
    "no first byte": Knock(TurnedAway.UNTOLD, EITHER, deadlines=AT_ONCE),
    "no TLS": Knock(TurnedAway.HANDSHAKE, SECURE, get(), tls=True),
    "a handshake that goes on for ever": Knock(TurnedAway.HANDSHAKE, SECURE, deadlines=AT_ONCE, tls=True),
}


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> SSLContext:
    """Return what a node speaks TLS with."""
    pair = make_pair(tmp_path_factory.mktemp("tls"), "ec", "node")
    return make_context(pair.cert, pair.key)


def ban(node: Node, address: str) -> None:
    """Ban a client for an hour."""
    key = client_key(ipaddress.ip_address(address).packed)
    assert BanTable(node.region.bans, node.region.secret).put(key, monotonic_ns() + HOUR_NS)


def record_of(knock: Knock) -> Record:
    """Return what is to be recorded, but for the time."""
    packed = ipaddress.ip_address(knock.client).packed
    return NOTHING._replace(
        client=client_key(packed),
        address=packed if len(packed) == 16 else bytes(10) + b"\xff\xff" + packed,
        reason=knock.reason,
        source=knock.source,
        action=Action.TARPIT if knock.held else Action.DROP,
        flags=FLAG_TLS if knock.tls else 0,
    )


@pytest.mark.parametrize("knock", KNOCKS.values(), ids=KNOCKS.keys())
async def test_who_is_not_taken_on(start: Start, context: SSLContext, knock: Knock) -> None:
    """A record tells who, when, why and how; what only a request has is 0, and nothing counts as a request."""
    node = await start(knock.settings, context=context, **knock.deadlines)
    if knock.reason is TurnedAway.BANNED:
        ban(node, knock.client)
    for _ in range(knock.open_before):
        await node.connect(peer=knock.peer, entrance=knock.entrance)
    assert node.knocks() == []
    before_ns, how = monotonic_ns(), dict[str, Any](peer=knock.peer, entrance=knock.entrance, tcp=True)
    await node.connect(*filter(None, [knock.first]), **how)
    node.guard.sweep()
    await turns()
    (written,) = node.knocks()
    assert before_ns <= written.time_ns <= monotonic_ns()
    assert written._replace(time_ns=0) == record_of(knock)
    counted = node.snapshot()
    assert [reason for reason in TurnedAway for _ in range(counted.turned_away[reason])] == [knock.reason]
    assert (node.records(), sum(map(sum, counted.requests)), sum(counted.responses)) == ([], 0, 0)


async def test_flood_takes_no_place_from_requests(start: Start) -> None:
    """Of a flood as many are recorded as there is room for, and all counted; each request has its record."""
    node, flood = await start({"BANS__REFUSAL": "close"}), 3 * KNOCK_RECORDS
    ban(node, OTHER)
    for _ in range(flood):
        (await node.connect(get(), peer=OTHER, run=False)).close()
    await node.ask(get(), ok())
    assert [record.status for record in node.records()] == [200]
    assert Ring(node.region.ring(0)).lost == 0
    assert (len(node.knocks()), node.snapshot().turned_away[TurnedAway.BANNED]) == (KNOCK_RECORDS, flood)


async def test_who_is_served_does_not_knock(start: Start, context: SSLContext) -> None:
    """Requests, refused ones, and connections that end without one, leave no such record."""
    node = await start(context=context)
    await node.ask(get(), ok())
    await node.connect(b"nonsense\r\n\r\n")
    (await node.connect(tcp=True)).close()
    await turns()
    assert (len(node.records()), node.knocks()) == (2, [])
