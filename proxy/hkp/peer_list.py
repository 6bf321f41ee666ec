"""Who the peers of a keyserver are, by its own statistics (`/pks/lookup?op=stats&options=mr`).

Hockeypuck gives for each peer the addresses of its two services, `host:port`:

    {"peers": [{"httpAddr": "keys.example.net:11371", "reconAddr": "keys.example.net:11370", ...}, ...], ...}

Either may be of another host. Its operator can hide a peer, which is then `k****1` and `"masked": true`. Where nobody
is known the list is null.

The statistics come from the keyserver, which is ours; but some of what stands in them comes from strangers, and a
keyserver may have been broken into. So nothing in them is believed that is not spelled as a host is, and what is
learnt can never be a network, nor an address where nobody on the public net can be.
"""

import json
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final, NamedTuple

MOST_BYTES: Final = 1024 * 1024
MOST_PEERS: Final = 256
MOST_HOSTS: Final = 256
_LONGEST_NAME: Final = 253
_FIELDS: Final = ("httpAddr", "reconAddr")
_LABEL: Final = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?", re.ASCII)
_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII)
_WITH_PORT: Final = re.compile(r"(.*):([0-9]{1,5})", re.ASCII)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")  # all that is given out (RFC 4291, 2.4)


class BadStats(ValueError):
    """No statistics of a keyserver; the text repeats nothing of them."""


class PeerList(NamedTuple):
    """What the statistics say.

    Args:
        hosts: Names in lower case, and addresses, each once, MOST_HOSTS at most.
        masked: How many peers are hidden.
        refused: How many texts are no hosts, or hosts or peers beyond the most.

    """

    hosts: tuple[str, ...]
    masked: int = 0
    refused: int = 0


def read(stats_json: bytes) -> PeerList:
    """Read the peers of the keyserver that gave these statistics.

    Raises:
        BadStats: They are too large, no JSON, or have no list of peers.

    """
    if len(stats_json) > MOST_BYTES:
        raise BadStats(f"statistics of more than {MOST_BYTES} bytes")
    try:
        stats = json.loads(stats_json)
    except (ValueError, RecursionError):
        raise BadStats("the statistics are no JSON") from None
    if not isinstance(stats, dict) or not isinstance(stats.get("peers", ""), list | None):
        raise BadStats("there is no list of peers in the statistics")
    return _peers(stats["peers"] or [])


def _peers(entries: list[object]) -> PeerList:
    hosts: dict[str, None] = {}
    masked, refused = 0, max(0, len(entries) - MOST_PEERS)
    for entry in entries[:MOST_PEERS]:
        texts = [text for text in _texts(entry) if text]
        if any("*" in text for text in texts):
            masked += 1
            continue
        for host in map(host_of, texts):
            if host and (host in hosts or len(hosts) < MOST_HOSTS):
                hosts[host] = None
            else:
                refused += 1
    return PeerList(tuple(hosts), masked, refused)


def _texts(entry: object) -> Iterator[str]:
    """Yield the addresses of a peer as they are written; what is no text is `?`, which no host is."""
    if not isinstance(entry, dict):
        yield "?"
        return
    for field in _FIELDS:
        text = entry.get(field, "")
        yield text if isinstance(text, str) else "?"


def host_of(text: str) -> str:
    """Return the host of `host`, `host:port`, `[address]:port`: a name in lower case, or an address; empty if none.

    A name that ends in a number is none: resolvers take 127.1 and 0x7f000001 for addresses.
    """
    host = _without_port(text).lower()
    if (address := _address(host)) is not None:
        return str(address)
    if len(host.rstrip(".")) > _LONGEST_NAME or _NUMBER.fullmatch(host) or not _NAME.fullmatch(host):
        return ""
    return host.rstrip(".")


def is_public(packed: bytes) -> bool:
    """Tell whether somebody on the public net can have an address of 4 or 16 bytes.

    Not: private, shared (100.64/10), loopback, link-local, multicast, unspecified, reserved, for documentation; nor
    of 6to4, which is an IPv4 address that nobody looked at.
    """
    address = _plain(ip_address(packed))
    if address.is_multicast or not address.is_global:
        return False
    return isinstance(address, IPv4Address) or (address in _GLOBAL_UNICAST and address.sixtofour is None)


def _without_port(text: str) -> str:
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return host if bracket and ":" in host and (not port or _WITH_PORT.fullmatch(port)) else ""
    match = _WITH_PORT.fullmatch(text)
    return match[1] if match and text.count(":") == 1 else text


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is; None: it is none, or names a zone, which is nothing to others."""
    try:
        return None if "%" in host else _plain(ip_address(host))
    except ValueError:
        return None


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return an IPv4-mapped address as the IPv4 address that it is."""
    return getattr(address, "ipv4_mapped", None) or address
