"""What the keyserver is told of the client, and from whom we believe it."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from fastpath import client_key, key_text
from proxy.http.address import Source
from tests.proxy.http.harness import KEY_TARGET, get, ok

if TYPE_CHECKING:
    from tests.proxy.http.conftest import Start

SPOOFED = (
    "X-Forwarded-For: 192.0.2.66",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: evil.example",
    "Forwarded: for=192.0.2.66;proto=https",
    "X-Real-IP: 192.0.2.66",
    "X_Forwarded_For: 192.0.2.66",
    "X-Request-ID: mine",
)


@pytest.mark.parametrize(
    ("peer", "told"), [("192.0.2.1", "192.0.2.1"), ("2001:db8::1", "2001:db8::1"), ("::ffff:192.0.2.1", "192.0.2.1")]
)
async def test_what_an_untrusted_peer_says_is_dropped(start: Start, peer: str, told: str) -> None:
    """The socket's peer is the client, whatever its headers say."""
    node = await start()
    got, _ = await node.ask(get(KEY_TARGET, *SPOOFED), ok(), peer=peer)
    assert got.fields["X-Forwarded-For"] == told
    assert got.fields["X-Forwarded-Proto"] == "http"
    assert got.fields["X-Forwarded-Host"] == "keys.example"
    assert got.fields["X-Request-ID"] != "mine"
    assert b"192.0.2.66" not in got.head
    assert b"evil" not in got.head
    (record,) = node.records()
    assert record.source == Source.PEER
    assert record.client == client_key(ip_address(told).packed)


TRUSTING = {"TRUSTED_PROXIES": "10.0.0.0/8,2001:db8:ffff::/48"}


@pytest.mark.parametrize(
    ("lines", "client", "source", "told"),
    [
        (("X-Forwarded-For: 192.0.2.1",), "192.0.2.1", Source.X_FORWARDED_FOR, "192.0.2.1, 10.0.0.1"),
        (("X-Forwarded-For: 192.0.2.66, 192.0.2.1",), "192.0.2.1", Source.X_FORWARDED_FOR, "192.0.2.1, 10.0.0.1"),
        (("X-Forwarded-For: ::ffff:192.0.2.1",), "192.0.2.1", Source.X_FORWARDED_FOR, "192.0.2.1, 10.0.0.1"),
        (("X-Forwarded-For: 2001:db8::1",), "2001:db8::/64", Source.X_FORWARDED_FOR, "2001:db8::1, 10.0.0.1"),
        (("X-Forwarded-For: rubbish",), "10.0.0.1", Source.TRUSTED_PEER, "10.0.0.1"),
        (("Forwarded: for=192.0.2.66",), "10.0.0.1", Source.TRUSTED_PEER, "10.0.0.1"),
        ((), "10.0.0.1", Source.TRUSTED_PEER, "10.0.0.1"),
    ],
)
async def test_trusted_peer(start: Start, lines: tuple[str, ...], client: str, source: Source, told: str) -> None:
    """The right-most untrusted hop is the client; the keyserver gets it and the proxy that named it."""
    node = await start(TRUSTING)
    got, _ = await node.ask(get(KEY_TARGET, *lines), ok(), peer="10.0.0.1")
    assert got.fields["X-Forwarded-For"] == told
    (record,) = node.records()
    assert (key_text(record.client), record.source) == (client, source)


async def test_forwarded_is_read_where_it_was_chosen(start: Start) -> None:
    """One header is believed, the other dropped."""
    node = await start({**TRUSTING, "FORWARDED_HEADER": "forwarded"})
    lines = ('Forwarded: for="[2001:db8::1]:4711";proto=https', "X-Forwarded-For: 192.0.2.66")
    got, _ = await node.ask(get(KEY_TARGET, *lines), ok(), peer="10.0.0.1")
    assert got.fields["X-Forwarded-For"] == "2001:db8::1, 10.0.0.1"
    assert "Forwarded" not in got.fields


@pytest.mark.parametrize(("line", "told"), [("https", "https"), ("http", "http"), ("gopher", "http"), ("", "http")])
async def test_protocol_that_a_trusted_peer_names(start: Start, line: str, told: str) -> None:
    """A proxy that ends TLS says so; nothing but https counts as https."""
    node = await start(TRUSTING)
    got, _ = await node.ask(get(KEY_TARGET, f"X-Forwarded-Proto: {line}"), ok(), peer="10.0.0.1")
    assert got.fields["X-Forwarded-Proto"] == told


async def test_each_request_of_a_trusted_connection_has_its_own_client(start: Start) -> None:
    """A proxy sends many clients over one connection: none inherits the address of the one before."""
    node = await start(TRUSTING)
    client, link = await node.begin(get(KEY_TARGET, "X-Forwarded-For: 192.0.2.1"), peer="10.0.0.1")
    await link.send(ok())
    await client.reply()
    await client.send(get(KEY_TARGET, "X-Forwarded-For: 192.0.2.2") + get())
    assert (await link.request()).fields["X-Forwarded-For"] == "192.0.2.2, 10.0.0.1"
    await link.send(ok())
    assert (await link.request()).fields["X-Forwarded-For"] == "10.0.0.1"
    await link.send(ok())
    assert [key_text(each.client) for each in node.records()] == ["192.0.2.1", "192.0.2.2", "10.0.0.1"]


async def test_mapped_peer_is_its_ipv4_address(start: Start) -> None:
    """An IPv4 client that comes over an IPv6 socket meets the rules for IPv4, allow-list and trust."""
    node = await start({"TRUSTED_PROXIES": "10.0.0.0/8", "ALLOW": "192.0.2.7/32", "LIMITS__CERT__BURST": "1"})
    got, _ = await node.ask(get(KEY_TARGET, "X-Forwarded-For: 192.0.2.1"), ok(), peer="::ffff:10.0.0.1")
    assert got.fields["X-Forwarded-For"] == "192.0.2.1, 10.0.0.1"
    node = await start({"ALLOW": "192.0.2.7/32", "LIMITS__CERT__BURST": "1", "LIMITS__CERT__MAX_DELAY": "0"})
    client, link = await node.begin(get(), peer="::ffff:192.0.2.7")
    for _ in range(3):
        await link.send(ok())
        assert (await client.reply()).status == 200
        await client.send(get())
        await link.head()
