"""Builds the sets that `prefixes.pyx` searches: rows in any order become sorted ranges, and these the levels of trees.

NumPy sorts and Cython flattens, both without the interpreter's lock, so a thread may do it beside a loop. A million
rows take half a second, and 150 bytes each meanwhile.
"""

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fastpath.prefix_ranges import RANGE_BYTES, ROW_BYTES, flatten
from fastpath.prefixes import MAGIC_WORD, MOST_PREFIXES, NODE_KEYS, layout

Words = NDArray[np.uint64]

MOST_BITS: Final = 128
MAPPED_BITS: Final = 96  # of ::ffff:0:0/96, where IPv4 stands among addresses of IPv6 (RFC 4291, 2.5.5.2)
MAPPED: Final = bytes(10) + b"\xff\xff"
_HALF: Final = np.uint64(32)
_MAPPED_HALF: Final = np.uint64(0xFFFF)  # what stands above the IPv4 address
_LINE_WORDS: Final = 8
RANGE: Final = np.dtype([("high", "u8"), ("low", "u8"), ("value", "u8")])
_ROW: Final = np.dtype([("high", "u8"), ("low", "u8"), ("length", "u4"), ("value", "u4")])
if (_ROW.itemsize, RANGE.itemsize) != (ROW_BYTES, RANGE_BYTES):
    raise ImportError("fastpath.prefix_ranges was compiled with other rows")

_MASKS: Final = [(1 << MOST_BITS) - (1 << MOST_BITS - length) for length in range(MOST_BITS + 1)]
_HIGH_MASKS: Final = np.array([mask >> 64 for mask in _MASKS], np.uint64)
_LOW_MASKS: Final = np.array([mask & (1 << 64) - 1 for mask in _MASKS], np.uint64)


class Rows(NamedTuple):
    """Prefixes with their values, as arrays of one length.

    Of equal prefixes the last one counts; bits beyond the prefix do not. IPv4 stands in ::ffff:0:0/96: 192.0.2.0/24 is
    ::ffff:192.0.2.0/120. A shorter prefix around that is one of IPv6 and holds no IPv4 address.
    """

    networks: NDArray[np.uint8]  # (n, 16), network order
    lengths: NDArray[np.uint8]  # (n,), 0..128
    values: NDArray[np.uint32]  # (n,); 0: a hole in the prefixes around it

    @classmethod
    def of(cls, prefixes: Iterable[tuple[bytes, int, int]]) -> Self:
        """Return the rows of prefixes one by one.

        Args:
            prefixes: Network (4 or 16 bytes in network order), length in its own family, value 0..2**32 - 1.

        Raises:
            ValueError: A network of another size, or a length that is longer than it.
            OverflowError: A value out of range.

        """
        rows = [(_mapped(network, length), length + MOST_BITS - 8 * len(network), value)
                for network, length, value in prefixes]  # fmt: skip
        return cls(
            np.frombuffer(b"".join(network for network, _, _ in rows), np.uint8).reshape(-1, 16),
            np.array([length for _, length, _ in rows], np.uint8),
            np.array([value for _, _, value in rows], np.uint32),
        )

    def check(self) -> None:
        """Raise ValueError unless the arrays are what they should be."""
        count = len(self.networks)
        shapes = tuple(array.shape for array in self)
        if shapes != ((count, 16), (count,), (count,)) or count > MOST_PREFIXES:
            raise ValueError(f"arrays of shapes {shapes}, not (n, 16), (n,), (n,) with n in 0..{MOST_PREFIXES}")
        if [array.dtype.name for array in self] != ["uint8", "uint8", "uint32"]:
            raise ValueError("arrays are not of uint8, uint8, uint32")
        if count and self.lengths.max() > MOST_BITS:
            raise ValueError(f"prefix length {self.lengths.max()} not in 0..{MOST_BITS}")


class Ranges(NamedTuple):
    """What prefixes say, as the addresses from which on another value holds; arrays of RANGE, in order.

    The first range of each family begins at its address 0. Addresses of IPv4 stand in the first 32 bits.
    """

    four: NDArray[np.void]
    six: NDArray[np.void]


def build(rows: Rows) -> memoryview:
    """Return a set of these prefixes, for `PrefixSet` and `PrefixBook.publish`. Pure.

    Raises:
        ValueError: The arrays do not fit.

    """
    return assembled(flattened(rows), len(rows.networks))


def flattened(rows: Rows) -> Ranges:
    """Return the ranges of prefixes, in which nothing is nested any more.

    Raises:
        ValueError: The arrays do not fit.

    """
    rows.check()
    words = np.ascontiguousarray(rows.networks).view(">u8").astype(np.uint64)
    high, low = words[:, 0] & _HIGH_MASKS[rows.lengths], words[:, 1] & _LOW_MASKS[rows.lengths]
    four = (high == 0) & (low >> _HALF == _MAPPED_HALF) & (rows.lengths >= MAPPED_BITS)
    six = ~four
    lengths4 = rows.lengths[four] - MAPPED_BITS
    return Ranges(
        _ranges(low[four] << _HALF, np.zeros_like(low[four]), lengths4, rows.values[four]),
        _ranges(high[six], low[six], rows.lengths[six], rows.values[six]),
    )


def assembled(ranges: Ranges, prefixes: int) -> memoryview:
    """Return a set of ranges; `prefixes`: how many it is said to be built of."""
    plan = layout(len(ranges.four), len(ranges.six))
    octets = np.zeros(plan.size, np.uint8)
    octets.view(np.uint64)[: _LINE_WORDS // 2] = MAGIC_WORD, prefixes, len(ranges.four), len(ranges.six)
    _put_levels(octets, plan.levels4, (ranges.four["high"] >> _HALF).astype(np.uint32))
    _put(octets, plan.values4, ranges.four["value"].astype(np.uint32))
    _put_levels(octets, plan.levels6, ranges.six["high"])
    _put(octets, plan.lows6, ranges.six["low"])
    _put(octets, plan.values6, ranges.six["value"].astype(np.uint32))
    return octets.data


def _mapped(network: bytes, length: int) -> bytes:
    if len(network) not in {4, 16} or not 0 <= length <= 8 * len(network):
        raise ValueError(f"network of {len(network)} bytes with prefix length {length}")
    return network if len(network) == 16 else MAPPED + network  # noqa: PLR2004 - bytes of an address


def _ranges(high: Words, low: Words, lengths: NDArray[np.uint8], values: NDArray[np.uint32]) -> NDArray[np.void]:
    """Return the ranges of prefixes of one family; those of IPv4 stand in the first 32 bits."""
    order = np.lexsort((lengths, low, high))  # stable: equal prefixes stay in their order
    rows = np.empty(len(order), _ROW)
    rows["high"], rows["low"] = high[order], low[order]
    rows["length"], rows["value"] = lengths[order], values[order]
    ranges = np.empty(2 * len(order) + 1, RANGE)
    return ranges[: flatten(rows, ranges)]


def _put_levels(octets: NDArray[np.uint8], levels: list[tuple[int, int]], keys: NDArray[Any]) -> None:
    """Write the leaves and the levels above them: of each the first keys of the nodes of the one below."""
    for offset, count in levels:
        _put(octets, offset, np.full(-count % NODE_KEYS + count, ~keys.dtype.type(0)))
        _put(octets, offset, keys)
        keys = keys[::NODE_KEYS]


def _put(octets: NDArray[np.uint8], offset: int, array: NDArray[Any]) -> None:
    octets[offset : offset + array.nbytes].view(array.dtype)[:] = array
