"""Bans on disk: what is written is read again, and whatever is wrong with the file costs no more than the bans."""

from __future__ import annotations

import os
import sqlite3
import stat
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from fastpath import parse_network
from proxy.ban_store import FILE, BanStore, Row
from proxy.policy.offender import Origin

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ALICE, SIX, NET = (parse_network(text) for text in ("192.0.2.1", "2001:db8::/64", "192.0.2.0/24"))
HIGH = parse_network("fe80::/64")  # its key is beyond the integers of SQLite
DAY = 86_400.0
NOW = 1.8e9


def row(key: int = ALICE, origin: Origin = Origin.LADDER, length: float = DAY, **fields: Any) -> Row:
    """Return a row of a ban that began at NOW."""
    return Row(key, origin, NOW, NOW + length, 1, "4 trap")._replace(**fields)


def by_key(*rows: Row) -> dict[int, list[Row]]:
    """Return rows as `save` takes them."""
    found: dict[int, list[Row]] = {}
    for each in rows:
        found.setdefault(each.key, []).append(each)
    return found


def read(folder: Path) -> set[Row]:
    """Return what a new store finds."""
    store = BanStore(str(folder))
    rows = set(store.load())
    store.close()
    return rows


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Bans of all kinds of networks and both origins, to the microsecond."""
    rows = {
        row(),
        row(origin=Origin.MANUAL, reason="ünwanted"),
        row(SIX, since=NOW + 0.25),
        row(NET, Origin.MANUAL, rung=0, reason=""),
        row(HIGH),
    }
    store = BanStore(str(tmp_path))
    assert store.load() == []
    assert store.save(by_key(*rows))
    assert (set(store.load()), store.problem) == (rows, "")
    store.close()
    assert read(tmp_path) == rows


def test_rows_are_replaced_by_key(tmp_path: Path) -> None:
    """What a key had goes, with both origins; other keys are left alone, unless all are replaced."""
    store = BanStore(str(tmp_path))
    store.save(by_key(row(), row(origin=Origin.MANUAL), row(NET)))
    store.save(by_key(row(length=7)) | {SIX: []})
    assert set(store.load()) == {row(length=7), row(NET)}
    store.save({ALICE: []})
    assert set(store.load()) == {row(NET)}
    store.save(by_key(row(SIX)), replace_all=True)
    assert set(store.load()) == {row(SIX)}
    store.close()


def test_only_its_owner_may_read_it(tmp_path: Path) -> None:
    """The folder is made with mode 0700, the files with 0600, also those beside the file, whatever the umask."""
    folder = tmp_path / "new" / "state"
    before = os.umask(0)
    try:
        store = BanStore(str(folder))
        store.save(by_key(row()))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        files = list(folder.iterdir())
        assert {each.name for each in files} >= {FILE, FILE + "-wal"}
        assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}
        store.close()
    finally:
        os.umask(before)


def test_file_that_others_could_read(tmp_path: Path) -> None:
    """It is closed to them."""
    (tmp_path / FILE).touch(0o644)
    BanStore(str(tmp_path)).close()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_what_is_deleted_is_gone(tmp_path: Path) -> None:
    """No trace of an address is left in the folder."""
    store = BanStore(str(tmp_path))
    store.save(by_key(row()))
    store.save({ALICE: []})
    store.close()
    assert b"192.0.2.1" not in b"".join(each.read_bytes() for each in tmp_path.iterdir())


def test_killed_process(tmp_path: Path) -> None:
    """What was saved is there, although nobody closed the file."""
    store = BanStore(str(tmp_path))
    store.save(by_key(row()))
    assert read(tmp_path) == {row()}
    store.close()


def garbage(path: Path) -> None:
    """Write what is no database."""
    path.write_bytes(b"no database" * 1000)


def cut(path: Path) -> None:
    """Leave the first page and rubbish."""
    store = BanStore(str(path.parent))
    store.save(by_key(*(row(parse_network(f"192.0.2.{number}"), reason="x" * 200) for number in range(256))))
    store.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))


def other_version(path: Path) -> None:
    """Write a database of a later version."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bans (a)")
        database.execute("PRAGMA user_version = 77")
    database.close()


def other_table(path: Path) -> None:
    """Write a database of this version whose table is another."""
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bans (a)")
        database.execute("PRAGMA user_version = 1")
    database.close()


@pytest.mark.parametrize("spoil", [garbage, cut, other_version, other_table])
def test_bad_file(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    """It is put aside, with a line in the log; a new one is begun and works."""
    spoil(tmp_path / FILE)
    bad = (tmp_path / FILE).read_bytes()
    with capture_logs() as log:
        store = BanStore(str(tmp_path))
        assert store.load() == []
        assert store.save(by_key(row()))
    assert [each["event"] for each in log] == ["bans could not be read, starting without"]
    assert log[0]["kept_as"] == str(tmp_path / f"{FILE}.bad")
    assert len((tmp_path / f"{FILE}.bad").read_bytes()) == len(bad)
    assert store.problem == ""
    store.close()
    assert read(tmp_path) == {row()}


@pytest.mark.parametrize(
    "fields",
    [
        ("192.0.2.300", "ladder", NOW, NOW + 1, 1, ""),
        ("192.0.2.0/25", "manual", NOW, NOW + 1, 0, ""),
        ("192.0.2.9", "widened", NOW, NOW + 1, 0, ""),
        ("192.0.2.9", "rubbish", NOW, NOW + 1, 0, ""),
        ("192.0.2.9", "ladder", NOW, NOW - 1, 1, ""),
        ("192.0.2.9", "ladder", NOW, NOW + 400 * DAY, 1, ""),
        ("192.0.2.9", "ladder", NOW, float("inf"), 1, ""),
        ("192.0.2.9", "ladder", "soon", NOW, 1, ""),
        ("192.0.2.9", "ladder", NOW, NOW + 1, "first", ""),
        ("192.0.2.9", "ladder", NOW, NOW + 1, -1, ""),
        ("192.0.2.9", "ladder", NOW, NOW + 1, 1, b"\xff"),
        (b"\xff", "ladder", NOW, NOW + 1, 1, ""),
    ],
)
def test_rows_that_make_no_sense(tmp_path: Path, fields: tuple[object, ...]) -> None:
    """They are left out, the others are not."""
    store = BanStore(str(tmp_path))
    store.save(by_key(row()))
    store.close()
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute("INSERT INTO bans VALUES (?, ?, ?, ?, ?, ?)", fields)
    database.close()
    with capture_logs() as log:
        assert read(tmp_path) == {row()}
    assert [(each["event"], each["count"]) for each in log] == [("some bans could not be read", 1)]


def test_folder_that_cannot_be_used(tmp_path: Path) -> None:
    """One line in the log, however often it is tried, and a text that says why; nothing else happens."""
    (tmp_path / "file").touch()
    with capture_logs() as log:
        store = BanStore(str(tmp_path / "file" / "state"))
        assert store.load() == []
        assert not store.save(by_key(row()))
        assert not store.save(by_key(row()))
        store.close()
    assert [(each["event"], each["log_level"]) for each in log] == [
        ("bans are not written down and will not survive a restart", "error")
    ]
    assert "Not a directory" in store.problem


def test_file_that_is_a_folder(tmp_path: Path) -> None:
    """The same."""
    (tmp_path / FILE).mkdir()
    store = BanStore(str(tmp_path))
    assert not store.save(by_key(row()))
    assert "Is a directory" in store.problem


def test_it_comes_back(tmp_path: Path) -> None:
    """When the folder can be used again bans are written again; the log says both once."""
    blocker = tmp_path / "state"
    blocker.touch()
    with capture_logs() as log:
        store = BanStore(str(blocker))
        store.save(by_key(row()))
        blocker.unlink()
        assert store.save(by_key(row()))
        assert store.save(by_key(row()))
    assert [each["event"] for each in log] == [
        "bans are not written down and will not survive a restart",
        "bans are written down again",
    ]
    assert store.problem == ""
    store.close()
    assert read(blocker) == {row()}


def test_file_that_somebody_else_holds(tmp_path: Path) -> None:
    """It is not taken for a bad one: nothing is written as long as that lasts, and nothing is lost."""
    store = BanStore(str(tmp_path))
    store.save(by_key(row()))
    other = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert not store.save(by_key(row(NET)))
    assert "locked" in store.problem
    other.execute("ROLLBACK")
    other.close()
    assert store.save(by_key(row(NET)))
    assert set(store.load()) == {row(), row(NET)}
    store.close()


def test_all_or_nothing(tmp_path: Path) -> None:
    """If one row cannot be written, none is, and what was there stays."""
    store = BanStore(str(tmp_path))
    store.save(by_key(row()))
    assert not store.save(by_key(row(NET)) | {ALICE: [row(reason=None)]})
    store.close()
    assert read(tmp_path) == {row()}
