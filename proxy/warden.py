"""The warden: makes bans of what the records show, and keeps them in shared memory and on disk. Part of the analyst.

    records -> offences (new ones only) -> Ladder -> BanTable (workers obey it at once) and, each second, BanJournal

Time. Everything in here goes by CLOCK_MONOTONIC, so that a clock of the day that is set forward or back neither
lifts nor lengthens a ban. Only what is written down (`proxy.ban_journal`) or shown is converted.

An analyst that dies leaves the bans in shared memory, where they stay in force. The next one reads what was written
down, and takes over from there what had not been written down yet, and when each ban really ends.

Other nodes. What they have banned, lifted and seen comes in by `take_over`, `lift_for` and `hear`; what they should
hear of is put into an outbox (`proxy.cluster.outbox`), if there is one. Nothing that came from another node goes there.

Modes. What is in the table binds nobody by itself: in shadow mode workers record that they would have refused, and
with bans off they do not look. Offences are counted in shadow mode, and not at all when bans are off.
"""

from __future__ import annotations

import time
from collections import Counter
from random import SystemRandom
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from fastpath import Standing, key_text, monotonic_ns, parse_network, records
from proxy.ban_journal import BanJournal
from proxy.plugins.events import BanLifted, BanPlaced, Event, unheard
from proxy.policy.exemptions import LOCAL_PROXIES, LOOPBACK, Exemptions
from proxy.policy.ladder import ADOPTED, Ladder, is_client
from proxy.policy.offences import Episodes, OffenceKind, offence_of
from proxy.policy.offender import Ban, Origin
from proxy.settings.kinds import DAY, SECOND
from proxy.settings.limits import mildest
from proxy.shared_exits import SharedExits

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath import BanTable
    from proxy.cluster.outbox import Offence, Outbox
    from proxy.config import Config
    from proxy.policy.ladder import Account

EXPIRE_NS: Final = SECOND
LONGEST_NS: Final = 365 * DAY  # of a ban by hand
LONGEST_REASON: Final = 200  # characters
_OWN: Final = frozenset({Origin.LADDER, Origin.MANUAL})


class NoRoom(Exception):
    """The table of bans is full."""


class Exempt(ValueError):
    """Who is never banned would be."""


class Placed(NamedTuple):
    """A ban by hand, and what its operator should know about it."""

    ban: Ban
    warnings: list[str]


class Lifted(NamedTuple):
    """The bans that were lifted, and the one that still keeps the client or network out, if there is one."""

    bans: list[Ban]
    still: Ban | None


class Warden:
    """The only writer of the bans of a node.

    Attributes:
        offences: How many were seen since the start, by kind.
        outbox: Takes what other nodes should hear of; None: there are none.

    """

    def __init__(  # noqa: PLR0913 - four of them are clocks, chance and ears, for tests
        self,
        config: Config,
        table: BanTable,
        *,
        clock: Callable[[], int] = monotonic_ns,
        wall: Callable[[], int] = time.time_ns,
        random: Callable[[], float] | None = None,
        publish: Callable[[Event], None] = unheard,
        is_shared: Callable[[int], bool] = lambda _key: False,
    ) -> None:
        """Take up the bans that are written down in HKPGUARD_STATE_DIR, and those in the table.

        Args:
            config: The configuration.
            table: Of the node; this process is its only writer.
            clock: CLOCK_MONOTONIC, ns.
            wall: The clock of the day, ns since 1970.
            random: Returns numbers from 0.0 to 1.0, without 1.0.
            publish: Takes what others should hear of: bans from now on, not those that are taken up.
            is_shared: Tells whether the origin of a client or network is one where many people share an address.

        """
        self._log = structlog.get_logger().bind(process="analyst")
        self._table = table
        self._clock = clock
        self._wall = wall
        self._exits = SharedExits()
        self._episodes = Episodes()
        self.offences: Counter[OffenceKind] = Counter()
        self.outbox: Outbox | None = None
        self._begun = 0
        self._taken_over = 0
        self._outside: set[int] = set()  # bans for which the table had no room
        self._widened: set[int] = set()  # networks that are banned with their clients
        self._publish: Callable[[Event], None] = unheard
        self._is_shared = is_shared
        self._use(config)
        self._ladder = Ladder(config.bans, self._exemptions, random or SystemRandom().random)
        now_ns = self._next_expiry_ns = clock()
        self._journal = BanJournal(config.state_dir, self._ladder, wall=wall, now_ns=now_ns)
        self._take_up(now_ns)
        self._publish = publish

    def _use(self, config: Config) -> None:
        self.mode = mildest(config.mode, config.bans.mode)
        self._first_rung_ns = config.bans.ladder_ns[0]
        self._standing = Standing.TARPIT if config.bans.refusal == "tarpit" else Standing.BANNED
        never = config.allow + config.peers + config.trusted_proxies
        self._exemptions = Exemptions(never, (*self._exits.read(config), *LOCAL_PROXIES), self._is_shared)
        self._canaries_count = config.traps.mode == "enforce" or self.mode == "shadow"
        self._verdicts_count = config.verdicts.mode in {"enforce", self.mode}

    def _take_up(self, now_ns: int) -> None:
        self._journal.restore(now_ns)
        entries = self._table.entries(now_ns)
        for entry in sorted(entries, key=lambda entry: is_client(entry.key), reverse=True):
            self._ladder.adopt(entry.key, entry.until_ns, now_ns)
        self._place_changes(now_ns)

    # What the analyst calls.

    def feed(self, block: bytes) -> None:
        """Look at records, as `Ring.take` gives them; bans that they earn are in force when this returns."""
        if self.mode == "off":
            return
        shadow = self.mode == "shadow"
        for record in records(block):
            kind = offence_of(record, shadow=shadow)
            if kind is OffenceKind.CANARY and not self._canaries_count:
                continue
            if kind is not None and self._episodes.counts(kind, record.client, record.operation, record.time_ns):
                self.offences[kind] += 1
                if self.outbox is not None:
                    self.outbox.offended(record.client, kind, record.operation, record.time_ns)
                self._note(self._ladder.offend(record.client, kind, record.time_ns))
        self._place_changes(self._clock())

    def convict(self, client: int) -> None:
        """Count a verdict as an offence, unless verdicts bind nobody; with the default points it is a ban."""
        if self.mode == "off" or not self._verdicts_count:
            return
        now_ns = self._clock()
        self.offences[OffenceKind.VERDICT] += 1
        self._note(self._ladder.offend(client, OffenceKind.VERDICT, now_ns))
        self._place_changes(now_ns)

    def _note(self, ban: Ban | None) -> None:
        if ban is not None:
            self._begun += 1
            self._placed(ban)

    def turn(self, now_ns: int) -> None:
        """Do what is due: end bans, write changes down. As often as one likes; each second is enough."""
        self._ladder.expire(now_ns)
        self._place_changes(now_ns)
        if now_ns >= self._next_expiry_ns:
            self._next_expiry_ns = now_ns + EXPIRE_NS
            self._table.expire(now_ns)
        self._journal.turn(now_ns)
        if self._begun:
            self._log.info("banned", clients=self._begun, mode=self.mode)  # without addresses: they are personal data
            self._begun = 0
        if self._taken_over:
            self._log.info("banned by other nodes", clients=self._taken_over, mode=self.mode)
            self._taken_over = 0

    def reload(self, config: Config) -> None:
        """Go on by another configuration; who must not be banned by it is not banned any more."""
        now_ns = self._clock()
        self._use(config)
        lifted = self._ladder.reload(config.bans, self._exemptions, now_ns)
        self._place_changes(now_ns)  # all of them: their standing may be another
        self._lifted(lifted, "reload")
        if lifted:
            self._log.info("bans lifted: nobody may ban these clients and networks any more", count=len(lifted))

    def close(self) -> None:
        """Write down what is not yet, and let go of the file. Bans stay in force."""
        self._journal.close(self._clock())

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        full = f"the table of bans is full, {len(self._outside)} are not in force" if self._outside else ""
        return "; ".join(filter(None, (self._journal.problem, self._exits.problem, full)))

    # What operators ask.

    def ban(self, network: str, *, length_ns: int | None = None, reason: str = "") -> Placed:
        """Ban a client or network by hand.

        Args:
            network: As `parse_network` reads it.
            length_ns: 1 s to LONGEST_NS; None: as long as the first rung.
            reason: Printable, up to LONGEST_REASON characters.

        Raises:
            ValueError: An argument is not as above.
            Exempt: It is, or holds, what is never banned.
            NoRoom: There are too many bans.

        """
        key = parse_network(network)
        length_ns = self._first_rung_ns if length_ns is None else length_ns
        if not SECOND <= length_ns <= LONGEST_NS:
            raise ValueError(f"a ban lasts 1 second to {LONGEST_NS // DAY} days")
        if len(reason) > LONGEST_REASON or not reason.isprintable():
            raise ValueError(f"a reason is one line of at most {LONGEST_REASON} characters")
        if self._exemptions.never(key):
            lists = "HKPGUARD_ALLOW, HKPGUARD_PEERS or HKPGUARD_TRUSTED_PROXIES"
            raise Exempt(f"{key_text(key)} is, or holds, an address of {lists}: nobody may ban it")
        now_ns = self._clock()
        if not self._table.put(key, now_ns + length_ns, self._standing):
            raise NoRoom(f"there is no room for more than {self._table.capacity} bans")
        ban = self._ladder.ban(key, now_ns, length_ns=length_ns, reason=reason)
        self._place_changes(now_ns)
        self._journal.save(now_ns)
        self._placed(ban)
        self._log.info("banned by hand", seconds=length_ns // SECOND, mode=self.mode)
        return Placed(ban, self._warnings(key))

    def _warnings(self, key: int) -> list[str]:
        """Return what may not be meant."""
        loopback = key in LOOPBACK
        shared = self._exemptions.shared(key) and not loopback
        warnings = {
            "nobody is refused: bans are off": self.mode == "off",
            "nobody is refused: bans are in shadow mode": self.mode == "shadow",
            "it holds loopback addresses: of this machine's own programs, and of a proxy on it": loopback,
            "it is, or holds, a shared exit, behind which many people are": shared,
            "it will not survive a restart, because it could not be written down": bool(self._journal.problem),
        }
        return [warning for warning, holds in warnings.items() if holds]

    def lift(self, network: str) -> Lifted:
        """End all bans of a client or network and of what is in it; forget their points and rungs.

        Raises:
            ValueError: `network` is not as `parse_network` reads it.

        """
        key = parse_network(network)
        now_ns = self._clock()
        lifted = self._ladder.lift(key, now_ns)
        if self.outbox is not None:
            self.outbox.lifted(key, now_ns, max((ban.until_ns for ban in lifted), default=0))
        self._place_changes(now_ns)
        self._journal.save(now_ns)
        self._lifted(lifted, "operator")
        if lifted:
            self._log.info("bans lifted by hand", count=len(lifted))
        return Lifted(lifted, self._ladder.ban_of(key, now_ns))

    # What other nodes tell.

    def take_over(self, key: int, ban: Ban | None) -> None:
        """Let this be what other nodes have banned of a client or network, from now on; None: nothing.

        Who is never banned here is not, and a shared exit for as short as ever.
        """
        now_ns = self._clock()
        before_ns = self._ladder.until(key, now_ns)
        taken = self._ladder.take_over(key, ban, now_ns)
        self._place_changes(now_ns)
        if taken is not None and taken.until_ns > before_ns + SECOND:  # else nobody would notice
            self._taken_over += 1
            self._placed(taken)

    def lift_for(self, key: int, before_ns: int) -> None:
        """End our bans of a client or network and of what is in it, as `lift`; another node's operator wants it.

        `before_ns`: when he did. What was banned later stays.
        """
        now_ns = self._clock()
        lifted = self._ladder.lift(key, now_ns, before_ns=before_ns)
        self._place_changes(now_ns)
        self._lifted(lifted, "cluster")
        if lifted:
            self._log.info("bans lifted by hand on another node", count=len(lifted))

    def hear(self, offence: Offence, *, own: bool) -> None:
        """Count an offence that another node has seen; `own`: we have seen one of this client ourselves.

        Only who has seen one bans: else each node of a cluster would, for the same.
        """
        kind, client, time_ns = offence.kind, offence.client, offence.time_ns
        if self.mode == "off" or (kind is OffenceKind.CANARY and not self._canaries_count):
            return
        if self._episodes.counts(kind, client, offence.operation, time_ns):
            self._note(self._ladder.offend(client, kind, time_ns, may_ban=own))
            self._place_changes(self._clock())

    def own_ban(self, key: int) -> Ban | None:
        """Return the ban of exactly this client or network that this node has placed; of several, which ends last."""
        bans = [ban for ban in self._ladder.bans_on(key, self._clock()) if ban.origin in _OWN and ban.reason != ADOPTED]
        return max(bans, key=lambda ban: ban.until_ns, default=None)

    def own_bans(self) -> set[int]:
        """Return whom this node may have banned."""
        return self._ladder.recorded()

    def latest(self, most: int) -> list[Ban]:
        """Return up to `most` bans that are in force, the most recent first."""
        return self._ladder.latest(most, self._clock())

    def account(self, client: int) -> Account:
        """Return what is known of a client."""
        return self._ladder.account(client, self._clock())

    @property
    def in_force(self) -> Counter[Origin]:
        """How many bans there are by their origin; with a network, its clients count as well."""
        counts = Counter(ban.origin for ban in self._ladder.bans(self._clock()))
        return Counter({origin: counts[origin] for origin in Origin})

    def day_seconds(self, time_ns: int) -> float:
        """Return the time of day, seconds since 1970, of a time on the monotonic clock."""
        return (time_ns + self._wall() - self._clock()) / SECOND

    def seconds_left(self, ban: Ban) -> int:
        """Return how long a ban still lasts, rounded up; 0 if it is over."""
        return max(0, -((self._clock() - ban.until_ns) // SECOND))

    # Shared memory.

    def _place_changes(self, now_ns: int) -> None:
        changed = self._ladder.take_changes()
        self._journal.note(changed)
        if self.outbox is not None:
            self.outbox.banned(changed)
        self._outside = {key for key in changed | self._outside if not self._place(key, now_ns)}
        for key in changed:
            self._look_at_network(key, now_ns)

    def _look_at_network(self, key: int, now_ns: int) -> None:
        """Tell others of a network that is banned with its clients, once."""
        ban = next((ban for ban in self._ladder.bans_on(key, now_ns) if ban.origin is Origin.WIDENED), None)
        if ban is None:
            self._widened.discard(key)
        elif key not in self._widened:
            self._widened.add(key)
            self._placed(ban)

    def _placed(self, ban: Ban) -> None:
        self._publish(
            BanPlaced(
                network=key_text(ban.key),
                origin=ban.origin.value,
                seconds=self.seconds_left(ban),
                rung=ban.rung,
                reason=ban.reason,
                mode=self.mode,
                node=ban.node,
            )
        )

    def _lifted(self, bans: list[Ban], by: str) -> None:
        for ban in bans:
            self._publish(BanLifted(network=key_text(ban.key), origin=ban.origin.value, by=by, node=ban.node))

    def _place(self, key: int, now_ns: int) -> bool:
        """Bring the table in line with the ladder; false if it is full."""
        until_ns = self._ladder.until(key, now_ns)
        if until_ns:
            return self._table.put(key, until_ns, self._standing)
        self._table.remove(key)
        return True
