"""What the bodies of requests cost: judged when they have been read, before the keyserver hears of them.

    upload   each certificate: an update of it, and what others have signed on it since;
             a new one also takes from its user IDs and from all new ones;
             from a shared exit also one of all that these may upload together
    mail     each address that is to get one

All or nothing: what one of the budgets refuses, the others get back. What is admitted is remembered: a certificate is
not new a second time, whatever becomes of its upload. A bare revocation proves no certificate, so it makes none known.

A shared budget is for many, so that one client may have only a part of it: of two clients that want more than there is
the second is not starved by the first.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath import BUCKETS, Budget, bucket_key
from fastpath.gcra import MAX_PERIOD_NS
from proxy.hkp.certs import Upload
from proxy.hkp.classes import OperationClass
from proxy.hkp.mail import MailRequest
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import BudgetKind
from proxy.policy.judge import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath import Limit, Spending
    from proxy.hkp.certs import Cert
    from proxy.policy.budgets import Tables
    from proxy.policy.judge import Client
    from proxy.policy.subjects import Subjects

PARTS: Final = 4  # of a shared budget one client may have one
EVERYBODY: Final = 0
DAY_NS: Final = 86_400 * 1_000_000_000
SEEN_NS: Final = 26 * 86_400 * 1_000_000_000  # a certificate that nobody uploaded for so long is new again


class _Bill(NamedTuple):
    budget: Budget
    key: int
    cost: int
    forgiving: bool = False  # it counts, and refuses nobody


class Contents:
    """Judges what was found in bodies."""

    def __init__(self, tables: Tables, subjects: Subjects) -> None:
        """`tables`: shared by all workers; `subjects`: of the node."""
        self._buckets = tables.buckets
        self._sightings = tables.sightings
        self._subjects = subjects

    def judge(self, client: Client, found: object, now_ns: int) -> Verdict | None:
        """Return a refusal or a wait; None if nothing is to be said.

        Args:
            client: Who asks.
            found: What a reader has found; what is neither `Upload` nor `MailRequest` costs nothing more.
            now_ns: CLOCK_MONOTONIC.

        """
        if client.exempt or not isinstance(found, Upload | MailRequest):
            return None
        said: list[Spending] = []
        paid: list[_Bill] = []
        for bill in self._bills(client, found, now_ns):
            if bill.forgiving:
                self._buckets.charge(bill.budget, bill.key, bill.cost, now_ns)
                paid.append(bill)
                continue
            spending = self._buckets.spend(bill.budget, bill.key, bill.cost, now_ns)
            if spending is not None and not spending.allowed:
                for each in paid:
                    self._buckets.refund(each.budget, each.key, each.cost, now_ns)
                return Verdict(Action.LIMIT, Reason.BUDGET, 429, 0, spending)
            if spending is None or not spending.retry_after_ns:  # a budget in shadow mode that is empty took nothing
                paid.append(bill)
            said += [spending] if spending is not None else []
        for cert in found.certs if isinstance(found, Upload) else ():
            if not cert.revocation_only:
                self._remember(client, cert, now_ns)
        return _weightiest(said)

    def refund(self, client: Client, found: object, now_ns: int) -> None:
        """Give back what `judge` took for a request that the keyserver never got, so that it can be sent again.

        What was paid for new certificates stays paid: they are not new any more.
        """
        if client.exempt or not isinstance(found, Upload | MailRequest):
            return
        for bill in self._bills(client, found, now_ns):
            self._buckets.refund(bill.budget, bill.key, bill.cost, now_ns)

    def _bills(self, client: Client, found: Upload | MailRequest, now_ns: int) -> Iterator[_Bill]:
        if isinstance(found, MailRequest):
            for address in found.addresses:
                yield from _bill(client, BudgetKind.MAIL_ADDRESS, self._subjects.word_of(address))
            return
        if client.shared_exit:
            yield from self._shared(client, BudgetKind.EXIT_UPLOADS, client.key)
        for cert in found.certs:
            yield from _bill(
                client, BudgetKind.CERT_UPDATES, self._word(cert), forgiving=self._is_forgiven(client, cert, now_ns)
            )
            if growth := self._growth(cert, now_ns):
                yield from _bill(client, BudgetKind.CERT_GROWTH, self._word(cert), growth)
            if self._is_new(cert, now_ns):
                yield from self._shared(client, BudgetKind.NEW_CERTS, client.network)
                for user_id in dict.fromkeys(cert.user_ids):
                    word = self._subjects.word_of(user_id.decode("utf-8", "replace").strip().lower())
                    yield from _bill(client, BudgetKind.USER_ID, word)

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
        signed = _signature_on(self._word(cert))
        return sum(not self._sightings.seen(signed, word, SEEN_NS, now_ns) for word in cert.foreign)

    def _remember(self, client: Client, cert: Cert, now_ns: int) -> None:
        """Take note of an upload that goes on."""
        word = self._word(cert)
        self._sightings.add(BudgetKind.NEW_CERTS, word, now_ns)
        self._sightings.add(_update_of(word), client.network, now_ns)
        for each in cert.foreign:
            self._sightings.add(_signature_on(word), each, now_ns)

    def _is_new(self, cert: Cert, now_ns: int) -> bool:
        if cert.revocation_only:
            return False
        return not self._sightings.seen(BudgetKind.NEW_CERTS, self._word(cert), SEEN_NS, now_ns)

    def _word(self, cert: Cert) -> int:
        """Return one word for a certificate; a bare revocation may name no more of it than its key id."""
        return self._subjects.counted_as(OperationClass.CERT, cert.fingerprint)

    def _shared(self, client: Client, kind: BudgetKind, member: int) -> Iterator[_Bill]:
        """Yield the bills of a budget of everybody, and of the part in it that one member may have."""
        budget, limit = client.budgets[kind - BUCKETS], client.limits[kind]
        if budget is None or limit is None:
            return
        yield _Bill(_part(limit, kind), bucket_key(kind, member, 1), 1)
        yield _Bill(budget, bucket_key(kind, EVERYBODY), 1)


@lru_cache(maxsize=64)  # more networks than that have hardly budgets of their own; it is only quicker
def _part(limit: Limit, kind: BudgetKind) -> Budget:
    period_ns = min(PARTS * limit.emission_interval_ns, MAX_PERIOD_NS)
    return Budget(replace(limit, burst=max(1, limit.burst // PARTS), count=1, period_ns=period_ns), kind)


def _bill(client: Client, kind: BudgetKind, word: int, cost: int = 1, *, forgiving: bool = False) -> Iterator[_Bill]:
    budget = client.budgets[kind - BUCKETS]
    if budget is not None:
        yield _Bill(budget, bucket_key(kind, word), cost, forgiving)


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
