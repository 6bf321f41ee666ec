"""gpg and scrapers side by side: set-up and table."""

import json
import tomllib
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from bench.certserver import Witness
from bench.gpg import Refreshed
from bench.peers import ROOT, Setup
from bench.refresh import DIRECT, PROXIES, RATES, UNIVERSITY, USUAL, Outcome, Trial, content, table
from bench.scraper import Loot

TRIAL = Trial(keys=300, seconds=120.0, answer_ms=100)
OUTCOMES = [
    Outcome(
        proxy=DIRECT,
        refreshed=Refreshed(seconds=31.0, keys=300, fetched=300, unchanged=300, status=0),
        witness=Witness(requests=300, given=300, longest_pause_s=0.02),
        loot={},
    ),
    Outcome(
        proxy="haproxy",
        refreshed=Refreshed(seconds=121.04, keys=300, fetched=293, unchanged=292, status=0),
        witness=Witness(requests=293, given=293, longest_pause_s=15.04),
        loot={
            3.9: Loot(asked=468, got=468),
            20.0: Loot(asked=2400, got=39, otherwise={"silence": 1, "500": 2360}),
        },
    ),
]


@pytest.mark.parametrize("name", PROXIES)
def test_each_is_told_its_port_and_the_upstream(name: str, tmp_path: Path) -> None:
    """Both occur in the environment or the file."""
    launch = PROXIES[name].prepare(tmp_path, 1111, 2222, Setup.OPEN)
    text = f"{dict(launch.env)} {''.join(path.read_text() for path in tmp_path.iterdir())}"
    assert "127.0.0.1:1111" in text
    assert "127.0.0.1:2222" in text


def test_hkpguard_has_its_defaults(tmp_path: Path) -> None:
    """No limit, budget or ban is set."""
    settings = set(PROXIES["hkpguard"].prepare(tmp_path, 1111, 2222, Setup.OPEN).env) - {"PYTHONPATH"}
    assert settings == {f"HKPGUARD_{name}" for name in ("LISTEN", "UPSTREAM", "ADMIN", "WORKERS", "LOG__ACCESS")}


def test_university_has_what_the_documents_recommend(tmp_path: Path) -> None:
    """The recipe in docs/limits.md, for the network of the gpg."""
    documents = (ROOT / "docs" / "limits.md").read_text()
    recipe = documents.partition("**A university, a large company.**")[2].split("```")[1].removeprefix("toml\n")
    (network,) = UNIVERSITY
    assert tomllib.loads(recipe) == {"networks": [{**network, "cidr": "192.0.2.0/24"}]}
    settings = PROXIES["university"].prepare(tmp_path, 1111, 2222, Setup.OPEN).env
    assert json.loads(settings["HKPGUARD_NETWORKS"]) == UNIVERSITY


def test_what_is_compared_by_default_is_there() -> None:
    """And no more: the university is somebody else's guard."""
    assert set(USUAL) < set(PROXIES)


def test_haproxy_has_the_values_of_the_field(tmp_path: Path) -> None:
    """40 connections and 100 requests in 10 s; held for 15 s, then 500."""
    PROXIES["haproxy"].prepare(tmp_path, 1111, 2222, Setup.OPEN)
    text = (tmp_path / "haproxy.cfg").read_text()
    for words in ("conn_rate(10s)", "sc_conn_rate(0) ge 40", "http_req_rate(10s)", "sc_http_req_rate(0) gt 100"):
        assert words in text
    assert text.count("tarpit deny_status 500") == 2
    assert "timeout tarpit 15s" in text


def test_no_two_visitors_share_an_address() -> None:
    """The gpg comes from 127.0.0.1, and limits are per address."""
    assert len({*RATES.values(), "127.0.0.1"}) == len(RATES) + 1


def test_the_table_says_what_was_lost_and_what_was_taken() -> None:
    """A row for each proxy; a dash where there was no scraper."""
    out = StringIO()
    Console(file=out, width=250).print(table(OUTCOMES, TRIAL))
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")] for line in out.getvalue().splitlines() if "│" in line
    ]
    assert rows == [
        [DIRECT, "31.0", "300", "300", "0", "300", "0.0", "-", "-", "-", "-"],
        [
            "haproxy",
            "121.0",
            "293",
            "292",
            "7",
            "293",
            "15.0",
            "468 of 468",
            "-",
            "39 of 2,400",
            "2360 x 500, 1 x silence",
        ],
    ]


def test_what_is_saved_is_whole() -> None:
    """JSON, with all counts."""
    saved = json.loads(json.dumps(content(OUTCOMES, TRIAL)))
    assert saved["trial"]["keys"] == 300
    assert saved["outcomes"][1]["loot"]["20.0"]["otherwise"]["500"] == 2360
    assert saved["outcomes"][1]["witness"]["given"] == 293
