"""Bans that all nodes keep, and bans that an operator lifts anywhere.

    b + key    this node has banned a client or network: rung, reason
    l + key    an operator has lifted all bans of a client or network, and of what is in it, that were made before

Each node tells of the bans that it has placed itself; a network that follows from its clients follows on each node.
What other nodes say of a client or network becomes one ban here, beside our own: of those that nobody has lifted since,
the one that ends last. So the later end wins, unless it was lifted later than it was made, and nobody has to agree on
anything.

A lift is kept for as long as any ban that it may have to meet: one that was made before and comes late, or that
somebody puts back into the store, stays lifted.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from fastpath import key_text, parents
from proxy.cluster.hearsay import Hearsay
from proxy.cluster.keys import Family
from proxy.cluster.topic import Saying
from proxy.policy.ladder import JITTER
from proxy.policy.offender import Ban, Origin
from proxy.settings.kinds import DAY, SECOND
from proxy.warden import LONGEST_NS, LONGEST_REASON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.cluster.outbox import Outbox
    from proxy.cluster.store_clock import StoreClock
    from proxy.cluster.word import Word
    from proxy.config import Config
    from proxy.warden import Warden

MOST: Final = 65_536
KEYS_PER_STEP: Final = 16
KEYS_PER_TURN: Final = 256
HIGHEST_RUNG: Final = 1000
BAN, LIFT = b"b", b"l"
_KEY_BYTES: Final = 8
_RUNG: Final = Struct(">H")


class SharedBans:
    """The topic; see `proxy.cluster.topic`."""

    family = Family.BAN
    longest_us = (LONGEST_NS + DAY) // 1000

    def __init__(  # noqa: PLR0913 - it stands between two worlds
        self,
        config: Config,
        node: str,
        clock: StoreClock,
        warden: Warden,
        outbox: Outbox,
        *,
        forget: Callable[[int], None],
    ) -> None:
        """Begin with all that the warden knows to be told.

        Args:
            config: The configuration.
            node: Name of this one.
            clock: The store's.
            warden: Keeps the bans.
            outbox: What it has done.
            forget: Closes the case of a client or network whose bans were lifted.

        """
        self.hearsay = Hearsay(MOST)
        self._node = node
        self._clock = clock
        self._warden = warden
        self._outbox = outbox
        self._forget = forget
        self._held: dict[int, Word] = {}  # what the warden was given
        self._spreads = False
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration: what is held is weighed anew, for it may be exempt now, or not any more."""
        spread, self._spreads = self._spreads, self._warden.mode == "enforce"
        if self._spreads and not spread:
            self._outbox.banned(self._warden.own_bans())
        self._lift_ns = int(config.bans.ladder_ns[-1] * (1 + JITTER))
        for key, word in self._held.items():
            self._warden.take_over(key, self._ban(key, word))

    # Saying.

    def gather(self) -> Iterator[Saying | None]:
        """See `Topic`; a node in shadow mode has nothing to say."""
        while self._outbox.lifts:
            key, lift = self._outbox.lifts.popitem(last=False)
            if self._spreads:
                yield Saying(_thing(LIFT, key), lift.time_ns, max(lift.until_ns, lift.time_ns + self._lift_ns), b"")
                self._settle_inside(key)
        for number in range(min(len(self._outbox.keys), KEYS_PER_TURN)):
            key = next(iter(self._outbox.keys))
            del self._outbox.keys[key]
            if self._spreads and (saying := self._saying(key)) is not None:
                yield saying
            elif number % KEYS_PER_STEP == 0:
                yield None

    def _saying(self, key: int) -> Saying | None:
        """Return what is to be said of a key, None if it was said, or there is nothing."""
        ban = self._warden.own_ban(key)
        if ban is None:
            return None
        thing, body = _thing(BAN, key), _RUNG.pack(min(ban.rung, HIGHEST_RUNG)) + ban.reason.encode()
        said = self.hearsay.last(thing, self._node)
        if said is None or said.body != body or said.stamp_us <= self.lifted_us(key):
            return Saying(thing, ban.since_ns, ban.until_ns, body)
        as_said = abs(self._clock.local_ns(said.until_us) - ban.until_ns) < SECOND
        return None if as_said else Saying(thing, ban.since_ns, ban.until_ns, body)

    # Hearing.

    def check(self, word: Word) -> None:
        """See `Topic`."""
        kind, key = _parts(word)
        if (
            kind not in {BAN, LIFT}
            or len(word.thing) != 1 + _KEY_BYTES
            or (kind == BAN and len(word.body) < _RUNG.size)
        ):
            raise ValueError("neither a ban nor a lift")
        key_text(key)  # ValueError: not a key

    def hear(self, word: Word, before: Word | None) -> None:  # noqa: ARG002 - of the contract
        """See `Topic`."""
        kind, key = _parts(word)
        if kind == LIFT:
            self._warden.lift_for(key, self._clock.local_ns(word.stamp_us))
            self._forget(key)
            self._settle_inside(key)
        else:
            self._settle(key)

    def over(self, word: Word) -> None:
        """See `Topic`; the warden lets go of it by itself."""
        _, key = _parts(word)
        if self._held.get(key) == word:
            del self._held[key]

    def _settle_inside(self, network: int) -> None:
        """Weigh anew what is said of a client or network and of what is in it."""
        self._settle(network)
        for key in [key for key in self._held if network in parents(key)]:
            self._settle(key)

    def _settle(self, key: int) -> None:
        """Give the warden what other nodes say of a key."""
        word = self.binding(key)
        if word == self._held.get(key):
            return
        if word is None:
            del self._held[key]
        else:
            self._held[key] = word
        self._warden.take_over(key, None if word is None else self._ban(key, word))

    def binding(self, key: int) -> Word | None:
        """Return the word of another node that bans a client or network: the one that ends last.

        What we have said ourselves counts if we do not know of it any more: it was said before a restart.
        """
        lifted_us = self.lifted_us(key)
        own = self._warden.own_ban(key)
        words = [
            word
            for word in self.hearsay.of(_thing(BAN, key))
            if word.stamp_us > lifted_us and (own is None or word.node != self._node)
        ]
        return max(words, key=lambda word: (word.until_us, word.stamp_us, word.node), default=None)

    def lifted_us(self, key: int) -> int:
        """Return when bans of a client or network, or of one around it, were lifted last; 0: never."""
        lifts = (word.stamp_us for each in (key, *parents(key)) for word in self.hearsay.of(_thing(LIFT, each)))
        return max(lifts, default=0)

    def _ban(self, key: int, word: Word) -> Ban:
        """Return a word as the warden has it."""
        rung, reason = _RUNG.unpack_from(word.body)[0], word.body[_RUNG.size :].decode(errors="replace")
        reason = "".join(filter(str.isprintable, reason))[:LONGEST_REASON]
        since_ns, until_ns = self._clock.local_ns(word.stamp_us), self._clock.local_ns(word.until_us)
        return Ban(key, Origin.CLUSTER, since_ns, until_ns, min(rung, HIGHEST_RUNG), reason, word.node)


def _thing(kind: bytes, key: int) -> bytes:
    return kind + key.to_bytes(_KEY_BYTES)


def _parts(word: Word) -> tuple[bytes, int]:
    return word.thing[:1], int.from_bytes(word.thing[1:])
