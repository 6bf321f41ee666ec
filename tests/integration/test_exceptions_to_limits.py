"""Who is let through and why: shadow mode, allowed networks, networks with limits of their own, IPv6."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.integration.http_client import Question, ask
from tests.integration.keyserver import ok
from tests.integration.programs import free_port, run, until

if TYPE_CHECKING:
    from tests.integration.conftest import Need, StartGuard, StartKeyserver


MAIL = Question("/pks/lookup?op=get&options=mr&search=alice@example.org")
SMALL_LIMIT = {"LIMITS__IDENTITY__BURST": "2", "LIMITS__IDENTITY__PERIOD": "1h"}
CLIENT = "127.0.0.2"


def statuses(port: int, count: int, client: str = CLIENT) -> Counter[int]:
    """Ask so many times; return how it was answered."""
    return Counter(ask(port, MAIL, client).status for _ in range(count))


@pytest.mark.parametrize("setting", ["MODE", "LIMITS__IDENTITY__MODE"])
def test_shadow_mode(start_guard: StartGuard, start_keyserver: StartKeyserver, setting: str) -> None:
    """In shadow mode nobody is refused, and the figures tell how many would have been."""
    guarded = start_guard(start_keyserver(ok).url, **SMALL_LIMIT, **{setting: "shadow"})
    assert statuses(guarded.port, 5) == {200: 5}
    shadow, allowed = (f'requests_total{{action="{each}",operation="identity"}}' for each in ("limit_shadow", "allow"))
    until(lambda: (guarded.metric(shadow), guarded.metric(allowed)) == (3, 2), "all are counted")
    assert "ratelimit" not in ask(guarded.port, MAIL, CLIENT).fields


def test_allowed_network(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """No limit touches a client in an allowed network; its neighbour is limited."""
    guarded = start_guard(start_keyserver(ok).url, **SMALL_LIMIT, ALLOW="127.0.0.0/28")
    assert statuses(guarded.port, 5) == {200: 5}
    assert statuses(guarded.port, 5, "127.0.0.16") == {200: 2, 429: 3}
    assert guarded.client(CLIENT)["allowed_network"]


def test_network_with_its_own_limits(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """The most specific network decides how much a client may ask."""
    networks = [
        {"cidr": "127.0.0.0/28", "limits": {"identity": {"burst": 4}}},
        {"cidr": "127.0.0.3", "limits": {"identity": {"burst": 1}}},
    ]
    guarded = start_guard(start_keyserver(ok).url, **SMALL_LIMIT, NETWORKS=json.dumps(networks))
    assert statuses(guarded.port, 5) == {200: 4, 429: 1}
    assert statuses(guarded.port, 5, "127.0.0.3") == {200: 1, 429: 4}
    assert statuses(guarded.port, 5, "127.0.0.16") == {200: 2, 429: 3}


def test_peers(start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """Only peers may synchronise."""
    server = start_keyserver(ok)
    guarded = start_guard(server.url, PEERS="127.0.0.3")
    hashquery = Question("/pks/hashquery", method="POST", body=b"\0\0\0\1\0\0\0\x10" + bytes(16))
    assert ask(guarded.port, hashquery, CLIENT).status == 403
    assert ask(guarded.port, hashquery, "127.0.0.3").status == 200
    assert len(server.log) == 1


def test_ipv6(need: Need, start_guard: StartGuard, start_keyserver: StartKeyserver) -> None:
    """The guard listens on IPv6 too, and counts a client there by its /64."""
    curl, port = need("curl"), free_port()
    listen = f"127.0.0.1:{port},[::1]:{port}"
    guarded = start_guard(start_keyserver(ok).url, **SMALL_LIMIT, LISTEN=listen)
    for expected in ("200", "200", "429"):
        url = f"http://[::1]:{port}{MAIL.target}"
        done = run(curl, "--silent", "--globoff", "--output", "/dev/null", "--write-out", "%{http_code}", url)
        assert done.stdout == expected
    assert ask(port, MAIL, CLIENT).status == 200
    until(lambda: guarded.client("::1")["last"], "the analyst has read the records")
    assert guarded.client("::7")["client"] == "::/64"
    assert guarded.remaining("::7", "identity") == 0
