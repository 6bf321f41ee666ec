"""Longest-prefix match, the specification: every length is tried, the longest first.

The compiled twin (`prefixes.pyx`) searches sorted ranges in shared memory; one contract suite runs on both.
"""

from collections.abc import Iterable
from typing import Final

_MAPPED: Final = bytes(10) + b"\xff\xff"  # ::ffff:0:0/96, where IPv4 stands among addresses of IPv6
_MAPPED_BITS: Final = 96


class PrefixSet:
    """A set in a dict; the method is described in `prefixes.pyi`."""

    def __init__(self, prefixes: Iterable[tuple[bytes, int, int]]) -> None:
        """Take networks (4 or 16 bytes), their lengths in their own family, and values; of equal ones the last."""
        self._values = {_first_bits(*_plain(network, length)): value for network, length, value in prefixes}

    def look_up(self, address: bytes) -> int:
        """Return the value of the longest prefix that holds the address, 0 if there is none."""
        if len(address) not in {4, 16}:
            raise ValueError(f"address has {len(address)} bytes, not 4 or 16")
        plain, most = _plain(address, 8 * len(address))
        prefixes = (_first_bits(plain, length) for length in range(most, -1, -1))
        return next((self._values[prefix] for prefix in prefixes if prefix in self._values), 0)


def _plain(network: bytes, length: int) -> tuple[bytes, int]:
    """Return an IPv4-mapped network as one of IPv4, any other as it is."""
    if network.startswith(_MAPPED) and length >= _MAPPED_BITS:
        return network.removeprefix(_MAPPED), length - _MAPPED_BITS
    return network, length


def _first_bits(network: bytes, length: int) -> tuple[int, int, int]:
    """Return what tells a prefix from others: bytes of an address, its length, its first bits."""
    return len(network), length, int.from_bytes(network) >> (8 * len(network) - length)
