"""What feeds say of networks: columns for the hundred thousands, rows for those who look at one.

A list of 100,000 addresses as objects costs 50 MB and a second; as columns 3 MB, and what is done with it - joined with
others, sorted, looked up, kept in a file - is NumPy's work. So `Listings` is what parsers give and the rest of the
package passes on, and `Listing` is made of a row where a person or a test wants to see one.

Prefixes stand as in `fastpath.prefix_build.Rows`: 16 bytes and a length of 0..128, IPv4 in ::ffff:0:0/96. So
`Rows(listings.networks, listings.lengths, values)` is a set to build.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastpath.prefix_build import MAPPED, MAPPED_BITS, MOST_BITS, Rows

NEVER: Final = np.inf  # `until_s` of what does not expire
USUAL_SEVERITY: Final = 0.5  # of a source that lists without saying how bad
# By the length of a prefix: the bits beyond it, as 16 bytes.
HOST_MASKS: Final = np.frombuffer(
    b"".join(((1 << MOST_BITS - length) - 1).to_bytes(16) for length in range(MOST_BITS + 1)), np.uint8
).reshape(-1, 16)
_HALF: Final = np.uint64(32)
_MAPPED_HALF: Final = np.uint64(0xFFFF)  # what stands above an IPv4 address in the low word


class ListingKind(StrEnum):
    """What a listed network is said to be."""

    ABUSE = "abuse"
    SCANNER = "scanner"
    TOR = "tor"
    VPN = "vpn"
    HOSTING = "hosting"
    CLOUD = "cloud"
    MOBILE = "mobile"
    WARNING = "warning"  # must not be blocked, whoever lists it


class Listing(NamedTuple):
    """A row of `Listings`.

    Args:
        network: IPv4 or IPv6, no host bits; one address is a /32 or /128.
        severity: How bad, and how sure its source is of that: 0..1.
        until_s: Wall time when it ends; None: when its source no longer lists it.
        note: Of the source: a scenario, a provider; may be empty. Hostile text, but short and printable ASCII.

    """

    network: IPv4Network | IPv6Network
    severity: float = USUAL_SEVERITY
    until_s: float | None = None
    note: str = ""


class Prefixes(NamedTuple):
    """Networks without more, as columns."""

    networks: NDArray[np.uint8]  # (n, 16), network order, IPv4 mapped
    lengths: NDArray[np.uint8]  # (n,), 0..128

    @classmethod
    def of(cls, networks: Iterable[IPv4Network | IPv6Network]) -> Self:
        """Return the columns of networks, in their order."""
        rows = Rows.of((network.network_address.packed, network.prefixlen, 0) for network in networks)
        return cls(rows.networks, rows.lengths)

    @property
    def four(self) -> NDArray[np.bool_]:
        """Which of them are of IPv4."""
        keys = prefix_keys(self)
        mapped: NDArray[np.bool_] = (keys["high"] == 0) & (keys["low"] >> _HALF == _MAPPED_HALF)
        return mapped & (self.lengths >= MAPPED_BITS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listings:
    """Listings as columns of one length, in the order of their prefixes, each prefix once."""

    networks: NDArray[np.uint8]  # (n, 16), network order, IPv4 mapped; no bits beyond the prefix
    lengths: NDArray[np.uint8]  # (n,), 0..128
    severities: NDArray[np.float32]  # (n,), 0..1
    until_s: NDArray[np.float64]  # (n,), wall time, NEVER
    note_numbers: NDArray[np.uint32]  # (n,), into `notes`
    notes: tuple[str, ...] = ("",)

    @classmethod
    def of(cls, listings: Iterable[Listing]) -> Self:
        """Return the columns of rows; for few of them."""
        rows = list(listings)
        networks, lengths = Prefixes.of(row.network for row in rows)
        notes = {note: number for number, note in enumerate(dict.fromkeys(["", *(row.note for row in rows)]))}
        return cls(
            networks=networks,
            lengths=lengths,
            severities=np.array([row.severity for row in rows], np.float32),
            until_s=np.array([NEVER if row.until_s is None else row.until_s for row in rows], np.float64),
            note_numbers=np.array([notes[row.note] for row in rows], np.uint32),
            notes=tuple(notes),
        ).ordered()

    def ordered(self) -> Self:
        """Return columns that came in any order in theirs; of equal prefixes the most severe counts."""
        keys = prefix_keys(self.prefixes)
        order = np.lexsort((self.until_s, self.severities, keys["length"], keys["low"], keys["high"]))
        keys = keys[order]
        return self.chosen(order[np.append(keys[1:] != keys[:-1], np.ones(min(1, len(keys)), bool))])

    def __len__(self) -> int:
        """Return the number of listings."""
        return len(self.lengths)

    def __getitem__(self, row: int) -> Listing:
        """Return one as a row."""
        until_s = float(self.until_s[row])
        return Listing(
            network_of(self.networks[row].tobytes(), int(self.lengths[row])),
            float(self.severities[row]),
            None if until_s == NEVER else until_s,
            self.notes[self.note_numbers[row]],
        )

    def __iter__(self) -> Iterator[Listing]:
        """Yield them as rows; for few of them."""
        return (self[row] for row in range(len(self)))

    def chosen(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return those of a mask, or of row numbers, in their order."""
        return type(self)(
            networks=self.networks[rows],
            lengths=self.lengths[rows],
            severities=self.severities[rows],
            until_s=self.until_s[rows],
            note_numbers=self.note_numbers[rows],
            notes=self.notes,
        )

    def without(self, prefixes: Prefixes) -> Self:
        """Return those whose prefix is none of these; one inside of another is another prefix."""
        return self.chosen(~np.isin(_words(prefix_keys(self.prefixes)), _words(prefix_keys(prefixes))))

    @property
    def prefixes(self) -> Prefixes:
        """Their networks alone."""
        return Prefixes(self.networks, self.lengths)


_KEY: Final = np.dtype([("high", "u8"), ("low", "u8"), ("length", "u8")])


def prefix_keys(prefixes: Prefixes) -> NDArray[np.void]:
    """Return the prefixes as records `high`, `low`, `length` of uint64, which compare equal if they are."""
    words = np.ascontiguousarray(prefixes.networks).view(">u8")
    keys = np.empty(len(prefixes.lengths), _KEY)
    keys["high"], keys["low"], keys["length"] = words[:, 0], words[:, 1], prefixes.lengths
    return keys


def joined(parts: Sequence[Listings]) -> Listings:
    """Return all of them as one; of equal prefixes the most severe counts, then the longest."""
    notes = tuple(dict.fromkeys(["", *(note for part in parts for note in part.notes)]))
    numbers = {note: number for number, note in enumerate(notes)}
    renumbered = [np.array([numbers[note] for note in part.notes], np.uint32)[part.note_numbers] for part in parts]
    return Listings(
        networks=np.concatenate([np.empty((0, 16), np.uint8), *(part.networks for part in parts)]),
        lengths=np.concatenate([np.empty(0, np.uint8), *(part.lengths for part in parts)]),
        severities=np.concatenate([np.empty(0, np.float32), *(part.severities for part in parts)]),
        until_s=np.concatenate([np.empty(0, np.float64), *(part.until_s for part in parts)]),
        note_numbers=np.concatenate([np.empty(0, np.uint32), *renumbered]),
        notes=notes,
    ).ordered()


def network_of(packed: bytes, length: int) -> IPv4Network | IPv6Network:
    """Return the network of 16 bytes and a length among addresses of IPv6; one of ::ffff:0:0/96 is of IPv4."""
    if packed.startswith(MAPPED) and length >= MAPPED_BITS:
        return ip_network((packed.removeprefix(MAPPED), length - MAPPED_BITS))
    return ip_network((packed, length))


def _words(keys: NDArray[np.void]) -> NDArray[np.void]:
    """Return records as opaque bytes, which NumPy sorts."""
    return keys.view(f"V{_KEY.itemsize}")
