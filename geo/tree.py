"""The search tree of an mmdb file: a binary trie, in which one address is found bit by bit, or all networks at once.

The file begins with nodes of two records, one for the next bit 0 and one for the next bit 1. A record below the number
of nodes is a node, that number itself says that there is nothing, and one above points to data. A tree of IPv6 holds
IPv4 in ::/96. Other ways to there (::ffff:0:0/96, 2002::/16, 2001::/32) lead to the same node, and are left out here.
Source: MaxMind DB File Format Specification 2.0.

Both are bounded whatever the file says: by the bits of an address, and what walks through all of it, level by level
with NumPy, by `most` in breadth. A tree with loops, which would have 2**128 networks, ends there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

BITS: Final = 128
FOUR_DEPTH: Final = 96  # of the node below which IPv4 is, and length of ::ffff:0:0/96
_HALF_BITS: Final = 64
_FOUR_BITS: Final = np.uint64(32)
_MAPPED: Final = np.uint64(0xFFFF << 32)  # the second half of ::ffff:0.0.0.0
_MIDDLE: Final = 28  # bits of a record, where a byte is shared by two


class BadTree(ValueError):
    """It is damaged, or larger than any that is honest; the text says how."""


class Leaves(NamedTuple):
    """Networks with data, as arrays of one length, in no order. IPv4 stands in ::ffff:0:0/96."""

    high: Words  # the first half of the address
    low: Words
    lengths: NDArray[np.uint8]  # 0..128
    pointers: NDArray[np.uint32]  # to data; equal ones to the same

    @property
    def networks(self) -> NDArray[np.uint8]:
        """The addresses as (n, 16) bytes, in network order."""
        return np.stack((self.high, self.low), axis=1).astype(">u8").view(np.uint8).reshape(-1, BITS // 8)


class _Level(NamedTuple):
    """Records at one depth, and the bits of an address that lead to each."""

    records: NDArray[np.uint32]
    high: Words
    low: Words

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> _Level:
        return _Level(self.records[chosen], self.high[chosen], self.low[chosen])


class Tree:
    """The tree of one file."""

    def __init__(self, octets: bytes, nodes: int, record_bits: int, version: int) -> None:
        """Find the nodes.

        Args:
            octets: The file.
            nodes: How many there are, as the metadata says.
            record_bits: 24, 28 or 32, likewise.
            version: 4 or 6, likewise.

        Raises:
            BadTree: There is no room for them in the file, or there are no such nodes.

        """
        self.size_bytes = nodes * record_bits // 4
        if not 0 < self.size_bytes <= len(octets) or record_bits not in _HALVES:
            raise BadTree(f"{nodes} nodes of 2 x {record_bits} bits in a file of {len(octets)} bytes")
        self._octets = octets
        self._nodes = np.frombuffer(octets, np.uint8, self.size_bytes).reshape(nodes, -1)
        self._count = nodes
        self._record_bits = record_bits
        self._half = _HALVES[record_bits]
        self._only_four = version == 4  # noqa: PLR2004 - of the Internet Protocol
        self._four = 0 if self._only_four else self._followed(0, 0, FOUR_DEPTH)

    def find(self, packed: bytes) -> int:
        """Return the pointer to the data of an address, 4 or 16 bytes; 0 if there is none."""
        bits = 8 * len(packed)
        if bits == BITS and self._only_four:
            return 0
        record = self._followed(0 if bits == BITS else self._four, int.from_bytes(packed, "big"), bits)
        return record if record > self._count else 0

    def leaves(self, most: int, *, thin: bool = False) -> Leaves:
        """Return the networks with data.

        Args:
            most: How many there may be.
            thin: If there are more, take some from everywhere.

        Raises:
            BadTree: There are more, or some are longer than an address.

        """
        found, count = [], 0
        level = _Level(np.zeros(1, np.uint32), np.zeros(1, np.uint64), np.zeros(1, np.uint64))
        if self._only_four:
            level = level._replace(low=np.full(1, _MAPPED))
        for depth in range(FOUR_DEPTH + 1 if self._only_four else 1, BITS + 1):
            level = self._below(level, depth)
            leaves = self._leaves_of(level.where(level.records > self._count), depth)
            level = level.where(self._inner(level, depth))
            found.append(leaves)
            count += len(leaves.lengths)
            if thin:
                level = level.where(spread(len(level.records), most))
            elif count + len(level.records) > most:
                raise BadTree(f"more than {most} networks")
        if len(level.records):
            raise BadTree("networks that are longer than an address")
        return Leaves(*(np.concatenate(columns) for columns in zip(*found, strict=True)))

    def _below(self, level: _Level, depth: int) -> _Level:
        """Return the two records of each node, at the depth that they are at."""
        octets = self._nodes[level.records].astype(np.uint32)
        left, right = _number(octets[:, :3]), _number(octets[:, -3:])
        if self._record_bits == _MIDDLE:
            left |= (octets[:, 3] & 0xF0) << 20
            right |= (octets[:, 3] & 0x0F) << 24
        elif self._record_bits > _MIDDLE:
            left, right = _number(octets[:, :4]), _number(octets[:, 4:])
        bit = np.uint64(1 << (BITS - depth) % _HALF_BITS)
        high, low = (level.high | bit, level.low) if depth <= _HALF_BITS else (level.high, level.low | bit)
        return _Level(
            np.concatenate((left, right)), np.concatenate((level.high, high)), np.concatenate((level.low, low))
        )

    def _inner(self, level: _Level, depth: int) -> NDArray[np.bool_]:
        """Tell which records are nodes, but not other ways to IPv4."""
        if self._only_four:
            return level.records < self._count
        other_way = (level.records == self._four) & ((depth != FOUR_DEPTH) | (level.high | level.low).astype(bool))
        inner: NDArray[np.bool_] = (level.records < self._count) & ~other_way
        return inner

    def _leaves_of(self, level: _Level, depth: int) -> Leaves:
        """Return the networks of records with data. What is around ::/96 holds all of IPv4, too."""
        high, low = level.high, level.low
        if not self._only_four and depth >= FOUR_DEPTH:
            twice = (high == 0) & (low >> _FOUR_BITS == _MAPPED >> _FOUR_BITS)  # nobody looks there for IPv4
            level = level.where(~twice)
            high, low = (
                level.high,
                np.where((level.high | level.low >> _FOUR_BITS) == 0, level.low | _MAPPED, level.low),
            )
        lengths = np.full(len(high), depth, np.uint8)
        around = level.records[(high | low) == 0] if depth < FOUR_DEPTH else level.records[:0]
        return Leaves(
            np.append(high, np.zeros(len(around), np.uint64)),
            np.append(low, np.full(len(around), _MAPPED)),
            np.append(lengths, np.full(len(around), FOUR_DEPTH, np.uint8)),
            np.append(level.records, around),
        )

    def _followed(self, node: int, address: int, bits: int) -> int:
        """Return the record that the bits of an address lead to from a node, or the last one before."""
        octets, half = self._octets, self._half
        while bits and node < self._count:
            bits -= 1
            node = half(octets, node, address >> bits & 1)
        return node


def _half_24(octets: bytes, node: int, bit: int) -> int:
    start = 6 * node + 3 * bit
    return int.from_bytes(octets[start : start + 3], "big")


def _half_28(octets: bytes, node: int, bit: int) -> int:
    start = 7 * node + 3 * bit
    four = int.from_bytes(octets[start : start + 4], "big")
    return four & 0xFFFFFFF if bit else four >> 8 | (four & 0xF0) << 20


def _half_32(octets: bytes, node: int, bit: int) -> int:
    start = 8 * node + 4 * bit
    return int.from_bytes(octets[start : start + 4], "big")


_HALVES: Final[dict[int, Callable[[bytes, int, int], int]]] = {24: _half_24, 28: _half_28, 32: _half_32}


def _number(octets: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Return the numbers that columns of bytes are, the first byte being the greatest."""
    number = octets[:, 0]
    for column in range(1, octets.shape[1]):
        number = number << np.uint32(8) | octets[:, column]
    return number


def spread(count: int, most: int) -> NDArray[np.intp]:
    """Return indices of `count` things: of all, or of `most` that are far from each other."""
    return np.unique(np.linspace(0, max(count - 1, 0), min(count, most)).astype(np.intp))
