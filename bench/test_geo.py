"""What locations cost the analyst: run with `pytest bench/test_geo.py`; `extra_info`: look-ups a second.

A database of 30,000 networks, flat or nested, each with one of 3,000 cities, made by mmdb_writer; maxminddb's readers
beside ours.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import maxminddb
import numpy as np
import pytest

from fastpath import address_text
from geo.atlas import Atlas, Sources
from geo.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_benchmark.fixture import BenchmarkFixture

NETWORKS = 30_000
CITIES = 3_000
CALLS = 20_000
forms = pytest.mark.parametrize("form", ["flat", "nested"])


def record(form: str, city: int) -> dict[str, Any]:
    """Return the record of a city, as ip-location-db writes it, or about as MaxMind does."""
    latitude, longitude = city % 120 - 60.5, city % 340 - 170.5
    if form == "flat":
        return {"country_code": "DE", "city": f"city {city}", "latitude": latitude, "longitude": longitude}
    names = dict.fromkeys(("de", "en", "es", "fr", "ja", "pt-BR", "ru", "zh-CN"), f"city {city}")
    return {
        "city": {"geoname_id": city, "names": names},
        "continent": {"code": "EU", "names": names},
        "country": {"iso_code": "DE", "names": names},
        "location": {"latitude": latitude, "longitude": longitude, "accuracy_radius": 20, "time_zone": "Europe/Berlin"},
        "registered_country": {"iso_code": "DE", "names": names},
        "subdivisions": [{"iso_code": "BE", "names": names}],
    }


@cache
def file(form: str) -> Path:
    """Return a database of /24 networks that lie side by side."""
    writer_of = pytest.importorskip("mmdb_writer").MMDBWriter
    networks_of = pytest.importorskip("netaddr")
    writer = writer_of(6, "bench", ipv4_compatible=True)
    records = [record(form, city) for city in range(CITIES)]
    for number in range(NETWORKS):
        network = networks_of.IPNetwork(((1 << 24) + (number << 8), 24), version=4)
        writer.insert_network(networks_of.IPSet([network]), records[number % CITIES])
    path = Path(mkdtemp(), f"{form}.mmdb")
    writer.to_db_file(str(path))
    return path


def addresses(count: int) -> list[bytes]:
    """Return so many random addresses in these networks."""
    numbers = (1 << 24) + np.random.default_rng(1).integers(0, NETWORKS << 8, count)
    return [int(number).to_bytes(4, "big") for number in numbers]


def measure(benchmark: BenchmarkFixture, look_up: Callable[[Any], object], asked: list[Any]) -> None:
    """Measure look-ups one after the other; `extra_info`: how many a second in the quickest round."""

    def run() -> None:
        for address in asked:
            look_up(address)

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)  # type: ignore[no-untyped-call]  # theirs
    assert benchmark.stats is not None
    benchmark.extra_info["a_second"] = round(len(asked) / benchmark.stats.stats.min)


@forms
@pytest.mark.parametrize("clients", [1, 10_000, CALLS])
def test_locate(benchmark: BenchmarkFixture, form: str, clients: int) -> None:
    """What the analyst does: of one client, of as many as are kept, and of more than that, again and again."""
    atlas = Atlas(Sources(city=(str(file(form)),)))
    measure(benchmark, atlas.locate, addresses(clients) * (CALLS // clients))


@forms
def test_look_up(benchmark: BenchmarkFixture, form: str) -> None:
    """One file, without what an atlas keeps."""
    measure(benchmark, Database(file(form)).look_up, addresses(CALLS))


@forms
@pytest.mark.parametrize("mode", [maxminddb.MODE_MMAP_EXT, maxminddb.MODE_MEMORY], ids=["compiled", "python"])
def test_maxminddb(benchmark: BenchmarkFixture, form: str, mode: int) -> None:
    """The readers of maxminddb, which give a dict and read nothing of it."""
    reader = maxminddb.open_database(str(file(form)), mode)
    measure(benchmark, reader.get, [address_text(packed) for packed in addresses(CALLS)])


@forms
def test_open(benchmark: BenchmarkFixture, form: str) -> None:
    """Open and prove a file; seconds."""
    benchmark.pedantic(Database, (file(form),), rounds=5)  # type: ignore[no-untyped-call]  # theirs


@forms
def test_ranges(benchmark: BenchmarkFixture, form: str) -> None:
    """All networks of a file, as the composer wants them; seconds."""
    database = Database(file(form))
    found = benchmark.pedantic(database.ranges, rounds=3)  # type: ignore[no-untyped-call]  # theirs
    assert len(found.lengths) == NETWORKS
