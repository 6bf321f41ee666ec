"""Offences count together, wherever they were seen: three on three nodes are as many as three on one.

    client -> its last offences on this node: kind, class, when

The same thing within the same episode counts once in the whole cluster (`Episodes`), so a client whose requests are
spread over nodes does not pay for each of them. A word holds all that is still to count, so one that is lost is made up
for by the next; what was in the last word of a node is not counted again. Nodes may differ by what falls on the edge of
an episode.

Who bans is a node that has seen an offence itself; the others hear of the ban.
"""

from __future__ import annotations

from collections import OrderedDict
from struct import Struct
from typing import TYPE_CHECKING, Final, NamedTuple

from proxy.cluster.hearsay import Hearsay
from proxy.cluster.keys import Family
from proxy.cluster.outbox import LAST_OFFENCES, MOST_OFFENDERS, VERDICT, Offence
from proxy.cluster.topic import Saying
from proxy.policy.ladder import is_client
from proxy.policy.offences import OffenceKind
from proxy.settings.kinds import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from proxy.cluster.outbox import Outbox
    from proxy.cluster.store_clock import StoreClock
    from proxy.cluster.word import Word
    from proxy.config import Config
    from proxy.warden import Warden

MOST: Final = 65_536
CLIENTS_PER_TURN: Final = 64
HALVES: Final = 8  # after so many half-lives 100 points are none
_KEY_BYTES: Final = 8
_ROW: Final = Struct(">BBq")


class Seen(NamedTuple):
    """An offence as nodes tell it."""

    kind: int
    operation: int
    time_us: int


class SharedOffences:
    """The topic; see `proxy.cluster.topic`."""

    family = Family.OFFENCE
    longest_us = HALVES * DAY // 1000 + DAY // 1000

    def __init__(  # noqa: PLR0913 - it stands between two worlds
        self,
        config: Config,
        node: str,
        clock: StoreClock,
        warden: Warden,
        outbox: Outbox,
        *,
        lifted_us: Callable[[int], int],
    ) -> None:
        """Begin with nothing to tell.

        Args:
            config: The configuration.
            node: Name of this one.
            clock: The store's.
            warden: Counts offences.
            outbox: Those that it has seen.
            lifted_us: When an operator has forgiven a client last, by the store's clock.

        """
        self.hearsay = Hearsay(MOST)
        self._node = node
        self._clock = clock
        self._warden = warden
        self._outbox = outbox
        self._lifted_us = lifted_us
        self._own: OrderedDict[int, list[Seen]] = OrderedDict()
        self.reload(config)

    def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        self._spreads = self._warden.mode == "enforce"
        self._lasts_us = HALVES * config.bans.half_life_ns // 1000

    # Saying.

    def gather(self) -> Iterator[Saying | None]:
        """See `Topic`; a node in shadow mode has nothing to say."""
        for _ in range(min(len(self._outbox.offences), CLIENTS_PER_TURN)):
            client, offences = self._outbox.offences.popitem(last=False)
            told = [each for each in offences if each.kind is not VERDICT]
            if self._spreads and told:
                yield self._saying(client, told)

    def _saying(self, client: int, offences: list[Offence]) -> Saying:
        """Add offences to those that were seen; each gets its time once, and none the time of another."""
        seen = self._own.pop(client, [])
        for each in offences:
            earliest_us = seen[-1].time_us + 1 if seen else 1
            seen.append(Seen(each.kind, each.operation, max(earliest_us, self._clock.store_us(each.time_ns))))
        since_us = seen[-1].time_us - self._lasts_us
        self._own[client] = seen = [each for each in seen[-LAST_OFFENCES:] if each.time_us > since_us]
        if len(self._own) > MOST_OFFENDERS:
            self._own.popitem(last=False)
        last_ns = self._clock.local_ns(seen[-1].time_us)
        body = b"".join(_ROW.pack(*each) for each in seen)
        return Saying(client.to_bytes(_KEY_BYTES), last_ns, last_ns + self._lasts_us * 1000, body)

    # Hearing.

    def check(self, word: Word) -> None:
        """See `Topic`."""
        if len(word.thing) != _KEY_BYTES or not is_client(int.from_bytes(word.thing)):
            raise ValueError("not of a client")
        rows = _rows(word)
        if not rows or len(rows) > LAST_OFFENCES:
            raise ValueError("no offences, or too many")
        for row in rows:
            if OffenceKind(row.kind) is VERDICT:  # ValueError: no such kind
                raise ValueError("not an offence that is told")

    def hear(self, word: Word, before: Word | None) -> None:
        """See `Topic`."""
        client = int.from_bytes(word.thing)
        known_us = max(_rows(before)[-1].time_us if before else 0, self._lifted_us(client))
        for row in _rows(word):
            if known_us < row.time_us <= word.stamp_us:
                time_ns = self._clock.local_ns(row.time_us)
                offence = Offence(client, OffenceKind(row.kind), row.operation, time_ns)
                self._warden.hear(offence, own=self._has_seen(client, row.time_us))

    def over(self, word: Word) -> None:
        """See `Topic`."""
        if word.node == self._node:
            self._own.pop(int.from_bytes(word.thing), None)

    def _has_seen(self, client: int, now_us: int) -> bool:
        """Tell whether this node has seen an offence that may count yet."""
        own = self._own.get(client)
        return client in self._outbox.offences or (own is not None and own[-1].time_us > now_us - self._lasts_us)


def _rows(word: Word) -> list[Seen]:
    """Return the offences of a word, the latest last; ValueError if it has none."""
    if len(word.body) % _ROW.size:
        raise ValueError("not whole offences")
    return [Seen._make(row) for row in _ROW.iter_unpack(word.body)]
