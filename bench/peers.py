"""The programs under test and how each is configured at its best.

Each gets one worker, keep-alive on both sides, its limiter on, its access log off and a forwarding header to
set, because this is what hkpguard does too. Two set-ups: `Setup.OPEN` (a limit that is accounted and never
reached) and `Setup.REFUSE` (practically every request is refused with 429).
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from string import Template

from bench.processes import Cores, free_port, running
from bench.targets import armored_body

ROOT = Path(__file__).resolve().parent.parent


class Setup(Enum):
    """What the limit of a proxy does in a row."""

    OPEN = "open"
    REFUSE = "refuse"


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
        }
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
        listen 127.0.0.1:$port backlog=4096;
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
    bind 127.0.0.1:$port backlog 4096
    stick-table type ip size 1m expire 10m store http_req_rate(10s)
    http-request track-sc0 src
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt $limit }
    default_backend keyserver
backend keyserver
    server one 127.0.0.1:$upstream pool-max-conn 256
""")

_LIMIT_FIELDS: Mapping[Setup, Mapping[str, str]] = {
    Setup.OPEN: {
        "BURST": "1000000",
        "COUNT": "1000000",
        "PERIOD": "1s",
        "MAX_DELAY": "0s",
        "CONCURRENT": "0",
    },
    Setup.REFUSE: {"BURST": "1", "COUNT": "1", "PERIOD": "1h", "MAX_DELAY": "0s", "CONCURRENT": "0"},
}


def _upstream(folder: Path, port: int, _upstream_port: int, _setup: Setup) -> Launch:
    return _nginx_launch(folder, port, _UPSTREAM.substitute(port=port, body=armored_body()))


def _nginx(folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    limit = {
        Setup.OPEN: {"rate": "1000000r/s", "burst": " burst=1000000 nodelay"},
        Setup.REFUSE: {"rate": "1r/m", "burst": ""},
    }[setup]
    return _nginx_launch(folder, port, _NGINX.substitute(port=port, upstream=upstream, **limit))


def _nginx_launch(folder: Path, port: int, text: str) -> Launch:
    config = folder / f"nginx-{port}.conf"
    config.write_text(text)
    return Launch(command=["nginx", "-p", str(folder), "-c", str(config), "-e", "error.log"])


def _haproxy(folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    config = folder / "haproxy.cfg"
    limit = 1 if setup is Setup.REFUSE else 2_000_000_000
    config.write_text(_HAPROXY.substitute(port=port, upstream=upstream, limit=limit))
    return Launch(command=["haproxy", "-db", "-f", str(config)])


def _aiohttp(_folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    refuse = ["--refuse"] if setup is Setup.REFUSE else []
    command = [sys.executable, "-m", "bench.plain_proxy", str(port), str(upstream), *refuse]
    return Launch(command=command, env={"PYTHONPATH": str(ROOT)})


def guard_environment(port: int, upstream: int, setup: Setup) -> dict[str, str]:
    """Return the HKPGUARD_* settings for one worker; the limits of total and cert are those of the row."""
    limits = {
        f"HKPGUARD_LIMITS__{bucket}__{name}": value
        for bucket in ("TOTAL", "CERT")
        for name, value in _LIMIT_FIELDS[setup if bucket == "CERT" else Setup.OPEN].items()
    }
    return {
        "PYTHONPATH": str(ROOT),
        "HKPGUARD_LISTEN": f"127.0.0.1:{port}",
        "HKPGUARD_UPSTREAM": f"http://127.0.0.1:{upstream}",
        "HKPGUARD_ADMIN": f"127.0.0.1:{free_port()}",
        "HKPGUARD_WORKERS": "1",
        "HKPGUARD_TIMEOUTS__KEEPALIVE": "1h",
        "HKPGUARD_LOG__ACCESS": "off",
        **limits,
    }


def _hkpguard(_folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    return Launch(
        command=[sys.executable, "-m", "proxy", "serve"],
        env=guard_environment(port, upstream, setup),
    )


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
