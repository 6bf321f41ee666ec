"""The reckoning of `proxy.cluster.ledger` as one would write it down: in Python, with a dictionary, and slow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastpath._gcra_py import shift
from proxy.cluster.ledger import KEPT, LINGER_NS, MICROSECOND, MOST_LEVEL_NS, SETTLE_NS, WAIT_NS, Known, Place, Size

if TYPE_CHECKING:
    from proxy.cluster.ledger import Levels


@dataclass
class Account:
    """What is known of one bucket."""

    size: Size
    reckoned_ns: int
    alone_ns: int
    heard_ns: int = 0
    seen_ns: int = 0
    own_ns: int = 0
    agreed_ns: int = 0
    untold_ns: int = 0
    hot: bool = False
    active: bool = False
    found_ns: int = 0
    recalled: bool = False
    mark: int = 0

    def over(self, now_ns: int) -> bool:
        """Whether there is nothing to remember."""
        return abs(self.untold_ns) < MICROSECOND and max(self.seen_ns, self.own_ns, self.agreed_ns) <= now_ns


@dataclass
class Question:
    """What is told of a bucket."""

    place: Place
    full_ns: int
    told_ns: int
    alone_ns: int
    agreed_ns: int
    mark: int
    base_ns: int = 0
    most_ns: int = 0
    kept_ns: int = 0
    own_ns: int = 0
    seen_ns: int = 0
    asked_ns: int = 0
    first_ns: int = 0


class PlainLedger:
    """As `Ledger`, without a bound of accounts."""

    def __init__(self, levels: Levels, now_ns: int, *, successor: bool = False) -> None:
        """See `Ledger`."""
        self.levels = levels
        self.accounts: dict[Place, Account] = {}
        self.certain = not successor
        self.nodes = self.share = 1
        self.alone = True
        self.doubted = False
        self.turned_ns, self.was_alone_ns, self.divided_until_ns = now_ns, 0, 0

    def account(self, place: Place) -> Known:
        """See `Ledger`."""
        found = self.accounts.get(place)
        if found is None:
            return Known()
        return Known(found.seen_ns, found.own_ns, found.agreed_ns, found.untold_ns, found.hot)

    def stand(self, nodes: int, *, alone: bool, now_ns: int) -> int:
        """See `Ledger`."""
        if alone != self.alone:
            if self.alone:
                self.was_alone_ns += now_ns - self.turned_ns
                self.recall()
            self.alone, self.turned_ns = alone, now_ns
        self.nodes = max(1, nodes)
        share = self.nodes if alone else 1
        if share > 1:
            self.share, self.divided_until_ns = share, now_ns + SETTLE_NS
        return share

    def note(self, place: Place, size: Size, since_ns: int, tokens: int, now_ns: int) -> None:
        """See `Ledger`."""
        account, most_ns = self.accounts.get(place), MOST_LEVEL_NS
        if account is None:
            account = self.accounts[place] = Account(size, now_ns, self.alone_ns(now_ns))
            most_ns = MOST_LEVEL_NS if self.certain else tokens * size.token_ns
        elif account.found_ns and since_ns > account.found_ns:
            since_ns = account.reckoned_ns
        elif account.active:
            since_ns = max(since_ns, account.reckoned_ns)
        account.size = size
        self.look(place, account, since_ns, now_ns, most_ns)
        account.heard_ns, account.active = now_ns, True

    def questions(self, now_ns: int) -> list[Question]:
        """See `Ledger`; all that is to be told."""
        found = []
        for place, account in self.accounts.items():
            if account.active and not self.waits(place, account, now_ns):
                self.look(place, account, account.reckoned_ns, now_ns)
                if account.hot and (abs(account.untold_ns) >= MICROSECOND or account.recalled):
                    account.heard_ns = now_ns
                    found.append(self.told_of(place, account, account.untold_ns))
                elif now_ns - account.heard_ns > LINGER_NS:
                    account.active = False
        for place, account in [*self.accounts.items()]:
            if self.doubted and account.agreed_ns > now_ns:
                account.recalled = account.active = True
            if not account.active:
                self.fade(account, now_ns)
                if account.over(now_ns):
                    del self.accounts[place]
        self.doubted = False
        return found

    def recall(self) -> None:
        """See `Ledger`."""
        self.doubted = True

    def waits(self, place: Place, account: Account, now_ns: int) -> bool:
        """Tell whether a change is left to its record."""
        tat_ns = self.levels.tat(place)
        if (
            account.hot
            or tat_ns == account.seen_ns
            or self.is_much(account, account.untold_ns + max(0, tat_ns - now_ns))
        ):
            return False
        account.found_ns = account.found_ns or now_ns
        return now_ns - account.found_ns < WAIT_NS

    def is_much(self, account: Account, untold_ns: int) -> bool:
        """Tell whether a bucket of which so much is untold is hot."""
        return untold_ns * KEPT * self.nodes >= account.size.full_ns

    def question(self, place: Place, most_ns: int) -> Question:
        """See `Ledger`."""
        account = self.accounts[place]
        account.hot = True
        return self.told_of(place, account, min(account.untold_ns, most_ns))

    def told_of(self, place: Place, account: Account, ns: int) -> Question:
        """Return a question that tells so much of a bucket."""
        told_ns = whole(ns)
        account.untold_ns -= told_ns
        return Question(place, account.size.full_ns, told_ns, account.alone_ns, account.agreed_ns, account.mark)

    def ask(self, question: Question, now_ns: int) -> None:
        """See `Ledger`."""
        account = self.accounts.get(question.place)
        if account is None:
            seen_ns = own_ns = self.levels.tat(question.place)
            question.kept_ns = 0
        else:
            self.look(question.place, account, account.reckoned_ns if account.active else now_ns, now_ns)
            question.kept_ns, own_ns, seen_ns = account.untold_ns, account.own_ns, account.seen_ns
            question.full_ns, question.agreed_ns, question.mark = account.size.full_ns, account.agreed_ns, account.mark
        alone_ns = self.alone_ns(now_ns)
        lonely_ns = min(alone_ns - question.alone_ns, now_ns - question.agreed_ns)
        question.told_ns = whole(self.faded(question.told_ns, lonely_ns, 0))
        question.alone_ns, question.own_ns = alone_ns, own_ns
        question.first_ns = question.first_ns or now_ns
        if question.agreed_ns <= question.first_ns:
            question.mark = 0
        question.base_ns = max(question.agreed_ns, question.first_ns) - now_ns
        question.most_ns = (self.nodes + 1) * question.full_ns
        question.seen_ns, question.asked_ns = max(seen_ns, now_ns), now_ns

    def answered(self, question: Question, level_ns: int, mark: int, now_ns: int) -> None:
        """See `Ledger`."""
        agreed_ns = question.asked_ns + level_ns
        delta_ns = max(agreed_ns + question.kept_ns, question.own_ns, question.asked_ns) - question.seen_ns
        if delta_ns:
            self.levels.add(question.place, delta_ns, question.most_ns, now_ns)
        if account := self.accounts.get(question.place):
            account.agreed_ns, account.mark, account.recalled = agreed_ns, mark, False
            if delta_ns:
                account.seen_ns = shift(account.seen_ns, delta_ns, question.most_ns, now_ns)

    def keep(self, question: Question, ns: int) -> None:
        """See `Ledger`."""
        if account := self.accounts.get(question.place):
            account.untold_ns += ns
        question.told_ns -= ns
        question.kept_ns += ns

    def look(self, place: Place, account: Account, since_ns: int, now_ns: int, most_ns: int = MOST_LEVEL_NS) -> None:
        """Find out what was spent."""
        tat_ns, account.found_ns = self.levels.tat(place), 0
        spent_ns = min(self.spent(account, tat_ns, since_ns, now_ns), most_ns)
        if tat_ns == account.seen_ns and not account.untold_ns:
            spent_ns = 0
            account.reckoned_ns, account.alone_ns = now_ns, self.alone_ns(now_ns)
        self.fade(account, now_ns)
        account.seen_ns = tat_ns
        account.own_ns = (max(account.own_ns, since_ns) if spent_ns > 0 else account.own_ns) + spent_ns
        account.untold_ns += spent_ns
        if self.is_much(account, account.untold_ns):
            account.hot = True
        elif not account.hot:
            account.untold_ns = max(0, account.untold_ns)
        if account.over(now_ns):
            account.hot = False

    def spent(self, account: Account, tat_ns: int, since_ns: int, now_ns: int) -> int:
        """Return what a bucket tells of what was spent."""
        share = self.share if now_ns < self.divided_until_ns else 1
        if account.seen_ns < now_ns:
            tokens = (tat_ns - max(account.seen_ns, since_ns)) // (account.size.token_ns * share)
            return max(0, tokens * account.size.token_ns)
        if tat_ns >= account.seen_ns:
            return (tat_ns - account.seen_ns) // share
        if tat_ns == 0:
            return 0
        back_ns = account.seen_ns - max(tat_ns, now_ns)
        return -max(0, min(back_ns // share, account.own_ns - now_ns))

    def fade(self, account: Account, now_ns: int) -> None:
        """Let what is untold become less with time."""
        if now_ns <= account.reckoned_ns:
            return
        alone_ns = self.alone_ns(now_ns)
        lonely_ns = alone_ns - account.alone_ns
        idle_ns = 0 if account.hot else now_ns - account.reckoned_ns - lonely_ns
        account.untold_ns = self.faded(account.untold_ns, min(lonely_ns, now_ns - account.agreed_ns), idle_ns)
        account.reckoned_ns, account.alone_ns = now_ns, alone_ns

    def faded(self, untold_ns: int, lonely_ns: int, idle_ns: int) -> int:
        """Return what is left after some time."""
        if untold_ns <= 0:
            return untold_ns
        return max(0, untold_ns - max(0, lonely_ns) // self.nodes - idle_ns // (KEPT * self.nodes))

    def alone_ns(self, now_ns: int) -> int:
        """Return how long this node has been alone."""
        return self.was_alone_ns + (now_ns - self.turned_ns if self.alone else 0)


def whole(ns: int) -> int:
    """Cut to whole microseconds, towards nothing."""
    return ns - ns % MICROSECOND if ns >= 0 else ns + -ns % MICROSECOND
