"""One mmdb file, read so that nothing that is in it, and nothing that happens to it, can hurt whoever asks.

- It is read into memory whole. A file that is mapped ends the process with SIGBUS when somebody truncates it, or
  writes the next one over it, or its disk fails.
- Records are decoded in Python. maxminddb's compiled reader takes a tenth of the time, and ends the process when a
  single byte is wrong in the right place: it takes the key of a map for a text without looking (3.2.0). What was
  decoded is kept for all networks that share a record, and the search in the tree is our own, so it hardly matters.
- It is proved before it is used: of networks from everywhere in it each record must be readable, and one must say
  something that we can use.
- A look-up answers with nothing where the file is damaged all the same, and `faults` counts that. maxminddb bounds the
  depth, the size and the number of values of a record (from 3.2 on), so that small files do not unfold into large ones.
"""

from __future__ import annotations

import io
import os
import stat
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

import maxminddb
import numpy as np
from maxminddb.decoder import Decoder

from geo.record import NOTHING, Found, read
from geo.tree import Tree, spread

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

MOST_BYTES: Final = 1 << 30
MOST_NETWORKS: Final = 16_000_000
MOST_KEPT: Final = 16_384  # records
FOLLOWED, PROVED = 64, 256  # of the tree, nodes at each depth; of the records
LATEST_S: Final = 1 << 33  # what says that it was made after that, was not
SEPARATOR_BYTES: Final = 16  # between the tree and the data
LONGEST_TEXT: Final = 200  # characters of what is wrong
# UnicodeDecodeError is a ValueError; TypeError comes of metadata that are none, and of maps as keys of maps.
DAMAGES: Final = (maxminddb.InvalidDatabaseError, ValueError, TypeError, OSError)
# What a database can say, the best first.
SORTS: Final[dict[str, Callable[[Found], bool]]] = {
    "city": lambda found: found.place is not None and found.place.located,
    "country": lambda found: found.place is not None,
    "asn": lambda found: found.holder is not None,
    "anonymous": lambda found: bool(found.kind),
}


class BadDatabase(Exception):
    """A file is not to be used; the text says which, and what is wrong with it."""


class Networks(NamedTuple):
    """All networks of a database, as arrays of one length, in no order.

    They are as in `fastpath.prefix_build.Rows`: IPv4 stands in ::ffff:0:0/96.
    """

    networks: NDArray[np.uint8]  # (n, 16), network order
    lengths: NDArray[np.uint8]  # (n,), 0..128
    which: NDArray[np.intp]  # (n,), indices of `found`
    found: list[Found]  # what is said; once for all networks that share a record


class Database:
    """An open database. Look-ups may run in several threads.

    Attributes:
        made_s: When it was made, seconds since 1970, as the file says; 0: it does not.
        sort: The first of SORTS that it is.
        faults: Look-ups that failed, because it is damaged.

    """

    def __init__(self, path: Path) -> None:
        """Open and prove a file.

        Raises:
            BadDatabase: It cannot be read, it is none, or it is damaged.

        """
        self._path = path
        self.faults = 0
        try:
            self._open()
            self.sort = self._prove()
        except DAMAGES as error:
            raise BadDatabase(f"{path}: {_text(error)}") from None

    def look_up(self, packed: bytes) -> Found:
        """Return what is said of an address, 4 or 16 bytes in network order; nothing if it is not in there."""
        pointer = self._tree.find(packed)
        if not pointer:
            return NOTHING
        try:
            return self._kept(pointer)
        except DAMAGES:
            self.faults += 1
            return NOTHING

    def ranges(self) -> Networks:
        """Return all networks, a million in half a second if they share few records; not for a loop.

        Each record takes 10 to 100 us, of which files of cities have some hundred thousand.

        Raises:
            BadDatabase: There are too many networks, or it is damaged.

        """
        try:
            leaves = self._tree.leaves(MOST_NETWORKS)
            pointers, which = np.unique(leaves.pointers, return_inverse=True)
            found = [self._read(pointer) for pointer in pointers.tolist()]
        except DAMAGES as error:
            raise BadDatabase(f"{self._path}: {_text(error)}") from None
        return Networks(leaves.networks, leaves.lengths, which, found)

    def _open(self) -> None:
        octets = _contents(self._path)
        about = maxminddb.open_database(io.BytesIO(octets), maxminddb.MODE_FD).metadata()
        self._tree = Tree(octets, about.node_count, about.record_size, about.ip_version)
        # What a record above the number of nodes points to, by the specification.
        self._base = self._tree.size_bytes - about.node_count
        self._decoder = Decoder(octets, self._tree.size_bytes + SEPARATOR_BYTES)
        self._kept = lru_cache(MOST_KEPT)(self._read)
        self.made_s = about.build_epoch if 0 < about.build_epoch < LATEST_S else 0

    def _read(self, pointer: int) -> Found:
        record, _ = self._decoder.decode(self._base + pointer)
        return read(record)

    def _prove(self) -> str:
        """Read records from everywhere; return what sort of database it is."""
        pointers = np.unique(self._tree.leaves(FOLLOWED, thin=True).pointers)
        some = pointers[spread(len(pointers), PROVED)].tolist()
        found = [self._read(pointer) for pointer in some]
        for sort, says in SORTS.items():
            if any(map(says, found)):
                return sort
        raise ValueError(f"{len(found)} records that were looked at say nothing of use")


def _contents(path: Path) -> bytes:
    """Return what is in a file, if it is one, of a size that is honest, and stays as it is meanwhile."""
    with open(path, "rb", buffering=0, opener=_opened) as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode) or not 0 < before.st_size <= MOST_BYTES:
            raise ValueError(f"not a file of 1 to {MOST_BYTES} bytes")
        octets = file.read(before.st_size)
        after = os.fstat(file.fileno())
    if (len(octets), before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise ValueError("it is being written")
    return octets


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe must not hold us


def _text(error: Exception) -> str:
    """Return what is wrong, in a line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    about = " ".join(str(error).split())[:LONGEST_TEXT]
    if isinstance(error, TypeError):
        return f"damaged: {about}"
    return "not a database of this format" if about.startswith("Error opening database file") else about
