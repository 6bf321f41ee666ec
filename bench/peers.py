"""The programs under test and how each is configured at its best.

Each gets one worker, keep-alive on both sides, its limiter on, its access log off and a forwarding header to
set, because this is what hkpguard does too. Three set-ups: `Setup.OPEN` (a limit that is accounted and never
reached), `Setup.TLS` (the same behind TLS, all with one certificate and with session tickets offered) and
`Setup.REFUSE` (practically every request is refused with 429).
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from string import Template

from bench.certificate import certificate
from bench.processes import Cores, free_port, running
from bench.targets import armored_body

ROOT = Path(__file__).resolve().parent.parent


class Setup(Enum):
    """What a proxy does in a row."""

    OPEN = "open"
    REFUSE = "refuse"
    TLS = "tls"
    CACHE = "cache"  # hkpguard answers from its cache; the others ask, as ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command that serves one port in the foreground."""

    command: list[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A program that listens."""

    name: str
    pid: int
    port: int


@dataclass(frozen=True, slots=True)
class Program:
    """How to start one: `prepare` gets its folder, its port, the upstream's port and the set-up."""

    name: str
    prepare: Callable[[Path, int, int, Setup], Launch]


_NGINX_COMMON = """
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid nginx.pid;
error_log error.log;
events { worker_connections 16384; }
http {
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
"""

_UPSTREAM = Template(
    _NGINX_COMMON
    + """
    server {
        listen 127.0.0.1:$port backlog=4096;
        location /pks/lookup {
            default_type application/pgp-keys;
            add_header Access-Control-Allow-Origin *;
            add_header Cache-Control no-cache;
            return 200 "$body";
        }$more
        location / { return 200 "OK"; }  # for health checks
    }
}
"""
)

_NGINX = Template(
    _NGINX_COMMON
    + """
    limit_req_zone $$binary_remote_addr zone=clients:16m rate=$rate;
    limit_req_status 429;
    upstream keyserver {
        server 127.0.0.1:$upstream;
        keepalive 256;
        keepalive_requests 1000000000;
    }
    server {
        listen 127.0.0.1:$port$tls backlog=4096;
        $certificate
        limit_req zone=clients$burst;
        location / {
            proxy_pass http://keyserver;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $$host;
            proxy_set_header X-Forwarded-For $$proxy_add_x_forwarded_for;
        }
    }
}
"""
)

_HAPROXY = Template("""
global
    maxconn 8192
    nbthread 1
defaults
    mode http
    option http-keep-alive
    option forwardfor
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend guard
    bind 127.0.0.1:$port backlog 4096$tls
    stick-table type ip size 1m expire 10m store http_req_rate(10s)
    http-request track-sc0 src
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt $limit }
    default_backend keyserver
backend keyserver
    server one 127.0.0.1:$upstream pool-max-conn 256
""")

_UNREACHED = {"BURST": "1000000", "COUNT": "1000000", "PERIOD": "1s", "MAX_DELAY": "0s", "CONCURRENT": "0"}
_EXHAUSTED = {"BURST": "1", "COUNT": "1", "PERIOD": "1h", "MAX_DELAY": "0s", "CONCURRENT": "0"}


def keyserver(folder: Path, port: int, more: str = "") -> Launch:
    """Return the upstream; `more` is added to its configuration."""
    return _nginx_launch(folder, port, _UPSTREAM.substitute(port=port, body=armored_body(), more=more))


def _upstream(folder: Path, port: int, _upstream_port: int, _setup: Setup) -> Launch:
    return keyserver(folder, port)


def _nginx(folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    refuse = setup is Setup.REFUSE
    limit = {"rate": "1r/m", "burst": ""} if refuse else {"rate": "1000000r/s", "burst": " burst=1000000 nodelay"}
    tls = {"tls": "", "certificate": ""}
    if setup is Setup.TLS:
        cert, key, _ = certificate(folder.parent)
        files = f"ssl_certificate {cert}; ssl_certificate_key {key};"
        tls = {"tls": " ssl", "certificate": f"{files} ssl_protocols TLSv1.2 TLSv1.3;"}
    return _nginx_launch(folder, port, _NGINX.substitute(port=port, upstream=upstream, **limit, **tls))


def _nginx_launch(folder: Path, port: int, text: str) -> Launch:
    config = folder / f"nginx-{port}.conf"
    config.write_text(text)
    return Launch(command=["nginx", "-p", str(folder), "-c", str(config), "-e", "error.log"])


def _haproxy(folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    config = folder / "haproxy.cfg"
    limit = 1 if setup is Setup.REFUSE else 2_000_000_000
    tls = f" ssl crt {certificate(folder.parent).both} alpn http/1.1" if setup is Setup.TLS else ""
    config.write_text(_HAPROXY.substitute(port=port, upstream=upstream, limit=limit, tls=tls))
    return Launch(command=["haproxy", "-db", "-f", str(config)])


def _aiohttp(_folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    refuse = ["--refuse"] if setup is Setup.REFUSE else []
    command = [sys.executable, "-m", "bench.plain_proxy", str(port), str(upstream), *refuse]
    return Launch(command=command, env={"PYTHONPATH": str(ROOT)})


def limits(bucket: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Return the settings of one of hkpguard's limits."""
    return {f"HKPGUARD_LIMITS__{bucket}__{name}": value for name, value in fields.items()}


def guard_between(port: int, upstream: int, *, admin: int | None = None, workers: int = 1) -> dict[str, str]:
    """Return the environment of hkpguard on this machine, without an access log; `admin`: None for any free port."""
    return {
        "PYTHONPATH": str(ROOT),
        "HKPGUARD_LISTEN": f"127.0.0.1:{port}",
        "HKPGUARD_UPSTREAM": f"http://127.0.0.1:{upstream}",
        "HKPGUARD_ADMIN": f"127.0.0.1:{admin or free_port()}",
        "HKPGUARD_WORKERS": str(workers),
        "HKPGUARD_LOG__ACCESS": "off",
    }


def guard_environment(port: int, upstream: int, setup: Setup) -> dict[str, str]:
    """Return the environment for one worker; the limits of total and cert are those of the row."""
    return {
        **guard_between(port, upstream),
        "HKPGUARD_TIMEOUTS__KEEPALIVE": "1h",
        "HKPGUARD_CACHE__MODE": "on" if setup is Setup.CACHE else "off",  # the peers keep nothing either
        "HKPGUARD_CACHE__BYTES": "128MiB",
        "HKPGUARD_CACHE__CERT": "10m",  # what was kept at the beginning of a row is there at its end
        "HKPGUARD_BUDGETS__DISTINCT_CERTS__BURST": "1000000",
        "HKPGUARD_BUDGETS__DISTINCT_CERTS__COUNT": "1000000",
        **limits("TOTAL", _UNREACHED),
        **limits("CERT", _EXHAUSTED if setup is Setup.REFUSE else _UNREACHED),
    }


def encrypted(folder: Path, port: int) -> dict[str, str]:
    """Return the settings for hkpguard to speak TLS, with the certificate in `folder`."""
    cert, key, _ = certificate(folder)
    return {
        "HKPGUARD_LISTEN": f"https://127.0.0.1:{port}",
        "HKPGUARD_TLS_CERT": str(cert),
        "HKPGUARD_TLS_KEY": str(key),
    }


def _hkpguard(folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    tls = encrypted(folder.parent, port) if setup is Setup.TLS else {}
    return Launch(
        command=[sys.executable, "-m", "proxy", "serve"],
        env={**guard_environment(port, upstream, setup), **tls},
    )


HAPROXY_CROWDED = """
    maxconn 14000
    no strict-limits
    tune.pool-low-fd-ratio 98
    tune.pool-high-fd-ratio 99
"""
"""For HAProxy with 10,000 connections where 20,000 descriptors are allowed.

It is to take them although each may need another one to the server; and to keep its connections to the server, which
it gives up by default when a quarter of the descriptors is in use (each request costs three times the CPU then).
"""
UPSTREAM = Program("upstream", _upstream)
REFERENCE = "haproxy"  # what the others are compared with
PROXIES: Mapping[str, Program] = {
    program.name: program
    for program in (
        Program("hkpguard", _hkpguard),
        Program(REFERENCE, _haproxy),
        Program("nginx", _nginx),
        Program("aiohttp", _aiohttp),
    )
}


@contextmanager
def serving(
    program: Program, folder: Path, *, upstream: int = 0, setup: Setup = Setup.OPEN, core: int | None
) -> Iterator[Running]:
    """Run one program in a folder of its own below `folder`, before the upstream on that port.

    Raises:
        StartError: it does not listen.

    """
    own = folder / f"{program.name}-{setup.value}"
    own.mkdir()
    port = free_port()
    launch = program.prepare(own, port, upstream, setup)
    with running(launch.command, port, own, core=core, env=launch.env) as pid:
        yield Running(program.name, pid, port)


@contextmanager
def upstream(folder: Path, cores: Cores) -> Iterator[Running]:
    """Run the keyserver that all proxies share, beside the load generator."""
    with serving(UPSTREAM, folder, core=cores.load) as server:
        yield server
