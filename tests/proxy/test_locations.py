"""Locations in the analyst: what is told of their files."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from proxy.config import Config
from proxy.locations import Locations
from tests.geo.databases_for_tests import BERLIN, MADE_S, assembled, text, write

if TYPE_CHECKING:
    from pathlib import Path

FOUR = bytes([1, 2, 3, 4])


def config(state: Path, **settings: str) -> Config:
    """Return a configuration with these settings."""
    return Config.from_env({"HKPGUARD_STATE_DIR": str(state)} | {f"HKPGUARD_GEOIP_{k}": v for k, v in settings.items()})


def test_nothing_is_set(tmp_path: Path) -> None:
    """Who sets nothing is told at the start what is not known, and nothing is wrong."""
    with capture_logs() as logs:
        locations = Locations(config(tmp_path))
    assert [each["event"] for each in logs][:2] == [
        "locations: no city database (HKPGUARD_GEOIP_CITY)",
        "locations: no country database (HKPGUARD_GEOIP_COUNTRY)",
    ]
    assert {each["log_level"] for each in logs} == {"info"}
    assert locations.degraded == ""
    assert locations.locate(FOUR).place is None


def test_missing_file(tmp_path: Path) -> None:
    """A file that is set and missing is a named degraded mode, in the log once, until it is there."""
    path = tmp_path / "a.mmdb"
    with capture_logs() as logs:
        locations = Locations(config(tmp_path, CITY=str(path)))
        locations.refresh()
    told = f"locations: no city database (HKPGUARD_GEOIP_CITY: {path}: No such file or directory)"
    assert locations.degraded == told
    assert [each["event"] for each in logs if each["log_level"] == "warning"] == [told]
    write(path, {"1.0.0.0/8": BERLIN})
    locations.refresh()
    assert locations.degraded == ""
    assert locations.locate(FOUR).place


def test_bad_file_beside_a_good_one(tmp_path: Path) -> None:
    """It is told whether there is none, or not all as it should be."""
    good = write(tmp_path / "a.mmdb", {"1.0.0.0/8": BERLIN})
    locations = Locations(config(tmp_path, CITY=f"{good},{tmp_path}"))
    assert locations.degraded.startswith(
        "locations: not all as it should be of the city database (HKPGUARD_GEOIP_CITY: "
    )
    assert locations.locate(FOUR).place


def test_reload(tmp_path: Path) -> None:
    """Another configuration is followed at the next look."""
    path = write(tmp_path / "a.mmdb", {"1.0.0.0/8": BERLIN})
    locations = Locations(config(tmp_path))
    locations.reload(config(tmp_path, COUNTRY=str(path)))
    locations.refresh()
    assert locations.locate(FOUR).place
    locations.reload(config(tmp_path))
    locations.refresh()
    assert locations.locate(FOUR).place is None


@pytest.mark.parametrize(("made_s", "shown"), [(MADE_S, "60.0"), (MADE_S + 100, "0.0"), (0, None), (2**63, None)])
def test_age(tmp_path: Path, made_s: int, shown: str | None) -> None:
    """The age of the oldest file is a metric; one that is not told, or cannot be, is none."""
    octets = assembled([(17, 17)], b"\xe1" + text("country_code") + text("DE"))
    before = b"build_epoch" + bytes([4, 2]) + MADE_S.to_bytes(4, "big")
    assert before in octets
    epoch = made_s.to_bytes(8, "big")
    path = tmp_path / "a.mmdb"
    path.write_bytes(octets.replace(before, b"build_epoch" + bytes([8, 2]) + epoch))
    registry = CollectorRegistry()
    registry.register(Locations(config(tmp_path, COUNTRY=str(path)), wall=lambda: MADE_S + 60.0))
    line = f'hkpguard_geo_age_seconds{{database="country"}} {shown}'
    assert (line in generate_latest(registry).decode()) == (shown is not None)


async def test_looks_each_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task looks at the files, and a look does not hold the loop."""
    path = tmp_path / "a.mmdb"
    locations = Locations(config(tmp_path, CITY=str(path)))
    write(path, {"1.0.0.0/8": BERLIN})
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) > 1:
            raise asyncio.CancelledError

    monkeypatch.setattr("proxy.locations.asyncio.sleep", wait)
    with pytest.raises(asyncio.CancelledError):
        await locations.run()
    assert waits == [60.0, 60.0]
    assert locations.locate(FOUR).place
