"""Several databases as one, while their files change."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from fastpath.origin import NetworkKind as Kind
from geo import atlas as atlas_module
from geo.atlas import Atlas, Sources
from geo.place import UNKNOWN, Holder, Location, Place
from geo.record import CITY_KM
from tests.geo.databases_for_tests import BERLIN, CITY, TELSTRA, write

FOUR = bytes([1, 128, 0, 1])
PARIS = {"country_code": "FR", "city": "Paris", "latitude": 48.9, "longitude": 2.4}


def file(folder: Path, name: str, networks: dict[str, Any], version: int = 6) -> str:
    """Write a database as another file, as who renames does; return its path."""
    path = folder / name
    write(folder / "new", networks, version).rename(path)
    return str(path)


def test_together(tmp_path: Path) -> None:
    """Each file tells what it knows, whatever it is for; kinds are judged by all of them together."""
    sources = Sources(
        city=(file(tmp_path, "four", {"1.128.0.0/16": BERLIN}, 4), file(tmp_path, "six", {"2001:db8::/32": CITY})),
        country=(file(tmp_path, "country", {"1.0.0.0/8": {"country_code": "AU"}}),),
        asn=(file(tmp_path, "asn", {"1.128.0.0/16": TELSTRA, "1.1.1.0/24": {"autonomous_system_number": 13335}}),),
        anonymous=(file(tmp_path, "kind", {"1.128.0.0/24": {"is_anonymous_vpn": True}}),),
    )
    atlas = Atlas(sources)
    assert atlas.problem == ""
    berlin = Place("DE", "Berlin", 52.5, 13.4, CITY_KM)
    assert atlas.locate(FOUR) == Location(berlin, Holder(1221, "Telstra"), Kind.VPN)
    assert atlas.locate(bytes([1, 1, 1, 1])) == Location(Place("AU"), Holder(13335, ""), Kind.RELAY)
    assert atlas.locate(ip_address("2001:db8::1").packed).place == Place("GB", "Boxford", 51.75, -1.25, 100.0)
    assert atlas.locate(bytes([9, 9, 9, 9])) == UNKNOWN


def test_coordinates_before_countries(tmp_path: Path) -> None:
    """A place with coordinates counts before one without, and else the first one."""
    rough = file(tmp_path, "rough", {"1.0.0.0/8": {"country_code": "AU"}, "2.0.0.0/8": CITY})
    exact = file(tmp_path, "exact", {"0.0.0.0/2": BERLIN})
    atlas = Atlas(Sources(city=(rough, exact)))
    assert atlas.locate(bytes([1, 0, 0, 0])).place == Place("DE", "Berlin", 52.5, 13.4, CITY_KM)
    assert atlas.locate(bytes([2, 0, 0, 0])).place == Place("GB", "Boxford", 51.75, -1.25, 100.0)


def test_addresses(tmp_path: Path) -> None:
    """An IPv4-mapped address is its IPv4 address; clients of IPv6 are a /64 each; other lengths are refused."""
    networks = {"1.128.0.0/24": BERLIN, "2001:db8:0:1::/64": CITY, "2001:db8:0:2::1/128": PARIS}
    atlas = Atlas(Sources(city=(file(tmp_path, "a", networks),)))
    assert atlas.locate(ip_address("::ffff:1.128.0.1").packed) == atlas.locate(FOUR) != UNKNOWN
    assert atlas.locate(ip_address("2001:db8:0:1:ffff::1").packed).place
    assert atlas.locate(ip_address("2001:db8:0:2::1").packed) == UNKNOWN
    assert atlas.locate(ip_address("::1.128.0.1").packed) == UNKNOWN
    for bad in (b"", b"\x01", bytes(8), bytes(17)):
        with pytest.raises(ValueError, match="4 or 16"):
            atlas.locate(bad)


def test_file_changes(tmp_path: Path) -> None:
    """A changed file is in use after the next look, without anything of before; nothing happens otherwise."""
    path = file(tmp_path, "a", {"1.0.0.0/8": BERLIN})
    atlas = Atlas(Sources(city=(path,)))
    before = atlas.databases
    assert atlas.locate(FOUR).place is not None
    assert not atlas.refresh()
    assert atlas.databases == before
    file(tmp_path, "a", {"1.0.0.0/8": PARIS})
    assert atlas.refresh()
    assert atlas.locate(FOUR).place == Place("FR", "Paris", 48.9, 2.4, CITY_KM)


@pytest.mark.parametrize("damage", ["cut", "gone", "text"])
def test_bad_file(tmp_path: Path, damage: str) -> None:
    """A file that is bad or gone leaves the last good one in use, is told of, and opened once only."""
    path = tmp_path / "a"
    file(tmp_path, "a", {"1.0.0.0/8": BERLIN})
    atlas = Atlas(Sources(city=(str(path),)))
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-40] if damage == "cut" else b"<html>")
    assert not atlas.refresh()
    problem = atlas.problem
    assert problem.startswith(str(path))
    assert atlas.locate(FOUR).place == Place("DE", "Berlin", 52.5, 13.4, CITY_KM)
    assert not atlas.refresh()
    assert atlas.problem == problem
    file(tmp_path, "a", {"1.0.0.0/8": PARIS})
    assert atlas.refresh()
    assert atlas.problem == ""


def test_bad_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad file that stays as it is is not tried again each minute."""
    path = tmp_path / "a"
    path.write_bytes(b"bad")
    atlas = Atlas(Sources(city=(str(path),)))
    monkeypatch.setattr(atlas_module, "Database", None)  # whoever tried would fail
    assert not atlas.refresh()
    assert atlas.problem


def test_without_files(tmp_path: Path) -> None:
    """Files that are not there yet are no reason not to begin, and are used once they are."""
    path = tmp_path / "a"
    atlas = Atlas(Sources(city=(str(path),)))
    assert atlas.locate(FOUR) == UNKNOWN
    assert atlas.problem == f"{path}: No such file or directory"
    file(tmp_path, "a", {"1.0.0.0/8": BERLIN})
    assert atlas.refresh()
    assert atlas.of([str(path)])
    assert atlas.locate(FOUR).place


def test_other_sources(tmp_path: Path) -> None:
    """Files that are not to be used any more are let go, with their problems."""
    one, other = file(tmp_path, "a", {"1.0.0.0/8": BERLIN}), file(tmp_path, "b", {"1.0.0.0/8": PARIS})
    atlas = Atlas(Sources(city=(one, str(tmp_path / "c"))))
    assert atlas.problem
    assert atlas.refresh(Sources(country=(other,)))
    assert atlas.problem == ""
    assert list(atlas.databases) == [other]
    assert atlas.refresh(Sources())
    assert atlas.locate(FOUR) == UNKNOWN


def test_order_matters(tmp_path: Path) -> None:
    """The same files in another order are another answer."""
    one, other = file(tmp_path, "a", {"1.0.0.0/8": BERLIN}), file(tmp_path, "b", {"1.0.0.0/8": PARIS})
    atlas = Atlas(Sources(city=(one, other)))
    assert atlas.refresh(Sources(city=(other, one)))
    place = atlas.locate(FOUR).place
    assert place is not None
    assert place.city == "Paris"


def test_same_time_and_size(tmp_path: Path) -> None:
    """A file that was renamed into place is seen, even if its time and size are those of the one before."""
    path = file(tmp_path, "a", {"1.0.0.0/8": BERLIN})
    atlas = Atlas(Sources(city=(path,)))
    about = Path(path).stat()
    file(tmp_path, "a", {"1.0.0.0/8": {**BERLIN, "city": "Bremen"}})
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert Path(path).stat().st_size == about.st_size
    assert atlas.refresh()


def test_what_is_kept_is_bounded(tmp_path: Path) -> None:
    """No flood of addresses fills the memory."""
    atlas = Atlas(Sources(city=(file(tmp_path, "a", {"1.0.0.0/8": BERLIN}),)))
    for number in range(atlas_module.MOST_KEPT + 100):
        atlas.locate(number.to_bytes(4, "big"))
    assert atlas._locate.cache_info().currsize == atlas_module.MOST_KEPT  # type: ignore[attr-defined]
