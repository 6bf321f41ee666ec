"""What this node has spent of each bucket and not told the others yet. Plain reckoning: no clock, no socket, no store.

A bucket is a TAT in shared memory, which the workers move (`fastpath._gcra_py`). The ledger looks at it now and then,
and keeps an account:

    spent = TAT now - TAT at the last look        untold += spent
    ask:    tell `untold`, and hear the level of the bucket in the cluster: how long it takes to be full
    answer: TAT in shared memory += (when it was asked + level + what was untold besides) - TAT when it was asked

The last line adds a difference, atomically, so what the workers spend meanwhile stays. Where a bucket was full since
the last look (the TAT lay in the past) the difference has some idle time in it, at most that between two looks. It is
rounded down to whole tokens then: nothing is counted too much where a token takes longer to come back than that.

**What stays untold.** Most clients ask for little. As long as one takes no more than an eighth of this node's share,
of the burst and of the rate (`KEPT`), nobody is told. Beyond it the bucket is hot, and all is told at each turn until
it is full again. So all nodes together keep an eighth of the limit to themselves, and no more, whatever the client
does.

**While the store is away** what is untold fades at the rate of this node's share, as the tokens come back meanwhile;
not before the bucket of the cluster, as it was agreed last, is full again, for until then they come back to that. The
limits are divided then (`Control.SHARE`), so each token moves the TAT by as many times its length as there are nodes,
and counts for one. The workers notice a change within a quarter of a second; for what was spent in that time the side
of the client is taken.

**What an answer can do.** No answer takes the TAT below where it would be if this node were alone (`own`), so whoever
may write to the database, or lose it, gives a client no more than it has from nodes without a store. None takes it
further ahead than all nodes together can have admitted. Tokens that were given back are told too, but never more than
this node itself has taken: else the eviction of a bucket from a full table would look like a gift.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from fastpath.gcra import shift
from proxy.settings.kinds import MILLISECOND, SECOND

if TYPE_CHECKING:
    from models.steps import Steps

KEPT: Final = 8  # one part in so many of a node's share is spent without a word
MOST_ACCOUNTS: Final = 65_536
MOST_SWEPT: Final = 64  # accounts that are looked through for old ones at each turn
LINGER_NS: Final = 2 * SECOND  # a bucket is looked at so long after anything was heard of it
SETTLE_NS: Final = 500 * MILLISECOND  # until all workers use other limits; they look each quarter of a second
LOOKS_AT_ONCE: Final = 32  # in a step
MICROSECOND: Final = 1_000
MOST_LEVEL_NS: Final = 2**60  # of an answer, and of anything that is reckoned with: 36 years


class Place(NamedTuple):
    """A bucket. `number`: 0..11 of the client `key`; from 12 on a `BudgetKind`, and `key` is that of the bucket."""

    key: int
    number: int


class Size(NamedTuple):
    """How long one token takes to come back, and how much of them a client may take at once, ns.

    The latter is the burst and the longest delay: tokens of requests that wait are taken already.
    """

    token_ns: int
    full_ns: int


class Levels(Protocol):
    """The buckets in shared memory."""

    def tat(self, place: Place) -> int:
        """Return the TAT, ns; 0 if there is no such bucket."""

    def add(self, place: Place, delta_ns: int, most_ns: int, now_ns: int) -> None:
        """See `ClientTable.add`."""


@dataclass(slots=True)
class Account:
    """What is known of one bucket, ns.

    Attributes:
        size: Its limit.
        seen_ns: The TAT, as it was at the last look or was made by an answer.
        own_ns: The TAT as it would be if this node were alone.
        agreed_ns: The TAT of the last answer, of the cluster as a whole.
        untold_ns: Spent and not told, less what was given back.
        reckoned_ns: Up to when it is reckoned.
        alone_ns: How long the node had been without a store then, since it started.
        heard_ns: When something was heard of it.
        hot: Whether others are told.

    """

    size: Size
    seen_ns: int = 0
    own_ns: int = 0
    agreed_ns: int = 0
    untold_ns: int = 0
    reckoned_ns: int = 0
    alone_ns: int = 0
    heard_ns: int = 0
    hot: bool = False

    def over(self, now_ns: int) -> bool:
        """Whether there is nothing to remember."""
        return not self.untold_ns and max(self.seen_ns, self.own_ns, self.agreed_ns) <= now_ns


@dataclass(slots=True)
class Question:
    """What is told of a bucket; the answer is its level.

    Attributes:
        place: Which.
        account: Its account.
        told_ns: Spent here, or given back if negative; whole microseconds, as the store reckons.
        alone_ns: See `Account`; what was told in vain fades too.
        base_ns: The level that the store is to begin with if it has lost this one.
        most_ns: The highest level that can be.
        kept_ns: What was untold besides when it was asked.
        own_ns: See `Account`, then.
        seen_ns: The TAT, then.
        asked_ns: When that was.

    """

    place: Place
    account: Account
    told_ns: int
    alone_ns: int = 0
    base_ns: int = 0
    most_ns: int = 0
    kept_ns: int = 0
    own_ns: int = 0
    seen_ns: int = 0
    asked_ns: int = 0


class Ledger:
    """The accounts of one node.

    Attributes:
        hostile: Answers that were no levels.
        dropped: Accounts that were forgotten while they mattered, for want of room.

    """

    def __init__(self, levels: Levels, now_ns: int, *, successor: bool = False, most: int = MOST_ACCOUNTS) -> None:
        """Begin with no accounts.

        Args:
            levels: The buckets of this node.
            now_ns: Monotonic, as in all methods.
            successor: Another ledger was kept of them before: what is in a bucket was told, perhaps.
            most: Accounts.

        """
        self.hostile = 0
        self.dropped = 0
        self._levels = levels
        self._accounts: OrderedDict[Place, Account] = OrderedDict()
        self._active: dict[Place, Account] = {}
        self._most = most
        self._certain = not successor  # that a bucket without account holds nothing of others
        self._nodes = 1
        self._alone = True
        self._turned_ns = now_ns  # when `alone` changed
        self._was_alone_ns = 0  # before that, in all
        self._share = 1
        self._divided_until_ns = 0

    def __len__(self) -> int:
        """Return the number of accounts."""
        return len(self._accounts)

    @property
    def active(self) -> int:
        """How many buckets are looked at in each turn."""
        return len(self._active)

    def account(self, place: Place) -> Account:
        """Return what is known of a bucket: nothing, of most."""
        return self._accounts.get(place) or Account(Size(1, 1))

    def stand(self, nodes: int, *, alone: bool, now_ns: int) -> int:
        """Take note of how many nodes there are, and whether the store is away; return by what limits are divided."""
        if alone != self._alone:
            if self._alone:
                self._was_alone_ns += now_ns - self._turned_ns
            self._alone, self._turned_ns = alone, now_ns
        self._nodes = max(1, nodes)
        share = self._nodes if alone else 1
        if share > 1:
            self._share, self._divided_until_ns = share, now_ns + SETTLE_NS
        return share

    def note(self, place: Place, size: Size, since_ns: int, tokens: int, now_ns: int) -> None:
        """Look at a bucket of which something was heard.

        Args:
            place: The bucket.
            size: Of its limit.
            since_ns: When the first of the requests that are told of began.
            tokens: What they cost, at the least.
            now_ns: Now.

        """
        account = self._accounts.get(place)
        if account is None:
            account = self._open(place, size, now_ns)
            self._look(place, account, since_ns, now_ns, None if self._certain else tokens * size.token_ns)
        else:
            account.size = size
            self._accounts.move_to_end(place)
            since_ns = since_ns if place not in self._active else max(since_ns, account.reckoned_ns)
            self._look(place, account, since_ns, now_ns)
        account.heard_ns = now_ns
        self._active[place] = account

    def questions(self, most: int, now_ns: int) -> Steps[list[Question]]:
        """Look at all that may have changed; return what is to be told, the fullest first."""
        found = []
        for count, (place, account) in enumerate(list(self._active.items())):
            if count % LOOKS_AT_ONCE == LOOKS_AT_ONCE - 1:
                yield
            self._look(place, account, account.reckoned_ns, now_ns)
            if account.hot and abs(account.untold_ns) >= MICROSECOND:
                account.heard_ns = now_ns
                found.append(Question(place, account, 0))
            elif now_ns - account.heard_ns > LINGER_NS:
                self._active.pop(place, None)
        self._sweep(now_ns)
        found.sort(key=lambda each: (each.account.seen_ns - now_ns) / each.account.size.full_ns, reverse=True)
        for question in found[:most]:
            question.told_ns = _whole(question.account.untold_ns)
            question.account.untold_ns -= question.told_ns
            question.alone_ns = question.account.alone_ns
        return found[:most]

    def ask(self, question: Question, now_ns: int) -> None:
        """Fill in how the bucket stands; again if the question is asked again, for its answer never came."""
        account = question.account
        since_ns = account.reckoned_ns if question.place in self._active else now_ns
        self._look(question.place, account, since_ns, now_ns)
        lonely_ns = min(account.alone_ns - question.alone_ns, now_ns - account.agreed_ns)
        question.told_ns = _whole(self._faded(question.told_ns, lonely_ns, 0))
        question.alone_ns = account.alone_ns
        question.base_ns = max(0, account.agreed_ns - now_ns)
        question.most_ns = min(MOST_LEVEL_NS, (self._nodes + 1) * account.size.full_ns)
        question.kept_ns, question.own_ns = account.untold_ns, account.own_ns
        question.seen_ns, question.asked_ns = max(account.seen_ns, now_ns), now_ns

    def answered(self, question: Question, level_ns: int, now_ns: int) -> None:
        """Fold an answer into the bucket."""
        account = question.account
        if not 0 <= level_ns <= question.most_ns:
            self.hostile += 1
            return
        account.agreed_ns = question.asked_ns + level_ns
        wanted_ns = max(account.agreed_ns + question.kept_ns, question.own_ns, question.asked_ns)
        delta_ns = wanted_ns - question.seen_ns
        if delta_ns:
            self._levels.add(question.place, delta_ns, question.most_ns, now_ns)
            account.seen_ns = shift(account.seen_ns, delta_ns, question.most_ns, now_ns)

    def take_back(self, question: Question) -> None:
        """Keep what was to be told: it certainly was not."""
        question.account.untold_ns += question.told_ns
        question.told_ns = 0

    def _open(self, place: Place, size: Size, now_ns: int) -> Account:
        if len(self._accounts) >= self._most:
            oldest, account = self._accounts.popitem(last=False)
            self._active.pop(oldest, None)
            if not account.over(now_ns):
                self.dropped += 1
                self._certain = False
        account = self._accounts[place] = Account(size, reckoned_ns=now_ns, alone_ns=self._alone_ns(now_ns))
        return account

    def _look(self, place: Place, account: Account, since_ns: int, now_ns: int, most_ns: int | None = None) -> None:
        """Find out what was spent since `since_ns`: since the last look, or since the first request began."""
        tat_ns = self._levels.tat(place)
        if tat_ns == account.seen_ns and not account.untold_ns:  # as it is nearly always
            account.reckoned_ns, account.alone_ns = now_ns, self._alone_ns(now_ns)
            return
        spent_ns = self._spent(account, tat_ns, since_ns, now_ns)
        if most_ns is not None:
            spent_ns = min(spent_ns, most_ns)
        self._fade(account, now_ns)
        account.seen_ns = tat_ns
        account.own_ns = (max(account.own_ns, since_ns) if spent_ns > 0 else account.own_ns) + spent_ns
        account.untold_ns += spent_ns
        if account.untold_ns * KEPT * self._nodes >= account.size.full_ns:
            account.hot = True
        elif not account.hot:
            account.untold_ns = max(0, account.untold_ns)

    def _fade(self, account: Account, now_ns: int) -> None:
        """Let what is untold become less with time."""
        if now_ns <= account.reckoned_ns:
            return
        alone_ns = self._alone_ns(now_ns)
        lonely_ns = alone_ns - account.alone_ns
        idle_ns = 0 if account.hot else now_ns - account.reckoned_ns - lonely_ns
        account.untold_ns = self._faded(account.untold_ns, min(lonely_ns, now_ns - account.agreed_ns), idle_ns)
        account.reckoned_ns, account.alone_ns = now_ns, alone_ns

    def _spent(self, account: Account, tat_ns: int, since_ns: int, now_ns: int) -> int:
        share = self._share if now_ns < self._divided_until_ns else 1
        if account.seen_ns >= now_ns:
            moved_ns = tat_ns - account.seen_ns
            if moved_ns >= 0:
                return min(moved_ns, MOST_LEVEL_NS) // share
            if tat_ns == 0:  # evicted
                return 0
            back_ns = account.seen_ns - max(tat_ns, now_ns)
            return -max(0, min(back_ns // share, account.own_ns - now_ns))
        tokens = (tat_ns - max(account.seen_ns, since_ns)) // (account.size.token_ns * share)
        return max(0, min(tokens * account.size.token_ns, MOST_LEVEL_NS))

    def _faded(self, untold_ns: int, lonely_ns: int, idle_ns: int) -> int:
        """Return what is left after a time without a store, and one with it in which the bucket was not hot."""
        if untold_ns <= 0:
            return untold_ns
        return max(0, untold_ns - max(0, lonely_ns) // self._nodes - idle_ns // (KEPT * self._nodes))

    def _alone_ns(self, now_ns: int) -> int:
        return self._was_alone_ns + (now_ns - self._turned_ns if self._alone else 0)

    def _sweep(self, now_ns: int) -> None:
        """Close some accounts of buckets that are full and that nobody need be told of."""
        for _ in range(min(MOST_SWEPT, len(self._accounts))):
            place, account = self._accounts.popitem(last=False)
            if place not in self._active:
                self._fade(account, now_ns)
                if account.over(now_ns):
                    continue
            self._accounts[place] = account


def _whole(ns: int) -> int:
    """Cut to whole microseconds, towards nothing."""
    return ns - ns % MICROSECOND if ns >= 0 else ns + -ns % MICROSECOND
