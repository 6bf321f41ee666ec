"""Feeds, reports and bans for others, with the programs of others: a TAXII server, a bouncer, nftables, HAProxy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from proxy.intel.gathering import Collection
from proxy.intel.watch import courier_lines, settings_for_courier
from tests.integration.programs import LOOPBACK, free_port, run, running, until
from tests.proxy.intel.feeds_for_tests import NOW_S, config_of, feed_config, texts

if TYPE_CHECKING:
    from contextlib import ExitStack

    from tests.integration.conftest import Need, StartGuard
    from tests.integration.guard import Guard


DEPLOY = Path(__file__).parents[2] / "deploy"
BLOCKLIST = DEPLOY / "blocklist"
KEY = "key-of-a-bouncer"
BANNED, OTHER = "9.8.7.6", "9.8.7.5"
COLLECTION = "91a7b528-80eb-42ed-a74d-c6fbd5a26116"


def opened(request: str | urllib.request.Request) -> Any:
    """Return what is answered; to be closed."""
    return urllib.request.urlopen(request, timeout=5)  # noqa: S310 - of this machine


def post(guard: Guard, path: str, body: dict[str, Any], **headers: str) -> Any:
    """Tell the admin API something; return its answer."""
    request = urllib.request.Request(
        f"http://{LOOPBACK}:{guard.admin_port}{path}",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", **headers},
    )
    with opened(request) as reply:
        return json.loads(reply.read())


@pytest.fixture
def guard(start_guard: StartGuard, tmp_path: Path) -> Guard:
    """Return a guard with a feed, two reporters and a bouncer."""
    (tmp_path / "bouncers").write_text(f"test {KEY}\n")
    (tmp_path / "reporters").write_text("first first-reporter-1\nsecond second-reporter-2\n")
    (tmp_path / "list").write_text("1.2.3.0/24\n2a00:1::/32\n")
    return start_guard(
        INTEL__BOUNCERS_FILE=str(tmp_path / "bouncers"),
        INTEL__REPORTERS_FILE=str(tmp_path / "reporters"),
        INTEL__FEEDS__MINE__URL=str(tmp_path / "list"),
        INTEL__FEEDS__MINE__WEIGHT="200",
        PLUGINS__RATELIMIT_THREAT_INTEL__MODE="enforce",
    )


# Feeds.


def test_feed(guard: Guard) -> None:
    """The guard has its courier fetch, tells how the feed is, and what follows for an address."""
    until(lambda: guard.metric('intel_prefixes{rule="denied"}') == 2, "the feed is in force", 30)
    assert guard.metric('intel_listings{feed="mine"}') == 2
    known = until(lambda: json.loads(guard.admin("/api/v1/intel/1.2.3.4")[1])["listed"], "it is known", 15)
    assert (known["rule"], known["feeds"]) == ("denied", ["mine"])
    assert guard.readyz().status == 200


async def test_process(tmp_path: Path) -> None:
    """As a process it gets its settings by its standard input, tells what it does, and ends when nobody listens."""
    path = tmp_path / "list.txt"
    path.write_text("1.2.3.4\n")
    config = config_of(tmp_path / "state", {"a": {"url": str(path)}}, ADMIN_TOKEN="x" * 32)
    lines = courier_lines(settings_for_courier(config))
    async with asyncio.timeout(30):
        async for line in lines:
            if json.loads(line).get("combined", {}).get("prefixes"):
                break
        await lines.aclose()
    assert (tmp_path / "state" / "intel" / "a.feed").exists()


async def test_taxii(stack: ExitStack, tmp_path: Path) -> None:
    """A collection of a real server (medallion) is read, with a password, page by page."""
    pytest.importorskip("medallion")
    port = free_port()
    objects = [indicator(number) for number in range(25)]
    data = medallion_data(objects)
    (tmp_path / "data.json").write_text(json.dumps(data))
    config = {
        "backend": {
            "module": "medallion.backends.memory_backend",
            "module_class": "MemoryBackend",
            "filename": str(tmp_path / "data.json"),
        },
        "users": {"admin": "Password0"},
        "taxii": {"max_page_size": 10},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    starter = "from medallion.scripts.run import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", starter, "--host", LOOPBACK, "--port", str(port)]
    stack.enter_context(running([*command, str(tmp_path / "config.json")], tmp_path, port))
    (tmp_path / "key").write_text("Basic " + base64.b64encode(b"admin:Password0").decode())
    url = f"http://{LOOPBACK}:{port}/root/collections/{COLLECTION}/"
    source = Collection(feed_config(url=url, format="taxii", key_file=str(tmp_path / "key")))
    gathered = await source.gather(NOW_S)
    assert gathered is not None
    assert texts(gathered.parsed.listings) == [f"1.2.3.{number}/32" for number in range(25)]
    source.accept()
    assert await source.gather(NOW_S) is None


def indicator(number: int) -> dict[str, Any]:
    """Return an indicator of an address."""
    return {
        "type": "indicator",
        "spec_version": "2.1",
        "id": f"indicator--00000000-0000-4000-8000-{number:012d}",
        "created": "2026-01-01T00:00:00.000Z",
        "modified": "2026-01-01T00:00:00.000Z",
        "valid_from": "2026-01-01T00:00:00Z",
        "pattern": f"[ipv4-addr:value = '1.2.3.{number}']",
        "pattern_type": "stix",
        "indicator_types": ["malicious-activity"],
    }


def medallion_data(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what medallion keeps in memory."""
    media = "application/stix+json;version=2.1"
    times = [f"2026-02-01T00:00:{number:02d}.000000Z" for number in range(len(objects))]
    manifest = [
        {"date_added": at, "id": each["id"], "media_type": media, "version": each["modified"]}
        for at, each in zip(times, objects, strict=True)
    ]
    collection = {
        "id": COLLECTION,
        "title": "t",
        "can_read": True,
        "can_write": False,
        "media_types": [media],
        "manifest": manifest,
        "objects": objects,
    }
    root = {
        "information": {
            "title": "r",
            "versions": ["application/taxii+json;version=2.1"],
            "max_content_length": 9765625,
        },
        "status": [],
        "collections": [collection],
    }
    return {"/discovery": {"title": "d", "default": "/root/", "api_roots": ["/root/"]}, "root": root}


# Bans for others.


def test_crowdsec_bouncer(guard: Guard, need: Need, stack: ExitStack, tmp_path: Path) -> None:
    """A bouncer of CrowdSec reads our stream: bans at its start, later ones, and those that are lifted."""
    program = need("crowdsec-custom-bouncer")
    post(guard, "/api/v1/bans", {"network": BANNED, "seconds": 3600})
    told = tmp_path / "told"
    told.touch()
    script = tmp_path / "script"
    script.write_text(f'#!/bin/sh\necho "$1 $2 $3 $5" >> {told}\n')
    script.chmod(0o755)
    metrics = free_port()
    (tmp_path / "bouncer.yaml").write_text(
        f"bin_path: {script}\npiddir: {tmp_path}\nupdate_frequency: 1s\ncache_retention_duration: 1s\n"
        f"daemonize: false\nlog_mode: stdout\nlog_dir: {tmp_path}\nlog_level: debug\n"
        f"api_url: http://{LOOPBACK}:{guard.admin_port}/\napi_key: {KEY}\n"
        f"prometheus:\n  enabled: true\n  listen_addr: {LOOPBACK}\n  listen_port: {metrics}\n"
    )
    stack.enter_context(running([program, "-c", tmp_path / "bouncer.yaml"], tmp_path, metrics))

    def says(pattern: str) -> None:
        until(lambda: re.search(pattern, told.read_text(), re.MULTILINE), f"the bouncer is told {pattern}", 30)

    says(rf"^add {BANNED} 3[0-9]+ ")
    post(guard, "/api/v1/bans", {"network": "2001:db8:1::/48", "seconds": 600})
    says(r"^add 2001:db8:1::/48 ")
    request = urllib.request.Request(f"http://{LOOPBACK}:{guard.admin_port}/api/v1/bans/{BANNED}", method="DELETE")
    opened(request).close()
    says(rf"^del {BANNED} ")


def blocklist(guard: Guard, tmp_path: Path) -> str:
    """Return where the list of a guard is that has banned an address, a network and one in it."""
    for network in (BANNED, "9.9.9.0/24", "9.9.9.9", "2001:db8:1::/48"):
        post(guard, "/api/v1/bans", {"network": network, "seconds": 3600})
    (tmp_path / "key").write_text(f"{KEY}\n")
    return f"http://{LOOPBACK}:{guard.admin_port}/api/v1/intel/blocklist?format=timed"


IN_NAMESPACE = r"""
set -eu
ip link set lo up
for address in $BANNED $OTHER; do ip address add "$address/32" dev lo; done
"$PYTHON" -m http.server --bind 127.0.0.1 11371 >/dev/null 2>&1 &
server=$!
trap 'kill $server' EXIT
for _ in $(seq 100); do curl --silent --output /dev/null http://127.0.0.1:11371/ && break; sleep 0.05; done
"$PYTHON" "$BLOCKLIST" nftables --ports 11371
nft list table inet hkpguard
get() {
  curl --silent --output /dev/null --max-time 2 --interface "$1" http://127.0.0.1:11371/ \
    && echo "$1 passes" || echo "$1 drops"
}
get $BANNED
get $OTHER
: >"$LIST"
"$PYTHON" "$BLOCKLIST" nftables --ports 11371
get $BANNED
echo garbage >"$LIST"
"$PYTHON" "$BLOCKLIST" nftables --ports 11371 && echo "taken" || echo "refused"
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nftables",), "no list at file:///none (HKPGUARD_BLOCKLIST_URL)"),
        (("nftables", "--ports", "11371;443"), "--ports 11371;443: not numbers with commas"),
        (("haproxy", "/none.sock", "map"), "HAProxy does not answer at /none.sock: "),
    ],
)
def test_blocklist_names_what_is_wrong(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    """A timer runs it: the journal has to tell what was not there."""
    (tmp_path / "list").write_text("")
    url = "file:///none" if words == ("nftables",) else f"file://{tmp_path / 'list'}"
    done = run(sys.executable, BLOCKLIST, *words, environ=os.environ | {"HKPGUARD_BLOCKLIST_URL": url})
    assert done.returncode == 1
    assert done.stderr.startswith(f"blocklist: {said}")


def test_nftables(guard: Guard, need: Need, tmp_path: Path) -> None:
    """In a network of its own nftables drops whom the guard has banned, and lets pass who is no longer."""
    need("nft", "ip", "unshare", "curl")
    url = blocklist(guard, tmp_path)
    copy = tmp_path / "list"
    request = urllib.request.Request(url, headers={"X-Api-Key": KEY})  # noqa: S310
    with opened(request) as reply:
        copy.write_bytes(reply.read())
    environ = os.environ | {
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "PYTHON": sys.executable,
        "BLOCKLIST": str(BLOCKLIST),
        "LIST": str(copy),
        "HKPGUARD_BLOCKLIST_URL": f"file://{copy}",
        "BANNED": BANNED,
        "OTHER": OTHER,
    }
    done = run(
        "unshare", "--map-root-user", "--net", "bash", "-c", IN_NAMESPACE, environ=environ, folder=tmp_path, seconds=60
    )
    if "Operation not permitted" in done.stderr and os.environ.get("CI") != "true":
        pytest.skip("This machine does not let us make a network of our own.")
    says = done.stdout.splitlines()
    assert [line for line in says if line.startswith("9.8.7")] == [
        f"{BANNED} drops",
        f"{OTHER} passes",
        f"{BANNED} passes",
    ], done.stdout + done.stderr
    assert re.search(rf"{BANNED} timeout \S+ expires", done.stdout)
    assert "9.9.9.0/24 timeout" in done.stdout
    assert "9.9.9.9 " not in done.stdout
    assert "2001:db8:1::/48 timeout" in done.stdout
    assert says[-1] == "refused"


def test_haproxy(guard: Guard, need: Need, stack: ExitStack, tmp_path: Path) -> None:
    """The example for HAProxy rejects whom the guard has banned, as soon as its map is replaced."""
    program, curl = need("haproxy"), need("curl")
    port, admin = free_port(), tmp_path / "admin.sock"
    (tmp_path / "hkpguard.map").touch()
    example = (DEPLOY / "haproxy-blocklist.cfg").read_text()
    for before, after in {
        "/run/haproxy/admin.sock": str(admin),
        "/etc/haproxy/": f"{tmp_path}/",
        ":11371": f"{LOOPBACK}:{port}",
        "127.0.0.1:11372 send-proxy-v2": f"{LOOPBACK}:{guard.port}",
    }.items():
        assert before in example
        example = example.replace(before, after)
    (tmp_path / "haproxy.cfg").write_text(example)
    stack.enter_context(running([program, "-db", "-f", tmp_path / "haproxy.cfg"], tmp_path, port))
    url = blocklist(guard, tmp_path)
    environ = os.environ | {"HKPGUARD_BLOCKLIST_URL": url, "HKPGUARD_BLOCKLIST_KEY_FILE": str(tmp_path / "key")}

    def updated() -> None:
        done = run(sys.executable, BLOCKLIST, "haproxy", admin, tmp_path / "hkpguard.map", environ=environ)
        assert (done.returncode, done.stderr) == (0, "")

    def passes(source: str) -> bool:
        command = (
            curl,
            "--silent",
            "--output",
            "/dev/null",
            "--interface",
            source,
            f"http://{LOOPBACK}:{port}/pks/lookup?op=stats",
        )
        return run(*command).returncode == 0

    updated()
    assert passes("127.0.0.9")
    post(guard, "/api/v1/bans", {"network": "127.0.0.9", "seconds": 600})
    until(lambda: updated() or not passes("127.0.0.9"), "HAProxy rejects it", 20)
    assert passes("127.0.0.8")


# Reports.


def test_reports(guard: Guard) -> None:
    """What two reporters say of a client is in what the operator is told of it."""
    for token in ("first-reporter-1", "second-reporter-2"):
        post(guard, "/api/v1/intel/reports", {"network": BANNED}, Authorization=f"Bearer {token}")
    verdict = guard.client(BANNED)["verdict"]
    assert verdict["standing"] == "priced"
    assert verdict["evidence"][0]["kind"] == "reports.agreed"


@pytest.mark.parametrize("name", ["hkpguard-blocklist.service", "hkpguard-blocklist.timer"])
def test_units(need: Need, tmp_path: Path, name: str) -> None:
    """Systemd has nothing to say about the units."""
    for path in DEPLOY.glob("hkpguard-blocklist.*"):
        text = path.read_text().replace("/opt/hkpguard/share/blocklist", "/bin/true")
        (tmp_path / path.name).write_text(text)
    done = run(need("systemd-analyze"), "verify", tmp_path / name)
    assert (done.returncode, done.stderr) == (0, "")
