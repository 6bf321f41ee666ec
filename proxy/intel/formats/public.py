"""Which of many prefixes can be somebody's on the public Internet, and which are too wide to be believed; NumPy.

The tables are the special-purpose registries of RFC 6890, as they stood in 2025. The few addresses that are global
within 192.0.0.0/24 and 2001::/23 are services and no clients, so these networks count as reserved whole; and a 6to4
address is an IPv4 address that nobody looked at.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpath.prefix_build import MAPPED_BITS
from proxy.intel.formats.addresses import prefixes_of
from proxy.intel.formats.reading import Limits
from proxy.intel.listing import Prefixes, prefix_keys

Mask = NDArray[np.bool_]

_WORD_BITS: Final = 64  # all that the tables tell of an address; one of IPv4 stands in the first half of a word
_HALF: Final = np.uint64(32)
_HOST_BITS: Final = np.array([(1 << _WORD_BITS - length) - 1 for length in range(_WORD_BITS + 1)], np.uint64)


class Judgement(NamedTuple):
    """What is wrong with each prefix, masks of shape (n,); neither: it may be listed."""

    reserved: Mask  # some of it cannot be anybody's
    wide: Mask  # shorter than the limits allow, and not all of it reserved


class _Span(NamedTuple):
    """Prefixes of one family as first and last words, and their lengths in it; of shape (n,), or (n, 1) in tables."""

    first: NDArray[np.uint64]
    last: NDArray[np.uint64]
    length: NDArray[np.uint64]


def judge(prefixes: Prefixes, limits: Limits) -> Judgement:
    """Tell which prefixes may be listed; they have no bits beyond their lengths."""
    four = prefixes.four
    reserved, wide = np.empty(len(four), bool), np.empty(len(four), bool)
    for mask, table, widest in ((four, _RESERVED4, limits.widest4), (~four, _RESERVED6, limits.widest6)):
        reserved[mask], wide[mask] = _judged(_span(prefixes, mask), table, widest)
    return Judgement(reserved, wide)


def _judged(span: _Span, table: list[_Span], widest: int) -> Judgement:
    """Compare with each row of a table: a handful of passes over arrays, and no array of all with all."""
    touched, inside = np.zeros(len(span.first), bool), np.zeros(len(span.first), bool)
    for row in table:
        touched |= (span.first <= row.last) & (span.last >= row.first)
        inside |= (span.first >= row.first) & (span.last <= row.last)
    return Judgement(touched, (span.length < widest) & ~inside)


def _span(prefixes: Prefixes, mask: Mask) -> _Span:
    """Return prefixes of one family, all IPv4 or none."""
    chosen = Prefixes(prefixes.networks[mask], prefixes.lengths[mask])
    keys, four = prefix_keys(chosen), chosen.four
    first = np.where(four, keys["low"] << _HALF, keys["high"])
    length = np.where(four, keys["length"] - np.uint64(MAPPED_BITS), keys["length"])
    return _Span(first, first | _HOST_BITS[np.minimum(length, _WORD_BITS)], length)


def _table(*texts: str) -> list[_Span]:
    found = [prefix for text in texts for prefix in prefixes_of(text, Limits())]
    networks = np.frombuffer(b"".join(network for network, _ in found), np.uint8).reshape(-1, 16)
    prefixes = Prefixes(networks, np.array([length for _, length in found], np.uint8))
    return [_span(prefixes, np.arange(len(found)) == row) for row in range(len(found))]


_RESERVED4: Final = _table(
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
_RESERVED6: Final = _table("::/3", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2", "8000::/1")
