"""From an address, a CIDR or a range as it is written to prefixes, 16 bytes and a length, IPv4 in ::ffff:0:0/96.

Only what every resolver takes for the same: no leading zeros (010.0.0.1 is 8.0.0.1 to some), no zone, no netmask in
place of a length, no short form such as 127.1. That is what inet_pton takes, in a fifth of the time of `ipaddress`.
"""

from collections.abc import Iterator
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from fastpath.prefix_build import MAPPED, MAPPED_BITS, MOST_BITS
from proxy.intel.formats.reading import Limits

Prefix = tuple[bytes, int]

_LENGTHS4: Final = {str(length): MAPPED_BITS + length for length in range(MOST_BITS - MAPPED_BITS + 1)}
_LENGTHS6: Final = {str(length): length for length in range(MOST_BITS + 1)}


class BadAddress(ValueError):
    """No address, CIDR or range; the text says why, and repeats nothing of it."""


def prefixes_of(text: str, limits: Limits) -> list[Prefix]:
    """Return the prefixes of `address`, `address/length` or `first-last`, which may have bits beyond their length.

    Raises:
        BadAddress: It is none of these, or a range that is wider than a prefix may be.

    """
    address, slash, length = text.partition("/")
    if slash:
        lengths = _LENGTHS6 if ":" in address else _LENGTHS4
        if length not in lengths:
            raise BadAddress("has a wrong prefix length")
        return [(packed_of(address), lengths[length])]
    first, dash, last = text.partition("-")
    if dash:
        return range_of(first.strip(), last.strip(), limits)
    return [(packed_of(address), MOST_BITS)]


def range_of(first: str, last: str, limits: Limits) -> list[Prefix]:
    """Return the prefixes from the first address to the last one.

    Raises:
        BadAddress: They are no addresses of one family, in the wrong order, or too far apart.

    """
    low, high = packed_of(first), packed_of(last)
    four = low.startswith(MAPPED)
    if four != high.startswith(MAPPED):
        raise BadAddress("is a range between IPv4 and IPv6")
    if low > high:
        raise BadAddress("is a range that ends before it begins")
    widest = MAPPED_BITS + limits.widest4 if four else limits.widest6
    if int.from_bytes(high) - int.from_bytes(low) >= 1 << MOST_BITS - widest:
        raise BadAddress("is a range that is too wide")
    return [(start.to_bytes(16), length) for start, length in _split(int.from_bytes(low), int.from_bytes(high))]


def packed_of(text: str) -> bytes:
    """Return an address as 16 bytes; BadAddress if it is none."""
    try:
        return inet_pton(AF_INET6, text) if ":" in text else MAPPED + inet_pton(AF_INET, text)
    except (OSError, ValueError):  # ValueError: a NUL, or half of a surrogate pair
        raise BadAddress("is no address") from None


def _split(first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield the fewest prefixes that are the range: at most two of each length."""
    while first <= last:
        aligned = (first & -first).bit_length() - 1 if first else MOST_BITS
        bits = min(aligned, (last - first + 1).bit_length() - 1)
        yield first, MOST_BITS - bits
        first += 1 << bits
