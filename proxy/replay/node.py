"""A node in virtual time: the policy, the classifier and the tables of a worker, without sockets or a clock.

Whatever a policy needs is made here and nowhere else: the tables are those of a region, and the facts of a request
are gathered as `proxy.http.exchange` gathers them. The simulator of `bench.scenarios` and `hkpguard replay` both
judge by it; what the keyserver does is theirs to say.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Final

from fastpath import CostMemory, Region, client_key
from proxy.config import Config
from proxy.hkp.operation import Operation
from proxy.hkp.traps import canary_subjects
from proxy.policy.actions import Action, Reason
from proxy.policy.budgets import Tables
from proxy.policy.judge import Client, Facts, Verdict
from proxy.policy.networks import Network
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects
from proxy.replay.bans import Bans
from proxy.worker import classifier

CLIENTS: Final = 131_072
SECRET: Final = bytes(range(16))  # outcomes must not differ from run to run
START_NS: Final = 1_000_000_000_000_000  # as on a machine that has been up for days: 0 means "never" in many a table
FORWARDED: Final = frozenset({Action.ALLOW, Action.DELAY})
_TRAP: Final = int(Reason.TRAP)
_CANARY: Final = int(Reason.CANARY)
_BANNED: Final = int(Reason.BANNED)


def empty_region(clients: int = CLIENTS) -> Region:
    """Return the memory of a node, empty; nothing in it is real until it is written."""
    region = Region.create(clients=clients, workers=1, upstreams=1)
    region.close()  # the memory itself stays as long as the tables
    region.secret = SECRET
    return region


class Node:
    """A node of hkpguard.

    Attributes:
        config: Its settings.
        tables: What its policy works on.
        costs: What answers were dear.
        policy: By which it judges.
        subjects: Its words for what is asked for.
        bans: What its analyst has made of refusals.
        classify: Returns the operation of a method and a target, as the settings say.

    """

    def __init__(
        self,
        config: Config,
        random: Callable[[], float],
        *,
        clients: int = CLIENTS,
        exits: Iterable[Network] = (),
    ) -> None:
        """Start with empty tables.

        Args:
            config: The settings.
            random: Returns numbers from 0.0 to 1.0, without 1.0.
            clients: For how many the tables have room.
            exits: Networks of shared exits, besides those that the settings name.

        """
        exits = tuple(exits)
        self.config = config
        region = empty_region(clients)
        self.tables = Tables.of(region)
        self.costs = CostMemory(region.costs)
        self.policy = Policy(config, self.tables, exits=(*config.shared_exits, *exits))
        self.subjects = Subjects(SECRET)
        self.bans = Bans(config, self.tables.bans, random, exits)
        self.classify = classifier(config)
        self.client = lru_cache(CLIENTS)(self._identify)
        self._canaries = canary_subjects(config.traps.subjects) if config.traps.mode != "off" else frozenset[str]()

    def judge(self, facts: Facts, now_ns: int) -> Verdict:
        """Judge one request; `now_ns`: never less than in the call before."""
        if now_ns >= self.bans.due_ns:
            self.bans.turn(now_ns)
        return self.policy.judge(facts, now_ns)

    def _identify(self, address: bytes) -> Client:
        return Client(address, client_key(address), 0, self.policy.profile(address))

    def facts(self, client: Client, operation: Operation, price: int = 0) -> Facts:
        """Gather what is known of a request before it is judged.

        Args:
            client: Who asks: `client(address)`.
            operation: What it asks for.
            price: What it costs at least, tokens: its answer was dear the last time.

        """
        kind, subject, usual_price, _, refusal, allow, trap = operation
        subjects = self.subjects
        return Facts(
            client,
            kind,
            max(price, usual_price) if price else usual_price,
            refusal,
            allow,
            _TRAP if trap else _CANARY if subject in self._canaries else 0,
            subjects.counted_as(kind, subject),
            subjects.domain_of(kind, subject),
        )

    def note_answer(self, client: Client, operation: Operation, status: int, now_ns: int) -> None:
        """Have a search that found nothing counted, or one that did."""
        self.policy.misses.note(client, operation.kind, operation.subject, status, now_ns)

    def note(self, client: Client, operation: Operation, verdict: Verdict, now_ns: int) -> None:
        """Tell the analyst what became of a request."""
        if verdict.reason and verdict.reason != _BANNED:
            self.bans.note(client.address, operation, verdict, now_ns)

    def refund(self, facts: Facts, now_ns: int) -> None:
        """Give back what a request paid that the keyserver never got; `facts`: those by which it was judged."""
        client = facts.client
        self.tables.clients.refund(client.compiled, client.key, facts.kind, facts.price, now_ns, facts.times)
