"""Keys of clients and networks by the array; the layout of a key is in `keys.pyx`."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Keys = NDArray[np.uint64]

_KIND: Final = np.uint64(56)  # its place in a key, bits
_LOW, _ADDRESS4, _FIRST = np.uint64(0x01), np.uint64(0x02), np.uint64(0x10)
_NET24, _NET48 = np.uint64(0x03 << 56), np.uint64(0x04 << 56)
_REST: Final = np.uint64((1 << 56) - 1)
_HOST4, _HOST6 = np.uint64(8), np.uint64(16)  # bits of a key that tell clients of a network apart


def network_keys(clients: Keys) -> Keys:
    """Return the network of each client (`client_key`): IPv4 /24, IPv6 /48, as `parents` has it; others as they are."""
    kinds = clients >> _KIND
    of_48 = _NET48 | (clients & np.where(kinds >= _FIRST, ~np.uint64(0), _REST)) >> _HOST6
    networks = np.where((kinds >= _FIRST) | (kinds == _LOW), of_48, clients)
    return np.where(kinds == _ADDRESS4, _NET24 | (clients & _REST) >> _HOST4, networks)
