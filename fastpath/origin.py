"""The word that says where a client comes from: the value of its address in the book of prefixes.

    bits 0-19   the number of the autonomous system, 0: unknown, as those of 2**20 and more (private ones) are
    bits 20-23  the kind of the network
    bits 24-31  the rule that holds there, 0: none

A rule is a number of the operator's rules, in the order of the settings, or one of ours for addresses in lists.
"""

from enum import IntEnum
from typing import Final, NamedTuple

KIND_SHIFT: Final = 20
RULE_SHIFT: Final = 24
MOST_ASN: Final = 2**KIND_SHIFT - 1
MOST_RULES: Final = 200  # of the operator; those above are ours
LISTED_PRICED: Final = 253
LISTED_DENIED: Final = 254
KIND_MASK: Final = 0xF
_MOST_WORD: Final = 2**32 - 1


class NetworkKind(IntEnum):
    """What sort of people or machines are behind a network."""

    UNKNOWN = 0
    RESIDENTIAL = 1
    BUSINESS = 2
    MOBILE = 3  # a carrier's, with many people behind an address
    SATELLITE = 4
    HOSTING = 5
    VPN = 6  # and public proxies
    TOR = 7  # exits
    RELAY = 8  # anycast and privacy relays
    EDUCATION = 9


class Origin(NamedTuple):
    """What is known of the network that a client comes from."""

    asn: int = 0  # 0..MOST_ASN, 0: unknown
    kind: NetworkKind = NetworkKind.UNKNOWN
    rule: int = 0  # 0..255, 0: none

    def pack(self) -> int:
        """Return the word; an ASN that has no place in it becomes unknown.

        Raises:
            ValueError: The ASN is negative, or the rule is not in 0..255.

        """
        if self.asn < 0 or not 0 <= self.rule <= _MOST_WORD >> RULE_SHIFT:
            raise ValueError(f"{self} is no origin")
        asn = self.asn if self.asn <= MOST_ASN else 0
        return self.rule << RULE_SHIFT | self.kind << KIND_SHIFT | asn


def unpack(word: int) -> Origin:
    """Return what a word says; ValueError if it has another size, or names a kind that there is not."""
    if not 0 <= word <= _MOST_WORD:
        raise ValueError(f"origin {word} not in 0..{_MOST_WORD}")
    return Origin(word & MOST_ASN, NetworkKind(word >> KIND_SHIFT & KIND_MASK), word >> RULE_SHIFT)
