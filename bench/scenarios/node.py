"""The node that is asked: that of `proxy.replay`, with a keyserver behind it and what is kept of its answers."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from ipaddress import ip_network
from typing import Final, Protocol

from bench.scenarios.certificates import Certificate
from bench.scenarios.cold import Cold
from bench.scenarios.dear import Dear
from bench.scenarios.replies import Replies
from bench.scenarios.upstream import Cost, Upstream
from fastpath import Origin
from fastpath.prefix_build import Rows, build
from proxy.config import Config
from proxy.hkp.certs import Cert, Upload
from proxy.hkp.classes import OperationClass
from proxy.hkp.operation import Operation
from proxy.policy.actions import Action, Reason
from proxy.policy.contents import Contents
from proxy.policy.judge import EXEMPT, Client, Facts, Verdict
from proxy.replay import node
from proxy.replay.node import FORWARDED, SECRET

BUSY: Final = Verdict(Action.LIMIT, Reason.BUSY, 429)


class Witness(Protocol):
    """Sees what a worker would have recorded."""

    def see(self, client: Client, operation: Operation, verdict: Verdict, cost: Cost, now_ns: int) -> None:
        """Take note of a request; `cost`: of its answer, if it was answered."""


class Node(node.Node):
    """A node of hkpguard with a keyserver behind it.

    Attributes:
        upstream: The keyserver.
        cold: What its analyst has found out about cold certificates.
        witness: Sees all requests with what became of them, if there is one.

    """

    def __init__(self, environ: Mapping[str, str], random: Callable[[], float]) -> None:
        """Start with empty tables.

        Args:
            environ: HKPGUARD_* settings; the defaults hold for all others.
            random: Returns numbers from 0.0 to 1.0, without 1.0.

        """
        super().__init__(Config.from_env(environ), random)
        self.upstream = Upstream()
        self.cold = Cold(SECRET)
        self.witness: Witness | None = None
        self._contents = Contents(self.tables, self.subjects)
        self._replies = Replies(self.config, self.subjects)
        self._dear = Dear(self.policy.fat_caps[1] if self.policy.fat_caps else None)

    def place(self, origins: Mapping[str, Origin]) -> None:
        """Know where networks are, as databases would tell; before anybody asks."""
        networks = {ip_network(text): origin.pack() for text, origin in origins.items()}
        prefixes = [(each.network_address.packed, each.prefixlen, word) for each, word in networks.items()]
        for _ in self.tables.origins.publish(build(Rows.of(prefixes))):
            pass

    def ask(self, address: bytes, target: str, now_ns: int) -> Verdict:
        """Judge one request, and have it answered if it goes on.

        Args:
            address: Of the client, 4 or 16 bytes.
            target: As it is sent: canonical or not.
            now_ns: Never less than in the call before.

        """
        client, operation = self.client(address), self.classify("GET", target)
        facts = self.facts(client, operation)
        verdict = self._judge(facts, now_ns)
        if verdict.action in FORWARDED:
            verdict = self._answer(operation, facts, verdict, now_ns)
        if verdict.action in FORWARDED:
            self._tell(client, operation, verdict, now_ns)
        self.note(client, operation, verdict, now_ns)
        return verdict

    def upload(self, address: bytes, certificate: Certificate, now_ns: int) -> Verdict:
        """Judge an upload of one certificate: its head, as a worker does, and then what is in it."""
        client, operation = self.client(address), self.classify("POST", "/pks/add")
        facts = self.facts(client, operation)
        verdict = self._judge(facts, now_ns)
        if verdict.action in FORWARDED and verdict is not EXEMPT:
            verdict = self._judge_contents(facts, certificate, verdict, now_ns)
        if verdict.action in FORWARDED:
            self.upstream.answer(operation.kind, operation.subject)
            self._replies.forget(certificate.fingerprint)
        self.note(client, operation, verdict, now_ns)
        return verdict

    def note(self, client: Client, operation: Operation, verdict: Verdict, now_ns: int) -> None:
        """Tell the analyst what became of a request, and the witness."""
        super().note(client, operation, verdict, now_ns)
        if self.witness is not None:
            self.witness.see(client, operation, verdict, self.upstream.cost(operation.kind, operation.subject), now_ns)

    def _judge(self, facts: Facts, now_ns: int) -> Verdict:
        self._replies.turn(now_ns)
        return self.judge(facts, now_ns)

    def _judge_contents(self, facts: Facts, certificate: Certificate, head: Verdict, now_ns: int) -> Verdict:
        """Return what becomes of an upload whose head was let through: a refusal, or the longer of two waits."""
        verdict = self._contents.judge(facts.client, found_in(certificate), now_ns).verdict
        if verdict is None:
            return head
        if verdict.action not in FORWARDED:
            self.refund(facts, now_ns)
            return verdict
        return verdict if verdict.wait_ns >= head.wait_ns else head

    def _answer(self, operation: Operation, facts: Facts, verdict: Verdict, now_ns: int) -> Verdict:
        """Answer from what is kept, or have the keyserver answer; a dear subject may have to wait for that, in vain."""
        at_ns = now_ns + verdict.wait_ns
        if self._replies.has(operation, at_ns):
            return verdict
        cost = self.upstream.cost(operation.kind, operation.subject)
        more_ns = 0 if verdict is EXEMPT else self._dear.enter(operation.subject, at_ns, cost)
        if more_ns is None:
            self.refund(facts, now_ns)
            return BUSY
        self._fetch(operation, at_ns + more_ns)
        return Verdict(Action.DELAY, Reason.BUSY, 0, verdict.wait_ns + more_ns) if more_ns else verdict

    def _tell(self, client: Client, operation: Operation, verdict: Verdict, now_ns: int) -> None:
        """Have it counted whether something was found, as soon as the request is let through."""
        found = self.upstream.cost(operation.kind, operation.subject).found
        self.note_answer(client, operation, HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, now_ns)
        if operation.kind == OperationClass.CERT:
            word = self.subjects.word_of(operation.subject)
            self.cold.note(client.address, word, verdict.reason, now_ns, found=found)

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
