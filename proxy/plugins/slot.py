"""The place of one plugin in the analyst: feeds it, watches it, and puts another in its place.

    records -> backlog (bounded) -> look -> evidence, weighed by the mode -> on_evidence
    events  -> subscription (bounded) -> hear
    every few seconds -> health, figures

All that is asked of a plugin goes through `_ask`, one thing at a time, under its time budget and its circuit breaker. A
plugin whose circuit is open is not asked; if it has a process of its own, that is killed, and the trial begins a new
one. What it has not seen meanwhile is dropped and counted. An error of ours opens the circuit, too, and ends no task.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from fastpath import key_text
from proxy.plugins.breaker import Breaker
from proxy.plugins.contract import chosen
from proxy.plugins.events import MOST_SHOWN, EvidenceFound, Found, PluginBroken, PluginRestored
from proxy.plugins.instance import PluginFailure
from proxy.plugins.runner import reason_of
from proxy.policy.fusion import Evidence
from proxy.settings.kinds import DAY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from structlog.typing import FilteringBoundLogger

    from proxy.config import ModeWord
    from proxy.plugins.bus import Bus, Subscription
    from proxy.plugins.instance import Instance
    from proxy.plugins.wire import Piece, Reply
    from proxy.settings.plugins import PluginConfig

    Records = NDArray[np.void]

MOST_BACKLOG_BYTES: Final = 4 << 20
HEALTH_SECONDS: Final = 5.0
LONGEST_NS: Final = DAY  # how long evidence counts


class Means(NamedTuple):
    """What a slot works with.

    Attributes:
        start: Starts an instance that was opened, or one that has ended for a trial.
        bus: For events.
        log: For what plugins say.
        clock: CLOCK_MONOTONIC, ns.
        on_evidence: Takes what is found, step by step.

    """

    start: Callable[[Instance], Awaitable[object]]
    bus: Bus
    log: FilteringBoundLogger
    clock: Callable[[], int]
    on_evidence: Callable[[list[Evidence]], Awaitable[object]]


class Slot:
    """One plugin that is not off.

    Attributes:
        name: Of the plugin, whatever a later process of it calls itself.
        config: Its configuration.
        mode: `shadow` or `enforce`, the mode of the guard considered.
        breaker: Its circuit.
        counts: Calls by outcome (`ok`, `failed`, `late`), `evidence`, and `dropped` records.
        figures: What its metrics were.
        health: What it said last of itself.

    """

    def __init__(self, instance: Instance, config: PluginConfig, mode: ModeWord, means: Means) -> None:
        """Take an instance that was opened."""
        self.config = config
        self.mode = mode
        self.breaker = Breaker()
        self.counts: Counter[str] = Counter()
        self.figures: Mapping[str, float] = {}
        self.health = ""
        self.instance = instance
        self.name = instance.description.name
        self._means = means
        self._turn = asyncio.Lock()
        self._backlog: deque[Records] = deque()
        self._waiting = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._closed = False

    @property
    def problem(self) -> str:
        """What is wrong, in its own words, which may hold addresses; empty if all is well."""
        return self.breaker.reason if self.breaker.open else self.health

    @property
    def degraded(self) -> str:
        """That something is wrong, for everybody; empty if all is well."""
        if self.breaker.open:
            return f"plugin {self.name} is broken"
        return f"plugin {self.name} is not well" if self.health else ""

    @property
    def unready(self) -> bool:
        """Whether the node wants no traffic because of it."""
        return self.breaker.open and self.instance.description.on_failure == "closed"

    async def run(self) -> None:
        """Start the plugin, and feed it from now on; if it cannot be started its circuit opens."""
        await self._ask(lambda instance: instance.health())
        self._tasks = [self._task(self._look), self._task(self._check)]
        self._listen()

    async def close(self) -> None:
        """Drain and stop the plugin."""
        async with self._turn:  # nobody is interrupted in a call
            self._closed = True  # nor asked any more
            for task in self._tasks:
                task.cancel()
            await self.instance.stop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def replace(self, instance: Instance, config: PluginConfig, mode: ModeWord) -> None:
        """Put an instance that was started in the place of this one, between two calls; then end the old one."""
        async with self._turn:
            old, self.instance = self.instance, instance
            self.config, self.mode = config, mode
            self.breaker, self.health = Breaker(), ""
            self._listen()
        await old.stop()

    def feed(self, records: Records) -> None:
        """Queue records, in the order of time; never waits."""
        self._backlog.append(records)
        while len(self._backlog) > 1 and sum(each.nbytes for each in self._backlog) > MOST_BACKLOG_BYTES:
            self.counts["dropped"] += len(self._backlog.popleft())
        self._waiting.set()

    async def ask(self, route: str, query: Mapping[str, str]) -> dict[str, Any]:
        """Return its answer to a question of the operator.

        Raises:
            KeyError: It has no such route.
            PluginFailure: It did not answer.

        """
        if route not in self.instance.routes:
            raise KeyError(route)
        reply = await self._ask(lambda instance: instance.ask(route, query))
        if reply is None or reply.answer is None:
            raise PluginFailure(self.breaker.reason or "it gave no answer")
        return reply.answer

    # Its tasks.

    async def _look(self) -> None:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            while self._backlog:
                await self._show(self._backlog.popleft(), self._means.clock())

    async def _show(self, records: Records, now_ns: int) -> None:
        reply = await self._ask(lambda instance: instance.look(records, now_ns), partial(self._found, now_ns))
        if reply is None:
            self.counts["dropped"] += len(records)

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            if reply := await self._ask(lambda instance: instance.health()):
                self.health, self.figures = reply.health, reply.metrics

    async def _hear(self, subscription: Subscription) -> None:
        async for posted in subscription:  # which goes with this task
            if getattr(posted.event, "plugin", None) != self.name:  # who hears itself never comes to an end
                await self._tell(posted.event.kind, posted.event.values(addresses=True))

    async def _tell(self, kind: str, data: dict[str, Any]) -> None:
        await self._ask(lambda instance: instance.hear(kind, data))

    def _listen(self) -> None:
        """Let the present instance hear what it wants to hear."""
        for task in self._tasks[2:]:
            task.cancel()
        del self._tasks[2:]
        if self.instance.subscriptions:
            subscription = self._means.bus.subscribe(*self.instance.subscriptions)
            self._tasks.append(self._task(partial(self._hear, subscription)))

    def _task(self, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        return asyncio.create_task(self._keep_on(work))

    async def _keep_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it, and again after an error: else the plugin would starve, and seem to be well."""
        while True:
            try:
                await work()
            except Exception as error:
                self._means.log.exception("the slot of a plugin is broken")
                async with self._turn:
                    self._failed("failed", reason_of(error), fatal=True)
            else:
                return

    # A call.

    async def _ask(
        self,
        question: Callable[[Instance], Awaitable[Reply]],
        then: Callable[[Reply], Awaitable[None]] | None = None,
    ) -> Reply | None:
        """Ask one thing; None if the circuit is open, it failed, or the plugin is off meanwhile.

        Args:
            question: To an instance that is started.
            then: What is to be done with the answer before anything else is asked, or the plugin is set otherwise.

        """
        async with self._turn:
            if self._closed or not self.breaker.allows(self._means.clock()):
                return None
            try:
                if not self.instance.alive:
                    await self._begin()
                began_ns = self._means.clock()
                reply = await question(self.instance)
                took_ns = self._means.clock() - began_ns - self.instance.away_ns
            except PluginFailure as error:
                self._failed("failed", str(error), fatal=error.fatal)
                return None
            self._hand_on(reply)
            if took_ns > self.config.call_ns:
                self._failed("late", f"took {took_ns / 1e9:.3g} s, may take {self.config.call_ns / 1e9:g} s")
            else:
                self.counts["ok"] += 1
                if self.breaker.succeeded(self._means.clock()):
                    self._means.bus.publish(PluginRestored(plugin=self.name))
            if then is not None:
                await then(reply)
            return reply

    async def _begin(self) -> None:
        try:
            await self._means.start(self.instance)
        except PluginFailure as error:
            raise PluginFailure(str(error), fatal=True) from error

    def _failed(self, outcome: str, reason: str, *, fatal: bool = False) -> None:
        self.counts[outcome] += 1
        now_ns = self._means.clock()
        opened = self.breaker.failed(reason, now_ns, fatal=fatal)
        if self.breaker.open:
            self.instance.kill()
        if opened:
            seconds = round(self.breaker.rest_ns(now_ns) / 1e9, 3)
            self._means.bus.publish(PluginBroken(plugin=self.name, reason=reason, seconds=seconds))

    def _hand_on(self, reply: Reply) -> None:
        """Let others know what it has said since its last answer."""
        for said in reply.said:
            self._means.bus.publish(said.model_copy(update={"plugin": self.name}))
        for each in reply.logged:
            (self._means.log.warning if each.level == "warning" else self._means.log.info)(
                "plugin says", text=each.text, **{f"said_{word}": text for word, text in each.more.items()}
            )

    async def _found(self, now_ns: int, reply: Reply) -> None:
        """Hand evidence over."""
        if not reply.evidence:
            return
        evidence = attributed(self.name, reply.evidence, self.config, self.mode, now_ns)
        self.counts["evidence"] += len(evidence)
        self._means.bus.publish(_event(self.name, evidence))
        await self._means.on_evidence(evidence)


def attributed(
    plugin: str, found: Sequence[Piece | Evidence], config: PluginConfig, mode: ModeWord, now_ns: int
) -> list[Evidence]:
    """Return what a plugin has found as evidence of its own.

    It binds nobody in shadow mode, nor those who are not among the percentage.
    """
    subjects = np.array([piece.subject for piece in found], np.uint64)
    binding = chosen(subjects, config.percent, plugin) & (mode == "enforce")
    return [
        Evidence(
            subject=piece.subject,
            kind=f"{plugin}.{piece.kind}",  # one plugin cannot speak for another
            weight=piece.weight,
            reason=piece.reason,
            until_ns=min(piece.until_ns, now_ns + LONGEST_NS),
            shadow=not binds,
        )
        for piece, binds in zip(found, binding.tolist(), strict=True)
    ]


def _event(plugin: str, evidence: list[Evidence]) -> EvidenceFound:
    shown = tuple(
        Found(
            subject=key_text(each.subject),
            kind=each.kind,
            weight=each.weight,
            reason=each.reason,
            shadow=each.shadow,
        )
        for each in evidence[:MOST_SHOWN]
    )
    return EvidenceFound(plugin=plugin, count=len(evidence), found=shown)
