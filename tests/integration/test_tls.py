"""HKPS: real clients over TLS, a new certificate without a restart, and both ways on one port."""

from __future__ import annotations

import os
import select
import signal
import socket
import ssl
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from proxy.demo import demo_fingerprints
from tests.integration.authority import Authority
from tests.integration.programs import LOOPBACK, free_port, run, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard
    from tests.integration.guard import Guard


ALICE = demo_fingerprints()[0]
GET_ALICE = f"/pks/lookup?op=get&options=mr&search=0x{ALICE}"
PLACES, BESIEGERS = 8, 64
BEGIN = "-----BEGIN PGP PUBLIC KEY BLOCK-----"


@pytest.fixture
def authority(need: Need, tmp_path: Path) -> Authority:
    """Return an authority that has issued a certificate for localhost."""
    made = Authority.make(need("openssl"), tmp_path)
    made.issue(1)
    return made


class Site(NamedTuple):
    """A guard in front of the demo keyserver that speaks TLS."""

    guard: Guard
    authority: Authority
    plain_port: int
    tls_port: int
    both_port: int

    def serial(self) -> int:
        """Return the serial number of the certificate that a new connection gets."""
        context = ssl.create_default_context(cafile=self.authority.cert)
        with (
            socket.create_connection((LOOPBACK, self.tls_port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as encrypted,
        ):
            shown = encrypted.getpeercert()
            assert shown
            return int(str(shown["serialNumber"]), 16)


@pytest.fixture
def site(start_guard: StartGuard, authority: Authority) -> Site:
    """Return a guard with a port for TLS and one for both."""
    plain, tls, both = free_port(), free_port(), free_port()
    guard = start_guard(
        LISTEN=f"{LOOPBACK}:{plain},https://{LOOPBACK}:{tls},http+https://{LOOPBACK}:{both}",
        TLS_CERT=str(authority.folder / "node.pem"),
        TLS_KEY=str(authority.folder / "node.key"),
    )
    return Site(guard, authority, plain, tls, both)


def test_curl(site: Site, need: Need) -> None:
    """Curl gets a certificate over TLS 1.2 and 1.3, on the port for TLS and on the one for both, and plain there."""
    curl = need("curl")
    secure = (f"https://localhost:{site.tls_port}", f"https://localhost:{site.both_port}")
    questions = [(url, version) for url in secure for version in ("1.2", "1.3")]
    for url, version in [*questions, (f"http://localhost:{site.both_port}", "1.3")]:
        options = ("--ipv4", "--silent", "--show-error", "--cacert", str(site.authority.cert), "--tls-max", version)
        done = run(curl, *options, url + GET_ALICE, url + GET_ALICE)  # the second over the same connection
        assert done.returncode == 0, done.stderr
        assert done.stdout.count(BEGIN) == 2


def test_sq(site: Site, need: Need, tmp_path: Path) -> None:
    """Sq finds a certificate with hkps."""
    sq = need("sq")
    environ = {**os.environ, "SSL_CERT_FILE": str(site.authority.cert), "HOME": str(tmp_path)}
    url = f"hkps://localhost:{site.tls_port}"
    done = run(sq, "keyserver", "--server", url, "get", ALICE, environ=environ)
    assert done.returncode == 0, done.stderr
    assert BEGIN in done.stdout


def test_plain_port_never_redirects(site: Site, need: Need) -> None:
    """Peers and sq follow no redirect: the port for plain HTTP answers itself."""
    done = run(need("curl"), "--silent", "--include", f"http://{LOOPBACK}:{site.plain_port}{GET_ALICE}")
    assert done.stdout.startswith("HTTP/1.1 200")


def test_new_certificate_without_a_restart(site: Site) -> None:
    """SIGHUP puts a renewed certificate into use; open connections stay, and a broken pair changes nothing."""
    context = ssl.create_default_context(cafile=site.authority.cert)
    with (
        socket.create_connection((LOOPBACK, site.tls_port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as before,
    ):
        before.sendall(f"GET {GET_ALICE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert before.recv(12) == b"HTTP/1.1 200"
        site.authority.issue(2)
        os.kill(site.guard.program.pid, signal.SIGHUP)
        until(lambda: {site.serial() for _ in range(8)} == {2}, "all workers show the new certificate")
        (site.authority.folder / "node.pem").write_text("rubbish")
        os.kill(site.guard.program.pid, signal.SIGHUP)
        until(lambda: site.guard.metric("reload_failures_total") == 1, "the broken pair is refused")
        assert {site.serial() for _ in range(8)} == {2}
        before.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while not (piece := before.recv(65536)).endswith(b"\n") or b"404" not in piece:
            assert piece


def test_honest_clients_in_a_siege(start_guard: StartGuard, authority: Authority) -> None:
    """Many who say their hello and no more keep nobody out; those who were silent before wait when they come again."""
    port = free_port()
    start_guard(
        LISTEN=f"https://{LOOPBACK}:{port}",
        TLS_CERT=str(authority.folder / "node.pem"),
        TLS_KEY=str(authority.folder / "node.key"),
        WORKERS="1",
        HANDSHAKES=str(PLACES),
        TIMEOUTS__HANDSHAKE="1m",
    )
    with ExitStack() as stack:
        context = ssl.create_default_context(cafile=authority.cert)
        besiegers = [stack.enter_context(_silent(context, port, number)) for number in range(BESIEGERS)]
        until(lambda: sum(map(_is_closed, besiegers)) == BESIEGERS - PLACES, "the oldest handshakes end")
        debtors = [number for number, each in enumerate(besiegers) if _is_closed(each)]
        again = [stack.enter_context(_silent(context, port, number)) for number in debtors]
        for _ in range(BESIEGERS):
            with (
                socket.create_connection((LOOPBACK, port), timeout=5) as plain,
                context.wrap_socket(plain, server_hostname="localhost") as client,
            ):
                client.sendall(f"GET {GET_ALICE} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
                assert client.recv(12) == b"HTTP/1.1 200"
        assert not any(_has_bytes(each) for each in again)


def _silent(context: ssl.SSLContext, port: int, number: int) -> socket.socket:
    """Return a connection from a network of its own on which a hello was said."""
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost").do_handshake()
    made = socket.create_connection((LOOPBACK, port), timeout=5, source_address=(f"127.9.{number}.1", 0))
    made.sendall(outgoing.read())
    return made


def _is_closed(sock: socket.socket) -> bool:
    """Whether the guard has ended it; what it said before is left unread."""
    watched = select.poll()
    watched.register(sock, select.POLLRDHUP)
    return bool(watched.poll(0))


def _has_bytes(sock: socket.socket) -> bool:
    """Whether the guard has said anything."""
    watched = select.poll()
    watched.register(sock, select.POLLIN)
    return bool(watched.poll(0))
