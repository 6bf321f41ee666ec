"""What follows from all feeds, in a file that others map: `intel/combined` in HKPGUARD_STATE_DIR.

The courier writes it; the composer reads its columns, and the plugin and the admin API look addresses up.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from fastpath.origin import NetworkKind
from fastpath.prefix_build import Rows, build
from fastpath.prefixes import PrefixSet
from proxy.intel import columns
from proxy.intel.columns import BadFile, Column
from proxy.intel.combining import Verdicts
from proxy.settings.intel import MOST_FEEDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FILE: Final = "combined"  # in snapshot.FOLDER
VERSION: Final = 1
_COLUMNS: Final = {
    "networks": Column(np.uint8, 16),
    "lengths": Column(np.uint8),
    "rules": Column(np.uint8),
    "kinds": Column(np.uint8),
    "weights": Column(np.float32),
    "feeds": Column(np.uint32),
    "set": Column(np.uint8),
}


class Listed(NamedTuple):
    """What is known of an address."""

    rule: int  # fastpath.origin: LISTED_DENIED, LISTED_PRICED or 0
    kind: NetworkKind
    weight: float  # log-odds; 0: it is no evidence
    feeds: tuple[str, ...]  # who lists it, or a network around it


def write(path: Path, verdicts: Verdicts, feeds: Sequence[str]) -> None:
    """Put what follows in the place of what is at `path`; OSError if it cannot be written.

    Args:
        path: Of the file.
        verdicts: What follows.
        feeds: The names of the voices, in their order.

    """
    rows = np.arange(1, len(verdicts.lengths) + 1, dtype=np.uint32)
    found = build(Rows(verdicts.networks, verdicts.lengths, rows))
    parts = {field.name: getattr(verdicts, field.name) for field in fields(verdicts)}
    told = {"version": VERSION, "feeds": list(feeds)}
    columns.write(path, told, parts | {"set": np.frombuffer(found, np.uint8)})


class Combined:
    """A file that was written, as it was when it was opened.

    Attributes:
        verdicts: Its columns.
        feeds: The names of the feeds.

    """

    def __init__(self, path: Path, *, verify: bool = True) -> None:
        """Map a file.

        Args:
            path: Of the file.
            verify: Compare its checksum, which takes 1 ms for 1 MB.

        Raises:
            OSError: It cannot be opened.
            BadFile: It is damaged.

        """
        told, found = columns.read(path, _COLUMNS, verify=verify)
        try:
            self._set = PrefixSet(found.pop("set").data)
        except ValueError:
            raise BadFile("its set of prefixes is none") from None
        self.verdicts = Verdicts(**found)
        self.feeds = _names(told)
        if len({len(column) for column in found.values()}) > 1:
            raise BadFile("its columns do not fit together")

    def __len__(self) -> int:
        """Return the number of prefixes."""
        return len(self.verdicts.lengths)

    def find(self, address: bytes) -> Listed | None:
        """Return what is known of an address, None if that is nothing.

        Args:
            address: 4 or 16 bytes.

        Raises:
            ValueError: Another length.

        """
        row = self._set.look_up(address) - 1
        if not 0 <= row < len(self):
            return None
        verdicts = self.verdicts
        kind = int(verdicts.kinds[row])
        return Listed(
            rule=int(verdicts.rules[row]),
            kind=NetworkKind(kind) if kind in set(NetworkKind) else NetworkKind.UNKNOWN,
            weight=float(verdicts.weights[row]),
            feeds=tuple(name for number, name in enumerate(self.feeds) if int(verdicts.feeds[row]) >> number & 1),
        )

    def count(self, rule: int) -> int:
        """Return how many prefixes a rule holds for."""
        return int(np.count_nonzero(self.verdicts.rules == rule))


def _names(told: columns.Json) -> tuple[str, ...]:
    match told:
        case {"version": int(version), "feeds": list(names)} if version == VERSION and len(names) <= MOST_FEEDS:
            return tuple(map(str, names))
    raise BadFile("it is not as this program writes it")


class Latest:
    """The file as it is now, for those who look addresses up again and again.

    Attributes:
        combined: What is in it; None: there is none.
        changes: How often that has become something else.
        problem: Why it cannot be read; empty if all is well. What was read before stays.

    """

    def __init__(self, path: Path) -> None:
        """Read it if it is there."""
        self.combined: Combined | None = None
        self.changes = 0
        self.problem = ""
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self.refresh()

    def refresh(self) -> None:
        """Take up what is there, if that is another file."""
        try:
            found = self._path.stat()
            stamp = found.st_ino, found.st_mtime_ns
            if stamp == self._stamp:
                return
            # The courier has just written it: only that of a time before is read as a whole.
            self.combined = Combined(self._path, verify=self._stamp is None)
        except FileNotFoundError:  # there are no feeds
            self.changes += self.combined is not None
            self.combined, self._stamp, self.problem = None, (0, 0), ""
        except (OSError, BadFile) as error:
            self.problem = f"what follows from feeds cannot be read: {error}"
        else:
            self._stamp, self.problem = stamp, ""
            self.changes += 1
