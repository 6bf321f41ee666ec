"""The drain: what is in the rings is looked at once, whatever interrupts it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fastpath import RECORD_BYTES, Control, Region, Ring
from proxy import drain
from proxy.courtesy import Courtesy
from proxy.drain import Drain
from tests.proxy.admin.records_for_tests import record

if TYPE_CHECKING:
    from models.steps import Steps


class Node:
    """The rings of two workers, and who takes out of them.

    Attributes:
        turns: How many records were looked at in each turn that was done.
        pauses: What was waited after each.

    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most_turns: int = 3) -> None:
        """Interrupt it after so many turns."""
        self.region = Region.create(clients=8, workers=2, upstreams=0)
        self.region.close()
        self.turns: list[int] = []
        self.pauses: list[float] = []
        self.most_turns = most_turns
        self.courtesy = Courtesy(lambda: None, clock=lambda: 0)
        self.drain = Drain(self.region, self.courtesy, self._look)
        monkeypatch.setattr(drain.asyncio, "sleep", self._sleep)

    def write(self, worker: int, count: int) -> None:
        """Let a worker record so much."""
        ring = Ring(self.region.ring(worker))
        for number in range(count):
            ring.write(*record("192.0.2.1", now_ns=number + 1))

    def _look(self, block: bytes) -> Steps[None]:
        yield
        self.turns.append(len(block) // RECORD_BYTES)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        if len(self.turns) == self.most_turns:
            raise asyncio.CancelledError


async def test_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn takes so many of each ring; if there are more it is behind, and the next one follows at once."""
    monkeypatch.setattr(drain, "RECORDS_PER_TURN", 4)
    node = Node(monkeypatch)
    node.write(0, 6)
    node.write(1, 3)
    with pytest.raises(asyncio.CancelledError):
        await node.drain.run()
    assert node.turns == [7, 2, 0]
    assert node.pauses == [0, drain.PAUSE_SECONDS, drain.PAUSE_SECONDS]
    assert not node.courtesy.behind
    assert node.region.control[Control.ANALYST_HEARTBEAT_NS] > 0


async def test_finish(monkeypatch: pytest.MonkeyPatch) -> None:
    """The turn that was interrupted is done to its end, then all that is left."""
    monkeypatch.setattr(drain, "RECORDS_PER_TURN", 4)
    node = Node(monkeypatch)
    node.write(0, 10)

    monkeypatch.setattr(node.courtesy, "through", _cut_off)
    with pytest.raises(asyncio.CancelledError):
        await node.drain.run()
    assert node.turns == []
    node.drain.finish()
    assert node.turns == [4, 4, 2]


async def _cut_off(steps: Steps[None]) -> None:
    """Do one step, and be interrupted."""
    next(steps)
    raise asyncio.CancelledError
