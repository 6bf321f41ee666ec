"""From a database and rules to what clients get: a process composes, the analyst puts in place, workers obey."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

from tests.geo.databases_for_tests import write
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import ok
from tests.integration.programs import LOOPBACK, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver


MAIL = Question("/pks/lookup?op=get&options=mr&search=alice@example.org")
NO_LIMIT = {"LIMITS__IDENTITY__MODE": "off", "BUDGETS__DOMAIN__MODE": "off"}
ONE, OTHER, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
RULES = """
[[origin_rules]]
name = "one"
asns = [{asn}]
deny = ["identity"]
"""


def holder(asn: int) -> dict[str, object]:
    """Return the record of a holder."""
    return {"autonomous_system_number": asn, "autonomous_system_organization": "Some Cloud"}


def test_rules_by_origin(start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """Who comes from where a rule denies it is refused, and nobody else: also without the analyst, and by new rules."""
    database = write(tmp_path / "asn.mmdb", {f"{ONE}/32": holder(64500), f"{OTHER}/32": holder(64501)})
    file = tmp_path / "hkpguard.toml"
    file.write_text(RULES.format(asn=64500))
    guarded = start_guard(start_keyserver(ok).url, CONFIG=str(file), GEOIP_ASN=str(database), **NO_LIMIT)

    def statuses() -> list[int]:
        return [ask(guarded.port, MAIL, client).status for client in (ONE, OTHER, STRANGER)]

    until(lambda: statuses() == [403, 200, 200], "the first rules hold")
    refusal = ask(guarded.port, MAIL, ONE)
    assert refusal.body.startswith(b"This server does not take such requests from this network.")
    assert guarded.client(ONE)["origin"] == {"asn": 64500, "kind": "hosting", "rule": "one"}
    assert guarded.readyz().text == "ready\n"
    assert guarded.metric("origin_ranges") == 2
    os.kill(guarded.pid("analyst"), signal.SIGKILL)
    assert statuses() == [403, 200, 200]
    until(lambda: guarded.metric("origin_generation") >= 2, "the next analyst has composed them anew")
    file.write_text(RULES.format(asn=64501))
    guarded.program.send(signal.SIGHUP)
    until(lambda: statuses() == [200, 403, 200], "the other rules hold")


def test_a_damaged_database(start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """It is told, and what is known without it holds."""
    damaged = tmp_path / "asn.mmdb"
    damaged.write_bytes(b"no database")
    file = tmp_path / "hkpguard.toml"
    file.write_text(f'[[origin_rules]]\nname = "a"\nnetworks = ["{ONE}"]\ndeny = ["total"]\n')
    guarded = start_guard(start_keyserver(ok).url, CONFIG=str(file), GEOIP_ASN=str(damaged))
    until(lambda: ask(guarded.port, MAIL, ONE).status == 403, "the rule holds")
    assert ask(guarded.port, MAIL, OTHER).status == 200
    status, text = guarded.readyz()
    assert (status, "where clients come from is known in part" in text, "asn.mmdb" in text) == (200, True, True)


def test_countries_and_prices(start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """A country is denied one operation, pays four times for another and has the third as anybody, but for one ASN."""
    country = {"country": {"iso_code": "DE"}}
    networks = {f"{ONE}/32": country | holder(64500), f"{OTHER}/32": country | holder(64501)}
    rules = [
        {"name": "ours", "asns": [64501]},
        {"name": "all-others", "countries": ["DE"], "deny": ["words"], "price": ["identity"]},
    ]
    guarded = start_guard(
        start_keyserver(ok).url,
        GEOIP_COUNTRY=str(write(tmp_path / "country.mmdb", networks)),
        ORIGIN_RULES=json.dumps(rules),
        LIMITS__IDENTITY__BURST="8",
        LIMITS__IDENTITY__COUNT="1",
        LIMITS__IDENTITY__PERIOD="1h",
        LIMITS__IDENTITY__MAX_DELAY="0s",
    )
    words, stats = (Question(f"/pks/lookup?op={query}") for query in ("index&search=alice+jones", "stats"))
    until(lambda: ask(guarded.port, words, ONE).status == 403, "the rules hold")
    assert [ask(guarded.port, words, each).status for each in (OTHER, STRANGER)] == [200, 200]
    assert {ask(guarded.port, stats, each).status for each in (ONE, OTHER, STRANGER)} == {200}
    asked = {each: [ask(guarded.port, MAIL, each).status for _ in range(9)] for each in (ONE, OTHER, STRANGER)}
    assert asked == {ONE: [200] * 2 + [429] * 7, OTHER: [200] * 8 + [429], STRANGER: [200] * 8 + [429]}


def test_lists(start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """Who is listed is denied, over a restart and while the source is broken, until it is withdrawn.

    Never denied: who is allowed, who is a peer, and exits of Tor, which are known as such.
    """
    listed, exits = tmp_path / "list", tmp_path / "exits"
    listed.write_text("1.2.3.0/24\n127.0.0.0/8\n")
    exits.write_text("1.2.3.7\n")
    settings = {
        "TRUSTED_PROXIES": LOOPBACK,
        "STATE_DIR": str(tmp_path / "kept"),
        "ALLOW": "1.2.3.5/32",
        "PEERS": "1.2.3.6/32",
        "INTEL__FEEDS__BAD__URL": str(listed),
        "INTEL__FEEDS__BAD__WEIGHT": "200",
        "INTEL__FEEDS__BAD__EVERY": "10s",
        "INTEL__FEEDS__BAD__SHRINK": "0",
        "INTEL__FEEDS__EXITS__URL": str(exits),
        "INTEL__FEEDS__EXITS__FORMAT": "tor",
        "INTEL__FEEDS__EXITS__LEAST": "1",
    }
    upstream = start_keyserver(ok).url
    first = start_guard(upstream, **settings)
    until(lambda: first.metric('intel_prefixes{rule="denied"}') == 1, "the list is combined", 30)
    first.program.send(signal.SIGTERM)
    assert first.program.wait() == 0
    listed.write_text("<html>503 Service Unavailable</html>")
    guarded = start_guard(upstream, **settings)

    def status(client: str) -> int:
        return ask(guarded.port, MAIL._replace(fields=(f"X-Forwarded-For: {client}",))).status

    until(lambda: status("1.2.3.4") == 403, "the list of before holds", 30)
    assert [status(client) for client in ("1.2.3.5", "1.2.3.6", "1.2.3.7", "1.2.4.1", LOOPBACK)] == [200] * 5
    assert guarded.client("1.2.3.7")["origin"]["kind"] == "tor"
    until(lambda: "feed bad" in guarded.readyz().text, "the source is told to be broken", 30)
    listed.write_text("9.8.7.6\n")
    until(lambda: guarded.metric('intel_fetches_total{feed="bad",outcome="new"}') == 1, "another list is there", 90)
    until(lambda: (status("1.2.3.4"), status("9.8.7.6")) == (200, 403), "the other list holds", 90)
