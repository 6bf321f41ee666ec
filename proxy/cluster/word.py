"""A word: what one node says of one thing, from when and until when, as it goes through the store.

    length of thing, of node (1 byte each) | stamp, until (8 bytes each, µs of the store's clock) | thing | node | body

The stamp orders the words of one node on one thing: the latest is what it says. So a sealed word that somebody kept and
puts back later is an old one, and one that is over says nothing. Times are those of the store, never those of a node. A
stamp may be ahead of them where the clock of the store was set back: what comes later has a later stamp all the same.
"""

from __future__ import annotations

import re
from struct import Struct
from typing import Final, NamedTuple

MOST_THING: Final = 16
MOST_NODE: Final = 64
MOST_BODY: Final = 1024
MOST_BYTES: Final = 18 + MOST_THING + MOST_NODE + MOST_BODY
AHEAD_US: Final = 86_400 * 10**6  # the clock of the store may be set back when another server takes over
_HEAD: Final = Struct(">BBqq")
_NODE: Final = re.compile(rf"[!-~]{{1,{MOST_NODE}}}")


class Word(NamedTuple):
    """What one node says of one thing.

    Args:
        thing: Of what, 1..16 bytes.
        node: Whose word it is.
        stamp_us: Since when it holds.
        until_us: When it is over.
        body: What it says.

    """

    thing: bytes
    node: str
    stamp_us: int
    until_us: int
    body: bytes = b""

    def pack(self) -> bytes:
        """Return the bytes that are sealed."""
        node = self.node.encode()
        head = _HEAD.pack(len(self.thing), len(node), self.stamp_us, self.until_us)
        return head + self.thing + node + self.body


def unpack(data: bytes) -> Word:
    """Return the word that these bytes are; ValueError if they are none."""
    if len(data) < _HEAD.size:
        raise ValueError("too short for a word")
    of_thing, of_node, stamp_us, until_us = _HEAD.unpack_from(data)
    at = _HEAD.size + of_thing
    thing, node, body = data[_HEAD.size : at], data[at : at + of_node].decode("ascii"), data[at + of_node :]
    if not 0 < len(thing) == of_thing <= MOST_THING or len(body) > MOST_BODY:
        raise ValueError("a word about nothing, or too long")
    if len(node) != of_node or not _NODE.fullmatch(node):
        raise ValueError("a word of nobody")
    if stamp_us <= 0 or until_us <= 0:
        raise ValueError("a word out of time")
    return Word(thing, node, stamp_us, until_us, body)
