"""The addresses that a node listens on, each with options of its own: who may come in, and whose word counts there."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from tests.integration.http_client import BrokenError, Question, ask
from tests.integration.keyserver import ok
from tests.integration.programs import LOOPBACK, free_port, until

if TYPE_CHECKING:
    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard

PROXY, STRANGER, VISITOR, VICTIM = "127.0.0.9", "127.0.0.8", "203.0.113.7", "203.0.113.66"
GET = Question("/pks/lookup?op=get&options=mr&search=0x0123456789ABCDEF0123456789ABCDEF01234567")
SECONDS = 5.0


def saying(name: str, address: str) -> Question:
    """Return a request that names a client."""
    return GET._replace(fields=(f"{name}: {address}",))


def source(guard: Guard, client: str) -> str:
    """Return where the guard has a client's address from."""
    until(lambda: guard.client(client)["last"], f"the analyst has read a record of {client}")
    return str(guard.client(client)["last"][0]["address_source"])


def status_behind(header: bytes, port: int, peer: str) -> bytes:
    """Return how the reply to a request behind a PROXY header begins; nothing if the connection is closed."""
    with socket.create_connection((LOOPBACK, port), SECONDS, (peer, 0)) as connection:
        try:
            connection.sendall(header + GET.encode())
            return connection.recv(12)
        except ConnectionError:
            return b""


@pytest.mark.parametrize("header", ["x-forwarded-for", "cf-connecting-ip"])
def test_proxy_in_front_but_for_one_port(start_guard: StartGuard, start_keyserver: StartKeyserver, header: str) -> None:
    """Where only the proxy may connect it names the client; at the other port everybody speaks for himself."""
    server, direct, behind = start_keyserver(ok), free_port(), free_port()
    guard = start_guard(
        server.url,
        LISTEN=f"{LOOPBACK}:{direct},{LOOPBACK}:{behind}?direct=deny",
        TRUSTED_PROXIES=PROXY,
        FORWARDED_HEADER=header,
    )
    assert ask(behind, saying(header, VISITOR), PROXY).status == 200
    assert source(guard, VISITOR) == header.replace("-", "_")
    with pytest.raises((BrokenError, ConnectionError)):
        ask(behind, saying(header, VICTIM), STRANGER)
    assert ask(direct, saying(header, VICTIM), STRANGER).status == 200
    assert source(guard, STRANGER) == "peer"
    assert not guard.client(VICTIM)["known"]
    chains = [each.asked.fields["X-Forwarded-For"] for each in server.log]
    assert chains == [f"{VISITOR}, {PROXY}", STRANGER]


def test_proxy_header_at_one_port(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Where it is required it is read, from the proxy only; where it is not, it is a malformed request."""
    server, plain, behind = start_keyserver(ok), free_port(), free_port()
    guard = start_guard(
        server.url,
        LISTEN=f"{LOOPBACK}:{plain},{LOOPBACK}:{behind}?proxy_protocol=require",
        TRUSTED_PROXIES=PROXY,
    )
    told = f"PROXY TCP4 {VISITOR} 192.0.2.1 50000 11371\r\n".encode()
    assert status_behind(told, behind, PROXY) == b"HTTP/1.1 200"
    assert source(guard, VISITOR) == "proxy_protocol"
    assert status_behind(b"", behind, PROXY) == b""
    assert status_behind(told, behind, STRANGER) == b""
    assert status_behind(told, plain, PROXY) == b"HTTP/1.1 400"
    assert ask(plain, GET, STRANGER).status == 200
    assert [each.asked.fields["X-Forwarded-For"] for each in server.log] == [VISITOR, STRANGER]
