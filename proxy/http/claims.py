"""The claims of one worker: what its requests of strict classes ask of the cluster before they go on.

    request -> ask -> socket -> analyst -> Redis        the answer, or the deadline: whichever comes first
                `-> nobody is there to answer: go on at once

A request that gets no answer goes on as if there were no cluster, for the buckets of the node have let it through. It
never waits for longer than the deadline, and nobody waits while the analyst says that there is no store, or says
nothing: it renews a lease in shared memory as long as it answers (`Control.CLAIMS_UNTIL_NS`).

The socket outlives both sides. Who comes back after a crash may find in it what was meant for its predecessor: an
answer to a number that nobody waits for is dropped here, a claim whose time is over there.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import Claimed, Control, monotonic_ns
from proxy.policy.claim import ANSWER_BYTES, Claim, Decision, read_answer, write_claim

if TYPE_CHECKING:
    import socket
    from asyncio import AbstractEventLoop, TimerHandle
    from collections.abc import Callable, Sequence

    from fastpath import Counters
    from proxy.policy.claim import Answer, Take

MOST_WAITING: Final = 1024  # requests
ANSWERS_PER_TURN: Final = 64
_OUTCOMES: Final = {Decision.GRANTED: Claimed.GRANTED, Decision.REFUSED: Claimed.REFUSED, Decision.NONE: Claimed.DOWN}


class _Waiting(NamedTuple):
    """A request that waits."""

    then: Callable[[Answer | None], object]
    timer: TimerHandle
    asked_ns: int


class Claims:
    """Those of one worker.

    Attributes:
        kinds: Which classes are strict: bit by `OperationClass`.

    """

    def __init__(  # noqa: PLR0913 - what it stands between
        self,
        loop: AbstractEventLoop,
        sock: socket.socket,
        control: memoryview,
        counters: Counters,
        *,
        kinds: int,
        deadline_ns: int,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Ask over `sock`, whose messages keep their bounds.

        Args:
            loop: Of the worker.
            sock: Its end.
            control: Of the region.
            counters: Of the worker.
            kinds: See above.
            deadline_ns: How long a request waits at most.
            clock: CLOCK_MONOTONIC, ns.

        """
        self.kinds = kinds
        self._loop = loop
        self._sock = sock
        self._control = control
        self._counters = counters
        self._deadline_ns = deadline_ns
        self._clock = clock
        self._number = int.from_bytes(os.urandom(6), "little")
        self._waiting: dict[int, _Waiting] = {}
        sock.setblocking(False)
        loop.add_reader(sock.fileno(), self._readable)

    def ask(self, takes: Sequence[Take], since_ns: int, then: Callable[[Answer | None], object]) -> int:
        """Claim what a request has just taken from the buckets of the node.

        Args:
            takes: From which; not none.
            since_ns: When.
            then: Is called once, later: with what the cluster says, or None if it has said nothing in time.

        Returns:
            A number for `cancel`, above 0; 0 if nobody can be asked: `then` is not called, the request goes on.

        """
        now_ns = self._clock()
        answered_until_ns = self._control[Control.CLAIMS_UNTIL_NS]
        if answered_until_ns <= now_ns or self._control[Control.SHARE] > 1:
            away = not answered_until_ns or self._control[Control.SHARE] > 1
            return self._give_up(Claimed.DOWN if away else Claimed.GONE)
        if len(self._waiting) >= MOST_WAITING:
            return self._give_up(Claimed.CROWDED)
        self._number += 1
        claim = Claim(self._number, since_ns, now_ns + self._deadline_ns, tuple(takes))
        try:
            self._sock.send(write_claim(claim))
        except OSError:  # nobody reads
            return self._give_up(Claimed.CROWDED)
        timer = self._loop.call_later(self._deadline_ns / 1e9, self._late, self._number)
        self._waiting[self._number] = _Waiting(then, timer, now_ns)
        return self._number

    def cancel(self, number: int) -> None:
        """Forget a claim: the request is over."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            waiting.timer.cancel()

    def _give_up(self, why: Claimed) -> int:
        self._counters.claimed(why)
        return 0

    def _late(self, number: int) -> None:
        waiting = self._waiting.pop(number)
        self._counters.claimed(Claimed.LATE, self._clock() - waiting.asked_ns)
        waiting.then(None)

    def _readable(self) -> None:
        for _ in range(ANSWERS_PER_TURN):
            try:
                data = self._sock.recv(ANSWER_BYTES + 1)
            except OSError:
                return
            if not data:  # the other side is closed for good: the node ends
                self._loop.remove_reader(self._sock.fileno())
                return
            with contextlib.suppress(ValueError):  # what is no answer answers nobody
                self._answered(read_answer(data))

    def _answered(self, answer: Answer) -> None:
        waiting = self._waiting.pop(answer.number, None)
        if waiting is None:
            return
        waiting.timer.cancel()
        self._counters.claimed(_OUTCOMES[Decision(answer.decision)], self._clock() - waiting.asked_ns)
        waiting.then(answer if answer.decision != Decision.NONE else None)
