"""`python -m bench refresh`: gpg refreshes its keyring while two scrapers are at work, in front of each proxy.

All at the same time: gpg without a proxy, and before each proxy a gpg and two scrapers with addresses of their own.
None of this is about speed: there are a hundred requests a second in all, and the proxies have a core to themselves.

hkpguard has its defaults, or what docs/limits.md recommends for the network of a university. HAProxy has what its
operators use for keyservers (HKP.md, section 2): 40 connections and 100 requests in 10 s for each address; who has more
is held for 15 s and then told 500.

With `--upstream onak` the keyserver and most certificates are real. With `--keys 1300 --seconds 0 --only hkpguard` the
network's budget of new certificates is used up on the way, which makes it half an hour.

Each has a keyserver of its own, whose count of what it gave out is the witness: gpg says nothing of
keys that it could not get.
"""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template
from typing import NamedTuple

from rich.table import Table

from bench.certserver import SOURCES, WITNESS, Witness
from bench.fault import MeasurementError
from bench.gpg import Refreshed, gnupg, make_certificates, take_certificates
from bench.peers import ROOT, Launch, Program, Setup, guard_between, serving
from bench.processes import scratch
from bench.scraper import SPARE_S, Loot

KEYS = 300
SECONDS = 120.0
ANSWER_MS = 100
FILES, ONAK = SOURCES
REFRESH_TIMEOUT_S, KEY_TIMEOUT_S = 900.0, 10.0  # in all, and for each key: no delay is longer
WITNESS_TIMEOUT_S = 10.0
RATES: Mapping[float, str] = {3.9: "127.0.39.1", 20.0: "127.0.200.1"}  # requests per second, and who makes them
DIRECT = "no proxy"
# Recipe in docs/limits.md; the gpg comes from 127.0.0.1.
UNIVERSITY = [
    {
        "cidr": "127.0.0.0/24",
        "limits": {
            "total": {"burst": 12000, "count": 200},
            "cert": {"burst": 600, "count": 50},
            "identity": {"burst": 500, "count": 60},
        },
        "budgets": {
            "distinct_certs": {"burst": 20000, "count": 2, "period": "1s"},
            "distinct_identities": {"burst": 2000, "count": 600},
            "network_uploads": {"burst": 600, "count": 600},
        },
    }
]

_HAPROXY = Template("""
defaults
    mode http
    option forwardfor
    timeout connect 3s
    timeout client 60s
    timeout server 60s
    timeout tarpit 15s
frontend guard
    bind 127.0.0.1:$port
    stick-table type ip size 1m expire 5m store conn_rate(10s),http_req_rate(10s)
    tcp-request connection track-sc0 src
    http-request tarpit deny_status 500 if { sc_conn_rate(0) ge 40 }
    http-request tarpit deny_status 500 if { sc_http_req_rate(0) gt 100 }
    default_backend keyserver
backend keyserver
    server one 127.0.0.1:$upstream
""")


class RefreshError(MeasurementError):
    """A scraper failed, and not for what it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What people and scrapers met in front of one proxy.

    Attributes:
        proxy: Its name.
        refreshed: What gpg says.
        witness: What the keyserver behind the proxy says.
        loot: What scrapers got, by their requests per second.

    """

    proxy: str
    refreshed: Refreshed
    witness: Witness
    loot: Mapping[float, Loot]


def _guard(_folder: Path, port: int, upstream: int, _setup: Setup) -> Launch:
    return Launch(command=[sys.executable, "-m", "proxy", "serve"], env=guard_between(port, upstream, workers=2))


def _university(folder: Path, port: int, upstream: int, setup: Setup) -> Launch:
    guard = _guard(folder, port, upstream, setup)
    return Launch(command=guard.command, env={**guard.env, "HKPGUARD_NETWORKS": json.dumps(UNIVERSITY)})


def _haproxy(folder: Path, port: int, upstream: int, _setup: Setup) -> Launch:
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.substitute(port=port, upstream=upstream))
    return Launch(command=["haproxy", "-db", "-f", str(config)])


PROXIES: Mapping[str, Program] = {
    each.name: each
    for each in (Program("hkpguard", _guard), Program("haproxy", _haproxy), Program("university", _university))
}
USUAL = ("hkpguard", "haproxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is tried.

    Attributes:
        keys: How many there are in the keyring.
        seconds: How long the scrapers go on; 0: there are none.
        answer_ms: How long each answer takes more.
        upstream: A source of `bench.certserver`. onak has Debian's developers as far as they reach; the others, and
            all where it is `files`, are made up.
        proxies: What is in front.

    """

    keys: int = KEYS
    seconds: float = SECONDS
    answer_ms: int = ANSWER_MS
    upstream: str = FILES
    proxies: Sequence[str] = USUAL


def measure(trial: Trial) -> list[Outcome]:
    """Let all happen at once; it ends when the last gpg and the last scraper have.

    Raises:
        StartError: a program does not listen.
        RefreshError: a scraper failed.

    """
    with ExitStack() as stack:
        folder = stack.enter_context(scratch())
        certificates = folder / "certificates"
        certificates.mkdir()
        real = take_certificates(certificates, trial.keys) if trial.upstream == ONAK else 0
        make_certificates(certificates, trial.keys - real)
        lanes = [stack.enter_context(_lane(name, folder, trial)) for name in (DIRECT, *trial.proxies)]
        pool = stack.enter_context(ThreadPoolExecutor(len(lanes) * (1 + len(RATES))))
        begun = [_begin(pool, lane, certificates, trial) for lane in lanes]
        return [
            Outcome(
                proxy=lane.name,
                refreshed=gpg.result(),
                loot={rate: loot.result() for rate, loot in scrapers.items()},
                witness=_witness(lane.keyserver),
            )
            for lane, gpg, scrapers in begun
        ]


class Lane(NamedTuple):
    """A proxy, and the keyserver behind it; both are ports."""

    name: str
    proxy: int
    keyserver: int


@contextmanager
def _lane(name: str, folder: Path, trial: Trial) -> Iterator[Lane]:
    """Run a proxy before a keyserver of its own."""
    own = folder / name
    own.mkdir()
    with ExitStack() as stack:
        keyserver = stack.enter_context(serving(_keyserver(folder / "certificates", trial), own, core=None)).port
        if name == DIRECT:
            yield Lane(name, keyserver, keyserver)
            return
        proxy = stack.enter_context(serving(PROXIES[name], own, upstream=keyserver, core=None)).port
        yield Lane(name, proxy, keyserver)


def _keyserver(certificates: Path, trial: Trial) -> Program:
    def prepare(_folder: Path, port: int, _upstream: int, _setup: Setup) -> Launch:
        arguments = [str(port), str(certificates), str(trial.answer_ms), trial.upstream]
        return Launch(command=[sys.executable, "-m", "bench.certserver", *arguments], env={"PYTHONPATH": str(ROOT)})

    return Program("keyserver", prepare)


def _begin(
    pool: ThreadPoolExecutor, lane: Lane, certificates: Path, trial: Trial
) -> tuple[Lane, Future[Refreshed], dict[float, Future[Loot]]]:
    """Start a gpg; and scrapers, if there is a proxy."""
    rates = RATES if trial.seconds and lane.name != DIRECT else {}
    loot = {rate: pool.submit(_scrape, lane.proxy, address, rate, trial.seconds) for rate, address in rates.items()}
    return lane, pool.submit(_refresh, lane.proxy, certificates), loot


def _refresh(port: int, certificates: Path) -> Refreshed:
    with gnupg() as gpg:
        paths = sorted(certificates.iterdir())
        gpg.take(paths)
        return gpg.refresh(f"hkp://127.0.0.1:{port}", REFRESH_TIMEOUT_S + KEY_TIMEOUT_S * len(paths))


def _witness(port: int) -> Witness:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{WITNESS}", timeout=WITNESS_TIMEOUT_S) as answer:
        return Witness(**json.load(answer))


def _scrape(port: int, address: str, rate: float, seconds: float) -> Loot:
    command = [sys.executable, "-m", "bench.scraper", str(port), address, str(rate), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + SPARE_S)
    if done.returncode:
        raise RefreshError(f"the scraper at {rate}/s failed: {done.stderr[-500:]}")
    return Loot(**json.loads(done.stdout))


def table(outcomes: Sequence[Outcome], trial: Trial) -> Table:
    """Return a row for each proxy."""
    title = (
        f"gpg --refresh-keys, {trial.keys} keys, {trial.upstream}, {trial.answer_ms} ms more for each answer;"
        f" scrapers for {trial.seconds:g} s"
    )
    made = Table(title=title, title_justify="left")
    made.add_column("proxy")
    headings = ["gpg took s", "keys fetched", "unchanged", "keys lost", "keyserver gave", "longest pause s"]
    headings += [f"scraper {rate:g}/s {word}" for rate in RATES for word in ("got", "was told")]
    for heading in headings:
        made.add_column(heading, justify="right")
    for outcome in outcomes:
        made.add_row(outcome.proxy, *_cells(outcome))
    return made


def _cells(outcome: Outcome) -> Iterator[str]:
    refreshed = outcome.refreshed
    yield f"{refreshed.seconds:.1f}"
    yield str(refreshed.fetched)
    yield str(refreshed.unchanged)
    yield str(refreshed.lost)
    yield str(outcome.witness.given)
    yield f"{outcome.witness.longest_pause_s:.1f}"
    for rate in RATES:
        loot = outcome.loot.get(rate)
        yield from ("-", "-") if loot is None else _taken(loot)


def _taken(loot: Loot) -> Iterator[str]:
    yield f"{loot.got:,} of {loot.asked:,}"
    yield ", ".join(f"{count} x {word}" for word, count in sorted(loot.otherwise.items())) or "-"


def content(outcomes: Sequence[Outcome], trial: Trial) -> dict[str, object]:
    """Return what is saved."""
    return {"trial": asdict(trial), "outcomes": [asdict(each) for each in outcomes]}
