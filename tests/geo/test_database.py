"""One file: what it answers, and that none of them hurts."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import maxminddb
import pytest

from fastpath.origin import NetworkKind as Kind
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet
from geo.database import BadDatabase, Database
from geo.place import Holder, Place
from geo.record import CITY_KM, NOTHING, Found
from tests.geo.databases_for_tests import (
    BERLIN,
    CITY,
    MADE_S,
    TELSTRA,
    assembled,
    bundle,
    number,
    of_one,
    pair,
    pointer,
    text,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Callable

GERMAN = b"\xe1" + text("country_code") + text("DE")
CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
from pathlib import Path
from tests.geo.test_database import try_out
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, flush=True)
    try_out(path)
print("survived")
"""


def need_bundle() -> None:
    """Skip the test where MaxMind's databases are missing."""
    if not bundle():
        pytest.skip("MaxMind's databases (../shared/data/dev.tar.xz) are not here")


def saved(folder: Path, octets: bytes) -> Path:
    """Return the path of a file with these contents."""
    path = folder / "test.mmdb"
    path.write_bytes(octets)
    return path


def try_out(path: Path) -> None:
    """Do all that can be done with a file. Only BadDatabase may come of it."""
    draw = random.Random(1)  # noqa: S311 - the same each time
    try:
        database = Database(path)
        for _ in range(50):
            database.look_up(draw.randbytes(draw.choice((4, 16))))
        database.ranges()
    except BadDatabase:
        pass


def of(address: str) -> bytes:
    """Return the bytes of an address."""
    return ip_address(address).packed


def test_own_files(tmp_path: Path) -> None:
    """Nested and flat records are found, by IPv4 and IPv6, and nothing where there is nothing."""
    networks = {"2.125.160.216/29": CITY, "2001:db8::/32": BERLIN, "1.128.0.0/11": TELSTRA}
    database = Database(write(tmp_path / "a.mmdb", networks))
    assert database.look_up(of("2.125.160.217")).place == Place("GB", "Boxford", 51.75, -1.25, 100.0)
    assert database.look_up(of("2001:db8::1")).place == Place("DE", "Berlin", 52.5, 13.4, CITY_KM)
    assert database.look_up(of("1.128.0.0")) == Found(holder=Holder(1221, "Telstra"))
    assert database.look_up(of("9.9.9.9")) == NOTHING
    assert (database.sort, database.faults) == ("city", 0)


@pytest.mark.parametrize(
    ("name", "address", "found", "sort"),
    [
        ("GeoIP2-City-Test", "2.125.160.216", Found(Place("GB", "Boxford", 51.75, -1.25, 100.0)), "city"),
        ("GeoIP2-City-Test", "2001:218::1", Found(Place("JP", "", 35.68536, 139.75309, 100.0)), "city"),
        ("GeoIP2-Country-Test", "2.125.160.216", Found(Place("GB")), "country"),
        ("GeoLite2-ASN-Test", "1.128.0.0", Found(holder=Holder(1221, "Telstra Pty Ltd")), "asn"),
        ("GeoIP2-ISP-Test", "1.128.0.0", Found(holder=Holder(1221, "Telstra Pty Ltd")), "asn"),
        ("GeoIP2-Anonymous-IP-Test", "1.2.0.0", Found(kind=Kind.VPN), "anonymous"),
        ("GeoIP-Anonymous-Plus-Test", "1.2.0.1", Found(kind=Kind.VPN), "anonymous"),
        ("GeoIP2-Connection-Type-Test", "1.0.128.0", Found(kind=Kind.RESIDENTIAL), "anonymous"),
        (
            "GeoIP2-Enterprise-Test",
            "74.209.24.0",
            Found(
                Place("US", "Chatham", 42.3478, -73.5549, 27.0), Holder(14671, "FairPoint Communications"),
                Kind.RESIDENTIAL,
            ),
            "city",
        ),
    ],
)  # fmt: skip
def test_files_of_maxmind(tmp_path: Path, name: str, address: str, found: Found, sort: str) -> None:
    """What MaxMind's databases say is read as what it means."""
    need_bundle()
    database = Database(saved(tmp_path, bundle()[f"{name}.mmdb"]))
    assert database.look_up(of(address)) == found
    assert database.sort == sort
    assert database.made_s > MADE_S


DAMAGED: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no database": lambda: b"<html>404</html>" * 100,
    "no data": lambda: of_one(b""),
    "deep": lambda: of_one(b"\x01\x04" * 5000 + text("x")),
    "map of 10,000,000": lambda: of_one(b"\xff\x98\x81\x7f" + text("x")),
    "wide": lambda: of_one(doubled(40), doubled_start(40)),
    "key is a number": lambda: of_one(b"\xe1" + number(7, 5) + text("DE")),
    "key is a map": lambda: of_one(b"\xe1" + b"\xe0" + text("DE")),
    "no UTF-8": lambda: of_one(b"\xe1" + text("country_code") + b"\x42\xff\xff"),
    "pointer to itself": lambda: of_one(pointer(0)),
    "pointer to nowhere": lambda: of_one(pointer(2**31)),
    "loop": lambda: assembled([(0, 1), (1, 1)], GERMAN),
    "text is cut": lambda: of_one(b"\xe1" + text("country_code") + b"\x5f\xff\xff\xff"),
}


def doubled(levels: int) -> bytes:
    """Return arrays of two pointers to the one before: 2**levels texts in 12 bytes a level."""
    return text("x") + b"".join(
        pair(pointer(0 if level == 0 else 2 + 12 * (level - 1)), pointer(0 if level == 0 else 2 + 12 * (level - 1)))
        for level in range(levels)
    )


def doubled_start(levels: int) -> int:
    """Return where the last of these arrays begins."""
    return 2 + 12 * (levels - 1)


@pytest.mark.parametrize("damage", DAMAGED)
def test_damaged(tmp_path: Path, damage: str) -> None:
    """A damaged file is refused with its name, whatever is wrong with it."""
    path = saved(tmp_path, DAMAGED[damage]())
    with pytest.raises(BadDatabase, match=str(path)) as refused:
        Database(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400


def test_damage_is_made_as_the_format_is(tmp_path: Path) -> None:
    """What the damaged files are made with makes good ones, too."""
    database = Database(saved(tmp_path, of_one(GERMAN)))
    assert database.look_up(bytes(4)) == Found(Place("DE"))
    assert database.made_s == MADE_S
    record, start = doubled(3), doubled_start(3)
    read = maxminddb.open_database(str(saved(tmp_path, of_one(record, start))), maxminddb.MODE_MEMORY).get("1.1.1.1")
    assert read == [[["x", "x"]] * 2] * 2


def test_damage_behind_the_proof(tmp_path: Path) -> None:
    """A record that is damaged, and was not looked at, says nothing, and is counted."""
    database = Database(saved(tmp_path, of_one(GERMAN)))
    database._base += 5  # the records are elsewhere now
    assert database.look_up(bytes(4)) == NOTHING
    assert database.faults == 1


def test_bad_data_of_maxmind(tmp_path: Path) -> None:
    """Each of MaxMind's damaged files is refused, or answers; those that are only odd are refused as useless."""
    need_bundle()
    odd = [name for name in bundle() if name.startswith("libmaxminddb-") or "roken" in name or "Invalid" in name]
    assert len(odd) >= 17
    for name in odd:
        with pytest.raises(BadDatabase):
            Database(saved(tmp_path, bundle()[name]))


def test_nothing_ends_the_process(tmp_path: Path) -> None:
    """All of MaxMind's files, ours, and hundreds with changed bytes end no process that has 1 GB and a minute."""
    draw = random.Random(1)  # noqa: S311 - the same each time
    files = dict(bundle()) | {name: make() for name, make in DAMAGED.items()}
    for index, content in enumerate(draw.choices([content for content in files.values() if content], k=150)):
        changed = bytearray(content)
        for _ in range(draw.choice((1, 2, 4, 16, 64))):
            place = draw.randrange(len(changed))
            changed[place] = draw.choice((0, 0xFF, draw.randrange(256)))
        files[f"changed {index}"] = bytes(changed)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    last = done.stdout.splitlines()[-1:]
    assert (done.returncode, last) == (0, ["survived"]), (done.stderr[-2000:], last)


def test_cut_while_in_use(tmp_path: Path) -> None:
    """A file that is truncated, or written over, while it is in use changes nothing: there is no SIGBUS."""
    networks = {f"{first}.0.0.0/8": {**BERLIN, "city": f"city {first}"} for first in range(1, 200)}
    path = write(tmp_path / "a.mmdb", networks)
    database = Database(path)
    os.truncate(path, 0)
    assert database.look_up(of("150.0.0.1")).place == Place("DE", "city 150", 52.5, 13.4, CITY_KM)


def test_no_file(tmp_path: Path) -> None:
    """What cannot be read is refused: nothing there, a folder, a pipe that nobody writes to, a device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (tmp_path / "nothing", tmp_path, pipe, Path("/dev/zero")):
        with pytest.raises(BadDatabase, match=str(path)):
            Database(path)


def test_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is larger than any database is not read."""
    path = saved(tmp_path, of_one(GERMAN))
    monkeypatch.setattr("geo.database.MOST_BYTES", path.stat().st_size)
    assert Database(path)
    monkeypatch.setattr("geo.database.MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(BadDatabase, match="not a file of 1 to"):
        Database(path)


def test_useless(tmp_path: Path) -> None:
    """A sound database that says nothing of what we ask for is refused, for it was probably named by mistake."""
    with pytest.raises(BadDatabase, match="nothing of use"):
        Database(write(tmp_path / "a.mmdb", {"1.0.0.0/8": {"domain": "example.org"}}))


@pytest.mark.parametrize(
    "name", ["GeoIP2-City-Test", "GeoLite2-ASN-Test", "GeoIP2-ISP-Test", "GeoIP2-Anonymous-IP-Test"]
)
def test_ranges(tmp_path: Path, name: str) -> None:
    """All networks, put into a prefix set, find what the database finds."""
    need_bundle()
    database = Database(saved(tmp_path, bundle()[f"{name}.mmdb"]))
    networks, lengths, which, found = database.ranges()
    prefixes = PrefixSet(build(Rows(networks, lengths, (which + 1).astype("u4"))))
    draw = random.Random(1)  # noqa: S311 - the same each time
    addresses = [network.tobytes() for network in networks] + [draw.randbytes(16) for _ in range(1000)]
    addresses += [draw.randbytes(4) for _ in range(1000)]
    addresses = [each[12:] if each.startswith(bytes(10) + b"\xff\xff") else each for each in addresses]
    for address in addresses:
        if address.startswith((b"\x20\x02", b"\x20\x01\0\0", bytes(12))):
            continue  # other ways to IPv4, which nobody is a client by
        value = prefixes.look_up(address)
        assert (found[value - 1] if value else NOTHING) == database.look_up(address), address


def test_ranges_of_a_damaged_file(tmp_path: Path) -> None:
    """Who wants all of a file that is damaged is told so."""
    database = Database(saved(tmp_path, of_one(GERMAN)))
    database._base += 5
    with pytest.raises(BadDatabase):
        database.ranges()
