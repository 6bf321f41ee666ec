"""Rests: how long the analyst works in one go, and how several tasks share its time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from models.steps import whole
from proxy.rests import PIECE_BEHIND_NS, PIECE_NS, Done, Rests

if TYPE_CHECKING:
    from models.steps import Steps

STEP_NS = PIECE_NS // 4


class Site:
    """A clock that goes on with each step, and who did what.

    Attributes:
        done: A word for each step, and a space for each rest, of whomever.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Take the place of the loop's sleep."""
        self.now_ns = 0
        self.done = ""
        self.rests = Rests(1.0, clock=lambda: self.now_ns)
        self._yield = asyncio.sleep
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.done += " " if seconds else "-"
        self.now_ns += int(seconds * 1e9)
        await self._yield(0)

    def steps(self, word: str, count: int) -> Steps[str]:
        """Do so many steps."""
        for _ in range(count):
            self.now_ns += STEP_NS
            self.done += word
            yield
        return word


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Site:
    """Return one at time 0."""
    return Site(monkeypatch)


async def test_pieces(site: Site) -> None:
    """A piece ends with the step at which its time is over; a rest comes before each, and is no work."""
    assert await site.rests.through(site.steps("a", 10)) == Done("a", 3_000_000_000)
    assert site.done == " aaaa aaaa aa"


async def test_a_long_step_is_a_piece(site: Site) -> None:
    """Nothing is added to what took too long already."""

    def steps() -> Steps[None]:
        for _ in range(3):
            site.now_ns += 3 * PIECE_NS
            site.done += "L"
            yield

    await site.rests.through(steps())
    assert site.done == " L L L "


async def test_pieces_of_two_tasks_do_not_add_up(site: Site) -> None:
    """One rests while the other works, and the other way round: between two pieces there is a whole rest."""
    await asyncio.gather(site.rests.through(site.steps("a", 8)), site.rests.through(site.steps("b", 8)))
    assert site.done.replace("aaaa", "A").replace("bbbb", "B") == " A B A B  "


async def test_behind(site: Site) -> None:
    """Who is behind works in long pieces, and others have their turn between them."""
    site.rests.behind = True
    count = PIECE_BEHIND_NS // STEP_NS
    await asyncio.gather(site.rests.through(site.steps("a", 2 * count)), site.rests.through(site.steps("b", 1)))
    assert site.done == "--" + "a" * count + "-b" + "a" * count + "-"


async def test_interrupted(site: Site) -> None:
    """Steps that were not done can be done afterwards."""
    steps = site.steps("a", 10)
    task = asyncio.create_task(site.rests.through(steps))
    while "a" not in site.done:
        await site._yield(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert site.done == " aaaa "
    assert whole(steps) == "a"
    assert site.done == " aaaa aaaaaa"


async def test_an_error_comes_out(site: Site) -> None:
    """What a step raises is raised, and others can go on."""

    def broken() -> Steps[None]:
        yield
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await site.rests.through(broken())
    assert (await site.rests.through(site.steps("a", 1))).result == "a"
