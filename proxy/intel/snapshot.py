"""The last good list of each feed, on disk: `intel/<name>.feed` in HKPGUARD_STATE_DIR.

A snapshot is what its source listed when it was asked last: who is not in it any more is listed no more. When it was
confirmed last, by the same list again or by "not modified", is the time of the file, which costs no writing. What is
wrong with a file costs the list, which is fetched again, never the guard.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

import numpy as np
import structlog

from proxy.intel import columns
from proxy.intel.columns import BadFile, Column
from proxy.intel.listing import Listings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from proxy.settings.intel import FeedConfig

FOLDER: Final = "intel"  # in HKPGUARD_STATE_DIR
SUFFIX: Final = ".feed"
VERSION: Final = 1
_COLUMNS: Final = {
    "networks": Column(np.uint8, 16),
    "lengths": Column(np.uint8),
    "severities": Column(np.float32),
    "until_s": Column(np.float64),
    "note_numbers": Column(np.uint32),
}
_LONGEST_PREFIX: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What a feed listed.

    Attributes:
        name: Of the feed.
        source: Of what, see `source_of`.
        listings: The list.
        confirmed_s: When its source said so last, seconds since 1970.
        marks: What the source is asked with next time: the ETag and the like.

    """

    name: str
    source: str
    listings: Listings
    confirmed_s: float
    marks: Mapping[str, str] = field(default_factory=dict)


def source_of(feed: FeedConfig) -> str:
    """Return a short text that changes if a feed gets another source, or its list is read in another way."""
    return blake2b(f"{feed.format} {feed.url}".encode(), digest_size=8).hexdigest()


class SnapshotStore:
    """The snapshots of one node; one process writes them."""

    def __init__(self, folder: Path) -> None:
        """`folder`: FOLDER in HKPGUARD_STATE_DIR."""
        self._folder = folder
        self._log = structlog.get_logger()

    def load(self, name: str, feed: FeedConfig, now_s: float) -> Snapshot | None:
        """Return the snapshot of a feed; None if there is none, of this source, that is still believed."""
        try:
            return self._loaded(name, feed, now_s)
        except FileNotFoundError:
            pass
        except (OSError, BadFile) as error:
            self._log.error("the last list of a feed could not be read", feed=name, problem=str(error))
        return None

    def _loaded(self, name: str, feed: FeedConfig, now_s: float) -> Snapshot | None:
        path = self._path(name)
        confirmed_s = min(path.stat().st_mtime, now_s)
        if now_s - confirmed_s >= feed.expires_ns / 1e9:
            return None
        told, found = columns.read(path, _COLUMNS)
        match told:
            case {"version": int(version), "source": str(source), "notes": list(notes), "marks": dict(marks)} if (
                version == VERSION
            ):
                if source != source_of(feed):
                    return None
                listings = Listings(**found, notes=tuple(map(str, notes)))
                _check(listings)
                texts = {str(mark): str(text) for mark, text in marks.items()}
                return Snapshot(name=name, source=source, listings=listings, confirmed_s=confirmed_s, marks=texts)
        raise BadFile("it is not as this program writes it")

    def save(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the one before; OSError if it cannot be written."""
        listings = snapshot.listings
        told = {
            "version": VERSION,
            "source": snapshot.source,
            "marks": dict(snapshot.marks),
            "notes": list(listings.notes),
        }
        columns.write(self._path(snapshot.name), told, {name: getattr(listings, name) for name in _COLUMNS})
        self.confirm(snapshot.name, snapshot.confirmed_s)

    def confirm(self, name: str, now_s: float) -> None:
        """Note that the source says the same; OSError if that cannot be."""
        os.utime(self._path(name), (now_s, now_s))

    def keep(self, names: Collection[str]) -> None:
        """Remove the snapshots of all feeds but these."""
        for path in self._folder.glob(f"*{SUFFIX}"):
            if path.name.removesuffix(SUFFIX) not in names:
                path.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Forget a feed's list."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}{SUFFIX}"


def _check(listings: Listings) -> None:
    """Raise BadFile unless the columns fit together."""
    count = len(listings)
    same = all(len(getattr(listings, name)) == count for name in _COLUMNS)
    if not same or (count and listings.lengths.max() > _LONGEST_PREFIX):
        raise BadFile("its columns do not fit together")
    if count and listings.note_numbers.max() >= len(listings.notes):
        raise BadFile("it has a note that is not there")
