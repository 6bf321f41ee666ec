"""From a database and rules to what clients get: a process composes, the analyst puts in place, workers obey."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.geo.databases_for_tests import write
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import ok
from tests.integration.programs import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver

pytestmark = pytest.mark.integration

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
