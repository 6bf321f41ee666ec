"""Nginx and HAProxy in front of the guard: whose address counts, and who is believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.integration.guard import Guard, guard
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import Keyserver, keyserver, ok
from tests.integration.nginx import FORWARDED, haproxy_before, nginx_before
from tests.integration.programs import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.integration.conftest import Need


BURST = 3
SPOOFED = "203.0.113.66"
MAIL = Question("/pks/lookup?op=get&options=mr&search=alice@example.org")
LYING = MAIL._replace(fields=(f"X-Forwarded-For: {SPOOFED}", f"Forwarded: for={SPOOFED}", f"X-Real-IP: {SPOOFED}"))


class Site(NamedTuple):
    """A proxy, a guard that believes it, and a keyserver."""

    proxy_port: int
    guard: Guard
    keyserver: Keyserver
    source: str  # where the guard has the clients' addresses from


def nginx_with_forwarded(program: str, folder: Path, upstream: int) -> AbstractContextManager[int]:
    """Run nginx that says whom it speaks for in the newer header."""
    return nginx_before(program, folder, upstream, FORWARDED)


# The program, how to put it in front of the guard, which header it sets, and what the guard calls that.
FRONTS = {
    "nginx": ("nginx", nginx_before, "x-forwarded-for"),
    "nginx_forwarded": ("nginx", nginx_with_forwarded, "forwarded"),
    "haproxy": ("haproxy", haproxy_before, "x-forwarded-for"),
}


@pytest.fixture(params=FRONTS)
def site(request: pytest.FixtureRequest, need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Run a keyserver, a guard in front of it and a proxy in front of that; only the proxy's address is trusted."""
    name, before, header = FRONTS[request.param]
    program, folder = need(name), tmp_path_factory.mktemp
    settings = {"TRUSTED_PROXIES": "127.0.0.1", "FORWARDED_HEADER": header, "LIMITS__IDENTITY__BURST": str(BURST)}
    with (
        keyserver(ok) as server,
        guard(folder("guard"), server.url, **settings) as started,
        before(program, folder(name), started.port) as port,
    ):
        yield Site(port, started, server, header.replace("-", "_"))


def source(site: Site, client: str) -> str:
    """Return where the guard has a client's address from."""
    until(lambda: site.guard.client(client)["last"], f"the analyst has read a record of {client}")
    return str(site.guard.client(client)["last"][0]["address_source"])


def test_each_client_has_its_own_limit(site: Site) -> None:
    """Clients behind the proxy are told apart: one that asks too much is refused, another is served."""
    statuses = [ask(site.proxy_port, MAIL, "127.0.0.7").status for _ in range(BURST + 2)]
    assert statuses == [200] * BURST + [429] * 2
    assert ask(site.proxy_port, MAIL, "127.0.0.8").status == 200
    assert source(site, "127.0.0.7") == site.source
    assert not site.guard.client("127.0.0.1")["known"]


def test_client_cannot_choose_its_address(site: Site) -> None:
    """What a client says of itself is left of what the proxy saw, and is not believed."""
    statuses = [ask(site.proxy_port, LYING, "127.0.0.9").status for _ in range(BURST + 1)]
    assert statuses == [200] * BURST + [429]
    assert source(site, "127.0.0.9") == site.source
    assert not site.guard.client(SPOOFED)["known"]


def test_client_that_passes_by_the_proxy_is_not_believed(site: Site) -> None:
    """Forwarding headers of a peer that is not trusted are not read, and do not reach the keyserver."""
    statuses = [ask(site.guard.port, LYING, "127.0.0.10").status for _ in range(BURST + 1)]
    assert statuses == [200] * BURST + [429]
    assert source(site, "127.0.0.10") == "peer"
    assert not site.guard.client(SPOOFED)["known"]
    fields = site.keyserver.log[0].asked.fields
    assert fields["X-Forwarded-For"] == "127.0.0.10"
    assert SPOOFED not in "".join(fields.values())


def test_keyserver_learns_the_chain(site: Site) -> None:
    """The keyserver gets the client and the proxy, and the name that the client asked for."""
    assert ask(site.proxy_port, LYING, "127.0.0.11").status == 200
    fields = site.keyserver.log[0].asked.fields
    assert fields["X-Forwarded-For"] == "127.0.0.11, 127.0.0.1"
    assert fields["X-Forwarded-Proto"] == "http"
    assert fields["X-Forwarded-Host"] == fields["Host"] == "keys.example.org"
    assert SPOOFED not in "".join(fields.values())
