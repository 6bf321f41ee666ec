"""Answers what workers claim for requests of strict classes. Part of the analyst; the theory is in `grants.py`.

    sockets of the workers -> claims -> Grants -> the store -> answers

While the store can be asked, the workers see a lease in shared memory that is renewed (`Control.CLAIMS_UNTIL_NS`). It
is taken away when the store is lost, and runs out by itself if this process hangs or dies: then no request waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from typing import TYPE_CHECKING, Final

from fastpath import Control, monotonic_ns
from proxy.cluster.command import StoreDown
from proxy.policy.claim import CLAIM_BYTES, read_claim, write_answer
from proxy.settings.kinds import MILLISECOND

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from proxy.cluster.grants import Batch, Grants
    from proxy.cluster.store import Store
    from proxy.policy.claim import Answer

LEASE_NS: Final = 250 * MILLISECOND
RENEW_SECONDS: Final = 0.05
CLAIMS_PER_TURN: Final = 64  # of one worker


class Strict:
    """The desk at which workers claim."""

    def __init__(
        self,
        grants: Grants,
        store: Store,
        sockets: Sequence[socket.socket],
        control: memoryview,
        *,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Answer over `sockets`, one for each worker; this process alone writes `Control.CLAIMS_UNTIL_NS`."""
        self._grants = grants
        self._store = store
        self._sockets = sockets
        self._control = control
        self._clock = clock
        self._asking: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Answer, until cancelled."""
        loop = asyncio.get_running_loop()
        for sock in self._sockets:
            sock.setblocking(False)
            loop.add_reader(sock.fileno(), self._readable, sock)
        try:
            while True:
                self.flush(again=True)
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            self._control[Control.CLAIMS_UNTIL_NS] = 0
            for sock in self._sockets:
                loop.remove_reader(sock.fileno())
            for task in self._asking:
                task.cancel()

    def flush(self, *, again: bool = False) -> None:
        """Ask about the claims that wait, and `again` what may or may not have been done; renew the lease."""
        now_ns = self._clock()
        up = self._store.up
        self._control[Control.CLAIMS_UNTIL_NS] = now_ns + LEASE_NS if up else 0
        if not up:
            self._grants.give_up(now_ns)
        elif batches := self._grants.begin(now_ns, again=again):
            task = asyncio.create_task(self._ask(batches))
            self._asking.add(task)
            task.add_done_callback(self._asked)

    async def _ask(self, batches: Sequence[Batch]) -> None:
        commands = [self._grants.command(batch, self._clock()) for batch in batches]
        try:
            answers = await self._store.pipeline(commands)
        except StoreDown as down:
            for batch in batches:
                self._grants.failed(batch, maybe_done=down.maybe_done)
        else:
            for batch, answer in zip(batches, answers, strict=True):
                self._grants.answered(batch, answer, self._clock())

    def _asked(self, task: asyncio.Task[None]) -> None:
        """Go on with what came meanwhile."""
        self._asking.discard(task)
        if not task.cancelled():
            task.result()  # a bug of ours: it is logged
            self.flush()

    def _readable(self, sock: socket.socket) -> None:
        for _ in range(CLAIMS_PER_TURN):
            try:
                data = sock.recv(CLAIM_BYTES + 1)
            except OSError:
                break
            if not data:  # the node ends
                asyncio.get_running_loop().remove_reader(sock.fileno())
                break
            with contextlib.suppress(ValueError):  # what is no claim gets no answer
                self._grants.file(read_claim(data), functools.partial(_reply, sock))
        self.flush()


def _reply(sock: socket.socket, answer: Answer) -> None:
    with contextlib.suppress(OSError):  # the worker is not there: nobody waits
        sock.send(write_answer(answer))
