"""All databases of a node, as one: where an address is, whose it is, and of what kind its network is.

    Sources: files by purpose -> Database each -> Found each -> Location, kept until a file changes

The first file that has coordinates counts, and if none has, the first that knows a country. Likewise the first that
has the number of the network. Of what kind that is, all of them together say.

A file that changes is opened and proved beside the one before, which then goes. A file that is damaged, or gone,
changes nothing: the last good one stays, and `problems` tells.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from geo.database import BadDatabase, Database
from geo.network_kind import kind_of
from geo.place import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from geo.place import Holder, Place
    from geo.record import Found

    Stamp = tuple[int, int, int]

MOST_KEPT: Final = 16_384  # locations
FOUR_BYTES, SIX_BYTES, SITE_BYTES = 4, 16, 8  # of an address of IPv4, of one of IPv6, and of its /64
_MAPPED: Final = bytes(10) + b"\xff\xff"


class Sources(NamedTuple):
    """Paths of files by what they are for; of one purpose the first counts where it knows an address."""

    city: tuple[str, ...] = ()
    country: tuple[str, ...] = ()
    asn: tuple[str, ...] = ()
    anonymous: tuple[str, ...] = ()

    def paths(self) -> Iterator[str]:
        """Yield each path once, in the order in which they count."""
        yield from dict.fromkeys(path for paths in self for path in paths)


class _Slot(NamedTuple):
    """What has become of a file."""

    stamp: Stamp | None  # None: it is not there
    database: Database | None  # the last good one
    problem: str  # with the file as it is


class Atlas:
    """The databases in use together. `refresh` may run in a thread beside `locate`, which a loop calls."""

    def __init__(self, sources: Sources) -> None:
        """Open the files; none of them needs to be good."""
        self._slots: dict[str, _Slot] = {}
        self._sources = sources
        self._locate: Callable[[bytes], Location] = partial(_location, ())
        self.refresh()

    def locate(self, packed: bytes) -> Location:
        """Return what is known of an address.

        Args:
            packed: 4 or 16 bytes in network order. An IPv4-mapped address is its IPv4 address. Of others in IPv6 the
                /64 is looked up: that is one client, and no file is finer where it can be believed.

        Raises:
            ValueError: Another length.

        """
        if len(packed) == FOUR_BYTES:
            return self._locate(packed)
        if len(packed) != SIX_BYTES:
            raise ValueError(f"address of {len(packed)} bytes, not 4 or 16")
        if packed.startswith(_MAPPED):
            return self._locate(packed[len(_MAPPED) :])
        return self._locate(packed[:SITE_BYTES].ljust(SIX_BYTES, b"\0"))

    def refresh(self, sources: Sources | None = None) -> bool:
        """Look whether files have changed, or others are to be used; return whether locations may be others now."""
        if sources is not None:
            self._sources = sources
        before = self.databases
        self._slots = {path: _looked_at(Path(path), self._slots.get(path)) for path in self._sources.paths()}
        if [*self.databases.items()] == [*before.items()]:  # in the same order
            return False
        self._locate = lru_cache(MOST_KEPT)(partial(_location, tuple(self.databases.values())))
        return True

    @property
    def databases(self) -> dict[str, Database]:
        """The open databases by their paths, in the order in which they count."""
        return {path: slot.database for path, slot in self._slots.items() if slot.database}

    def of(self, paths: Iterable[str]) -> list[Database]:
        """Return the open ones of some files."""
        open_ones = self.databases
        return [open_ones[path] for path in paths if path in open_ones]

    def problems(self, paths: Iterable[str]) -> list[str]:
        """Return what is wrong with some files, each with its path."""
        all_slots = self._slots  # another thread may put others in their place
        slots = [(path, all_slots[path]) for path in paths if path in all_slots]
        told = [slot.problem for _, slot in slots if slot.problem]
        return told + [
            f"{path}: damaged, {slot.database.faults} look-ups failed"
            for path, slot in slots
            if slot.database and slot.database.faults
        ]

    @property
    def problem(self) -> str:
        """What is wrong with any of the files; empty if nothing is."""
        return "; ".join(self.problems(self._slots))

    @property
    def sources(self) -> Sources:
        """What is to be used, open or not."""
        return self._sources


def _looked_at(path: Path, before: _Slot | None) -> _Slot:
    """Open a file if it is another one than before."""
    last_good = before and before.database
    try:
        about = path.stat()
    except OSError as error:
        return _Slot(None, last_good, f"{path}: {error.strerror}")
    stamp = about.st_ino, about.st_mtime_ns, about.st_size
    if before and before.stamp == stamp:
        return before
    try:
        return _Slot(stamp, Database(path), "")
    except BadDatabase as error:
        return _Slot(stamp, last_good, str(error))


def _location(databases: Sequence[Database], packed: bytes) -> Location:
    """Return what databases say together."""
    found = [database.look_up(packed) for database in databases]
    holder = _holder(found)
    return Location(_place(found), holder, kind_of(holder, (each.kind for each in found)))


def _place(found: Sequence[Found]) -> Place | None:
    places = [each.place for each in found if each.place]
    return next((place for place in places if place.located), places[0] if places else None)


def _holder(found: Sequence[Found]) -> Holder | None:
    holders = [each.holder for each in found if each.holder]
    return next((holder for holder in holders if holder.asn), holders[0] if holders else None)
