"""Who is found in cohorts (`models.cohorts`): on the requests of scenarios, in virtual time, as the plugin would."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np
from rich.table import Table

from bench.scenarios.clock import HOUR, MINUTE
from bench.scenarios.world import World
from fastpath.key_arrays import network_keys
from fastpath.record import NO_UPSTREAM
from fastpath.record_array import RECORD_DTYPE
from models.cohorts import Cohorts
from models.coldness import Coldness
from models.steps import whole
from models.watch import Watch
from proxy import cold_watch
from proxy.hkp.classes import OperationClass
from proxy.policy.actions import Action
from proxy.policy.subjects import Subjects
from proxy.replay.node import SECRET

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.scenarios.plan import Scenario
    from bench.scenarios.upstream import Cost
    from bench.scenarios.world import Group
    from proxy.hkp.operation import Operation
    from proxy.policy.judge import Client, Verdict

BLOCK: Final = 2048
GET, POST = 1, 3
FOUND, MISSING = 200, 404


@dataclass(frozen=True, slots=True)
class Share:
    """How many clients of a group were ever in a cohort.

    Attributes:
        title: Of the group.
        clients: That sent so many requests that they were looked at.
        members: Of these.
        requests: That a member had sent when it was named first, the median; 0 if there is none.

    """

    title: str
    clients: int
    members: int
    requests: int


class Alike:
    """Sees all requests of a node, and keeps who was named when."""

    def __init__(self, secret: bytes) -> None:
        """Know nobody."""
        self._subjects = Subjects(secret)
        self._coldness = Coldness(secret)
        self._watch = Watch()
        self._lookout = self._watch.lookout()
        self._cohorts = Cohorts(self._watch.windows, coldness=self._coldness)
        self._block = np.zeros(BLOCK, RECORD_DTYPE)
        self._used = 0
        self._next_ns = 0
        self._requests: Counter[int] = Counter()
        self._named: dict[int, int] = {}  # requests until then, by client

    def see(self, client: Client, operation: Operation, verdict: Verdict, cost: Cost, now_ns: int) -> None:
        """See `node.Witness`. A request that waits is recorded at its end, but in the order in which they came."""
        record = self._block[self._used]
        self._requests[client.key] += 1
        answered = verdict.action <= Action.DELAY
        wait_us = verdict.wait_ns // 1000 if answered else 0
        service_us = cost.service_us if answered else 0
        upload = operation.kind == OperationClass.UPLOAD
        record["time_ns"] = now_ns
        record["client"], record["subject_hash"] = client.key, self._subjects.word_of(operation.subject) or 1
        record["wait_us"], record["upstream_us"], record["total_us"] = wait_us, service_us, service_us
        record["received"], record["sent"] = 3000 if upload else 120, cost.size_bytes if answered else 150
        record["status"] = (FOUND if cost.found else MISSING) if answered else verdict.status
        record["operation"], record["action"], record["reason"] = operation.kind, verdict.action, verdict.reason
        record["method"], record["upstream"] = POST if upload else GET, 0 if answered else NO_UPSTREAM
        record["subject"] = operation.subject.encode()
        self._used += 1
        if self._used == BLOCK or now_ns >= self._next_ns:
            self._next_ns = now_ns + MINUTE
            self._look(now_ns)

    def _look(self, now_ns: int) -> None:
        records, self._used = self._block[: self._used].copy(), 0
        cold_watch.show(self._coldness, records)
        whole(self._watch.feed(records))
        for due in self._lookout.take():
            self._cohorts.note(due, now_ns)
        for finding in self._cohorts.look(now_ns):
            if finding is not None:
                self._named.setdefault(finding.client, self._requests[finding.client])

    def shares(self, groups: Sequence[Group], least: int = 8) -> list[Share]:
        """Return what became of each group; a client behind an address that two groups use counts in both."""
        clients = np.array([client for client, count in self._requests.items() if count >= least], np.uint64)
        networks = network_keys(clients)
        shares = []
        for group in groups:
            own = clients[np.isin(networks, np.array([*group.tally.networks], np.uint64))].tolist()
            named = [self._named[client] for client in own if client in self._named]
            shares.append(Share(group.title, len(own), len(named), int(median(named)) if named else 0))
        return shares


def watched(scenario: Scenario) -> list[Share]:
    """Let a scenario happen, and return who was named in it."""
    world, alike = World(scenario.settings, int(scenario.most_hours * HOUR)), Alike(SECRET)
    for populate in scenario.people:
        populate(world)
    world.node.witness = alike
    world.run()
    return alike.shares(world.groups)


def table(found: Mapping[str, Sequence[Share]]) -> Table:
    """Return a table of scenarios by their names."""
    made = Table(title="clients named in cohorts")
    for heading in ("scenario", "who", "clients", "named", "after requests"):
        made.add_column(heading, justify="left" if heading in {"scenario", "who"} else "right")
    for name, shares in found.items():
        for share in shares:
            made.add_row(name, share.title, f"{share.clients:,}", f"{share.members:,}", str(share.requests or "-"))
    return made
