"""Where a request comes from: the socket's peer, or what a trusted proxy says of it.

A forwarding header is a chain, one hop added on the right by each proxy. It is read from the right: hops inside the
trusted networks are stepped over, the first one outside is the client. What stands further left was written by that
client and means nothing. Headers of a peer that is not trusted are not read at all.

Sources: RFC 7239 (Forwarded); X-Forwarded-For is a convention.
"""

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from fastpath import parse_address
from proxy.http.head import RequestHead
from proxy.policy.networks import NetworkMap

MOST_HOPS = 32


class Source(IntEnum):
    """Where a client's address was taken from."""

    PEER = 0  # of the socket; nobody spoke for another
    X_FORWARDED_FOR = 1
    FORWARDED = 2
    TRUSTED_PEER = 3  # a trusted proxy that named no usable client: the request is its own


class Origin(NamedTuple):
    """A client address (network order, 4 or 16 bytes) and where it came from."""

    address: bytes
    source: Source


def origin(peer: bytes, head: RequestHead, trusted: NetworkMap[bool], *, use_forwarded: bool) -> Origin:
    """Return the client of a request that came through `peer`, which is trusted.

    Args:
        peer: Address of the socket's other side, network order.
        head: Request head; only the header that `use_forwarded` chooses is read.
        trusted: Networks of proxies that are believed.
        use_forwarded: Read Forwarded instead of X-Forwarded-For.

    A hop that cannot be parsed ends the walk: the last trusted hop to its right is the client then, since whoever
    wrote the rubbish came through it.

    """
    chain = head.forwarded if use_forwarded else head.forwarded_for
    source = Source.FORWARDED if use_forwarded else Source.X_FORWARDED_FOR
    if chain is None:
        return Origin(peer, Source.TRUSTED_PEER)
    hops = _forwarded_hops(chain) if use_forwarded else _hops(chain)
    client = peer
    for hop, _ in zip(hops, range(MOST_HOPS), strict=False):
        try:
            address = parse_address(hop)
        except ValueError:
            break
        client = address
        if trusted.get(address) is None:
            break
    return Origin(client, Source.TRUSTED_PEER if client is peer else source)


def _hops(chain: bytes) -> Iterator[str]:
    """Yield the hops of X-Forwarded-For from the right; ports and brackets, which some proxies add, are dropped."""
    for hop in reversed(chain.decode("latin-1").split(",")):
        yield _host(hop.strip())


def _host(node: str) -> str:
    """Return the address in `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`."""
    if node.startswith("["):
        return node[1:].partition("]")[0]
    return node.partition(":")[0] if node.count(":") == 1 else node


def _forwarded_hops(chain: bytes) -> Iterator[str]:
    """Yield the `for` nodes of Forwarded from the right; "" for an element that has none."""
    for element in _split_from_right(chain.decode("latin-1"), ","):
        node = ""
        for pair in _split_from_right(element, ";"):
            name, _, value = pair.partition("=")
            if name.strip().lower() == "for":
                node = value.strip().strip('"')
        yield _host(node)


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
