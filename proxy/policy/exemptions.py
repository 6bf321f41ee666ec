"""Who is never banned, and who only briefly: sets of networks, asked about clients and the networks that are banned.

A key stands for many addresses, so what matters is whether it shares one with the set: a ban of 2001:db8::/64 would
hit the peer 2001:db8::7 as well.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from fastpath import client_key, key_text, network_key, parse_address
from fastpath.keys import site_key
from proxy.policy.networks import Network, network_set

# Prefix lengths of keys and who makes them of an address: by the version of IP.
_KEYS = {4: ((32, client_key), (24, site_key)), 6: ((64, client_key), (56, site_key), (48, network_key))}


def _keys_around(network: Network) -> Iterator[int]:
    """Yield the keys that are as large as a network, or larger."""
    packed = network.network_address.packed
    for bits, key_of in _KEYS[network.version]:
        if network.prefixlen >= bits:
            yield key_of(packed)


def _first_address(key: int) -> bytes:
    return parse_address(key_text(key).partition("/")[0])


class Overlaps:
    """The keys that share an address with a set of networks; immutable."""

    def __init__(self, networks: Iterable[Network]) -> None:
        """Take the set."""
        networks = tuple(networks)
        self._larger = network_set(networks)
        self._smaller = frozenset(key for network in networks for key in _keys_around(network))

    def __contains__(self, key: int) -> bool:
        """Tell whether a ban of `key` would hit the set; ValueError if it is no key."""
        if key in self._smaller:
            return True
        return not self._larger.empty and self._larger.get(_first_address(key)) is not None


LOOPBACK: Final = Overlaps((IPv4Network("127.0.0.0/8"), IPv6Network("::1/128")))
# From these a proxy on this machine connects. If nobody told us to trust it, all of its clients stand behind them.
LOCAL_PROXIES: Final = (IPv4Network("127.0.0.1/32"), IPv6Network("::1/128"))


class Exemptions:
    """What the configuration says of bans of certain networks; immutable, but for what origins say."""

    def __init__(
        self,
        never: Iterable[Network] = (),
        shared: Iterable[Network] = (),
        is_shared: Callable[[int], bool] = lambda _key: False,
    ) -> None:
        """Take the networks that are never banned, and those behind which many people are.

        `is_shared`: tells of a client or network whether its origin says so (`proxy.policy.origins`).
        """
        self._never = Overlaps(never)
        self._shared = Overlaps(shared)
        self._is_shared = is_shared

    def never(self, key: int) -> bool:
        """Tell whether nobody may ban a client or network: it is allowed, a peer or a trusted proxy, or holds one."""
        return key in self._never

    def shared(self, key: int) -> bool:
        """Tell whether a client or network is, or holds, an exit that many people share: bans are short."""
        return key in self._shared or self._is_shared(key)

    def may_widen_to(self, network: int) -> bool:
        """Tell whether a network may be banned for what others in it did.

        Not if it holds an address that is never banned, or a shared exit: it would be hit for its neighbours. Workers
        let the former pass anyway; that nobody need rely on it, and an exit stays usable, is worth that in such
        networks each client is banned by itself.
        """
        return not self.never(network) and not self.shared(network)
