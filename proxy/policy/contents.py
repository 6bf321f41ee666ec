"""What the bodies of requests cost: judged when they have been read, before the keyserver hears of them.

    upload   each certificate: an update of it, and what others have signed on it since;
             a new one also takes from its user IDs and from all new ones;
             from a shared exit also one of all that these may upload together, else one of those of its network
    mail     each address that is to get one

All or nothing: what one of the budgets refuses, the others get back. What is admitted is remembered: a certificate is
not new a second time, whatever becomes of its upload. A bare revocation proves no certificate, so it makes none known.
Of what is refused nothing is remembered but, for a while, that a network or exit was refused.

How those that are of everybody are shared: `sharing.py`. What only brings more of what is known, an update or a bare
revocation, has its own place there, beside all that is new, and a turn before it: who floods with new certificates
through an exit does not take it from somebody behind the same exit who revokes his own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import BUCKETS, Budget, Limit, bucket_key
from proxy.hkp.certs import Upload
from proxy.hkp.classes import OperationClass
from proxy.hkp.mail import MailRequest
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import TEXTS, BudgetKind
from proxy.policy.claim import take_of
from proxy.policy.judge import Verdict
from proxy.policy.sharing import KNOWN_TURNS, NEW_TURNS, Bill, Share, Sharing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastpath import Payments, Spending
    from proxy.hkp.certs import Cert
    from proxy.policy.budgets import Tables
    from proxy.policy.claim import Take
    from proxy.policy.judge import Client
    from proxy.policy.subjects import Subjects

# What comes back if the request is never sent. The others do not: what they were paid for is known from now on.
RETURNED: Final = frozenset(
    {BudgetKind.NETWORK_UPLOADS, BudgetKind.EXIT_UPLOADS, BudgetKind.CERT_UPDATES, BudgetKind.MAIL_ADDRESS}
)
DAY_NS: Final = 86_400 * 1_000_000_000
MUCH: Final = 10  # uploads of a client in a day; who had so many leaves some of its network's to its neighbours
SEEN_NS: Final = 26 * 86_400 * 1_000_000_000  # a certificate that nobody uploaded for so long is new again

_HAD: Final = Budget(Limit(name="had", burst=MUCH, count=MUCH, period_ns=DAY_NS), BudgetKind.NETWORK_UPLOADS)


class Ruling(NamedTuple):
    """What becomes of a request for its body, and what it gets back if it is never sent."""

    verdict: Verdict | None = None  # a refusal or a wait; None if nothing is to be said
    deposit: tuple[Bill, ...] = ()


class Taken(NamedTuple):
    """What was taken for a body of which nothing is remembered yet.

    Args:
        verdict: As in a `Ruling`; if it is a refusal, all was given back.
        client: Whose it is.
        found: What a reader has found.
        shares: What it asks for of what is of everybody.
        paid: What was taken.
        owed: What is taken when it is kept, there or not.

    """

    verdict: Verdict | None
    client: Client
    found: Upload | MailRequest | None = None
    shares: tuple[Share, ...] = ()
    paid: tuple[Bill, ...] = ()
    owed: tuple[Bill, ...] = ()

    def takes(self) -> list[Take]:
        """Return what of it was taken from buckets that all nodes have together, and may refuse; of each once."""
        takes: dict[tuple[int, int], Take] = {}
        for bill in self.paid:
            if bill.limit is not None and bill.budget.enforced:
                take = _take(bill, bill.limit)
                before = takes.get(take[:2])
                takes[take[:2]] = take if before is None else take._replace(cost_ns=take.cost_ns + before.cost_ns)
        return list(takes.values())


class Contents:
    """Judges what was found in bodies."""

    def __init__(self, tables: Tables, subjects: Subjects, payments: Payments | None = None) -> None:
        """`tables`: shared by all workers; `subjects`: of the node; `payments`: for who tells other nodes."""
        self._buckets = tables.buckets
        self._sharing = Sharing(tables.buckets)
        self._sightings = tables.sightings
        self._subjects = subjects
        self._payments = payments

    def judge(self, client: Client, found: object, now_ns: int) -> Ruling:
        """Decide about a body.

        Args:
            client: Who asks.
            found: What a reader has found; what is neither `Upload` nor `MailRequest` costs nothing more.
            now_ns: CLOCK_MONOTONIC.

        """
        taken = self.take(client, found, now_ns)
        if taken.verdict is not None and taken.verdict.action == Action.LIMIT:
            return Ruling(taken.verdict)
        return Ruling(taken.verdict, self.keep(taken, now_ns))

    def take(self, client: Client, found: object, now_ns: int) -> Taken:
        """Do the first half of `judge`: take what a body costs. `keep` is the other one, or `turn_away`."""
        if client.exempt or not isinstance(found, Upload | MailRequest):
            return Taken(None, client)
        shares = tuple(self._shares(client, found, now_ns))
        bills = [*self._shared(client, shares, now_ns), *self._bills(client, found, now_ns)]
        said = [(bill, self._pay(bill, now_ns)) for bill in bills if not bill.forgiving]
        # What is empty took nothing, also in shadow mode.
        paid = tuple(bill for bill, spending in said if spending is None or not spending.retry_after_ns)
        refused = [spending for _, spending in said if spending is not None and not spending.allowed]
        if refused:
            longest = max(refused, key=lambda each: each.retry_after_ns)
            verdict = Verdict(Action.LIMIT, Reason.BUDGET, 429, 0, longest, text=TEXTS[longest.bucket])
            taken = Taken(verdict, client, found, shares, paid)
            self.turn_away(taken, now_ns)
            return taken
        weightiest = _weightiest([spending for _, spending in said if spending is not None])
        return Taken(weightiest, client, found, shares, paid, tuple(bill for bill in bills if bill.forgiving))

    def keep(self, taken: Taken, now_ns: int) -> tuple[Bill, ...]:
        """Remember a body that goes on; return what comes back if it is never sent."""
        for bill in taken.owed:
            self._buckets.charge(bill.budget, bill.key, bill.cost, now_ns)
        for share in taken.shares:
            self._sharing.note(share, now_ns)
        if isinstance(taken.found, Upload):
            self._remember(taken.client, taken.found, now_ns)
        self._note(taken, now_ns)
        return tuple(bill for bill in (*taken.paid, *taken.owed) if bill.budget.kind in RETURNED)

    def turn_away(self, taken: Taken, now_ns: int) -> None:
        """Give back what was taken for a body that is refused after all."""
        self.refund(taken.paid, now_ns)
        for share in taken.shares:
            self._sharing.note_refusal(share, now_ns)

    def _note(self, taken: Taken, now_ns: int) -> None:
        """Write down what was paid from buckets that all nodes have together."""
        if self._payments is not None:
            for bill in (*taken.paid, *taken.owed):
                if bill.limit is not None:
                    self._payments.write(now_ns, bill.key, bill.budget.kind, bill.cost, taken.client.address)

    def _pay(self, bill: Bill, now_ns: int) -> Spending | None:
        return self._buckets.spend(bill.budget, bill.key, bill.cost, now_ns)

    def refund(self, bills: Iterable[Bill], now_ns: int) -> None:
        """Give back what a request has paid that the keyserver never got, so that it can be sent again."""
        for bill in bills:
            self._buckets.refund(bill.budget, bill.key, bill.cost, now_ns)

    def _shares(self, client: Client, found: Upload | MailRequest, now_ns: int) -> Iterator[Share]:
        """Yield what is asked for of what is of everybody.

        An exit is two members: one for what is new, and one for what is not.
        """
        if isinstance(found, MailRequest):
            return
        new = len(self._new(found, now_ns))
        if client.anonymous:
            member = bucket_key(BudgetKind.EXIT_UPLOADS, client.key, bool(new))
            yield Share(BudgetKind.EXIT_UPLOADS, member, 1, NEW_TURNS if new else KNOWN_TURNS)
        if new:
            yield Share(BudgetKind.NEW_CERTS, client.network, new)

    def _shared(self, client: Client, shares: Iterable[Share], now_ns: int) -> Iterator[Bill]:
        for share in shares:
            limit = client.limits[share.kind]
            if limit is not None:
                yield from self._sharing.bills(limit, share, now_ns)

    def _bills(self, client: Client, found: Upload | MailRequest, now_ns: int) -> Iterator[Bill]:
        if isinstance(found, MailRequest):
            for address in found.addresses:
                yield from _bill(client, BudgetKind.MAIL_ADDRESS, self._subjects.word_of(address))
            return
        yield from self._of_network(client, found, now_ns)
        for cert in found.certs:
            yield from _bill(
                client, BudgetKind.CERT_UPDATES, self._word(cert), forgiving=self._is_forgiven(client, cert, now_ns)
            )
            if growth := self._growth(cert, now_ns):
                yield from _bill(client, BudgetKind.CERT_GROWTH, self._word(cert), growth)
        for cert in self._new(found, now_ns):
            for user_id in dict.fromkeys(cert.user_ids):
                word = self._subjects.word_of(user_id.decode("utf-8", "replace").strip().lower())
                yield from _bill(client, BudgetKind.USER_ID, word)

    def _of_network(self, client: Client, upload: Upload, now_ns: int) -> Iterator[Bill]:
        """Yield what a network pays for an upload, and for its client a note of it; bare revocations only count."""
        kind = BudgetKind.NETWORK_UPLOADS
        had = bucket_key(kind, client.network, client.key)
        much = (self._buckets.peek(had) or 0) - now_ns > DAY_NS - DAY_NS // MUCH
        budget = (client.frugal if much else client.budgets)[kind - BUCKETS]
        if budget is None or client.anonymous or client.peer:
            return
        forgiving = all(cert.revocation_only for cert in upload.certs)
        yield Bill(budget, bucket_key(kind, client.network), 1, forgiving, client.limits[kind])
        yield Bill(_HAD, had, 1, forgiving=True)

    def _is_forgiven(self, client: Client, cert: Cert, now_ns: int) -> bool:
        """Whether an update is never refused, though it counts: a bare revocation, and the first of a network in a day.

        Else anybody could use the updates of a certificate up, and keep its owner from revoking.
        """
        update = _update_of(self._word(cert))
        return cert.revocation_only or not self._sightings.seen(update, client.network, DAY_NS, now_ns)

    def _growth(self, cert: Cert, now_ns: int) -> int:
        """Return how many signatures of others are new on a certificate; none if the certificate itself is new."""
        if not cert.foreign or self._is_new(cert, now_ns):
            return 0
        return self._sightings.unseen(_signature_on(self._word(cert)), cert.foreign, SEEN_NS, now_ns)

    def _remember(self, client: Client, upload: Upload, now_ns: int) -> None:
        """Take note of an upload that goes on."""
        for cert in upload.certs:
            if not cert.revocation_only:
                self._remember_cert(client, cert, now_ns)

    def _remember_cert(self, client: Client, cert: Cert, now_ns: int) -> None:
        word = self._word(cert)
        self._sightings.add(BudgetKind.NEW_CERTS, word, now_ns)
        self._sightings.add(_update_of(word), client.network, now_ns)
        self._sightings.add_all(_signature_on(word), cert.foreign, now_ns)

    def _new(self, upload: Upload, now_ns: int) -> list[Cert]:
        """Return the certificates of an upload that nobody has uploaded here."""
        return [cert for cert in upload.certs if self._is_new(cert, now_ns)]

    def _is_new(self, cert: Cert, now_ns: int) -> bool:
        if cert.revocation_only:
            return False
        return not self._sightings.seen(BudgetKind.NEW_CERTS, self._word(cert), SEEN_NS, now_ns)

    def _word(self, cert: Cert) -> int:
        """Return one word for a certificate; a bare revocation may name no more of it than its key id."""
        return self._subjects.counted_as(OperationClass.CERT, cert.fingerprint)


def _bill(client: Client, kind: BudgetKind, word: int, cost: int = 1, *, forgiving: bool = False) -> Iterator[Bill]:
    budget = client.budgets[kind - BUCKETS]
    if budget is not None:
        yield Bill(budget, bucket_key(kind, word), cost, forgiving, client.limits[kind])


def _take(bill: Bill, limit: Limit) -> Take:
    budget = bill.budget
    cost_ns = min(bill.cost * limit.emission_interval_ns, budget.burst_ns)
    take = take_of(limit, budget.kind, bill.key, cost_ns)
    return take._replace(burst_ns=budget.burst_ns, room_ns=budget.room_ns)  # it may leave something to others


def _update_of(cert: int) -> int:
    return bucket_key(BudgetKind.CERT_UPDATES, cert)


def _signature_on(cert: int) -> int:
    return bucket_key(BudgetKind.CERT_GROWTH, cert)


def _weightiest(said: list[Spending]) -> Verdict | None:
    """Return the longest wait that binds, else what the budgets in shadow mode would have done."""
    waits = [each for each in said if not each.shadow]
    if waits:
        longest = max(waits, key=lambda each: each.wait_ns)
        return Verdict(Action.DELAY, Reason.BUDGET, 0, longest.wait_ns, longest)
    if said:
        worst = max(said, key=lambda each: (each.retry_after_ns, each.wait_ns))
        return Verdict(Action.ALLOW, Reason.BUDGET, 0, 0, worst, Action.LIMIT if worst.retry_after_ns else Action.DELAY)
    return None
