"""`hkpguard replay`, from the files to the report."""

import json
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from proxy.cli import app
from tests.models.traffic_for_tests import fingerprints

HOSTILE = '<script>alert("x")</script>&'
ENVIRON = {"HKPGUARD_TABLE_CLIENTS": "1024"}


def _line(second: int, address: str, target: str, status: int = 200) -> str:
    time = f"14/Oct/2019:10:{second // 60:02}:{second % 60:02} +0000"
    return f'{address} - - [{time}] "GET {target} HTTP/1.1" {status} 1700 "-" "{HOSTILE}"\n'


def _log(folder: Path) -> Path:
    log = folder / f"access{HOSTILE.replace('/', '')}.log"
    person = [_line(0, "198.51.100.7", f"/pks/lookup?op=get&options=mr&search=0x{number:040X}") for number in range(80)]
    scanner = [_line(second, "203.0.113.9", "/.env", 404) for second in range(10)]
    log.write_text("".join([*person, *scanner, f"rubbish {HOSTILE}\n"]))
    return log


def _run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["replay", *arguments], obj=ENVIRON | environ)


def _json(*arguments: str, **environ: str) -> Any:
    done = _run(*arguments, "--json", "-", **environ)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_figures(tmp_path: Path) -> None:
    """Who was hit by what, and who of them looks legitimate; networks, not addresses."""
    report = _json(str(_log(tmp_path)))
    log, [outcome] = report["log"], report["outcomes"]
    assert (log["requests"], log["bad"], log["lines"]) == (90, 1, 91)
    assert sum(outcome["requests"].values()) == 90
    assert outcome["requests"]["refused"] == 4
    assert outcome["requests"]["banned"] == 6
    assert outcome["requests"]["delayed"] == 20
    assert outcome["clients"] == {"all": 2, "delayed": 1, "refused": 1, "banned": 1, "lost": 1}
    assert outcome["legitimate"] == {"all": 1, "delayed": 1, "refused": 0, "banned": 0, "lost": 0}
    assert [(each["name"], each["limit"]) for each in outcome["worst"]] == [
        ("203.0.113.0/24", "banned"), ("198.51.100.0/24", "cert")
    ]  # fmt: skip
    assert [each["name"] for each in outcome["limits"]] == ["banned", "trap", "cert"]


def test_addresses_are_told_only_if_asked_for(tmp_path: Path) -> None:
    """They are personal data."""
    log = str(_log(tmp_path))
    page = tmp_path / "report.html"
    with Path(log).open("a") as end:
        end.write("rubbish of 203.0.113.77\n" * 2)
    for form in ((), ("--json", "-")):
        assert "203.0.113.9" not in (told := _run(log, *form, "--html", str(page)).output)
        assert "203.0.113.77" not in told + page.read_text()
        told = _run(log, *form, "--addresses", "--html", str(page)).output
        assert "203.0.113.9" in told
        assert "203.0.113.77" in told
        assert "203.0.113.77" in page.read_text()


def test_other_settings_side_by_side(tmp_path: Path) -> None:
    """The environment's are the present ones; --set changes some of them, with or without the prefix."""
    log = str(_log(tmp_path))
    arguments = ("--set", "limits__cert__burst=100", "--set", "HKPGUARD_BANS__MODE=off")
    present, other = _json(log, *arguments, HKPGUARD_LIMITS__CERT__BURST="70")["outcomes"]
    assert (present["requests"]["delayed"], other["requests"]["delayed"]) == (10, 0)
    assert (present["requests"]["banned"], other["requests"]["banned"]) == (6, 0)
    assert other["settings"] == {"HKPGUARD_LIMITS__CERT__BURST": "100", "HKPGUARD_BANS__MODE": "off"}
    assert "with --set" in _run(log, *arguments).output


def _scrape(folder: Path) -> str:
    """Write a log in which one asks for everything in its order, and another one for his own keys."""
    log = folder / "scrape.log"
    scraper = [(second, "203.0.113.9", digits) for second, digits in enumerate(sorted(fingerprints(900)))]
    person = [(second, "198.51.100.7", digits) for second, digits in enumerate(fingerprints(60))]
    lines = (
        _line(second // 2, who, f"/pks/lookup?op=get&search=0x{digits}") for second, who, digits in scraper + person
    )
    log.write_text("".join(lines))
    return str(log)


def test_who_is_accused(tmp_path: Path, accusing: Mapping[str, str]) -> None:
    """Networks, how many of their clients, how many of these look legitimate, and why; the same however it is told."""
    log, page = _scrape(tmp_path), tmp_path / "report.html"
    [outcome] = _json(log, "--html", str(page), **accusing)["outcomes"]
    [suspect] = outcome["suspects"]
    assert (suspect["name"], suspect["clients"], suspect["legitimate"]) == ("203.0.113.0/24", 1, 1)
    assert suspect["standing"] == "limited"
    assert "order 1 (usually" in suspect["reasons"][0]
    assert outcome["accused"] == {"all": 1, "legitimate": 1}
    text = _run(log, **accusing).output
    for told in (text, page.read_text()):
        assert "203.0.113.0/24" in told
        assert "limited" in told
        assert "in shadow mode" in told
    assert "203.0.113.9" not in text
    [named] = _json(log, "--addresses", **accusing)["outcomes"][0]["suspects"]
    assert named["name"] == "203.0.113.9"


def test_what_the_models_would_do_side_by_side(tmp_path: Path, accusing: Mapping[str, str]) -> None:
    """In shadow mode nothing, and in the mode that is tried out."""
    arguments = ("--set", "PLUGINS__ML_ABUSE_DETECTOR__MODE=enforce")
    shadow, enforced = _json(_scrape(tmp_path), *arguments, **accusing)["outcomes"]
    assert "verdict" not in [each["name"] for each in shadow["limits"]]
    assert "verdict" in [each["name"] for each in enforced["limits"]]
    assert shadow["suspects"] == enforced["suspects"]


def test_without_models(tmp_path: Path, accusing: Mapping[str, str]) -> None:
    """Nobody is looked at, and the report says so."""
    [outcome] = _json(_scrape(tmp_path), "--no-models", **accusing)["outcomes"]
    assert (outcome["suspects"], outcome["accused"]["all"]) == ([], 0)
    assert outcome["models"] == "ml-abuse-detector was not asked"


def test_the_page_stands_alone_and_runs_nothing(tmp_path: Path) -> None:
    """Whatever stands in logs, names of files and settings: no tag comes of it, and nothing is loaded."""
    page = tmp_path / "report.html"
    done = _run(str(_log(tmp_path)), "--html", str(page), "--set", "STATE_DIR=<img src=x>")
    assert done.exit_code == 0, done.output
    tags: set[str] = set()
    attributes: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            tags.add(tag)
            attributes.update(name for name, _ in attrs)

    Reader().feed(page.read_text())
    assert {"svg", "rect", "table"} < tags
    assert tags.isdisjoint({"script", "img", "link", "iframe", "object"})
    assert attributes.isdisjoint({"src", "href", "onload", "onclick"})


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("missing.log",), 1, "missing.log: No such file"),
        (("LOG", "--set", "LIMITS__CERT__BURST=many"), 1, "HKPGUARD_LIMITS__CERT__BURST"),
        (("LOG", "--set", "NOTHING=1"), 1, "HKPGUARD_NOTHING"),
        (("LOG", "--set", "nothing"), 2, "NAME=VALUE"),
        (("LOG", "--set", "PLUGINS__NOT_HERE__MODE=shadow"), 0, "warning: --set changes nothing for not-here"),
        (("LOG", "--format", "haproxy"), 1, "no request in"),
        (("LOG", "--json", "/nowhere/x.json"), 1, "/nowhere/x.json: No such file"),
    ],
)
def test_faults_are_told(tmp_path: Path, arguments: tuple[str, ...], status: int, says: str) -> None:
    """With the file or the setting that is wrong."""
    log = str(_log(tmp_path))
    done = _run(*(log if each == "LOG" else each for each in arguments))
    assert (done.exit_code, says in done.output) == (status, True), done.output
