"""What follows from where a client comes from: rules of the operator, lists, and what many share in such networks.

The word that tells it (`fastpath.origin`) was composed by the analyst, out of the rules that it knew. A rule in it is a
number, so a worker obeys it only if it knows the same rules: `digest` of both must be equal. That of lists always means
the same.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import BUCKETS, Mode, NetworkKind, key_text, parse_address
from fastpath.origin import KIND_MASK, KIND_SHIFT, LISTED_DENIED, LISTED_PRICED, MOST_RULES, RULE_SHIFT
from proxy.policy.ladder import is_client
from proxy.settings.limits import CLASS_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastpath import Budget, PrefixBook
    from proxy.settings.origins import OriginRule

# Many people are behind an address there: verdicts are mild and bans short.
SHARED: Final = frozenset(
    {NetworkKind.MOBILE, NetworkKind.SATELLITE, NetworkKind.VPN, NetworkKind.TOR, NetworkKind.RELAY}
)
# Nobody there can be told from another: uploads have one budget together. A carrier and a relay know their customers.
ANONYMOUS: Final = frozenset({NetworkKind.VPN, NetworkKind.TOR})
RULES: Final = 256  # that a word has room for
# What a rule says of a class.
NOTHING, PRICED, DENIED, PRICED_SHADOW, DENIED_SHADOW = range(5)
_DIGEST_BYTES: Final = 7  # less than the word of the region has, so that the number is never negative
_ADDRESSES_OF_24: Final = 256


class Pool(NamedTuple):
    """What the clients of many networks have together; the budgets are those of `Budgets`."""

    key: int
    budget: Budget
    frugal: Budget  # for networks that leave something to the others


def digest(rules: Sequence[OriginRule]) -> int:
    """Return a number for what the rules say of places; never 0, which means that nothing was composed."""
    places = [[[str(item) for item in items] for items in _places(rule)] for rule in rules]
    return int.from_bytes(hashlib.sha256(json.dumps(places).encode()).digest()[:_DIGEST_BYTES]) + 1


def _places(rule: OriginRule) -> Iterator[Sequence[object]]:
    yield from (rule.countries, rule.asns, rule.kinds, rule.networks)


def sayings(rules: Sequence[OriginRule], modes: Sequence[Mode], listed: Mode) -> bytes:
    """Return what each rule says of each class, one byte for each pair: BUCKETS for each of RULES.

    Args:
        rules: Of the operator, at most MOST_RULES.
        modes: Of each of them.
        listed: The mode of what is in lists.

    """
    said = bytearray(RULES * BUCKETS)
    for number, (rule, mode) in enumerate(zip(rules, modes, strict=True), 1):
        if number > MOST_RULES:
            raise ValueError(f"{len(rules)} rules, not 0..{MOST_RULES}")
        said[number * BUCKETS : (number + 1) * BUCKETS] = bytes(_said(rule, name, mode) for name in CLASS_NAMES)
    for number, word in ((LISTED_PRICED, PRICED), (LISTED_DENIED, DENIED)):
        said[number * BUCKETS : (number + 1) * BUCKETS] = bytes([_in_mode(word, listed)]) * BUCKETS
    return bytes(said)


def _said(rule: OriginRule, name: str, mode: Mode) -> int:
    """Return what a rule says of a class: by its name, else by that of all."""
    for each in (name, CLASS_NAMES[0]):
        if each in rule.deny:
            return _in_mode(DENIED, mode)
        if each in rule.price:
            return _in_mode(PRICED, mode)
    return NOTHING


def _in_mode(word: int, mode: Mode) -> int:
    if mode is Mode.OFF:
        return NOTHING
    return word if mode is Mode.ENFORCE else {PRICED: PRICED_SHADOW, DENIED: DENIED_SHADOW}[word]


def kind_in(word: int) -> int:
    """Return the kind of network that an origin names; `unpack` takes ten times as long."""
    return word >> KIND_SHIFT & KIND_MASK


def without_rule(word: int) -> int:
    """Return an origin in which no rule holds."""
    return word & (1 << RULE_SHIFT) - 1


def holds_shared(book: PrefixBook, key: int) -> bool:
    """Tell whether many people are behind an address of a client or network.

    Of an IPv6 network only the first address is looked at: it has more than can be counted.
    """
    first = parse_address(key_text(key).partition("/")[0])
    if is_client(key) or len(first) != 4:  # noqa: PLR2004 - bytes of an address
        return _is_shared(book, first)
    return any(_is_shared(book, first[:3] + bytes([last])) for last in range(_ADDRESSES_OF_24))


def _is_shared(book: PrefixBook, address: bytes) -> bool:
    return kind_in(book.look_up(address)) in SHARED
