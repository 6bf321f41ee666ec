"""`python -m bench refresh`: gpg refreshes its keyring while two scrapers are at work, in front of each proxy.

All at the same time: gpg without a proxy, and before each proxy a gpg and two scrapers with addresses of their own.
None of this is about speed: there are a hundred requests a second in all, and the proxies have a core to themselves.

hkpguard has its defaults. HAProxy has what its operators use for keyservers (HKP.md, section 2): 40 connections and
100 requests in 10 s for each address; who has more is held for 15 s and then told 500.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from rich.table import Table

from bench.gpg import Refreshed, gnupg, make_certificates
from bench.peers import ROOT, Launch, Program, Setup, serving
from bench.processes import free_port, scratch
from bench.scraper import SPARE_S, Loot

KEYS = 300
SECONDS = 120.0
ANSWER_MS = 100
REFRESH_TIMEOUT_S = 900.0
RATES: Mapping[float, str] = {3.9: "127.0.39.1", 20.0: "127.0.200.1"}  # requests per second, and who makes them
DIRECT = "no proxy"

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


class RefreshError(RuntimeError):
    """A scraper failed, and not for what it was told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What people and scrapers met in front of one proxy; `loot`: by requests per second."""

    proxy: str
    refreshed: Refreshed
    loot: Mapping[float, Loot]


def _guard(_folder: Path, port: int, upstream: int, _setup: Setup) -> Launch:
    env = {
        "PYTHONPATH": str(ROOT),
        "HKPGUARD_LISTEN": f"127.0.0.1:{port}",
        "HKPGUARD_UPSTREAM": f"http://127.0.0.1:{upstream}",
        "HKPGUARD_ADMIN": f"127.0.0.1:{free_port()}",
        "HKPGUARD_WORKERS": "2",
        "HKPGUARD_LOG__ACCESS": "off",
    }
    return Launch(command=[sys.executable, "-m", "proxy", "serve"], env=env)


def _haproxy(folder: Path, port: int, upstream: int, _setup: Setup) -> Launch:
    config = folder / "haproxy.cfg"
    config.write_text(_HAPROXY.substitute(port=port, upstream=upstream))
    return Launch(command=["haproxy", "-db", "-f", str(config)])


PROXIES: Mapping[str, Program] = {
    each.name: each for each in (Program("hkpguard", _guard), Program("haproxy", _haproxy))
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How many keys, how long the scrapers go on, how long an answer takes, through what."""

    keys: int = KEYS
    seconds: float = SECONDS
    answer_ms: int = ANSWER_MS
    proxies: Sequence[str] = tuple(PROXIES)


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
        make_certificates(certificates, trial.keys)
        upstream = stack.enter_context(serving(_keyserver(certificates, trial.answer_ms), folder, core=None))
        ports = {DIRECT: upstream.port}
        for name in trial.proxies:
            proxy = serving(PROXIES[name], folder, upstream=upstream.port, core=None)
            ports[name] = stack.enter_context(proxy).port
        pool = stack.enter_context(ThreadPoolExecutor(len(ports) * (1 + len(RATES))))
        begun = [_begin(pool, name, port, certificates, trial) for name, port in ports.items()]
        return [
            Outcome(proxy=name, refreshed=gpg.result(), loot={rate: loot.result() for rate, loot in scrapers.items()})
            for name, gpg, scrapers in begun
        ]


def _keyserver(certificates: Path, answer_ms: int) -> Program:
    def prepare(_folder: Path, port: int, _upstream: int, _setup: Setup) -> Launch:
        command = [sys.executable, "-m", "bench.certserver", str(port), str(certificates), str(answer_ms)]
        return Launch(command=command, env={"PYTHONPATH": str(ROOT)})

    return Program("keyserver", prepare)


def _begin(
    pool: ThreadPoolExecutor, name: str, port: int, certificates: Path, trial: Trial
) -> tuple[str, Future[Refreshed], dict[float, Future[Loot]]]:
    """Start a gpg; and scrapers, if there is a proxy."""
    scrapers = {} if name == DIRECT else RATES
    loot = {rate: pool.submit(_scrape, port, address, rate, trial.seconds) for rate, address in scrapers.items()}
    return name, pool.submit(_refresh, port, certificates), loot


def _refresh(port: int, certificates: Path) -> Refreshed:
    with gnupg() as gpg:
        gpg.take(sorted(certificates.iterdir()))
        return gpg.refresh(f"hkp://127.0.0.1:{port}", REFRESH_TIMEOUT_S)


def _scrape(port: int, address: str, rate: float, seconds: float) -> Loot:
    command = [sys.executable, "-m", "bench.scraper", str(port), address, str(rate), str(seconds)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + SPARE_S)
    if done.returncode:
        raise RefreshError(f"the scraper at {rate}/s failed: {done.stderr[-500:]}")
    return Loot(**json.loads(done.stdout))


def table(outcomes: Sequence[Outcome], trial: Trial) -> Table:
    """Return a row for each proxy."""
    title = (
        f"gpg --refresh-keys, {trial.keys} keys, answers after {trial.answer_ms} ms; scrapers for {trial.seconds:g} s"
    )
    made = Table(title=title, title_justify="left")
    made.add_column("proxy")
    headings = ["gpg took s", "keys fetched", "keys lost"]
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
    yield str(refreshed.lost)
    for rate in RATES:
        loot = outcome.loot.get(rate)
        yield from ("-", "-") if loot is None else _taken(loot)


def _taken(loot: Loot) -> Iterator[str]:
    yield f"{loot.got:,} of {loot.asked:,}"
    yield ", ".join(f"{count} x {word}" for word, count in sorted(loot.otherwise.items())) or "-"


def content(outcomes: Sequence[Outcome], trial: Trial) -> dict[str, object]:
    """Return what is saved."""
    return {"trial": asdict(trial), "outcomes": [asdict(each) for each in outcomes]}
