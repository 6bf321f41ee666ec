"""Releases of one kind (policy, models): how all nodes come to have the same in force, and how a new one is made.

    push -> content, question -> each node tries it, and votes -> all yes: release, in force at one moment on all
                                                               -> a no, or a node that is silent: nothing has changed
    a node that fails to put it in force rolls back for all: a release of the content before, of a higher generation

Who was told to push counts the votes; if it goes away meanwhile, the question ends by itself, and nothing has changed
either. All nodes follow the one record `active` in the store, so a node that joins later, or was out of reach, takes up
what is in force. It may refuse it; then it goes on with what it has, says so, and tries again each minute: one node
whose own settings do not fit is no reason to take a policy from the others.

What the store forgets (it was restarted empty, or a failover lost the last write) any node writes again, from what it
keeps itself. So `active` only rises in rank, and all nodes that reach the store are on the same release `LEAD_MS` after
a release, and the time of a look and of putting it in force. A node that does not reach the store stays where it was
until it does.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

import structlog

from proxy.cluster.command import Command, StoreDown
from proxy.cluster.kept import Kept
from proxy.cluster.members import Held
from proxy.cluster.release import (
    ASK,
    COUNT,
    KEPT_MS,
    LOOK,
    MOST_OVERRIDDEN,
    MOST_REASON,
    RELEASE,
    VOTE,
    WITHDRAW,
    Content,
    Places,
    Question,
    Release,
    Vote,
    content_key,
    opened,
    sealed,
)
from proxy.plugins.events import ReleaseActive, ReleaseRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from proxy.cluster.command import Answer
    from proxy.cluster.members import Asked, Member
    from proxy.cluster.release import KindName
    from proxy.plugins.events import Event

IDLE_S: Final = 1.0
BUSY_S: Final = 0.2  # while something is asked
BUSY_LOOKS: Final = 25  # after something was asked
LEAD_MS: Final = 1500  # from a release until it is in force: all have seen it by then
SETTLE_MS: Final = 10_000  # from then on, in which a failure rolls back
ASKED_LONGER_MS: Final = 1000  # a question lives, beyond the time to answer: it is withdrawn by then
AGAIN_MS: Final = 60_000  # what was refused here is tried again
PIECE_BYTES: Final = 128 * 1024
STORE_S: Final = 2.0  # for one piece


class Opinion(NamedTuple):
    """What a node thinks of a content.

    Args:
        faults: Why it cannot be in force here; empty if it can.
        overridden: See `Vote`.

    """

    faults: str = ""
    overridden: tuple[str, ...] = ()


class Keeper(Protocol):
    """What a kind of release means on this node. None of it raises."""

    kind: KindName
    patience_ms: int  # for the votes of all nodes

    def kept(self) -> Kept | None:
        """Return what was in force when the node was running last."""

    async def opinion(self, data: bytes) -> Opinion:
        """Try a content, and change nothing."""

    async def use(self, kept: Kept) -> str:
        """Put a release in force, and keep it; return why not, or nothing. Then what was in force still is."""


class Company(Protocol):
    """What is asked of `Members`."""

    life: str
    problem: str

    @property
    def node(self) -> str:
        """See `Members`."""

    @property
    def joined(self) -> bool:
        """See `Members`."""

    @property
    def others(self) -> tuple[Member, ...]:
        """See `Members`."""

    def beat_soon(self) -> None:
        """See `Members`."""


class Refused(Exception):
    """No release was made; the text says why."""


class Ballot(NamedTuple):
    """How a node voted."""

    node: str
    answer: Literal["yes", "no", "silent"]
    reason: str = ""
    overridden: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What became of a push.

    Args:
        generation: The one that was asked about.
        active: Whether it is in force on all nodes.
        reason: Why not.
        ballots: How the nodes voted.

    """

    generation: int
    content: str
    active: bool
    reason: str
    ballots: tuple[Ballot, ...]


class Seen(NamedTuple):
    """What one look at the store gave."""

    now_ms: int
    raw: bytes  # active, as it is
    active: Release | None
    raw_asked: bytes
    asked: Question | None


class Releases:
    """The releases of one kind, on this node.

    Attributes:
        active: The one in force here; None: there never was one.
        problem: Why the one in force in the cluster is not in force here; empty if it is.

    """

    def __init__(
        self,
        keeper: Keeper,
        store: Asked,
        company: Company,
        *,
        publish: Callable[[Event], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Begin with what was in force last.

        Args:
            keeper: Tries contents, and puts them in force.
            store: Where all meet.
            company: Who is asked.
            publish: Hears of ReleaseActive and ReleaseRefused.
            sleep: Waits so many seconds.

        """
        kept = keeper.kept()
        self.active = kept.release if kept else None
        self.problem = ""
        self._data = {kept.release.named: kept.data} if kept else {}  # contents that may be needed soon
        self._keeper = keeper
        self._store = store
        self._company = company
        self._publish = publish
        self._sleep = sleep
        self._places = Places.of(store.keys, keeper.kind)
        self._voted = ""  # the last attempt
        self._refused: tuple[tuple[int, int, str], int] | None = None  # rank, and when it is tried again
        self._busy = 0  # looks that are still to be quick
        self._pushing = asyncio.Lock()
        self._log = structlog.get_logger().bind(process="analyst", what=keeper.kind)

    @property
    def held(self) -> Held:
        """What is in force here, for the beats."""
        return Held(generation=self.active.generation, content=self.active.content) if self.active else Held()

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        return self.problem

    async def run(self) -> None:
        """Follow the store until cancelled."""
        while True:
            with suppress(StoreDown):
                await self.turn()
            await self._sleep(BUSY_S if self._busy or self._pushing.locked() else IDLE_S)

    async def turn(self) -> None:
        """Look once, and do what there is to do; StoreDown if the store is."""
        self._busy = max(0, self._busy - 1)
        seen = await self._look()
        if seen is None or not self._company.joined:
            return
        await self._follow(seen)
        await self._answer(seen)

    # To follow.

    async def _look(self) -> Seen | None:
        mine = self.active
        contents = [each for each in (mine.named, mine.named_before) if each.size] if mine else []
        keys = (self._places.active, self._places.asked, *(content_key(self._store.keys, each) for each in contents))
        match await self._ask(LOOK, keys):
            case [int() as now_ms, bytes() as raw, bytes() as raw_asked]:
                active = opened(self._store.seal, Release, raw)
                asked = opened(self._store.seal, Question, raw_asked)
                return Seen(
                    now_ms,
                    raw,
                    active if active and active.kind == self._keeper.kind else None,
                    raw_asked,
                    asked if asked and asked.kind == self._keeper.kind else None,
                )
        self._say("the releases of the cluster cannot be read: they are not what they should be")
        return None

    async def _follow(self, seen: Seen) -> None:
        """Take up what is in force, or write it again if the store has forgotten it."""
        mine, found = self.active, seen.active
        if found is not None and (mine is None or found.rank > mine.rank):
            await self._adopt(found, seen)
        elif mine is not None and (found is None or found.rank < mine.rank):
            await self._restore(mine, seen)
        elif self.problem:
            self._say("")

    async def _adopt(self, found: Release, seen: Seen) -> None:
        if self._refused is not None and self._refused[0] == found.rank and seen.now_ms < self._refused[1]:
            return
        data = await self._content(found.named)
        if data is None:
            self._say(f"generation {found.generation} is in force in the cluster, but its content is not in the store")
            return
        if (early_ms := found.at_ms - seen.now_ms) > 0:
            await self._sleep(min(early_ms, LEAD_MS) / 1000)
        if fault := await self._keeper.use(Kept(found, data)):
            await self._fail(found, fault[:MOST_REASON], seen)
            return
        self.active, self._refused = found, None
        self._data = {each: self._data[each] for each in (found.named, found.named_before) if each in self._data}
        self._say("")
        self._log.info("a release is in force", generation=found.generation, content=found.content, reason=found.reason)
        self._publish(
            ReleaseActive(what=found.kind, generation=found.generation, content=found.content, reason=found.reason)
        )
        self._company.beat_soon()

    async def _fail(self, found: Release, fault: str, seen: Seen) -> None:
        """Go on with what is in force here; roll back for all if the release is new."""
        self._refused = found.rank, seen.now_ms + AGAIN_MS
        if not self.problem:
            self._publish(ReleaseRefused(what=found.kind, generation=found.generation, reason=fault))
        self._say(f"generation {found.generation} of the cluster is refused here: {fault}")
        if seen.now_ms < found.until_ms:
            await self._roll_back(found, seen.raw, f"{self._company.node}: {fault}")

    async def _roll_back(self, found: Release, raw: bytes, reason: str) -> bool:
        """Put what was in force before in the place of `found`, for all; false if somebody was quicker."""
        now_ms = found.until_ms if (seen := await self._look()) is None else seen.now_ms
        back = Release(
            kind=found.kind,
            generation=found.generation + 1,
            content=found.before,
            size=found.before_size,
            before=found.before,
            before_size=found.before_size,
            at_ms=now_ms + LEAD_MS,
            until_ms=0,
            by=self._company.node,
            reason=reason[:MOST_REASON],
        )
        self._busy = BUSY_LOOKS
        return await self._release(raw, back)

    async def _restore(self, mine: Release, seen: Seen) -> None:
        """Write what is in force again: the store has forgotten it, or remembers an older one."""
        if mine.size:
            await self._upload(mine.named, self._data.get(mine.named, b""))
        if await self._release(seen.raw, mine):
            self._log.warning("the store had forgotten the release, it was written again", generation=mine.generation)

    async def _release(self, raw: bytes, release: Release, raw_asked: bytes = b"") -> bool:
        places = (self._places.active, self._places.asked)
        return await self._ask(RELEASE, places, raw, sealed(self._store.seal, release), raw_asked) == 1

    # To vote.

    async def _answer(self, seen: Seen) -> None:
        """Vote, if something is asked that was not answered yet."""
        asked = seen.asked
        if asked is None:
            return
        self._busy = BUSY_LOOKS
        if asked.attempt == self._voted or seen.now_ms >= asked.until_ms:
            return
        opinion = await self._opinion(asked, seen)
        vote = Vote(
            attempt=asked.attempt,
            node=self._company.node,
            life=self._company.life,
            yes=not opinion.faults,
            reason=opinion.faults[:MOST_REASON],
            overridden=tuple(each[:128] for each in opinion.overridden[:MOST_OVERRIDDEN]),
        )
        ttl_ms = self._keeper.patience_ms + ASKED_LONGER_MS
        keys = (self._places.asked, self._places.votes)
        await self._ask(VOTE, keys, seen.raw_asked, vote.node, sealed(self._store.seal, vote), ttl_ms)
        self._voted = asked.attempt
        if opinion.faults:
            self._log.warning("a release is refused", generation=asked.generation, by=asked.by, reason=vote.reason)

    async def _opinion(self, asked: Question, seen: Seen) -> Opinion:
        newest = max((each.generation for each in (self.active, seen.active) if each), default=0)
        if asked.generation <= newest:
            return Opinion(f"generation {newest} is in force already")
        data = await self._content(asked.named)
        if data is None:
            return Opinion("the content is not in the store")
        return await self._keeper.opinion(data)

    # To make one.

    async def push(self, data: bytes) -> Outcome:
        """Let all nodes try a content, and put it in force on all of them or on none.

        Args:
            data: The content; none: each node is to have its own again.

        Raises:
            Refused: Nobody was asked.
            StoreDown: The store was lost meanwhile; whether the release was made shows when it is back.

        """
        if self._pushing.locked():
            raise Refused("something is being pushed through this node at the moment")
        async with self._pushing:
            if opinion := await self._keeper.opinion(data):
                if opinion.faults:
                    raise Refused(opinion.faults)
            content = Content.of(data)
            await self._upload(content, data)
            self._data[content] = data
            return await self._propose(content)

    async def roll_back(self) -> Outcome:
        """Make a release of what was in force before; as `push`."""
        mine = self.active
        if mine is None or mine.named_before == mine.named:
            raise Refused("there is nothing to go back to")
        data = await self._content(mine.named_before)
        if data is None:
            raise Refused("what was in force before is not in the store any more")
        return await self.push(data)

    async def _propose(self, content: Content) -> Outcome:
        seen = await self._look()
        if seen is None or not self._company.joined:
            raise Refused(self.problem or self._company.problem or "this node has not joined the cluster yet")
        before = seen.active
        if before is not None and before.named == content:
            raise Refused(f"it is in force already, as generation {before.generation}")
        if before != self.active:
            raise Refused("this node does not have in force what the cluster has; see its state")
        question = Question(
            kind=self._keeper.kind,
            attempt=secrets.token_hex(8),
            generation=(before.generation if before else 0) + 1,
            content=content.hash,
            size=content.size,
            until_ms=seen.now_ms + self._keeper.patience_ms,
            by=self._company.node,
        )
        raw = sealed(self._store.seal, question)
        ttl_ms = self._keeper.patience_ms + ASKED_LONGER_MS
        if await self._ask(ASK, (self._places.asked, self._places.votes), raw, ttl_ms) != 1:
            raise Refused(f"{seen.asked.by if seen.asked else 'another node'} is asking about a release at the moment")
        ballots, withdrawn = await self._poll(question, raw)
        bad = [each for each in ballots if each.answer != "yes"]
        if bad or withdrawn:
            await self._ask(WITHDRAW, (self._places.asked,), raw)
            reason = withdrawn or "; ".join(f"{each.node}: {each.reason or each.answer}" for each in bad)
            return Outcome(question.generation, content.hash, active=False, reason=reason, ballots=ballots)
        return await self._activate(question, raw, seen, ballots)

    async def _poll(self, question: Question, raw: bytes) -> tuple[tuple[Ballot, ...], str]:
        """Wait for the votes of all; return them, and why it makes no sense any more, if so."""
        asked = self._voters()
        while True:
            seen = await self._look()
            if seen is None or seen.raw_asked != raw:
                return (), "the store has lost the question"
            # Whoever has joined meanwhile is asked as well, and whoever has said that it leaves is not.
            asked = self._voters() | {node: life for node, life in asked.items() if self._is_known(node)}
            ballots = await self._ballots(question, asked)
            answers = {each.answer for each in ballots}
            if "no" in answers or answers == {"yes"} or seen.now_ms >= question.until_ms:
                return ballots, ""
            await self._sleep(BUSY_S)

    def _voters(self) -> dict[str, str]:
        """Return the nodes that have to agree, and their lives."""
        others = {each.beat.node: each.beat.life for each in self._company.others if each.counted}
        return others | {self._company.node: self._company.life}

    def _is_known(self, node: str) -> bool:
        return node == self._company.node or any(each.beat.node == node for each in self._company.others)

    async def _ballots(self, question: Question, asked: dict[str, str]) -> tuple[Ballot, ...]:
        found = await self._ask(COUNT, (self._places.votes,))
        votes = [opened(self._store.seal, Vote, each) for each in found] if isinstance(found, list) else []
        cast = {(each.node, each.life): each for each in votes if each and each.attempt == question.attempt}
        return tuple(_ballot(node, cast.get((node, life))) for node, life in sorted(asked.items()))

    async def _activate(self, question: Question, raw: bytes, seen: Seen, ballots: tuple[Ballot, ...]) -> Outcome:
        """Make the release, and wait until all have it in force."""
        before = seen.active.named if seen.active else Content()
        now_ms = seen.now_ms if (later := await self._look()) is None else later.now_ms
        release = Release(
            kind=question.kind,
            generation=question.generation,
            content=question.content,
            size=question.size,
            before=before.hash,
            before_size=before.size,
            at_ms=now_ms + LEAD_MS,
            until_ms=now_ms + LEAD_MS + SETTLE_MS,
            by=self._company.node,
        )
        outcome = Outcome(release.generation, release.content, active=True, reason="", ballots=ballots)
        if not await self._release(seen.raw, release, raw):
            return outcome._replace(active=False, reason="the store has lost the question, or another release was made")
        return outcome._replace(active=not (reason := await self._settle(release)), reason=reason)

    async def _settle(self, release: Release) -> str:
        """Wait until all nodes that are there have a release in force; roll back if one does not. Return why that was."""
        while True:
            await self._sleep(BUSY_S)
            seen = await self._look()
            if seen is None or seen.active != release:
                return (seen.active.reason if seen and seen.active else "") or "another release was made meanwhile"
            late = [each.beat.node for each in self._company.others if each.counted and not _has(each, release)]
            if self.active != release:
                late.append(self._company.node)
            if not late:
                return ""
            if seen.now_ms >= release.until_ms:
                reason = f"not in force in time on {', '.join(sorted(late)[:5])}"
                await self._roll_back(release, seen.raw, reason)
                return reason

    # Contents.

    async def _content(self, content: Content) -> bytes | None:
        """Return a content, from here or from the store; None if it is not there, or is not what it should be."""
        if not content.size:
            return b""
        if content not in self._data:
            data = await self._download(content)
            if not content.fits(data):
                return None
            if len(self._data) > 2:  # of what is in force, of what was, and of one that is asked about
                self._data = {each: data for each, data in self._data.items() if self._needs(each)}
            self._data[content] = data
        return self._data[content]

    def _needs(self, content: Content) -> bool:
        return self.active is not None and content in (self.active.named, self.active.named_before)

    async def _download(self, content: Content) -> bytes:
        key = (content_key(self._store.keys, content),)
        pieces = []
        for start in range(0, content.size, PIECE_BYTES):
            end = min(start + PIECE_BYTES, content.size) - 1
            piece = await self._ask("GETRANGE", key, start, end)
            if not isinstance(piece, bytes) or len(piece) != end - start + 1:
                return b""
            pieces.append(piece)
        return b"".join(pieces)

    async def _upload(self, content: Content, data: bytes) -> None:
        key = (content_key(self._store.keys, content),)
        for start in range(0, len(data), PIECE_BYTES):
            await self._ask("SETRANGE", key, start, data[start : start + PIECE_BYTES])
        if data:
            await self._ask("PEXPIRE", key, KEPT_MS)

    async def _ask(self, what: object, keys: Sequence[bytes], *args: bytes | str | int) -> Answer:
        [answer] = await self._store.pipeline([Command(what, tuple(keys), args)], seconds=STORE_S)  # type:
        ignore[arg-type] return answer

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            self._log.error("the release of the cluster is not in force here", reason=problem)
        self.problem = problem


def _ballot(node: str, vote: Vote | None) -> Ballot:
    if vote is None:
        return Ballot(node, "silent")
    return Ballot(node, "yes" if vote.yes else "no", vote.reason, vote.overridden)


def _has(member: Member, release: Release) -> bool:
    held = member.beat.policy if release.kind == "policy" else member.beat.models
    return (held.generation, held.content) == (release.generation, release.content)
