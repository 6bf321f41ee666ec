"""PROXY headers beside other programs: we read what HAProxy writes; HAProxy and nginx read what we write."""

from __future__ import annotations

import socket
import ssl
from contextlib import closing, contextmanager, suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

import pytest

from proxy.http.proxy_header import LOCAL_HEADER, ProxyHeader, proxy_v2_header, read_proxy_header
from tests.integration.nginx import NGINX
from tests.integration.programs import LOOPBACK, free_port, run, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import ExitStack
    from pathlib import Path

    from tests.integration.conftest import Need


CLIENT = "127.0.0.7"
SAID = b"what the client says"
SECONDS = 5.0
NAME = "keys.example.org"
EVERYTHING = "ssl,cert-cn,ssl-cipher,cert-sig,cert-key,authority,crc32c,unique-id"
HAPROXY = """\
global
    maxconn 100
defaults
    mode tcp
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend clients
    bind {bind}
    unique-id-format %ci-%cp-%rt
    default_backend test
backend test
    server test 127.0.0.1:{upstream} {options}
"""
NGINX_READER = """listen 127.0.0.1:{port} proxy_protocol;
        location / {{ return 200 "$proxy_protocol_addr $proxy_protocol_port"; }}"""


class Received(NamedTuple):
    """What came over one connection, from its first byte to its end."""

    data: bytes

    @property
    def header(self) -> ProxyHeader:
        """The header at its start."""
        header = read_proxy_header(self.data)
        assert header is not None
        return header

    @property
    def rest(self) -> bytes:
        """What stands behind the header."""
        return self.data[self.header.size :]

    @property
    def client(self) -> tuple[str, int]:
        """Whom the header names."""
        assert self.header.address is not None
        return str(ip_address(self.header.address)), self.header.port


class Site(NamedTuple):
    """HAProxy in front of a plain socket, which is the test's."""

    listener: socket.socket
    port: int

    def receive(self, wanted: bytes) -> Received:
        """Return the first connection that brings `wanted`; those that only try the port bring nothing."""
        return next(received for received in self.connections() if received.data.endswith(wanted))

    def connections(self) -> Iterator[Received]:
        """Yield one connection after the other; TimeoutError if there is none."""
        while True:
            connection, _ = self.listener.accept()
            data = b""
            with connection, suppress(ConnectionResetError):  # a health check ends so
                connection.settimeout(SECONDS)
                while piece := connection.recv(4096):
                    data += piece
            yield Received(data)


@contextmanager
def site(program: str, folder: Path, options: str, bind: str = "127.0.0.1:{port}") -> Iterator[Site]:
    """Run HAProxy that sends its header to the test."""
    port = free_port()
    with closing(socket.create_server((LOOPBACK, 0))) as listener:
        listener.settimeout(SECONDS)
        upstream = listener.getsockname()[1]
        config = HAPROXY.format(bind=bind.format(port=port), upstream=upstream, options=options)
        (folder / "haproxy.cfg").write_text(config)
        with running([program, "-db", "-f", folder / "haproxy.cfg"], folder, port):
            yield Site(listener, port)


def say(port: int, data: bytes = SAID, server: str = LOOPBACK, client: str = CLIENT) -> tuple[str, int]:
    """Say something to a server of loopback; return the address and port that it was said from."""
    with socket.create_connection((server, port), SECONDS, (client, 0)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        own: tuple[str, int] = connection.getsockname()[:2]
    return own


def with_ipv6() -> None:
    """Skip the test on a machine without IPv6 on loopback."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("This test needs the address ::1, which this machine does not have.")


SENDERS = {
    "v1": ("send-proxy", 1),
    "v2": ("send-proxy-v2", 2),
    "v2_checksum": ("send-proxy-v2 proxy-v2-options crc32c", 2),
    "v2_checksum_and_id": ("send-proxy-v2 proxy-v2-options crc32c,unique-id", 2),
    "v2_ssl": ("send-proxy-v2-ssl", 2),
    "v2_ssl_cn": ("send-proxy-v2-ssl-cn proxy-v2-options crc32c,unique-id", 2),
    "v2_everything": (f"send-proxy-v2 proxy-v2-options {EVERYTHING}", 2),
}


@pytest.mark.parametrize(("options", "version"), SENDERS.values(), ids=SENDERS)
def test_haproxy_names_its_client(need: Need, tmp_path: Path, options: str, version: int) -> None:
    """The header is read to its last byte, and names the client's address and port."""
    with site(need("haproxy"), tmp_path, options) as front:
        own = say(front.port)
        received = front.receive(SAID)
    assert received.client == own
    assert (received.header.version, received.rest) == (version, SAID)


@pytest.mark.parametrize(("options", "version"), SENDERS.values(), ids=SENDERS)
@pytest.mark.parametrize(
    ("bind", "server", "client"),
    [
        ("[::1]:{port}", "::1", "::1"),
        ("ipv6@::ffff:127.0.0.1:{port} v4v6", LOOPBACK, CLIENT),  # HAProxy writes ::ffff:127.0.0.7
    ],
    ids=["ipv6", "mapped"],
)
def test_haproxy_on_ipv6(
    need: Need, tmp_path: Path, options: str, version: int, bind: str, server: str, client: str
) -> None:
    """IPv6 is read in both versions; an IPv4 client is one even where HAProxy says it in IPv6."""
    with_ipv6()
    other_port = free_port()
    bind = f"127.0.0.1:{{port}}\n    bind {bind.format(port=other_port)}"
    with site(need("haproxy"), tmp_path, options, bind) as front:
        own = say(other_port, server=server, client=client)
        received = front.receive(SAID)
    assert received.client == own
    assert (received.header.version, received.rest) == (version, SAID)


def test_haproxy_with_tls(need: Need, tmp_path: Path) -> None:
    """What HAProxy tells of its client's TLS is walked over, certificate, cipher, name and all."""
    options = f"send-proxy-v2 proxy-v2-options {EVERYTHING}"
    bind = f"127.0.0.1:{{port}} ssl crt {certificate(need('openssl'), tmp_path)}"
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with site(need("haproxy"), tmp_path, options, bind) as front:
        plain = socket.create_connection((LOOPBACK, front.port), SECONDS, (CLIENT, 0))
        with context.wrap_socket(plain, server_hostname=NAME) as connection:
            own = connection.getsockname()
            connection.sendall(SAID)
            connection.shutdown(socket.SHUT_WR)
            received = front.receive(SAID)
    assert received.client == own
    assert received.rest == SAID
    assert NAME.encode() in received.data
    assert b"TLSv1.3" in received.data


def certificate(openssl: str, folder: Path) -> Path:
    """Return a file with a certificate and its key."""
    key, cert, both = (folder / name for name in ("key.pem", "cert.pem", "both.pem"))
    options = ("-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}", "-keyout", key, "-out", cert)
    made = run(openssl, "req", "-x509", *options)
    assert made.returncode == 0, made.stderr
    both.write_bytes(cert.read_bytes() + key.read_bytes())
    return both


def test_health_check_of_haproxy(need: Need, tmp_path: Path) -> None:
    """A check comes as LOCAL, with TLVs behind it: the real peer counts."""
    options = "send-proxy-v2 proxy-v2-options crc32c,unique-id,ssl check check-send-proxy inter 100"
    with site(need("haproxy"), tmp_path, options) as front:
        received = next(each for each in front.connections() if each.data[12:13] == LOCAL_HEADER[12:13])
    assert received.header.local
    assert received.header.size > len(LOCAL_HEADER)
    assert received.rest == b""


ADDRESSES = [("192.0.2.1", "198.51.100.9"), ("2001:db8::1", "2001:db8::9"), ("192.0.2.1", "2001:db8::9")]


@pytest.mark.parametrize(("source", "destination"), ADDRESSES)
def test_haproxy_reads_what_we_write(need: Need, tmp_path: Path, source: str, destination: str) -> None:
    """Our header is accepted, and the client that it names is handed on."""
    header = proxy_v2_header(ip_address(source).packed, 4711, ip_address(destination).packed, 11371)
    with site(need("haproxy"), tmp_path, "send-proxy", "127.0.0.1:{port} accept-proxy") as front:
        say(front.port, header + SAID)
        received = front.receive(SAID)
    assert received.client == (source, 4711)
    assert received.rest == SAID


def test_haproxy_reads_our_local_header(need: Need, tmp_path: Path) -> None:
    """Where we speak for ourselves, we are the client."""
    with site(need("haproxy"), tmp_path, "send-proxy", "127.0.0.1:{port} accept-proxy") as front:
        own = say(front.port, LOCAL_HEADER + SAID)
        received = front.receive(SAID)
    assert received.client == own
    assert received.rest == SAID


@pytest.fixture
def nginx_port(need: Need, tmp_path: Path, stack: ExitStack) -> int:
    """Run nginx that says whom a PROXY header names; return the port where it wants one."""
    plain, port = free_port(), free_port()
    server = NGINX_READER.format(port=port)
    (tmp_path / "nginx.conf").write_text(NGINX.format(folder=tmp_path, port=plain, server=server))
    command: list[str | Path] = [need("nginx"), "-p", tmp_path, "-c", tmp_path / "nginx.conf", "-e", "stderr"]
    stack.enter_context(running(command, tmp_path, plain))
    return port


@pytest.mark.parametrize(("source", "destination"), ADDRESSES)
def test_nginx_reads_what_we_write(nginx_port: int, source: str, destination: str) -> None:
    """A second program understands us; it writes mapped addresses as they are."""
    header = proxy_v2_header(ip_address(source).packed, 4711, ip_address(destination).packed, 11371)
    reply = answer(nginx_port, header)
    named, port = reply.rpartition(b"\r\n")[2].decode().split()
    assert named.removeprefix("::ffff:") == source
    assert port == "4711"


def test_nginx_reads_our_local_header(nginx_port: int) -> None:
    """A health check gets its reply."""
    assert answer(nginx_port, LOCAL_HEADER).startswith(b"HTTP/1.1 200 ")


def answer(port: int, header: bytes) -> bytes:
    """Ask with a header in front; return all that comes back."""
    with socket.create_connection((LOOPBACK, port), SECONDS) as connection:
        connection.sendall(header + b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        reply = b""
        while piece := connection.recv(4096):
            reply += piece
    return reply
