"""What nodes talk about: each topic looks for what this node has to say, and acts on what others say."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.cluster.hearsay import Hearsay
    from proxy.cluster.keys import Family
    from proxy.cluster.word import Word


class Saying(NamedTuple):
    """What this node has to say of a thing.

    Args:
        thing: Of what.
        since_ns: Since when it holds, CLOCK_MONOTONIC.
        until_ns: When it is over.
        body: What it is.

    """

    thing: bytes
    since_ns: int
    until_ns: int
    body: bytes


class Topic(Protocol):
    """One of them; `hearsay` is kept by `Gossip`."""

    family: Family
    hearsay: Hearsay
    longest_us: int  # a word holds no longer

    def gather(self) -> Iterator[Saying | None]:
        """Yield what has changed since the last time, some of it at a time; None: the end of a step.

        When it goes on after a saying, that is in `hearsay`. If it yields nothing, nothing is left to look at.
        """

    def check(self, word: Word) -> None:
        """Raise ValueError unless a word makes sense; it is sealed, but its writer may be of another version."""

    def hear(self, word: Word, before: Word | None) -> None:
        """Act on a word that is in `hearsay` now, in the place of the one `before`."""

    def over(self, word: Word) -> None:
        """Act on the end of a word, which is not in `hearsay` any more."""
