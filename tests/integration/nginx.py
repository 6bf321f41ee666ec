"""Nginx and HAProxy: their configurations, and starting them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.integration.http_client import Question
from tests.integration.programs import LOOPBACK, Program, free_port, listens, running, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL_NAME = "0x" + 40 * "1"  # a file's name must look like a fingerprint
SMALL = Question(f"/pks/lookup?op=get&search={SMALL_NAME}")

# One process, in the foreground, that writes nowhere but into its folder.
NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        {server}
    }}
}}
"""
FILES = """root {folder}/files;
        keepalive_requests 1000000;
        location = / {{ return 200; }}
        location = /pks/lookup {{ default_type application/pgp-keys; try_files /$arg_search =404; }}"""
FORWARD = """location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header {forwarding};
        }}"""
X_FORWARDED_FOR = "X-Forwarded-For $proxy_add_x_forwarded_for"
FORWARDED = 'Forwarded "$http_forwarded, for=$remote_addr"'  # what the client says of itself stays in front
HAPROXY = """\
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option forwardfor
frontend keys
    bind 127.0.0.1:{port}
    default_backend guard
backend guard
    server guard 127.0.0.1:{upstream}
"""


class Nginx:
    """Nginx that serves files as certificates: `search=NAME` gives the file `NAME`; it can be killed and come back."""

    def __init__(self, program: str, folder: Path) -> None:
        """Prepare it in `folder`."""
        self._command: list[str | Path] = [program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"]
        self._folder = folder
        self.port = free_port()
        (folder / "files").mkdir()
        server = FILES.format(folder=folder)
        config = NGINX.format(folder=folder, port=self.port, server=server)
        (folder / "nginx.conf").write_text(config)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    def serve(self, name: str, body: bytes) -> None:
        """Have a file."""
        (self._folder / "files" / name).write_bytes(body)

    def start(self) -> None:
        """Run, and return when it listens."""
        self.program = Program(self._command, self._folder)
        self.program.await_port(self.port)

    def kill(self) -> None:
        """End without a word to anybody."""
        self.program.process.kill()
        self.program.wait()
        until(lambda: not listens(self.port), "nothing listens where nginx was")


@contextmanager
def nginx(program: str, folder: Path) -> Iterator[Nginx]:
    """Run nginx as a keyserver with the certificate that `SMALL` asks for."""
    server = Nginx(program, folder)
    server.serve(SMALL_NAME, b"certificate\n" * 100)
    server.start()
    try:
        yield server
    finally:
        server.program.end()


@contextmanager
def nginx_before(program: str, folder: Path, upstream: int, forwarding: str = X_FORWARDED_FOR) -> Iterator[int]:
    """Run nginx as a proxy in front of a port; gives its own port."""
    port = free_port()
    server = FORWARD.format(upstream=upstream, forwarding=forwarding)
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, server=server))
    with running([program, "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"], folder, port):
        yield port


@contextmanager
def haproxy_before(program: str, folder: Path, upstream: int) -> Iterator[int]:
    """Run HAProxy in front of a port; gives its own port."""
    port = free_port()
    (folder / "haproxy.cfg").write_text(HAPROXY.format(port=port, upstream=upstream))
    with running([program, "-db", "-f", folder / "haproxy.cfg"], folder, port):
        yield port
