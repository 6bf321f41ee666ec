"""The node that is asked: the policy, the classifier and the tables of a worker, without sockets or a clock.

Whatever a policy needs is made here and nowhere else in this package: the tables are those of a region, and the
facts of a request are gathered as `proxy.http.exchange` gathers them.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from bench.scenarios.bans import Bans
from bench.scenarios.certificates import Certificate
from bench.scenarios.upstream import Upstream
from fastpath import Region, client_key
from proxy.config import Config
from proxy.hkp.operation import Operation
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import Tables
from proxy.policy.judge import Client, Facts, Verdict
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects
from proxy.worker import classifier

CLIENTS: Final = 131_072
SECRET: Final = bytes(range(16))  # outcomes must not differ from run to run
FORWARDED: Final = frozenset({Action.ALLOW, Action.DELAY})
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

    """

    def __init__(self, environ: Mapping[str, str], random: Callable[[], float]) -> None:
        """Start with empty tables.

        Args:
            environ: HKPGUARD_* settings; the defaults hold for all others.
            random: Returns numbers from 0.0 to 1.0, without 1.0.

        """
        config = Config.from_env(environ)
        shared = tables()
        self.upstream = Upstream()
        self.bans = Bans(config, shared.bans, random)
        self._policy = Policy(config, shared)
        self._subjects = Subjects(SECRET)
        self._classify = classifier(config)
        self._client = lru_cache(CLIENTS)(self._identify)

    def ask(self, address: bytes, target: str, now_ns: int) -> Verdict:
        """Judge one request, and have it answered if it goes on.

        Args:
            address: Of the client, 4 or 16 bytes.
            target: As it is sent: canonical or not.
            now_ns: Never less than in the call before.

        """
        return self._judge(address, self._classify("GET", target), now_ns)

    def upload(self, address: bytes, _certificate: Certificate, now_ns: int) -> Verdict:
        """Judge an upload of one certificate: its head, as a worker does, and then what is in it."""
        return self._judge(address, self._classify("POST", "/pks/add"), now_ns)

    def _judge(self, address: bytes, operation: Operation, now_ns: int) -> Verdict:
        self.bans.turn(now_ns)
        verdict = self._policy.judge(self._facts(address, operation), now_ns)
        if verdict.action in FORWARDED:
            self._forward(operation)
        elif verdict.reason != Reason.BANNED:
            self.bans.note(address, operation, verdict, now_ns)
        return verdict

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

    def _forward(self, operation: Operation) -> None:
        """Have the keyserver answer."""
        self.upstream.answer(operation.kind, operation.subject)
