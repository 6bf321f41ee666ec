"""Releases of one kind in the store: the records and contents of `release.py`, as one asks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.cluster.command import Command
from proxy.cluster.release import (
    ASK,
    COUNT,
    KEPT_MS,
    LOOK,
    RELEASE,
    VOTE,
    WITHDRAW,
    Places,
    Question,
    Release,
    Vote,
    content_key,
    opened,
    sealed,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from proxy.cluster.command import Answer, Argument, Script
    from proxy.cluster.members import Asked
    from proxy.cluster.release import Content, KindName

PIECE_BYTES: Final = 128 * 1024  # what others ask meanwhile does not wait for more
STORE_S: Final = 2.0  # for one piece, or one question
NONE: Final = b""


class Unreadable(Exception):
    """What is in the store is not what it should be."""


class Seen(NamedTuple):
    """What one look at the store gave.

    Args:
        now_ms: On its clock.
        raw: The release that is in force, as it is written; empty: none.
        active: The same; None also if it was not written by a node of this cluster.
        raw_asked: What is being asked, as it is written.
        asked: The same.

    """

    now_ms: int
    raw: bytes
    active: Release | None
    raw_asked: bytes
    asked: Question | None


class Archive:
    """The releases of one kind. Every method raises StoreDown if the store is.

    Attributes:
        kind: Of release.
        places: Its keys.

    """

    def __init__(self, store: Asked, kind: KindName) -> None:
        """Of one store."""
        self.kind: KindName = kind
        self._store = store
        self.places: Final = Places.of(store.keys, kind)

    async def look(self, used: Iterable[Content] = ()) -> Seen:
        """Return what is in force and what is asked; and keep `used` contents for another year; or raise Unreadable."""
        contents = [content_key(self._store.keys, each) for each in used if each.size]
        match await self._ask(LOOK, (self.places.active, self.places.asked, *contents)):
            case [int() as now_ms, bytes() as raw, bytes() as raw_asked]:
                active = opened(self._store.seal, Release, raw)
                asked = opened(self._store.seal, Question, raw_asked)
                return Seen(
                    now_ms,
                    raw,
                    active if active and active.kind == self.kind else None,
                    raw_asked,
                    asked if asked and asked.kind == self.kind else None,
                )
        raise Unreadable("the releases of the cluster cannot be read: they are not what they should be")

    async def release(self, raw: bytes, release: Release, question: Question | None = None) -> bool:
        """Put a release in force; false if something else is, or the question was withdrawn.

        Args:
            raw: What is in force, as it was seen.
            release: The new one.
            question: Which it answers.

        """
        asked = sealed(self._store.seal, question) if question else NONE
        places = (self.places.active, self.places.asked)
        return await self._ask(RELEASE, places, raw, sealed(self._store.seal, release), asked) == 1

    async def ask(self, question: Question, ttl_ms: int) -> bool:
        """Ask all nodes; false if something else is being asked."""
        places = (self.places.asked, self.places.votes)
        return await self._ask(ASK, places, sealed(self._store.seal, question), ttl_ms) == 1

    def is_asked(self, question: Question, seen: Seen) -> bool:
        """Tell whether this is what was seen."""
        return seen.raw_asked == sealed(self._store.seal, question)

    async def withdraw(self, question: Question) -> None:
        """Ask no more."""
        await self._ask(WITHDRAW, (self.places.asked,), sealed(self._store.seal, question))

    async def vote(self, seen: Seen, vote: Vote, ttl_ms: int) -> None:
        """Answer what was seen to be asked; nothing happens if it is not any more."""
        places = (self.places.asked, self.places.votes)
        await self._ask(VOTE, places, seen.raw_asked, vote.node, sealed(self._store.seal, vote), ttl_ms)

    async def votes(self, question: Question) -> dict[tuple[str, str], Vote]:
        """Return the votes on a question, by node and life."""
        found = await self._ask(COUNT, (self.places.votes,))
        votes = [opened(self._store.seal, Vote, each) for each in found] if isinstance(found, list) else []
        return {(each.node, each.life): each for each in votes if each and each.attempt == question.attempt}

    async def read(self, content: Content) -> bytes | None:
        """Return a content; None if it is not there, or is not what its name says."""
        key = content_key(self._store.keys, content)
        pieces = []
        for start in range(0, content.size, PIECE_BYTES):
            piece = await self._ask("GETRANGE", (key,), start, start + PIECE_BYTES - 1)
            if not isinstance(piece, bytes):
                return None
            pieces.append(piece[:PIECE_BYTES])
        data = b"".join(pieces)
        return data if content.fits(data) else None

    async def write(self, content: Content, data: bytes) -> None:
        """Write a content."""
        key = (content_key(self._store.keys, content),)
        for start in range(0, len(data), PIECE_BYTES):
            piece = Command("SETRANGE", key, (start, data[start : start + PIECE_BYTES]))
            await self._store.pipeline([piece, Command("PEXPIRE", key, (KEPT_MS,))], seconds=STORE_S)

    async def _ask(self, what: str | Script, keys: Sequence[bytes], *args: Argument) -> Answer:
        [answer] = await self._store.pipeline([Command(what, tuple(keys), args)], seconds=STORE_S)
        return answer
