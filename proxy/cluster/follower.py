"""A node that follows: it tries what is asked and votes, and puts in force what is released.

All nodes follow the one record `active` in the store, so a node that joins later, or was out of reach, takes up what is
in force. If it cannot, it goes on with what it has, says so, and tries again each minute: one node whose own settings
do not fit is no reason to take a policy from the others. Only for some seconds after a release, while it is new to all,
does a node that fails roll back for all.

What the store forgets (it was restarted empty, or a failover lost the last write) any node writes again, from what it
keeps itself. So `active` only rises in rank.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from proxy.cluster.archive import Archive, Unreadable
from proxy.cluster.beat import Held
from proxy.cluster.command import StoreDown
from proxy.cluster.kept import Kept
from proxy.cluster.release import MOST_OVERRIDDEN, MOST_REASON, MOST_VARIABLE, Release, Vote
from proxy.plugins.events import ReleaseActive, ReleaseRefused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.cluster.archive import Seen
    from proxy.cluster.members import Asked
    from proxy.cluster.release import Content, KindName, Question
    from proxy.cluster.roster import Member
    from proxy.plugins.events import Event

IDLE_S: Final = 1.0
BUSY_S: Final = 0.2
BUSY_LOOKS: Final = 25  # after something was asked or released
LEAD_MS: Final = 1500  # from a release until it is in force: all have seen it by then
ASKED_LONGER_MS: Final = 1000  # a question lives, beyond the time to answer: it is withdrawn by then
AGAIN_MS: Final = 60_000  # what was refused here is tried again
MOST_CONTENTS: Final = 3  # what is in force, what was before, and what is asked about


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
        """Return what was in force when the node was running last, and is now."""

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


class Follower:
    """One kind of release, on this node.

    Attributes:
        active: The release in force here; None: there never was one.
        problem: Why the one in force in the cluster is not in force here; empty if it is.
        hurried: Whether the store is looked at often.

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
            company: The nodes.
            publish: Hears of ReleaseActive and ReleaseRefused.
            sleep: Waits so many seconds.

        """
        kept = keeper.kept()
        self.active = kept.release if kept else None
        self.problem = ""
        self.hurried = False
        self.keeper = keeper
        self.archive = Archive(store, keeper.kind)
        self.company = company
        self._contents: dict[Content, bytes] = {kept.release.named: kept.data} if kept else {}
        self._publish = publish
        self._sleep = sleep
        self._voted = ""  # the last attempt
        self._refused: tuple[int, int, str] | None = None  # rank
        self._again_ms = 0
        self._busy = 0  # looks that are still to be quick
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
        """Follow until cancelled."""
        while True:
            with suppress(StoreDown):
                await self.turn()
            await self._sleep(BUSY_S if self._busy or self.hurried else IDLE_S)

    async def turn(self) -> None:
        """Look once, and do what there is to do; StoreDown if the store is."""
        self._busy = max(0, self._busy - 1)
        if not self.company.joined:
            return
        try:
            seen = await self.archive.look((self.active.named, self.active.named_before) if self.active else ())
        except Unreadable as error:
            self._say(str(error))
            return
        await self._follow(seen)
        if seen.asked is not None:
            self._busy = BUSY_LOOKS
            await self._answer(seen.asked, seen)

    # What is in force.

    async def _follow(self, seen: Seen) -> None:
        mine, found = self.active, seen.active
        if found is not None and (mine is None or found.rank > mine.rank):
            if found.rank != self._refused or seen.now_ms >= self._again_ms:
                await self._adopt(found, seen)
        elif mine is not None and (found is None or found.rank < mine.rank):
            await self._restore(mine, seen)
        else:
            self._say("")

    async def _adopt(self, found: Release, seen: Seen) -> None:
        self._busy = BUSY_LOOKS
        data = await self.content(found.named)
        if data is None:
            self._say(f"generation {found.generation} is in force in the cluster, but its content is not in the store")
            return
        if (early_ms := found.at_ms - seen.now_ms) > 0:
            await self._sleep(min(early_ms, LEAD_MS) / 1000)
        if fault := (await self.keeper.use(Kept(found, data)))[:MOST_REASON]:
            await self._fail(found, fault, seen)
            return
        self.active, self._refused = found, None
        self._say("")
        self._log.info("a release is in force", generation=found.generation, content=found.content, reason=found.reason)
        self._publish(
            ReleaseActive(what=found.kind, generation=found.generation, content=found.content, reason=found.reason)
        )
        self.company.beat_soon()

    async def _fail(self, found: Release, fault: str, seen: Seen) -> None:
        """Go on with what is in force here; roll back for all if the release is new."""
        if found.rank != self._refused:
            self._publish(ReleaseRefused(what=found.kind, generation=found.generation, reason=fault))
        self._refused, self._again_ms = found.rank, seen.now_ms + AGAIN_MS
        self._say(f"generation {found.generation} of the cluster is refused here: {fault}")
        if seen.now_ms < found.until_ms:
            await self.roll_back(found, seen, f"{self.company.node}: {fault}")

    async def roll_back(self, found: Release, seen: Seen, reason: str) -> None:
        """Put what was in force before in the place of `found`, for all, unless somebody was quicker."""
        back = Release(
            kind=found.kind,
            generation=found.generation + 1,
            content=found.before,
            size=found.before_size,
            before=found.before,
            before_size=found.before_size,
            at_ms=max(seen.now_ms, found.at_ms) + LEAD_MS,
            until_ms=0,
            by=self.company.node,
            reason=reason[:MOST_REASON],
        )
        await self.archive.release(seen.raw, back)

    async def _restore(self, mine: Release, seen: Seen) -> None:
        """Write what is in force again: the store has forgotten it, or remembers an older one."""
        if (data := self._contents.get(mine.named)) is not None:
            await self.archive.write(mine.named, data)
        if await self.archive.release(seen.raw, mine):
            self._log.warning("the store had forgotten the release; it was written again", generation=mine.generation)

    # What is asked.

    async def _answer(self, asked: Question, seen: Seen) -> None:
        """Vote, if that was not done yet."""
        if asked.attempt == self._voted or seen.now_ms >= asked.until_ms:
            return
        opinion = await self._opinion(asked, seen)
        vote = Vote(
            attempt=asked.attempt,
            node=self.company.node,
            life=self.company.life,
            yes=not opinion.faults,
            reason=opinion.faults[:MOST_REASON],
            overridden=tuple(each[:MOST_VARIABLE] for each in opinion.overridden[:MOST_OVERRIDDEN]),
        )
        await self.archive.vote(seen, vote, self.keeper.patience_ms + ASKED_LONGER_MS)
        self._voted = asked.attempt
        if opinion.faults:
            self._log.warning("a release is refused", generation=asked.generation, by=asked.by, reason=vote.reason)

    async def _opinion(self, asked: Question, seen: Seen) -> Opinion:
        newest = max((each.generation for each in (self.active, seen.active) if each), default=0)
        if asked.generation <= newest:
            return Opinion(f"generation {newest} is in force already")
        data = await self.content(asked.named)
        return Opinion("the content is not in the store") if data is None else await self.keeper.opinion(data)

    async def content(self, content: Content) -> bytes | None:
        """Return a content, from here or from the store; None if it cannot be had. StoreDown if the store is."""
        if not content.size:
            return b""
        data = self._contents.get(content)
        if data is None and (data := await self.archive.read(content)) is not None:
            self.remember(content, data)
        return data

    def remember(self, content: Content, data: bytes) -> None:
        """Have a content at hand, in the place of one that is needed no more."""
        needed = (self.active.named, self.active.named_before) if self.active else ()
        if len(self._contents) >= MOST_CONTENTS:
            self._contents = {each: kept for each, kept in self._contents.items() if each in needed}
        self._contents[content] = data

    def _say(self, problem: str) -> None:
        if problem and problem != self.problem:
            self._log.error("the release of the cluster is not in force here", reason=problem)
        self.problem = problem
