"""Bans of networks that follow from bans of the clients in them.

An IPv4 /24 is banned while enough of its addresses are; an IPv6 /56 while enough of its /64 are, and a /48 while
enough of its /56 have a banned /64. So a network's ban ends when, of its children's bans taken from the longest to the
shortest, the last that is needed ends; nothing has to happen then, and if one is lifted the end comes earlier.
"""

from collections.abc import Callable, Iterator
from heapq import nlargest
from itertools import pairwise
from typing import NamedTuple

from fastpath import parents


class Term(NamedTuple):
    """From when until when a network is banned, ns."""

    since_ns: int
    until_ns: int


class Widening:
    """The banned clients by their networks, and what follows for these."""

    def __init__(self, *, ipv4: int, ipv6: int, may_ban: Callable[[int], bool]) -> None:
        """`ipv4`, `ipv6`: how many banned children a network needs; `may_ban`: whether it may be banned at all."""
        self._needed = {1: ipv4, 2: ipv6}  # by the number of a client's parents
        self._may_ban = may_ban
        self._children: dict[int, dict[int, int]] = {}  # network -> child -> until when the child is banned
        self._terms: dict[int, Term] = {}

    def set(self, client: int, until_ns: int, now_ns: int) -> None:
        """Take note that a client is banned until `until_ns`; 0: it is not any more."""
        chain = (client, *parents(client))
        needed = self._needed[len(chain) - 1]
        for child, network in pairwise(chain):
            children = self._children.setdefault(network, {})
            if until_ns:
                children[child] = until_ns
            else:
                children.pop(child, None)
            until_ns = max(children.values(), default=0)
            self._settle(network, needed, now_ns)

    def _settle(self, network: int, needed: int, now_ns: int) -> None:
        """Find out anew until when a network is banned."""
        children = self._children[network]
        if not children:
            del self._children[network]
        until_ns = nlargest(needed, children.values())[-1] if len(children) >= needed else 0
        old = self._terms.pop(network, None)
        if until_ns > now_ns and self._may_ban(network):
            since_ns = old.since_ns if old and old.until_ns > now_ns else now_ns
            self._terms[network] = Term(since_ns, until_ns)

    def term(self, network: int, now_ns: int) -> Term | None:
        """Return the term of a network's ban, None if it has none."""
        term = self._terms.get(network)
        return term if term and term.until_ns > now_ns else None

    def networks(self, now_ns: int) -> Iterator[tuple[int, Term]]:
        """Yield the networks that are banned."""
        return ((network, term) for network, term in self._terms.items() if term.until_ns > now_ns)
