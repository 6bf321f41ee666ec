"""Small maps from networks to values, for settings that name CIDRs; the most specific network wins."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Generic, TypeVar

V = TypeVar("V")
Network = IPv4Network | IPv6Network


class NetworkMap(Generic[V]):
    """Immutable map from networks to values.

    One dictionary for each prefix length that occurs, longest first: settings name a handful of lengths, so a look-up
    is a handful of dictionary probes, and none for an empty map.
    """

    def __init__(self, entries: Iterable[tuple[Network, V]]) -> None:
        """Build the map; of two equal networks the later entry wins."""
        lengths: dict[int, dict[int, dict[int, V]]] = {4: {}, 16: {}}
        for network, value in entries:
            width = network.max_prefixlen
            shift = width - network.prefixlen
            by_shift = lengths[width // 8].setdefault(shift, {})
            by_shift[int(network.network_address) >> shift] = value
        self._tables = {size: tuple(sorted(by_shift.items())) for size, by_shift in lengths.items()}
        self.empty = not any(self._tables.values())

    def get(self, packed: bytes) -> V | None:
        """Return the value of the smallest network that holds the address (4 or 16 bytes), or None."""
        tables = self._tables[len(packed)]
        if not tables:
            return None
        address = int.from_bytes(packed)
        for shift, values in tables:
            if (value := values.get(address >> shift)) is not None:
                return value
        return None


def network_set(networks: Iterable[Network]) -> NetworkMap[bool]:
    """Return a map that is True inside `networks`."""
    return NetworkMap((network, True) for network in networks)
