"""How a release is made: all nodes try it, and then it is in force on all of them, or on none.

    push -> content, question -> each node tries it, and votes -> all yes: release, in force at one moment on all
                                                               -> a no, or a node that is silent: nothing has changed
    a node that fails to put it in force rolls back for all: a release of the content before, of a higher generation

The node that was told to push counts the votes. If it goes away meanwhile, the question ends by itself, and nothing has
changed; or the release is made, and what is left to do the nodes do by themselves (`follower.py`).

All nodes that reach the store are on the same release LEAD_MS after it was made, and the time of a look and of putting
it in force. A node that does not reach the store stays where it was until it does: nobody can tell it.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from proxy.cluster.archive import Unreadable
from proxy.cluster.follower import ASKED_LONGER_MS, BUSY_S, LEAD_MS
from proxy.cluster.release import Content, Question, Release

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.cluster.archive import Seen
    from proxy.cluster.follower import Follower
    from proxy.cluster.release import Vote
    from proxy.cluster.roster import Member

SETTLE_MS: Final = 10_000  # after a release is in force, in which a failure rolls back
MOST_LATE: Final = 5  # nodes that are named


class Refused(Exception):
    """No node was asked; the text says why."""


class Ballot(NamedTuple):
    """How a node voted; `overridden` as in `Vote`."""

    node: str
    answer: Literal["yes", "no", "silent"]
    reason: str = ""
    overridden: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What became of a push.

    Args:
        generation: The one that was asked about.
        content: Its SHA-256.
        active: Whether it is in force on all nodes.
        reason: Why not.
        ballots: How the nodes voted.

    """

    generation: int
    content: str
    active: bool
    reason: str
    ballots: tuple[Ballot, ...]


class Releases:
    """Makes releases of one kind, through one node."""

    def __init__(self, follower: Follower, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Make them of what the node follows; `sleep` waits so many seconds."""
        self._follower = follower
        self._archive = follower.archive
        self._company = follower.company
        self._patience_ms = follower.keeper.patience_ms
        self._sleep = sleep

    async def push(self, data: bytes) -> Outcome:
        """Let all nodes try a content, and put it in force on all of them or on none.

        Args:
            data: The content; none: each node is to have its own again.

        Raises:
            Refused: Nobody was asked.
            StoreDown: The store was lost meanwhile; whether the release was made shows when it is back.

        """
        if self._follower.hurried:
            raise Refused("something is being pushed through this node at the moment")
        self._follower.hurried = True
        try:
            return await self._push(data)
        except Unreadable as error:
            raise Refused(str(error)) from None
        finally:
            self._follower.hurried = False

    async def roll_back(self) -> Outcome:
        """Make a release of what was in force before; as `push`."""
        mine = self._follower.active
        if mine is None or mine.named_before == mine.named:
            raise Refused("there is nothing to go back to")
        data = await self._follower.content(mine.named_before)
        if data is None:
            raise Refused("what was in force before is not in the store any more")
        return await self.push(data)

    async def _push(self, data: bytes) -> Outcome:
        if faults := (await self._follower.keeper.opinion(data)).faults:
            raise Refused(faults)
        content = Content.of(data)
        await self._archive.write(content, data)
        self._follower.remember(content, data)
        seen = await self._archive.look()
        question = self._question(content, seen)
        if not await self._archive.ask(question, self._patience_ms + ASKED_LONGER_MS):
            raise Refused(f"{seen.asked.by if seen.asked else 'another node'} is asking about a release at the moment")
        ballots = await self._poll(question)
        outcome = Outcome(question.generation, question.content, active=False, reason="", ballots=ballots)
        # Where one has refused, the others may not have had the time to answer.
        bad = [each for each in ballots if each.answer == "no"] or [each for each in ballots if each.answer == "silent"]
        if bad:
            await self._archive.withdraw(question)
            return outcome._replace(reason="; ".join(f"{each.node}: {each.reason or each.answer}" for each in bad))
        reason = await self._activate(question, seen)
        return outcome._replace(active=not reason, reason=reason)

    def _question(self, content: Content, seen: Seen) -> Question:
        """Return what is to be asked; Refused if that makes no sense."""
        before = seen.active
        if not self._company.joined:
            raise Refused(self._company.problem or "this node has not joined the cluster yet")
        if before != self._follower.active:
            raise Refused(self._follower.problem or "this node has not yet in force what the cluster has; try again")
        if content == (before.named if before else Content()):
            raise Refused(f"it is in force already, as generation {before.generation if before else 0}")
        return Question(
            kind=self._archive.kind,
            attempt=secrets.token_hex(8),
            generation=(before.generation if before else 0) + 1,
            content=content.hash,
            size=content.size,
            until_ms=seen.now_ms + self._patience_ms,
            by=self._company.node,
        )

    async def _poll(self, question: Question) -> tuple[Ballot, ...]:
        """Wait for the votes of all, or for one that is a no."""
        asked = self._voters()
        while True:
            seen = await self._archive.look()
            # Whoever has joined meanwhile is asked as well; whoever has said that it leaves is not, one that is lost
            # is.
            known = {each.beat.node for each in self._company.others} | {self._company.node}
            asked = {node: life for node, life in asked.items() if node in known} | self._voters()
            cast = await self._archive.votes(question)
            ballots = tuple(_ballot(node, cast.get((node, life))) for node, life in sorted(asked.items()))
            answers = {each.answer for each in ballots}
            over = not self._archive.is_asked(question, seen) or seen.now_ms >= question.until_ms
            if "no" in answers or answers == {"yes"} or over:
                return ballots
            await self._sleep(BUSY_S)

    def _voters(self) -> dict[str, str]:
        """Return the nodes that have to agree, and their lives."""
        others = {each.beat.node: each.beat.life for each in self._company.others if each.counted}
        return others | {self._company.node: self._company.life}

    async def _activate(self, question: Question, seen: Seen) -> str:
        """Make the release, and wait until all have it in force; return why not."""
        before = seen.active.named if seen.active else Content()
        at_ms = (await self._archive.look()).now_ms + LEAD_MS
        release = Release(
            kind=question.kind,
            generation=question.generation,
            content=question.content,
            size=question.size,
            before=before.hash,
            before_size=before.size,
            at_ms=at_ms,
            until_ms=at_ms + SETTLE_MS,
            by=self._company.node,
        )
        if not await self._archive.release(seen.raw, release, question):
            return "the store has lost the question, or another release was made"
        while True:
            await self._sleep(BUSY_S)
            seen = await self._archive.look()
            if seen.active != release:
                return (seen.active.reason if seen.active else "") or "another release was made meanwhile"
            late = sorted(self._late(release))
            if not late:
                return ""
            if seen.now_ms >= release.until_ms:
                reason = f"not in force in time on {', '.join(late[:MOST_LATE])}"
                await self._follower.roll_back(release, seen, reason)
                return reason

    def _late(self, release: Release) -> set[str]:
        """Return the nodes that are there, and do not have it in force."""
        late = {each.beat.node for each in self._company.others if each.counted and not _has(each, release)}
        return late if self._follower.active == release else late | {self._company.node}


def _ballot(node: str, vote: Vote | None) -> Ballot:
    if vote is None:
        return Ballot(node, "silent")
    return Ballot(node, "yes" if vote.yes else "no", vote.reason, vote.overridden)


def _has(member: Member, release: Release) -> bool:
    held = member.beat.policy if release.kind == "policy" else member.beat.models
    return (held.generation, held.content) == (release.generation, release.content)
