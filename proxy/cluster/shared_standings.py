"""Standings that all nodes keep: what one has concluded of a client or network holds on the others as well.

    client or network -> standing, until when

It is a floor, for as long as it lasts or until that node takes it back (`proxy.policy.fusion`); of several the hardest
counts. No node tells what another has told it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath import Standing, key_text
from proxy.cluster.hearsay import Hearsay
from proxy.cluster.keys import Family
from proxy.cluster.topic import Saying
from proxy.policy.fusion import Elsewhere
from proxy.settings.kinds import DAY, SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.cluster.store_clock import StoreClock
    from proxy.cluster.word import Word
    from proxy.config import Config
    from proxy.verdicts import Verdicts

MOST: Final = 65_536
MOST_DECIDED: Final = 131_072
SUBJECTS_PER_STEP: Final = 16
SUBJECTS_PER_TURN: Final = 256
LATER_NS: Final = (
    10 * SECOND
)  # a standing that lasts so much longer is said again; each piece of evidence moves it a little
_KEY_BYTES: Final = 8


class SharedStandings:
    """The topic; see `proxy.cluster.topic`.

    Attributes:
        changed: Is called whenever something may be to be told.

    """

    family = Family.VERDICT
    longest_us = 2 * DAY // 1000

    def __init__(
        self, config: Config, node: str, clock: StoreClock, verdicts: Verdicts, *, now: Callable[[], int]
    ) -> None:
        """Begin with nothing to tell.

        Args:
            config: The configuration.
            node: Name of this one.
            clock: The store's.
            verdicts: Those of this node.
            now: CLOCK_MONOTONIC, ns.

        """
        self.hearsay = Hearsay(MOST)
        self._node = node
        self._clock = clock
        self._verdicts = verdicts
        self._now = now
        self._decided: dict[int, None] = {}
        self.changed: Callable[[], None] = lambda: None
        verdicts.watch(self._note)
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        self._spreads = config.mode == config.verdicts.mode == "enforce"

    def _note(self, subject: int) -> None:
        self._decided[subject] = None
        if len(self._decided) > MOST_DECIDED:
            del self._decided[next(iter(self._decided))]
        self.changed()

    def gather(self) -> Iterator[Saying | None]:
        """See `Topic`; a node whose verdicts bind nobody has nothing to say."""
        for number in range(min(len(self._decided), SUBJECTS_PER_TURN)):
            subject = next(iter(self._decided))
            del self._decided[subject]
            if self._spreads and (saying := self._saying(subject)) is not None:
                yield saying
            elif number % SUBJECTS_PER_STEP == 0:
                yield None

    def _saying(self, subject: int) -> Saying | None:
        """Return what is to be said of a subject, None if it was said, or there is nothing."""
        standing, until_ns = self._verdicts.own(subject)
        thing, now_ns = subject.to_bytes(_KEY_BYTES), self._now()
        said = self.hearsay.last(thing, self._node)
        said_ns = 0 if said is None else self._clock.local_ns(said.until_us)
        before = Standing(said.body[0]) if said is not None and said_ns > now_ns else Standing.WELCOME
        if standing is Standing.WELCOME:
            return None if before is standing else Saying(thing, now_ns, said_ns, bytes([standing]))
        if standing is before and abs(until_ns - said_ns) < LATER_NS:
            return None
        return Saying(thing, now_ns, until_ns, bytes([standing]))

    def check(self, word: Word) -> None:
        """See `Topic`."""
        if len(word.thing) != _KEY_BYTES or len(word.body) != 1:
            raise ValueError("not a standing")
        key_text(int.from_bytes(word.thing))  # ValueError: not a key
        Standing(word.body[0])  # likewise: no such standing

    def hear(self, word: Word, before: Word | None) -> None:  # noqa: ARG002 - of the contract
        """See `Topic`."""
        self._settle(word.thing)

    def over(self, word: Word) -> None:
        """See `Topic`."""
        self._settle(word.thing)

    def _settle(self, thing: bytes) -> None:
        """Give the verdicts what other nodes say of a subject."""
        words = [word for word in self.hearsay.of(thing) if word.node != self._node and word.body[0]]
        word = max(words, key=lambda word: (word.body[0], word.until_us, word.node), default=None)
        elsewhere = word and Elsewhere(word.node, Standing(word.body[0]), self._clock.local_ns(word.until_us))
        self._verdicts.take_over(int.from_bytes(thing), elsewhere)
