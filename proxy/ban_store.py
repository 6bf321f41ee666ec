"""Bans on disk, so that they survive a restart: `bans.sqlite3` in HKPGUARD_STATE_DIR.

The file holds addresses of clients, which are personal data: only its owner may read it, a row goes as soon as its ban
is over and its rung forgotten, and what was deleted is overwritten with the next checkpoint. Times are seconds since
1970, because nothing else outlives the machine's next start.

What goes wrong here costs persistence, never the guard: the store says so in `problem`, in the log once, and tries
again. A file that is damaged, or of another version, is renamed to `bans.sqlite3.bad` and a new one begun.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from fastpath import key_text, parse_network
from proxy.policy.offender import Origin

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

VERSION: Final = 1
FILE: Final = "bans.sqlite3"
MOST_ROWS: Final = 131_072
LONGEST_SECONDS: Final = 366 * 86_400
HIGHEST_RUNG: Final = 1000
WAIT_SECONDS: Final = 0.2  # for somebody else who has the file open
_SCHEMA: Final = """
    CREATE TABLE bans (
        network TEXT NOT NULL,
        origin TEXT NOT NULL,
        since REAL NOT NULL,
        until REAL NOT NULL,
        rung INTEGER NOT NULL,
        reason TEXT NOT NULL,
        PRIMARY KEY (network, origin)
    ) WITHOUT ROWID
"""
_INSERT: Final = "INSERT OR REPLACE INTO bans VALUES (?, ?, ?, ?, ?, ?)"
_SELECT: Final = "SELECT network, origin, since, until, rung, reason FROM bans ORDER BY until DESC LIMIT ?"
_DAMAGE: Final = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})  # primary codes
_STORED: Final = frozenset({Origin.LADDER, Origin.MANUAL, Origin.CLUSTER})


class Row(NamedTuple):
    """A ban as it is written down; times in seconds since 1970."""

    key: int
    origin: Origin
    since: float
    until: float
    rung: int
    reason: str


class BanStore:
    """The file of one node; nobody else writes it.

    Attributes:
        problem: Why nothing is written at the moment; empty if all is well.

    """

    def __init__(self, folder: str) -> None:
        """Open the file in `folder`; make both if they are missing."""
        self._path = Path(folder) / FILE
        self._log = structlog.get_logger().bind(file=str(self._path))
        self._database: sqlite3.Connection | None = None
        self.problem = ""
        self._open()

    def _open(self) -> bool:
        """Try to open the file; true if it can be used."""
        if self._database is not None:
            return True
        try:
            self._database = self._opened()
        except (OSError, sqlite3.Error) as error:
            self._failed(error)
        return self._database is not None

    def _opened(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._path.chmod(0o600)
        database = sqlite3.connect(self._path, timeout=WAIT_SECONDS, isolation_level=None)
        try:
            _prepare(database)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _failed(self, error: Exception) -> None:
        """Begin anew if the file is to blame, else go on without; say so once."""
        if _damaged(error) and self._set_aside(error):
            return
        if not self.problem:
            self._log.error("bans are not written down and will not survive a restart", problem=str(error))
        self.problem = f"bans are not written to {self._path}: {error}"

    def _set_aside(self, error: Exception) -> bool:
        """Rename what cannot be used, and begin a new file; true if that worked."""
        aside = self._path.with_name(FILE + ".bad")
        self._log.error("bans could not be read, starting without", problem=str(error), kept_as=str(aside))
        try:
            self._path.replace(aside)
            for suffix in ("-wal", "-shm"):
                self._path.with_name(FILE + suffix).unlink(missing_ok=True)
            self._database = self._opened()
        except (OSError, sqlite3.Error):
            return False
        return True

    def load(self) -> list[Row]:
        """Return what was written down; rows that make no sense are left out."""
        if self._database is None:
            return []
        try:
            found = self._database.execute(_SELECT, (MOST_ROWS,)).fetchall()
        except sqlite3.Error as error:
            self.close()
            self._failed(error)
            return []
        rows = [row for fields in found if (row := _row(fields)) is not None]
        if len(rows) < len(found):
            self._log.warning("some bans could not be read", count=len(found) - len(rows))
        return rows

    def save(self, kept: Mapping[int, Iterable[Row]], *, replace_all: bool = False) -> bool:
        """Write the rows of some keys in the place of those that they had, all or none; false if that failed.

        `replace_all`: in the place of all that is in the file.
        """
        if not self._open() or self._database is None:
            return False
        try:
            self._write(self._database, kept, replace_all=replace_all)
        except sqlite3.Error as error:
            self.close()  # which undoes what was begun
            self._failed(error)
            return False
        if self.problem:
            self.problem = ""
            self._log.info("bans are written down again")
        return True

    @staticmethod
    def _write(database: sqlite3.Connection, kept: Mapping[int, Iterable[Row]], *, replace_all: bool) -> None:
        database.execute("BEGIN IMMEDIATE")
        if replace_all:
            database.execute("DELETE FROM bans")
        else:
            database.executemany("DELETE FROM bans WHERE network = ?", ((key_text(key),) for key in kept))
        rows = (row for each in kept.values() for row in each)
        database.executemany(_INSERT, ((key_text(row.key), *row[1:]) for row in rows))
        database.execute("COMMIT")

    def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            self._database.close()
            self._database = None


class _UnusableFile(sqlite3.DatabaseError):
    """It can be read, but not understood."""


def _damaged(error: Exception) -> bool:
    """Tell a bad file from one that cannot be reached at the moment."""
    return isinstance(error, _UnusableFile) or getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def _prepare(database: sqlite3.Connection) -> None:
    """Check a file, or fill an empty one; sqlite3.Error if that cannot be done, or it is of another version."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version not in {0, VERSION}:
        raise _UnusableFile(f"version {version}, not {VERSION}")
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _UnusableFile(str(verdict))
    database.execute("PRAGMA secure_delete = ON")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    if version == 0:
        database.execute("DROP TABLE IF EXISTS bans")
        database.execute(_SCHEMA)
        database.execute(f"PRAGMA user_version = {VERSION}")


def _row(fields: tuple[object, ...]) -> Row | None:
    """Return what was read, None if it makes no sense."""
    network, origin, since, until, rung, reason = fields
    if not isinstance(network, str) or not isinstance(reason, str) or origin not in _STORED:
        return None
    if not isinstance(since, float) or not isinstance(until, float) or not isinstance(rung, int):
        return None
    if not 0 <= until - since <= LONGEST_SECONDS or not 0 <= rung <= HIGHEST_RUNG:
        return None
    try:
        return Row(parse_network(network), Origin(str(origin)), since, until, rung, reason)
    except ValueError:
        return None
