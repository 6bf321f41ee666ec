"""Where a request comes from: the socket's peer, or what a trusted proxy says of it.

A forwarding header is a chain, one hop added on the right by each proxy. It is read from the right: hops inside the
trusted networks are stepped over, the first one outside is the client. What stands further left was written by that
client and means nothing. X-Real-IP and its like are chains of one hop: the proxy in front has to overwrite them.

The operator chooses one header; the others are not read, and those of a peer that is not trusted are not read at all.

Sources: RFC 7239 (Forwarded); the others are conventions of nginx, Akamai and Cloudflare.
"""

from collections.abc import Callable, Iterator
from enum import IntEnum
from operator import attrgetter
from typing import Final, NamedTuple

from fastpath import parse_address
from proxy.http.head import RequestHead
from proxy.policy.networks import NetworkMap

MOST_HOPS: Final = 32
MOST_CHAIN_BYTES: Final = 4096
CUT: Final = "?"  # begins no address and no name, so the element behind it cannot be read


class Source(IntEnum):
    """Where a client's address was taken from. The numbers stand in records."""

    PEER = 0  # of the socket; nobody spoke for another
    X_FORWARDED_FOR = 1
    FORWARDED = 2
    TRUSTED_PEER = 3  # a trusted proxy that named no usable client: the request is its own
    CF_CONNECTING_IP = 4
    TRUE_CLIENT_IP = 5
    X_REAL_IP = 6
    PROXY_PROTOCOL = 7


class Origin(NamedTuple):
    """A client address (network order, 4 or 16 bytes) and where it came from."""

    address: bytes
    source: Source


def origin(peer: bytes, head: RequestHead, trusted: NetworkMap[bool], *, header: str) -> Origin:
    """Return the client of a request that came through `peer`.

    Args:
        peer: Address of the socket's other side, network order.
        head: Request head; only the header that `header` names is read.
        trusted: Networks of proxies that are believed.
        header: As the setting `forwarded_header` says it: one of `HEADERS`.

    A hop that cannot be parsed ends the walk: the last trusted hop to its right is the client then, since whoever
    wrote the rubbish came through it. An empty hop is no better: to step over it would be to believe what stands on
    its left.

    """
    if trusted.get(peer) is None:
        return Origin(peer, Source.PEER)
    chosen = HEADERS[header]
    chain = chosen.value(head)
    client = None if chain is None else _client(chosen.hops(chain), trusted)
    return Origin(peer, Source.TRUSTED_PEER) if client is None else Origin(client, chosen.source)


def _client(hops: Iterator[str], trusted: NetworkMap[bool]) -> bytes | None:
    """Return the first hop outside the trusted networks, or the last one that could be read; None if none can be."""
    client = None
    for hop, _ in zip(hops, range(MOST_HOPS), strict=False):
        try:
            client = parse_address(hop)
        except ValueError:
            break
        if trusted.get(client) is None:
            break
    return client


def _only_hop(value: bytes) -> Iterator[str]:
    """Yield the one address of X-Real-IP and its like; a list, or a port behind it, makes it unreadable."""
    yield value.decode("latin-1")


def _hops(chain: bytes) -> Iterator[str]:
    """Yield the hops of X-Forwarded-For from the right; ports and brackets, which some proxies add, are dropped."""
    for hop in reversed(_right_end(chain).rsplit(",", MOST_HOPS)):
        yield _host(hop.strip())


def _right_end(chain: bytes) -> str:
    """Return the chain as text; of one that is too long its right end, where no part of the cut hop can be read."""
    text = chain[-MOST_CHAIN_BYTES:].decode("latin-1")
    return text if len(chain) <= MOST_CHAIN_BYTES else CUT + text


def _host(node: str) -> str:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`."""
    if node.startswith("["):
        address, bracket, rest = node[1:].partition("]")
        return address if bracket and (not rest or rest.startswith(":")) else ""
    return node.partition(":")[0] if node.count(":") == 1 else node


def _forwarded_hops(chain: bytes) -> Iterator[str]:
    """Yield the `for` nodes of Forwarded from the right; "" for an element that has none, or two."""
    for element in _split_from_right(_right_end(chain), ","):
        pairs = (pair.partition("=") for pair in _split_from_right(element, ";"))
        nodes = [value.strip().strip('"') for name, _, value in pairs if name.strip().lower() == "for"]
        yield _host(nodes[0]) if len(nodes) == 1 else ""


def _split_from_right(text: str, separator: str) -> Iterator[str]:
    """Yield the parts from the right, split at separators outside of double quotes.

    From the right, because that end was written by proxies that are trusted, with quotes in pairs. A quote that a
    client left open further left can then not swallow what they wrote.
    """
    end, quoted = len(text), False
    for i in range(len(text) - 1, -1, -1):
        if text[i] == '"':
            quoted = not quoted
        elif text[i] == separator and not quoted:
            yield text[i + 1 : end]
            end = i
    yield text[:end]


class _Header(NamedTuple):
    """A header that an operator may choose: where in the head it stands, and how its hops are read."""

    source: Source
    value: Callable[[RequestHead], bytes | None]
    hops: Callable[[bytes], Iterator[str]]


HEADERS: Final = {
    "x-forwarded-for": _Header(Source.X_FORWARDED_FOR, attrgetter("forwarded_for"), _hops),
    "forwarded": _Header(Source.FORWARDED, attrgetter("forwarded"), _forwarded_hops),
    "cf-connecting-ip": _Header(Source.CF_CONNECTING_IP, attrgetter("cf_connecting_ip"), _only_hop),
    "true-client-ip": _Header(Source.TRUE_CLIENT_IP, attrgetter("true_client_ip"), _only_hop),
    "x-real-ip": _Header(Source.X_REAL_IP, attrgetter("x_real_ip"), _only_hop),
}
