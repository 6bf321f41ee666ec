"""Courtesy: who works after which step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from models.steps import whole
from proxy.courtesy import PIECE_NS, Courtesy, Done

if TYPE_CHECKING:
    from models.steps import Steps

STEPS = 4  # in a piece
STEP_NS = PIECE_NS // STEPS
WORKER_NS = 10 * PIECE_NS


class Core:
    """A clock that goes on with each step, and who had the core.

    Attributes:
        done: A word for each step of whoever, a dot where a worker was let go first.

    """

    def __init__(self) -> None:
        """Begin."""
        self.now_ns = 0
        self.done = ""
        self.courtesy = Courtesy(self._give_way, clock=lambda: self.now_ns)

    def _give_way(self) -> None:
        self.done += "."

    def steps(self, word: str, count: int) -> Steps[str]:
        """Do so many steps."""
        for _ in range(count):
            self.now_ns += STEP_NS
            self.done += word
            yield
        return word


async def test_after_each_step() -> None:
    """The core is given up after each step, however short it was."""
    core = Core()
    assert (await core.courtesy.through(core.steps("a", 6))).result == "a"
    assert core.done == "a.a.a.a.a.a."


async def test_tasks_have_their_turn() -> None:
    """A task that has worked for a piece lets the other one work as long."""
    core = Core()
    await asyncio.gather(*(core.courtesy.through(core.steps(word, 2 * STEPS)) for word in "ab"))
    assert core.done.replace(".", "") == "aaaabbbbaaaabbbb"


async def test_behind() -> None:
    """Who is behind gives way to tasks of its own only."""
    core = Core()
    core.courtesy.behind = True
    await asyncio.gather(*(core.courtesy.through(core.steps(word, 2 * STEPS)) for word in "ab"))
    assert core.done == "aaaabbbbaaaabbbb"


async def test_time_of_others() -> None:
    """What a worker takes, and another task, is told: it is no work of the steps, and ends no piece of theirs."""
    core = Core()

    def worker() -> None:
        core.now_ns += WORKER_NS

    courtesy = Courtesy(worker, clock=lambda: core.now_ns)
    assert await courtesy.through(core.steps("a", 3)) == Done("a", 3 * WORKER_NS)
    both = await asyncio.gather(*(core.courtesy.through(core.steps(word, STEPS + 1)) for word in "ab"))
    assert [done.away_ns for done in both] == [PIECE_NS, STEP_NS]


async def test_interrupted() -> None:
    """Steps that were not done can be done afterwards."""
    core = Core()
    steps = core.steps("a", STEPS + 2)
    task = asyncio.create_task(core.courtesy.through(steps))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert core.done == "a.a.a.a."
    assert whole(steps) == "a"
    assert core.done == "a.a.a.a.aa"


async def test_an_error_comes_out() -> None:
    """What a step raises is raised."""

    def broken() -> Steps[None]:
        yield
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await Core().courtesy.through(broken())
