"""Both sides of a claim, over a real socket and on virtual time: nobody waits beyond the deadline, or without need."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import pytest

from fastpath import Claimed, Control, Counters
from fastpath.counters import COUNTER_BYTES
from fastpath.region import CONTROL_WORDS
from proxy.cluster.command import StoreDown
from proxy.cluster.exchange import Exchange
from proxy.cluster.grants import Grants
from proxy.cluster.ledger import Ledger, Place
from proxy.cluster.strict import LEASE_NS, Strict
from proxy.http.claims import MOST_WAITING, Claims
from proxy.policy.claim import Answer, Decision, Take, read_claim, write_answer
from tests.proxy.cluster.buckets_for_tests import Buckets
from tests.proxy.cluster.simulation import KEYS, ScriptedStore
from tests.proxy.cluster.virtual_time import VirtualLoop, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from proxy.cluster.command import Command

SECOND = 10**9
MS = 10**6
DEADLINE = 50 * MS
LATENCY_SECONDS = 0.002
TAKE = Take(4, 7, 10 * SECOND, 50 * SECOND, 10 * SECOND, 50 * SECOND, 50 * SECOND)


class Store:
    """A store that answers late, or not at all."""

    def __init__(self) -> None:
        """All is well."""
        self.up = True
        self.takes_seconds = LATENCY_SECONDS
        self.asked = 0
        self._data = ScriptedStore()

    async def pipeline(self, commands: Sequence[Command]) -> list[Any]:
        """See `Store.pipeline`."""
        self.asked += len(commands)
        await asyncio.sleep(min(self.takes_seconds, 0.1))
        if self.takes_seconds > 0.1:
            raise StoreDown("slow", maybe_done=True)
        return [self._data.run(each, loop().clock() // 1000) for each in commands]


def loop() -> VirtualLoop:
    """Return the loop of the test."""
    return cast("VirtualLoop", asyncio.get_running_loop())


class Node:
    """A worker and an analyst with a socket between them.

    Attributes:
        said: What the requests of the worker heard, and after how many seconds.

    """

    def __init__(self) -> None:
        """Only the worker is there."""
        self.store = Store()
        self.buckets = Buckets()
        self.control = memoryview(bytearray(8 * CONTROL_WORDS)).cast("q")
        self.desk, self._mine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._sockets = [self.desk, self._mine]
        self.counters = Counters(memoryview(bytearray(COUNTER_BYTES)))
        self.claims = self.worker()
        self.said: list[tuple[Answer | None, float]] = []

    def worker(self) -> Claims:
        """Return another worker in the place of the one before."""
        sock = self._dup(self._mine)
        return Claims(loop(), sock, self.control, self.counters, kinds=1 << 4, deadline_ns=DEADLINE, clock=loop().clock)

    def _dup(self, sock: socket.socket) -> socket.socket:
        self._sockets.append(sock.dup())
        return self._sockets[-1]

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets:
            loop().remove_reader(sock.fileno())
            sock.close()

    @asynccontextmanager
    async def analyst(self) -> AsyncIterator[Strict]:
        """Run an analyst; it ends as if it were killed."""
        ledger = Ledger(self.buckets, loop().clock())
        ledger.stand(2, alone=False, now_ns=loop().clock())
        grants = Grants(Exchange(ledger, KEYS, "one"), KEYS, str(loop().clock()))
        strict = Strict(grants, cast("Any", self.store), [self._dup(self.desk)], self.control, clock=loop().clock)
        task = asyncio.create_task(strict.run())
        await asyncio.sleep(2 * LATENCY_SECONDS)  # its first calls, which tell nothing
        try:
            yield strict
        finally:
            lease_ns = self.control[Control.CLAIMS_UNTIL_NS]
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            assert self.control[Control.CLAIMS_UNTIL_NS] == 0
            self.control[Control.CLAIMS_UNTIL_NS] = lease_ns

    def ask(self) -> int:
        """Take a token and claim it."""
        began = loop().now
        self.buckets.charge(Place(TAKE.key, TAKE.number), TAKE.token_ns, loop().clock())
        return self.claims.ask([TAKE], loop().clock(), lambda answer: self.said.append((answer, loop().now - began)))

    async def heard(self) -> tuple[Decision | None, float]:
        """Return the answer to one claim."""
        assert self.ask()
        count = len(self.said) + 1
        while len(self.said) < count:  # noqa: ASYNC110 - nobody signals it
            await asyncio.sleep(0.0005)
        answer, seconds = self.said[-1]
        return (None if answer is None else Decision(answer.decision)), seconds

    async def hears_nothing(self) -> None:
        """Claim, and go on when the deadline is over, not earlier and not later."""
        decision, seconds = await self.heard()
        assert decision is None
        assert seconds == pytest.approx(DEADLINE / SECOND, abs=0.001)

    @property
    def counted(self) -> Counter[str]:
        """How often something became of a claim."""
        return Counter({each.name: n for each in Claimed if (n := self.counters.snapshot().claims[each])})


def play(work: Callable[[Node], Coroutine[Any, Any, None]]) -> None:
    """Do something with a node, on virtual time."""

    async def played() -> None:
        node = Node()
        try:
            await work(node)
        finally:
            node.close()

    run(played())


def test_granted_and_refused() -> None:
    """The answer comes as soon as the store has answered; the sixth token of five is refused."""

    async def work(node: Node) -> None:
        async with node.analyst():
            heard = [await node.heard() for _ in range(6)]
        assert [decision for decision, _ in heard] == [Decision.GRANTED] * 5 + [Decision.REFUSED]
        assert max(seconds for _, seconds in heard) == pytest.approx(LATENCY_SECONDS, abs=0.001)
        assert node.said[-1][0] is not None
        assert 9.9 * SECOND < node.said[-1][0].after_ns <= 10 * SECOND
        assert node.counted == {"GRANTED": 5, "REFUSED": 1}
        assert sum(node.counters.snapshot().claim.counts) == 6

    play(work)


def test_a_slow_store_is_not_waited_for() -> None:
    """After the deadline, and not before, the request goes on without."""

    async def work(node: Node) -> None:
        async with node.analyst():
            node.store.takes_seconds = 0.06
            await node.hears_nothing()
            await asyncio.sleep(0.02)
            node.store.takes_seconds = LATENCY_SECONDS
            assert (await node.heard())[0] is Decision.GRANTED
        assert node.counted == {"LATE": 1, "GRANTED": 1}
        assert len(node.said) == 2  # the late answer was for nobody

    play(work)


def test_without_a_store_nobody_waits() -> None:
    """While the circuit is open nothing is asked, and who waits already is told at once."""

    async def work(node: Node) -> None:
        async with node.analyst() as strict:
            node.store.takes_seconds = 9.0
            assert node.ask()
            await asyncio.sleep(0.001)
            assert node.ask()  # waits for the call before it
            await asyncio.sleep(0.001)
            node.store.up = False
            strict.flush()
            await asyncio.sleep(0.001)
            assert [answer for answer, _ in node.said] == [None]
            assert node.said[0][1] < 0.01
            asked = node.store.asked
            assert [node.ask() for _ in range(20)] == [0] * 20
            await asyncio.sleep(1.0)
            assert node.store.asked == asked
            assert node.counted == {"DOWN": 21, "LATE": 1}
            node.store.up, node.store.takes_seconds = True, LATENCY_SECONDS
            await asyncio.sleep(0.1)
            assert (await node.heard())[0] is not None

    play(work)


def test_without_an_analyst_nobody_waits_for_long() -> None:
    """The lease of one that died runs out; a new one answers over the same socket, and what is in it is too old."""

    async def work(node: Node) -> None:
        assert node.ask() == 0
        async with node.analyst():
            assert (await node.heard())[0] is Decision.GRANTED
        await node.hears_nothing()
        await asyncio.sleep(LEASE_NS / SECOND)
        assert node.ask() == 0
        async with node.analyst():
            asked = node.store.asked
            await asyncio.sleep(0.01)
            assert node.store.asked == asked  # about nothing of what nobody waits for
            assert (await node.heard())[0] is Decision.GRANTED
        assert node.counted == {"DOWN": 1, "GRANTED": 2, "LATE": 1, "GONE": 1}

    play(work)


def test_a_new_worker_takes_no_answers_of_the_old_one() -> None:
    """Numbers begin at chance, so an answer to the one before answers nobody."""

    async def work(node: Node) -> None:
        async with node.analyst():
            node.ask()
            loop().remove_reader(node.claims._sock.fileno())
            await asyncio.sleep(0.01)
            node.claims = node.worker()
            assert (await node.heard())[0] is Decision.GRANTED
            await asyncio.sleep(0.1)
        assert [answer is None for answer, _ in node.said] == [False, True]

    play(work)


def test_divided_limits_are_not_claimed() -> None:
    """While limits are divided each node has its own part of them."""

    async def work(node: Node) -> None:
        async with node.analyst():
            node.control[Control.SHARE] = 2
            assert node.ask() == 0
        assert node.counted == {"DOWN": 1}

    play(work)


def test_who_waits_is_bounded() -> None:
    """Beyond a number of them, or of what the socket holds, requests go on without waiting."""

    async def work(node: Node) -> None:
        node.control[Control.CLAIMS_UNTIL_NS] = loop().clock() + SECOND
        waiting = sum(node.ask() > 0 for _ in range(MOST_WAITING + 10))
        assert 100 < waiting <= MOST_WAITING
        assert node.counted == {"CROWDED": MOST_WAITING + 10 - waiting}
        await asyncio.sleep(0.1)
        assert node.counted["LATE"] == waiting == len(node.said)

    play(work)


def test_who_leaves_hears_nothing() -> None:
    """A claim of a request that is over is forgotten, and its place is free."""

    async def work(node: Node) -> None:
        async with node.analyst():
            node.claims.cancel(node.ask())
            node.claims.cancel(99)
            await asyncio.sleep(0.1)
        assert (node.said, node.counted) == ([], {})

    play(work)


def test_nonsense_on_the_wire() -> None:
    """What is no claim gets no answer, and what is no answer answers nobody; those that follow do."""

    async def work(node: Node) -> None:
        node.claims._sock.send(b"x" * 5000)
        async with node.analyst():
            assert (await node.heard())[0] is Decision.GRANTED
        node.ask()
        number = read_claim(node.desk.recv(5000)).number
        for data in (b"x", write_answer(Answer(number, 9)), write_answer(Answer(number + 1, Decision.GRANTED))):
            node.desk.send(data)
        await asyncio.sleep(0.001)
        assert len(node.said) == 1
        node.desk.send(write_answer(Answer(number, Decision.NONE)))
        await asyncio.sleep(0.001)
        assert node.said[1][0] is None

    play(work)
