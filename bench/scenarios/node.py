"""The node that is asked: the policy, the classifier and the tables of a worker, without sockets or a clock.

Whatever a policy needs is made here and nowhere else in this package: the tables are those of a region, and the
facts of a request are gathered as `proxy.http.exchange` gathers them.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from bench.scenarios.bans import Bans
from bench.scenarios.certificates import Certificate
from bench.scenarios.cold import Cold
from bench.scenarios.dear import Dear
from bench.scenarios.replies import Replies
from bench.scenarios.upstream import Upstream
from fastpath import Region, client_key
from proxy.config import Config
from proxy.hkp.certs import Cert, Upload
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Operation
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import Tables
from proxy.policy.contents import Contents
from proxy.policy.judge import EXEMPT, Client, Facts, Verdict
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects
from proxy.worker import classifier

CLIENTS: Final = 131_072
SECRET: Final = bytes(range(16))  # outcomes must not differ from run to run
FORWARDED: Final = frozenset({Action.ALLOW, Action.DELAY})
BUSY: Final = Verdict(Action.LIMIT, Reason.BUSY, 429)
_TRAP: Final = int(Reason.TRAP)


def tables() -> Tables:
    """Return what a policy works on: the sections of a region, empty; nothing in it is real until it is written."""
    region = Region.create(clients=CLIENTS, workers=1, upstreams=1)
    region.close()  # the memory itself stays as long as the tables
    region.secret = SECRET
    return Tables.of(region)


class Node:
    """A node of hkpguard with a keyserver behind it.

    Attributes:
        upstream: The keyserver.
        bans: What its analyst has made of refusals.
        cold: What it has found out about cold certificates.

    """

    def __init__(self, environ: Mapping[str, str], random: Callable[[], float]) -> None:
        """Start with empty tables.

        Args:
            environ: HKPGUARD_* settings; the defaults hold for all others.
            random: Returns numbers from 0.0 to 1.0, without 1.0.

        """
        config = Config.from_env(environ)
        self._tables = tables()
        self.upstream = Upstream()
        self.bans = Bans(config, self._tables.bans, random)
        self.cold = Cold(SECRET)
        self._policy = Policy(config, self._tables, exits=config.shared_exits)
        self._subjects = Subjects(SECRET)
        self._contents = Contents(self._tables, self._subjects)
        self._replies = Replies(config, self._subjects)
        self._dear = Dear(self._policy.fat_caps[1] if self._policy.fat_caps else None)
        self._classify = classifier(config)
        self._client = lru_cache(CLIENTS)(self._identify)

    def ask(self, address: bytes, target: str, now_ns: int) -> Verdict:
        """Judge one request, and have it answered if it goes on.

        Args:
            address: Of the client, 4 or 16 bytes.
            target: As it is sent: canonical or not.
            now_ns: Never less than in the call before.

        """
        operation = self._classify("GET", target)
        verdict = self._judge(address, operation, now_ns)
        if verdict.action in FORWARDED:
            verdict = self._answer(address, operation, verdict, now_ns)
        if verdict.action in FORWARDED:
            self._note_miss(address, operation, now_ns)
        if operation.kind == OperationClass.CERT and verdict.action in FORWARDED:
            word = self._subjects.word_of(operation.subject)
            found = self.upstream.cost(operation.kind, operation.subject).found
            self.cold.note(address, word, verdict.reason, now_ns, found=found)
        return self._noted(address, operation, verdict, now_ns)

    def upload(self, address: bytes, certificate: Certificate, now_ns: int) -> Verdict:
        """Judge an upload of one certificate: its head, as a worker does, and then what is in it."""
        operation = self._classify("POST", "/pks/add")
        verdict = self._judge(address, operation, now_ns)
        if verdict.action in FORWARDED and verdict is not EXEMPT:
            verdict = self._judge_contents(address, operation, certificate, verdict, now_ns)
        if verdict.action in FORWARDED:
            self.upstream.answer(operation.kind, operation.subject)
            self._replies.forget(certificate.fingerprint)
        return self._noted(address, operation, verdict, now_ns)

    def _judge(self, address: bytes, operation: Operation, now_ns: int) -> Verdict:
        self.bans.turn(now_ns)
        self._replies.turn(now_ns)
        return self._policy.judge(self._facts(address, operation), now_ns)

    def _judge_contents(
        self, address: bytes, operation: Operation, certificate: Certificate, head: Verdict, now_ns: int
    ) -> Verdict:
        """Return what becomes of an upload whose head was let through: a refusal, or the longer of two waits."""
        verdict = self._contents.judge(self._client(address), found_in(certificate), now_ns)
        if verdict is None:
            return head
        if verdict.action not in FORWARDED:
            self._refund(address, operation, now_ns)
            return verdict
        return verdict if verdict.wait_ns >= head.wait_ns else head

    def _noted(self, address: bytes, operation: Operation, verdict: Verdict, now_ns: int) -> Verdict:
        """Tell the analyst of a refusal."""
        if verdict.action not in FORWARDED and verdict.reason != Reason.BANNED:
            self.bans.note(address, operation, verdict, now_ns)
        return verdict

    def _refund(self, address: bytes, operation: Operation, now_ns: int) -> None:
        """Give back what the head of a request paid that the keyserver never got."""
        client = self._client(address)
        self._tables.clients.refund(client.compiled, client.key, operation.kind, operation.price, now_ns)

    def _identify(self, address: bytes) -> Client:
        return Client(address, client_key(address), 0, self._policy.profile(address))

    def _facts(self, address: bytes, operation: Operation) -> Facts:
        """Gather what is known of a request before it is judged."""
        kind, subject, subjects = operation.kind, operation.subject, self._subjects
        return Facts(
            self._client(address),
            kind,
            operation.price,
            operation.refusal,
            operation.allow,
            _TRAP if operation.trap else 0,
            subjects.counted_as(kind, subject),
            subjects.domain_of(kind, subject),
        )

    def _answer(self, address: bytes, operation: Operation, verdict: Verdict, now_ns: int) -> Verdict:
        """Answer from what is kept, or have the keyserver answer; a dear subject may have to wait for that, in vain."""
        at_ns = now_ns + verdict.wait_ns
        if self._replies.has(operation, at_ns):
            return verdict
        cost = self.upstream.cost(operation.kind, operation.subject)
        more_ns = 0 if verdict is EXEMPT else self._dear.enter(operation.subject, at_ns, cost)
        if more_ns is None:
            self._refund(address, operation, now_ns)
            return BUSY
        self._fetch(operation, at_ns + more_ns)
        return Verdict(Action.DELAY, Reason.BUSY, 0, verdict.wait_ns + more_ns) if more_ns else verdict

    def _note_miss(self, address: bytes, operation: Operation, now_ns: int) -> None:
        """Have a search that found nothing counted, or one that did; as soon as it is let through."""
        found = self.upstream.cost(operation.kind, operation.subject).found
        status = HTTPStatus.OK if found else HTTPStatus.NOT_FOUND
        self._policy.misses.note(self._client(address), operation.kind, operation.subject, status, now_ns)

    def _fetch(self, operation: Operation, at_ns: int) -> None:
        """Have the keyserver answer, and keep that."""
        cost = self.upstream.answer(operation.kind, operation.subject)
        self._replies.keep(operation, cost, at_ns)
        self._dear.note(operation, at_ns, cost)


def found_in(certificate: Certificate) -> Upload:
    """Return what a reader finds in an upload: one certificate with one user ID, which nobody else has signed."""
    return Upload(
        (
            Cert(
                certificate.fingerprint,
                (certificate.user_id.encode(),),
                packets=5,
                signatures=2,
                third_party=0,
                size_bytes=1000,
                revocation_only=False,
            ),
        )
    )
