"""Where clients come from, by the array: addresses of their keys, and the kinds of their networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from fastpath.origin import KIND_MASK, KIND_SHIFT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    Keys = NDArray[np.uint64]
    LookUp = Callable[[bytes], int]

_KEY_BYTES: Final = 8
_ADDRESS_BYTES: Final = 16
_ADDRESS4, _FIRST = 0x02, 0x10  # see `keys.pyx`


def addresses(clients: Keys) -> Iterator[bytes]:
    """Yield an address of each client (`client_key`): of IPv4 its own 4 bytes, of IPv6 the first 16 of its /64."""
    octets = clients.astype(">u8").tobytes()
    for start in range(0, len(octets), _KEY_BYTES):
        key = octets[start : start + _KEY_BYTES]
        if key[0] == _ADDRESS4:
            yield key[4:]
        else:
            yield (key if key[0] >= _FIRST else b"\0" + key[1:]).ljust(_ADDRESS_BYTES, b"\0")


def kinds_of(clients: Keys, look_up: LookUp) -> NDArray[np.uint8]:
    """Return of what kind the network of each client is (NetworkKind).

    Args:
        clients: Their keys.
        look_up: Returns the word of an address, as that of a `PrefixBook` or a `PrefixSet`.

    """
    words = np.fromiter(map(look_up, addresses(clients)), np.uint32, len(clients))
    return (words >> np.uint32(KIND_SHIFT) & np.uint32(KIND_MASK)).astype(np.uint8)
