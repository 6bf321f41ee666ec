"""How addresses are written: of sockets, with a name or an IP address, and of networks."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, NamedTuple

from proxy.policy.networks import Network
from proxy.settings.kinds import Kind

HIGHEST_PORT: Final = 65535
MAPPED_IPV4_BITS: Final = 96  # length of ::ffff:0:0/96, which holds the IPv4-mapped addresses

# LDH labels and underscores; an IPv4 address has the same form and is told apart by `_literal_host`.
HOST_NAME: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?(\.[A-Za-z0-9_-]{1,63})*")
HOST_PORT: Final = re.compile(r"(?:\[(?P<ipv6>[^\]%]+)\]|(?P<host>[^:\[\]/@]+)):(?P<port>[0-9]{1,5})")


class Address(NamedTuple):
    """A host (name, IPv4 or IPv6 without brackets) and a TCP port, 0..65535; 0 lets the kernel choose."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as users write it: `host:port`, `[::1]:port`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class HostPort(Kind[Address]):
    """The address of a socket; `scheme` stands before it where a URL is wanted."""

    scheme: str = ""
    lowest_port: int = 0

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return f"{self.scheme}host:port or {self.scheme}[IPv6]:port, port {self.lowest_port} to {HIGHEST_PORT}"

    def parse(self, given: object) -> Address:
        """See `Kind`: nothing would use a user, a path or a query; the closing slash of a URL may stand."""
        text = given.strip() if isinstance(given, str) else ""
        if not text.lower().startswith(self.scheme):
            raise self.refusal()
        match = HOST_PORT.fullmatch(text[len(self.scheme) :].removesuffix("/" if self.scheme else ""))
        host = _literal_host(match["ipv6"], match["host"]) if match else None
        if not match or not host or not self.lowest_port <= int(match["port"]) <= HIGHEST_PORT:
            raise self.refusal()
        return Address(host, int(match["port"]))

    def render(self, value: Address) -> str:
        """See `Kind`."""
        return f"{self.scheme}{value}"


@dataclass(frozen=True, slots=True)
class Cidr(Kind[Network]):
    """A network; a bare address is the network that holds only itself."""

    @property
    def allowed(self) -> str:
        """See `Kind`."""
        return "a network such as 192.0.2.0/24 or 2001:db8::/32, or an address"

    def parse(self, given: object) -> Network:
        """See `Kind`."""
        text = given.strip() if isinstance(given, str) else ""
        try:
            network = ip_network(text, strict=False)
        except ValueError:
            raise self.refusal() from None
        if _host_bits(text, network):
            problem = f"has bits set behind the prefix; write {network} if you mean the network"
            raise ValueError(problem)
        if isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None:
            # Clients with mapped addresses are known by their IPv4 address: this would match nobody.
            problem = f"is IPv4 in the form of IPv6; write {_unmapped(network)}"
            raise ValueError(problem)
        return network


def _host_bits(text: str, network: Network) -> bool:
    """Tell whether the address before the slash is not the first one of its network."""
    return ip_address(text.partition("/")[0]) != network.network_address


def _unmapped(network: IPv6Network) -> str:
    return f"{network.network_address.ipv4_mapped}/{max(0, network.prefixlen - MAPPED_IPV4_BITS)}"


def _literal_host(ipv6: str | None, host: str | None) -> str | None:
    """Return an address in its canonical form or a host name in lower case; None if it is neither."""
    try:
        return str(IPv6Address(ipv6) if ipv6 else IPv4Address(host or ""))
    except ValueError:
        # Only digits and dots, yet no address: a slip (127.0.1) that a resolver reads as another address.
        named = host and HOST_NAME.fullmatch(host) and not host.replace(".", "").isdigit()
        return host.lower() if host and named else None
