"""hkpguard and HAProxy as they are deployed against abuse: two workers each, and the same bounds.

hkpguard has its defaults, but for the limits of the honest clients, who are two addresses here instead of thousands,
its access log, which HAProxy does not write either, and what a scenario needs. HAProxy has what its manual has to
offer, set to the same values: time-outs, uploads held back until they are whole, a cap of connections for each
client, a rate limit, a list of the banned, a tarpit for the path of a trap.
"""

import json
import sys
from http.client import HTTPConnection
from pathlib import Path
from string import Template

from bench import peers
from bench.certificate import certificate
from bench.peers import Launch, Program, Running, Setup
from bench.scripts import BIG
from bench.sieges import Origin, Scenario
from bench.targets import armored_body
from bench.verify import ATTEMPT_TIMEOUT_S, AnswerError
from bench.visitors import NETWORK

WORKERS = 2
BIG_PART_BYTES, BIG_PARTS = 4000, 125  # nginx takes no longer word in its configuration

# The honest clients' network may ask as much as it likes; it is still counted.
_PLENTY = {"burst": 1_000_000, "count": 1_000_000}
_HONEST = [{"cidr": NETWORK, "limits": {"total": _PLENTY, "cert": _PLENTY}, "budgets": {"distinct_certs": _PLENTY}}]

_HAPROXY = Template("""
global
    $crowded
    nbthread $workers
defaults
    mode http
    option http-keep-alive
    option forwardfor
    option http-buffer-request
    http-reuse always
    timeout connect 3s
    timeout client 30s
    timeout server 60s
    timeout http-request 10s
    timeout http-keep-alive 30s
    timeout tarpit 15m
frontend guard
    bind 127.0.0.1:$port backlog 4096$tls
    stick-table type ip size 1m expire 10m store http_req_rate(10s),conn_cur
    acl honest src $honest
    $reject
    tcp-request connection track-sc0 src
    $cap
    http-request tarpit deny_status 404 if { path_beg /.env }
    http-request deny deny_status 429 if { sc_http_req_rate(0) gt 110 } !honest
    default_backend keyserver
backend keyserver
    server one 127.0.0.1:$upstream pool-max-conn 256
""")

_KEYSERVER = Template("""
        location = /pks/lookup {
            if ($$args = "$args") { rewrite ^ /big last; }
            default_type application/pgp-keys;
            return 200 "$body";
        }
        location = /pks/add {  # reads the whole upload before it answers, as keyservers do
            client_max_body_size 2m;
            proxy_pass http://127.0.0.1:$port/added;
        }
        location = /big {
            internal;
            default_type application/pgp-keys;
            set $$part "$part";
            return 200 "$parts";
        }""")


def guard(scenario: Scenario, origin: Origin, admin: int) -> Program:
    """Return hkpguard for `scenario`; its admin API listens on port `admin`."""

    def prepare(folder: Path, port: int, upstream: int, _setup: Setup) -> Launch:
        env = {
            **peers.guard_between(port, upstream, admin=admin, workers=WORKERS),
            "HKPGUARD_CACHE__MODE": "off",
            "HKPGUARD_NETWORKS": json.dumps(_HONEST),
            **scenario.settings,
        }
        if scenario.tls:
            env |= peers.encrypted(folder.parent, port)
        if scenario.uncapped and origin is Origin.MANY:
            env |= {"HKPGUARD_CONNECTIONS_PER_CLIENT": "0", "HKPGUARD_CONNECTIONS_PER_NETWORK": "0"}
            env |= {"HKPGUARD_BANS__MODE": "shadow"}
        return Launch(command=[sys.executable, "-m", "proxy", "serve"], env=env)

    return Program("hkpguard", prepare)


def haproxy(scenario: Scenario, origin: Origin, _admin: int) -> Program:
    """Return HAProxy for `scenario`."""

    def prepare(folder: Path, port: int, upstream: int, _setup: Setup) -> Launch:
        capped = not (scenario.uncapped and origin is Origin.MANY)
        config = folder / "haproxy.cfg"
        config.write_text(
            _HAPROXY.substitute(
                port=port,
                upstream=upstream,
                workers=WORKERS,
                crowded=peers.HAPROXY_CROWDED,
                honest=NETWORK,
                tls=f" ssl crt {certificate(folder.parent).both} alpn http/1.1" if scenario.tls else "",
                reject=f"tcp-request connection reject if {{ src {scenario.source(0, Origin.ONE)} }}" * scenario.banned,
                cap="tcp-request connection reject if { sc0_conn_cur gt 256 }" * capped,
            )
        )
        return Launch(command=["haproxy", "-db", "-f", str(config)])

    return Program("haproxy", prepare)


def _keyserver(folder: Path, port: int, _upstream: int, _setup: Setup) -> Launch:
    """Return the upstream with one large certificate more, and uploads."""
    big = {"part": "A" * BIG_PART_BYTES, "parts": "$part" * BIG_PARTS}
    more = _KEYSERVER.substitute(port=port, args=BIG.partition("?")[2], body=armored_body(), **big)
    return peers.keyserver(folder, port, more)


def prove(keyserver: Running) -> None:
    """Ask `keyserver` for what the attacks need.

    Raises:
        AnswerError: the large certificate is not large.

    """
    connection = HTTPConnection("127.0.0.1", keyserver.port, timeout=ATTEMPT_TIMEOUT_S)
    connection.request("GET", BIG)
    if (size := len(connection.getresponse().read())) != BIG_PART_BYTES * BIG_PARTS:
        raise AnswerError(f"the large certificate has {size} bytes")
    connection.close()


KEYSERVER = Program("upstream", _keyserver)
DEFENDERS = {"hkpguard": guard, "haproxy": haproxy}
