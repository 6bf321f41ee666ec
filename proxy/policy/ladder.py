"""Who is banned, and for how long: points of offences, the ladder of bans, networks, and bans by hand.

    offences -> points, which halve every bans.half_life -> at bans.points a ban, points back to 0
    ban n lasts bans.ladder[n], the last rung is the ceiling; each bans.forget after the end of the last ban a rung less

Every length varies by up to 10 %, so that those who were banned together do not come back together. A client behind
a shared exit is banned for bans.shared at most, each time; it never climbs, and its network is not banned because of
it. What networks are banned: `widening.py`. A ban by hand stands beside all this and changes none of it.

Nor does a ban of another node, as long as it lasts: it holds beside our own, and counts for networks. When it is over
it is as if we had placed it, so that the next one, wherever, is a rung higher.

Plain synchronous code without a clock: `now_ns` is the time of the caller on any clock that is never below 0 (what is
restored may have been before that). Randomness comes in as a function. How many clients are remembered: `offender.py`.
"""

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush, nlargest
from operator import attrgetter
from typing import Final, NamedTuple

from fastpath import key_text, parents
from proxy.policy.exemptions import Exemptions
from proxy.policy.offences import OffenceKind
from proxy.policy.offender import Ban, Offender, Offenders, Origin
from proxy.policy.widening import Widening
from proxy.settings.abuse import BansConfig

JITTER: Final = 0.1
ADOPTED: Final = "found in force after a restart"
SWEEP_NS: Final = 60_000_000_000  # how often those are looked for against whom nothing is held any more
_until = attrgetter("until_ns")
_since = attrgetter("since_ns")


class Account(NamedTuple):
    """What is known of a client."""

    ban: Ban | None  # the one that ends last, its own or of a network around it
    points: float
    rung: int  # of the ladder; 0: never banned, or forgotten
    offences: list[tuple[OffenceKind, int]]  # the last ones and when, ns; the newest first
    never: bool  # nobody may ban it
    shared: bool  # it is, or holds, a shared exit


class Ladder:
    """Offenders and bans of one node."""

    def __init__(self, rules: BansConfig, exemptions: Exemptions, random: Callable[[], float]) -> None:
        """`random` returns numbers from 0.0 to 1.0, without 1.0."""
        self._random = random
        self._changed: set[int] = set()
        self._offenders = Offenders(self._changed.add)
        self._manual: dict[int, Ban] = {}
        self._elsewhere: dict[int, Ban] = {}  # what other nodes have banned; as many as they are let say
        self._ends: list[tuple[int, int]] = []  # a heap of (when, key); those that were lifted are still in it
        self._next_sweep_ns: int | None = None
        self._use(rules, exemptions)

    def _use(self, rules: BansConfig, exemptions: Exemptions) -> None:
        self._rules = rules
        self._exemptions = exemptions
        may_ban = exemptions.may_widen_to
        self._networks = Widening(ipv4=rules.widen_ipv4, ipv6=rules.widen_ipv6, may_ban=may_ban)

    # Offences.

    def offend(self, client: int, kind: OffenceKind, now_ns: int, *, may_ban: bool = True) -> Ban | None:
        """Count an offence; return the ban that it earns, if it does, and `may_ban`.

        While a client is banned, by itself or with its network, it earns nothing: neither retries make a ban longer,
        nor records that come late. `now_ns` is when it offended, and when the ban begins.
        """
        if self._exemptions.never(client) or self.ban_of(client, now_ns) is not None:
            return None
        offender = self._offenders.remember(client)
        if offender is None:
            return None
        offender.note(kind, now_ns, self._rules.half_life_ns)
        if not may_ban or round(offender.points) < self._rules.points:  # four times 25 is 100, a second later too
            return None
        self._ban(client, offender, now_ns)
        return offender.ban(client)

    def _ban(self, client: int, offender: Offender, now_ns: int) -> None:
        ladder_ns = self._rules.ladder_ns
        if self._exemptions.shared(client):
            rung = 0
            length_ns = min(ladder_ns[0], self._rules.shared_ns) * (1 - JITTER * self._random())
        else:
            rung = min(self._rung(client, now_ns) + 1, len(ladder_ns))
            length_ns = ladder_ns[rung - 1] * (1 + JITTER * (2 * self._random() - 1))
        offender.start(rung, now_ns, int(length_ns))
        self._settle(client, offender, now_ns)

    def _settle(self, client: int, offender: Offender, now_ns: int) -> None:
        """See to what follows from a ban that has begun or ended."""
        banned = offender.until_ns > now_ns
        self._offenders.file(client, offender, banned=banned)
        self._tell_network(client, now_ns)
        self._note(client, offender.until_ns if banned else 0)

    def _tell_network(self, client: int, now_ns: int) -> None:
        """Let the networks of a client know until when it is banned for what it did, here or elsewhere."""
        offender, elsewhere = self._offenders.get(client), self._elsewhere.get(client)
        until_ns = max(offender.until_ns if offender else 0, elsewhere.until_ns if elsewhere and elsewhere.rung else 0)
        self._networks.set(client, until_ns if until_ns > now_ns else 0, now_ns)

    def _rung(self, client: int, now_ns: int) -> int:
        """Return the rung on which a client is."""
        offender, elsewhere = self._offenders.get(client), self._elsewhere.get(client)
        own = offender.rung_at(now_ns, self._rules.forget_ns) if offender else 0
        return max(own, elsewhere.rung if elsewhere else 0)

    def _note(self, key: int, until_ns: int = 0) -> None:
        """Let others know of a change, and come back to it when the ban ends, if there is one."""
        self._changed.update((key, *parents(key)))
        if until_ns:
            heappush(self._ends, (until_ns, key))

    # By hand.

    def ban(self, key: int, now_ns: int, *, length_ns: int, reason: str) -> Ban:
        """Ban a client or network by hand, in the place of an earlier ban by hand; who is exempt is not looked up."""
        ban = Ban(key, Origin.MANUAL, now_ns, now_ns + length_ns, 0, reason)
        self._take_manual(ban)
        return ban

    def _take_manual(self, ban: Ban) -> None:
        self._manual[ban.key] = ban
        self._note(ban.key, ban.until_ns)

    def lift(self, key: int, now_ns: int, *, before_ns: int | None = None) -> list[Ban]:
        """End all bans of a client or network and of what is in it; forget points and rungs of the clients there.

        Args:
            key: Of a client or network.
            now_ns: Now.
            before_ns: Only what was before that; None: all.

        Returns:
            What was lifted. A ban of a network around it may go as well, or stand.

        """
        if is_client(key):
            inside = {key}
        else:
            networks = (network for network, _ in self._networks.networks(now_ns))
            inside = {each for each in (*self.recorded(), *networks) if key == each or key in parents(each)}
        bans = [ban for each in inside for ban in self.bans_on(each, now_ns)]
        for each in inside & self.recorded():
            self._drop(each, now_ns, before_ns)
        return [ban for ban in bans if ban not in self.bans_on(ban.key, now_ns)]

    def _drop(self, key: int, now_ns: int, before_ns: int | None = None) -> None:
        """Forget all about a client, or about the bans of a network; if a time is given, only what was before."""
        for bans in (self._manual, self._elsewhere):
            if key in bans and (before_ns is None or bans[key].since_ns <= before_ns):
                del bans[key]
        if (offender := self._offenders.get(key)) is not None:
            last_ns = max(offender.since_ns, offender.points_ns)
            if before_ns is None or last_ns <= before_ns:
                self._offenders.drop(key)
        if is_client(key):
            self._tell_network(key, now_ns)
        self._note(key)

    # Of other nodes.

    def take_over(self, key: int, ban: Ban | None, now_ns: int) -> Ban | None:
        """Let this be what other nodes have banned of a client or network; None: nothing.

        Returns:
            The ban, if one is in force because of that: no longer than our rules have it, and of nobody who is never
            banned.

        """
        self._elsewhere.pop(key, None)
        ban = None if ban is None or self._exemptions.never(key) else self._bounded(ban)
        if ban is not None and ban.in_force(now_ns):
            self._elsewhere[key] = ban
            if (offender := self._offenders.get(key)) is not None and offender.points_ns <= ban.since_ns:
                offender.points = 0.0  # they are paid with it
        else:
            ban = None
        if is_client(key):
            self._tell_network(key, now_ns)
        self._note(key, ban.until_ns if ban else 0)
        return ban

    def _bounded(self, ban: Ban) -> Ban:
        """Return a ban of the ladder of another node as ours would be at most; those by hand are as they were made."""
        if not ban.rung:
            return ban
        most_ns = int(self._rules.ladder_ns[-1] * (1 + JITTER))
        rung = min(ban.rung, len(self._rules.ladder_ns))
        if self._exemptions.shared(ban.key):
            most_ns, rung = self._rules.shared_ns, 0
        return ban._replace(until_ns=min(ban.until_ns, ban.since_ns + most_ns), rung=rung)

    def _fold(self, ban: Ban, now_ns: int) -> None:
        """Remember a ban of another node that is over as if it had been ours."""
        if not ban.rung or (offender := self._offenders.remember(ban.key)) is None:
            return
        if offender.until_ns <= ban.until_ns and offender.rung_at(now_ns, self._rules.forget_ns) <= ban.rung:
            offender.rung, offender.since_ns, offender.until_ns = ban.rung, ban.since_ns, ban.until_ns
            offender.reason = ban.reason

    # Time and rules.

    def expire(self, now_ns: int) -> None:
        """Let end what is over; from time to time forget those against whom nothing is held any more."""
        while self._ends and self._ends[0][0] <= now_ns:
            self._end(heappop(self._ends)[1], now_ns)
        if self._next_sweep_ns is None:
            self._next_sweep_ns = now_ns + SWEEP_NS
        elif now_ns >= self._next_sweep_ns:
            self._next_sweep_ns = now_ns + SWEEP_NS
            rules = self._rules
            self._offenders.sweep(now_ns, half_life_ns=rules.half_life_ns, forget_ns=rules.forget_ns)

    def _end(self, key: int, now_ns: int) -> None:
        manual, elsewhere = self._manual.get(key), self._elsewhere.get(key)
        if manual is not None and not manual.in_force(now_ns):
            del self._manual[key]
            self._note(key)
        if elsewhere is not None and not elsewhere.in_force(now_ns):
            self._fold(self._elsewhere.pop(key), now_ns)
            self._note(key)
        offender = self._offenders.get(key)
        if offender is not None and offender.until_ns <= now_ns:
            self._settle(key, offender, now_ns)

    def reload(self, rules: BansConfig, exemptions: Exemptions, now_ns: int) -> list[Ban]:
        """Go on by other rules; return the bans that are lifted, because nobody may ban them any more.

        Bans that are in force keep their length, but that shared exits are let go after bans.shared at most. All
        bans are told as changes.
        """
        old = list(self.bans(now_ns))
        self._use(rules, exemptions)
        for key in [key for key in self.recorded() if exemptions.never(key)]:
            self._drop(key, now_ns)
        self._ends = [(ban.until_ns, ban.key) for ban in self._manual.values()]
        heapify(self._ends)
        for key, ban in list(self._elsewhere.items()):
            self.take_over(key, ban, now_ns)
        for client, offender in self._offenders.banned():
            if exemptions.shared(client):
                offender.rung = 0
                offender.until_ns = min(offender.until_ns, now_ns + rules.shared_ns)
            self._settle(client, offender, now_ns)
        self._changed.update(ban.key for ban in old)
        return [ban for ban in old if exemptions.never(ban.key)]

    # What was before: nothing of it is judged again.

    def restore(self, ban: Ban, now_ns: int) -> None:
        """Take a ban over that was written down, be it over or not: its rung may still count."""
        if self._exemptions.never(ban.key):
            self._note(ban.key)
        elif ban.origin is Origin.MANUAL:
            self._take_manual(ban)
        elif ban.origin is Origin.CLUSTER:
            if self.take_over(ban.key, ban, now_ns) is None:
                self._fold(ban, now_ns)
        elif (offender := self._offenders.remember(ban.key)) is not None:
            offender.rung, offender.since_ns, offender.until_ns = ban.rung, ban.since_ns, ban.until_ns
            offender.reason = ban.reason
            self._settle(ban.key, offender, now_ns)

    def adopt(self, key: int, until_ns: int, now_ns: int) -> None:
        """Take a ban over that is in force, and of which no more is known than when it ends.

        The analyst before us placed it and died. If it was written down, what is there counts, but for the end: the
        clock of the day may have been set meanwhile. Networks before their clients would seem to be banned by hand.
        """
        bans = list(self.bans_on(key, now_ns))
        self._note(key)
        if self._exemptions.never(key) or len(bans) > 1 or any(ban.origin is Origin.WIDENED for ban in bans):
            return
        if bans and bans[0].origin is Origin.CLUSTER:
            self.take_over(key, bans[0]._replace(until_ns=until_ns), now_ns)
        elif bans and bans[0].origin is Origin.MANUAL:
            self._take_manual(bans[0]._replace(until_ns=until_ns))
        elif not is_client(key):
            self._take_manual(Ban(key, Origin.MANUAL, now_ns, until_ns, 0, ADOPTED))
        elif (offender := self._offenders.remember(key)) is not None:
            offender.rung = 0 if self._exemptions.shared(key) else max(1, offender.rung)
            offender.since_ns = offender.since_ns if bans else now_ns
            offender.until_ns = until_ns
            self._settle(key, offender, now_ns)

    # Questions.

    def bans_on(self, key: int, now_ns: int) -> Iterator[Ban]:
        """Yield the bans of exactly this client or network that are in force."""
        offender, manual = self._offenders.get(key), self._manual.get(key)
        if offender is not None and offender.until_ns > now_ns:
            yield offender.ban(key)
        if manual is not None and manual.in_force(now_ns):
            yield manual
        if (elsewhere := self._elsewhere.get(key)) is not None and elsewhere.in_force(now_ns):
            yield elsewhere
        if (term := self._networks.term(key, now_ns)) is not None:
            yield Ban(key, Origin.WIDENED, *term)

    def bans(self, now_ns: int) -> Iterator[Ban]:
        """Yield all bans that are in force."""
        for client, offender in self._offenders.banned():
            if offender.until_ns > now_ns:
                yield offender.ban(client)
        yield from (ban for ban in self._manual.values() if ban.in_force(now_ns))
        yield from (ban for ban in self._elsewhere.values() if ban.in_force(now_ns))
        for network, term in self._networks.networks(now_ns):
            yield Ban(network, Origin.WIDENED, *term)

    def latest(self, most: int, now_ns: int) -> list[Ban]:
        """Return up to `most` bans that are in force, the most recent first."""
        return nlargest(most, self.bans(now_ns), key=_since)

    def ban_of(self, key: int, now_ns: int) -> Ban | None:
        """Return the ban that keeps a client out, of itself or of a network around it; the one that ends last."""
        bans = [ban for each in (key, *parents(key)) for ban in self.bans_on(each, now_ns)]
        return max(bans, key=_until, default=None)

    def until(self, key: int, now_ns: int) -> int:
        """Return when the last ban of exactly this client or network ends; 0 if it has none."""
        return max((ban.until_ns for ban in self.bans_on(key, now_ns)), default=0)

    def account(self, client: int, now_ns: int) -> Account:
        """Return what is known of a client."""
        offender = self._offenders.get(client) or Offender()
        return Account(
            self.ban_of(client, now_ns),
            offender.points_at(now_ns, self._rules.half_life_ns),
            self._rung(client, now_ns),
            offender.offences(),
            self._exemptions.never(client),
            self._exemptions.shared(client),
        )

    # For who places the bans and writes them down.

    def take_changes(self) -> set[int]:
        """Return the keys whose bans, or what is to be written down of them, changed since the last call."""
        changed = set(self._changed)
        self._changed.clear()
        return changed

    def recorded(self) -> set[int]:
        """Return the keys of which something may have to be written down."""
        return {*self._manual, *self._elsewhere, *self._offenders}

    def record(self, key: int, now_ns: int) -> list[Ban]:
        """Return what is to be written down of a key: its own bans, and one that is over as long as its rung counts."""
        manual, offender = self._manual.get(key), self._offenders.get(key)
        held = (manual, self._elsewhere.get(key))
        bans = [ban for ban in held if ban is not None and ban.in_force(now_ns)]
        if offender is not None and (offender.until_ns > now_ns or offender.rung_at(now_ns, self._rules.forget_ns) > 0):
            bans.append(offender.ban(key))
        return bans


def is_client(key: int) -> bool:
    """Tell a client (IPv4 address, IPv6 /64) from a network."""
    return key_text(key).partition("/")[2] in {"", "64"}
