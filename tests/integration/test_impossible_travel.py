"""A certificate that is uploaded from two continents, in a real guard with a database of cities."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.certs_for_tests import armored, certificate, form
from tests.geo.databases_for_tests import write
from tests.integration.http_client import Question, ask
from tests.integration.keyserver import Answer
from tests.integration.programs import LOOPBACK, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import StartGuard, StartKeyserver
    from tests.integration.guard import Guard
    from tests.integration.keyserver import Asked


BERLIN, TOKYO = "192.0.2.7", "2001:db8:1::7"
PLACES = {
    "192.0.2.0/24": {"country_code": "DE", "city": "Berlin", "latitude": 52.5, "longitude": 13.4},
    "2001:db8:1::/48": {"country_code": "JP", "city": "Tokyo", "latitude": 35.7, "longitude": 139.7},
}


def upload(started: Guard, client: str) -> None:
    """Upload a certificate as a client of a proxy."""
    fields = (f"X-Forwarded-For: {client}", "Content-Type: application/x-www-form-urlencoded")
    question = Question("/pks/add", fields, "POST", body=form(armored(certificate())))
    assert ask(started.port, question).status == 200


async def stored(_asked: Asked) -> Answer:
    """Take everything."""
    return Answer()


def test_evidence_against_who_came_second(
    start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path
) -> None:
    """It is told with its uncertainty, and alone it does nothing to anybody."""
    started = start_guard(
        start_keyserver(stored).url,
        TRUSTED_PROXIES=LOOPBACK,
        GEOIP_CITY=str(write(tmp_path / "city.mmdb", PLACES)),
        PLUGINS__RATELIMIT_GEO__MODE="enforce",
    )
    until(
        lambda: json.loads(started.admin("/api/v1/plugins/ratelimit-geo")[1]).get("state") == "running",
        "ratelimit-geo is running",
    )
    upload(started, BERLIN)
    upload(started, TOKYO)
    until(lambda: started.client(TOKYO)["verdict"]["evidence"] != [], "there is evidence")
    verdict = started.client(TOKYO)["verdict"]
    [evidence] = verdict["evidence"]
    assert evidence["kind"] == "ratelimit-geo.travel_certificate"
    assert evidence["reason"].endswith("certificate seen in Berlin (DE) and in Tokyo (JP)")
    assert verdict["standing"] == "welcome"
    assert started.client(BERLIN)["verdict"]["evidence"] == []
