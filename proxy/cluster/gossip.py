"""Gossip: what one node knows, all nodes know soon. Part of the analyst.

    topic.gather -> words (stamped, sealed) -> blackboard in the store + publish
    published words, or the whole blackboard after a gap -> seal, bounds, hearsay -> topic.hear

What is published is quick and may be lost; what is on the blackboard is whole. So a node that starts, or has missed
something, reads all of it, and writes again what it has said itself and does not find there: a store that comes back
empty is full again when the nodes have read it. While the store is away nothing is lost or doubled either: what is to
be said waits, coalesced, and a word that is written twice is the same word.

Who has something to say wakes the node up (`wake`), and it is said at once; what comes meanwhile waits for the end of
the turn, and goes together. A node that has nothing to say looks for what is over four times a second, and asks nobody.

Nothing here waits for the store but its own tasks, and all work is done in steps.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from random import SystemRandom
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from fastpath import monotonic_ns
from proxy.cluster.blackboard import Blackboard, Sealed, page_of, time_of
from proxy.cluster.command import StoreDown
from proxy.cluster.keys import Family
from proxy.cluster.listener import Gap
from proxy.cluster.seal import Forged
from proxy.cluster.word import AHEAD_US, MOST_BYTES, Word, unpack
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from prometheus_client.core import Metric

    from models.steps import Steps
    from proxy.cluster.command import Command
    from proxy.cluster.hearsay import Hearsay, Name
    from proxy.cluster.invalidations import Invalidations
    from proxy.cluster.listener import Message
    from proxy.cluster.store import Store
    from proxy.cluster.store_clock import StoreClock
    from proxy.cluster.topic import Saying, Topic
    from proxy.courtesy import Courtesy

TURN_SECONDS: Final = 0.05  # from one to the next, as long as there is something to say
LOOK_SECONDS: Final = 0.25  # while there is not; so long waits what nobody woke us for
WORDS_PER_TURN: Final = 128  # of a topic
WORDS_PER_STEP: Final = 8
FIRST_WAIT_SECONDS: Final = 0.5  # for the listener; what it would have heard is read again when it is there
READY_NS: Final = 2 * SECOND  # so long a node that starts may wait for what others know
READ_SECONDS: Final = 600.0  # how often it is looked whether all is still there; half of it is chance
AGAIN_SECONDS: Final = 0.5
READ_TIMEOUT: Final = 1.0
MOST_PAGES: Final = 65_536  # a cursor that never ends is none
DELAYS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


class Channel:
    """A topic, and what is still to be said of it."""

    def __init__(self, topic: Topic, board: Blackboard) -> None:
        """Nothing is."""
        self.topic = topic
        self.board = board
        self.unsaid: dict[Name, None] = {}

    @property
    def family(self) -> Family:
        """Of what it is."""
        return self.topic.family

    @property
    def hearsay(self) -> Hearsay:
        """What is known."""
        return self.topic.hearsay

    def waiting(self) -> list[Word]:
        """Return some words that are to be said, and that still are the last ones."""
        words: list[Word] = []
        for name in [*self.unsaid]:
            word = self.hearsay.last(*name)
            if word is None:
                del self.unsaid[name]
            elif len(words) < WORDS_PER_TURN:
                words.append(word)
            else:
                break
        return words

    def said(self, words: Sequence[Word]) -> None:
        """Take note that words are written, unless there are later ones in their place."""
        for word in words:
            name = self.hearsay.name(word.thing, word.node)
            if self.hearsay.last(*name) == word:
                self.unsaid.pop(name, None)


class Gossip(Collector):
    """That of one node.

    Attributes:
        whole: Whether what others know has been read since the start.

    """

    def __init__(  # noqa: PLR0913 - one is a clock, for tests
        self,
        store: Store,
        clock: StoreClock,
        topics: Sequence[Topic],
        invalidations: Invalidations,
        *,
        courtesy: Courtesy,
        now: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Begin without a word.

        Args:
            store: The way to the others.
            clock: The store's, which topics go by as well.
            topics: In the order in which they are to be read.
            invalidations: Of what is kept of answers.
            courtesy: That of the process.
            now: CLOCK_MONOTONIC, ns.

        """
        self.whole = False
        self._store = store
        self._clock = clock
        self._channels = {
            each.family: Channel(each, Blackboard(store.keys, each.family, each.hearsay.most)) for each in topics
        }
        self._invalidations = invalidations
        self._courtesy = courtesy
        self._now = now
        self._started_ns = now()
        self._ready_by_ns = self._started_ns + READY_NS
        self._silent_until_ns = 0
        self._problem = ""
        self._news = asyncio.Event()
        self._gap = asyncio.Event()
        self._counts: Counter[tuple[Family, str]] = Counter()
        self._delays = [0] * (len(DELAYS) + 1)
        self._delay_sum = 0.0
        self._log = structlog.get_logger().bind(process="analyst")

    @property
    def unready(self) -> str:
        """Why the node wants no traffic yet: it might let in whom others have banned. Empty after READY_NS."""
        waits = not self.whole and self._now() < self._ready_by_ns
        return "what other nodes have banned is being read" if waits else ""

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        return "" if self.whole or self.unready else "what other nodes have banned is not known yet"

    async def run(self) -> None:
        """Talk and listen until cancelled."""
        self._ready_by_ns = self._now() + READY_NS
        async with asyncio.TaskGroup() as tasks:
            for each in (self._speak(), self._listen(), self._read_again()):
                tasks.create_task(each)

    # Saying.

    def wake(self) -> None:
        """Look at once: there may be something to say."""
        self._news.set()

    def look(self) -> None:
        """Wake up if workers have made answers stale. They tell nobody, so this is to be called often; it is cheap."""
        if self._invalidations.due:
            self.wake()

    async def _speak(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._news.wait()
            self._news.clear()
            await self._courtesy.through(self.turn())
            if self._store.up and self._now() >= self._silent_until_ns:
                await self.say()
            await asyncio.sleep(TURN_SECONDS)

    def turn(self) -> Steps[None]:
        """Find what there is to say, and let go of what is over."""
        self._invalidations.look()
        yield
        if not self._clock.known:
            return
        for channel in self._channels.values():
            for word in channel.hearsay.expire(self._clock.store_us(self._now())):
                if word is not None:
                    channel.topic.over(word)
                yield
            if self.whole:  # else what was lifted elsewhere while we were away might be said again
                for saying in channel.topic.gather():
                    self.wake()  # there may be more
                    if saying is not None:
                        self._note(channel, saying)
                    yield

    def _note(self, channel: Channel, saying: Saying) -> None:
        """Make a word of what is to be said."""
        hearsay, clock = channel.hearsay, self._clock
        last = hearsay.last(saying.thing, self._store.node)
        stamp_us = clock.store_us(saying.since_ns)
        if saying.since_ns >= self._started_ns:
            stamp_us = max(stamp_us, hearsay.latest_us + 1)  # it was done after, and maybe because of, what was heard
        if last is not None:
            stamp_us = max(stamp_us, last.stamp_us + 1)
        now_us = clock.store_us(self._now())
        until_us = min(clock.store_us(saying.until_ns), now_us + channel.topic.longest_us)
        word = Word(saying.thing, self._store.node, stamp_us, until_us, saying.body)
        if until_us > now_us and hearsay.take(word):
            channel.unsaid[hearsay.name(word.thing, word.node)] = None

    async def say(self) -> None:
        """Say some of what is to be said."""
        try:
            await self._invalidations.tell(self._store, self._clock.store_us(self._now()))
            for channel in self._channels.values():
                if words := channel.waiting():
                    await self._say(channel, words)
        except StoreDown:
            return
        except ValueError as error:
            self._silent_until_ns = self._now() + SECOND
            self._complain(error)

    async def _say(self, channel: Channel, words: Sequence[Word]) -> None:
        sealed: list[Sealed] = []
        await self._courtesy.through(self._seal(channel, words, sealed))
        [answer] = await self._ask([channel.board.say(sealed)])
        time_of(answer)
        channel.said(words)
        if channel.unsaid:
            self.wake()
        self._counts[channel.family, "said"] += len(words)

    def _seal(self, channel: Channel, words: Sequence[Word], sealed: list[Sealed]) -> Steps[None]:
        for number, word in enumerate(words):
            data = self._store.seal.seal(channel.family, word.pack())
            sealed.append(Sealed(channel.hearsay.field(word), word.until_us, data))
            if number % WORDS_PER_STEP == 0:
                yield

    async def _ask(self, commands: Sequence[Command], seconds: float | None = None) -> list[object]:
        """Ask the store, and take note of the time that it tells first."""
        asked_ns = self._now()
        answers = await self._store.pipeline(commands, seconds=seconds)
        self._clock.note(asked_ns, self._now(), time_of(answers[0]))
        return answers

    # Hearing.

    async def _listen(self) -> None:
        async for each in self._store.listen(*self._channels, Family.CACHE):
            await self._courtesy.through(self.take(each))

    def take(self, each: Message | Gap) -> Steps[None]:
        """Take a message, or note that some were missed."""
        if isinstance(each, Gap):
            self._gap.set()
            self._invalidations.missed()
        elif each.family is Family.CACHE:
            self._hear_invalidation(each.data)
        elif self._clock.known:  # else all is read soon
            word = self.hear(each.family, each.data)
            if word is not None and each.family is Family.BAN and word.node != self._store.node:
                self._measure(word)
        yield

    def _hear_invalidation(self, data: bytes) -> None:
        try:
            self._invalidations.hear(self._store.seal.open(Family.CACHE, data), self._clock.store_us(self._now()))
        except (Forged, ValueError):
            self._counts[Family.CACHE, "refused"] += 1

    def hear(self, family: Family, data: object) -> Word | None:
        """Take what somebody has written; return the word if it is one that holds."""
        channel = self._channels[family]
        try:
            word = self._word(channel, data)
        except (Forged, ValueError):
            self._counts[family, "refused"] += 1
            return None
        if word.until_us <= self._clock.store_us(self._now()):
            return None
        before = channel.hearsay.last(word.thing, word.node)
        if channel.hearsay.take(word):
            self._counts[family, "heard"] += 1
            channel.topic.hear(word, before)
        return word

    def _word(self, channel: Channel, data: object) -> Word:
        """Return the word that a node has sealed; Forged or ValueError if it is none, or makes no sense."""
        word = unpack(self._store.seal.open(channel.family, data, MOST_BYTES))
        now_us = self._clock.store_us(self._now())
        if word.until_us > now_us + channel.topic.longest_us or word.stamp_us > now_us + AHEAD_US:
            raise ValueError("a word for too long, or of the future")
        channel.topic.check(word)
        return word

    def _measure(self, word: Word) -> None:
        """Take note of how long a ban was on its way."""
        seconds = max(0.0, (self._clock.store_us(self._now()) - word.stamp_us) / 1e6)
        self._delays[sum(seconds > each for each in DELAYS)] += 1
        self._delay_sum += seconds

    # The whole.

    async def _read_again(self) -> None:
        """Read all when something was missed, and from time to time."""
        wait = FIRST_WAIT_SECONDS
        chance = SystemRandom().random
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._gap.wait()
            missed = self._gap.is_set() or not self.whole
            self._gap.clear()
            try:
                await self.read_all(missed=missed)
            except (StoreDown, ValueError) as error:
                self._complain(error)
                await asyncio.sleep(AGAIN_SECONDS if self._store.up or self.whole else FIRST_WAIT_SECONDS / 10)
                self._gap.set()
                continue
            wait = READ_SECONDS * (1 + chance()) / 2

    async def read_all(self, *, missed: bool) -> None:
        """Read all that nodes have said, and say again what is missing.

        Args:
            missed: Others may have missed the same, and will say again what is theirs; else there is nobody who would.

        Raises:
            StoreDown, ValueError: It cannot be read.

        """
        for channel in self._channels.values():
            await self._read(channel, only_own=missed)
        self.wake()
        if not self.whole:
            self.whole = True
            counts = {each.family.value: len(each.hearsay) for each in self._channels.values()}
            self._log.info("what other nodes know is read", **counts)

    def _complain(self, error: Exception) -> None:
        """Log that what the store says makes no sense, once; that it is away is told by the store."""
        if isinstance(error, ValueError) and str(error) != self._problem:
            self._problem = str(error)
            self._log.warning("the store does not answer as it should", problem=self._problem)

    async def _read(self, channel: Channel, *, only_own: bool) -> None:
        """Read all that is said of a topic, and say again what is missing; `only_own`: of our own."""
        found: dict[Name, int] = {}
        cursor = b"0"
        for _ in range(MOST_PAGES):
            [answer] = await self._ask([channel.board.read(cursor)], READ_TIMEOUT)
            page = page_of(answer)
            await self._courtesy.through(self._hear_page(channel, page.words, found))
            cursor = page.cursor
            if int(cursor) == 0:
                break
        await self._courtesy.through(self._miss(channel, found, only_own=only_own))
        await self._store.pipeline(channel.board.touch())

    def _hear_page(self, channel: Channel, words: Sequence[object], found: dict[Name, int]) -> Steps[None]:
        for number, data in enumerate(words):
            if (word := self.hear(channel.family, data)) is not None:
                found[channel.hearsay.name(word.thing, word.node)] = word.stamp_us
            if number % WORDS_PER_STEP == 0:
                yield

    def _miss(self, channel: Channel, found: dict[Name, int], *, only_own: bool) -> Steps[None]:
        """Find what is not in the store, or older there."""
        for number, word in enumerate([*channel.hearsay]):
            name = channel.hearsay.name(word.thing, word.node)
            if found.get(name, 0) < word.stamp_us and (word.node == self._store.node or not only_own):
                channel.unsaid[name] = None
            if number % WORDS_PER_TURN == 0:
                yield

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        known = GaugeMetricFamily("hkpguard_gossip_known", "What nodes have said and still holds", labels=("topic",))
        words = CounterMetricFamily("hkpguard_gossip_words", "Said, heard and refused", labels=("topic", "what"))
        for family, channel in self._channels.items():
            known.add_metric((family.value,), len(channel.hearsay))
        for (family, what), count in self._counts.items():
            words.add_metric((family.value, what), count)
        yield from (known, words)
        delay = HistogramMetricFamily("hkpguard_gossip_delay_seconds", "From a ban on another node to this one")
        sums = [sum(self._delays[: number + 1]) for number in range(len(self._delays))]
        names = [*map(str, DELAYS), "+Inf"]
        delay.add_metric((), [*zip(names, sums, strict=True)], self._delay_sum)
        yield delay
