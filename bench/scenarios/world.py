"""A world in which a scenario happens: one clock, one node, and groups of visitors whose fortunes are counted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from bench.scenarios.certificates import Certificate, Certificates
from bench.scenarios.clock import START_NS, Clock
from bench.scenarios.goals import Goal
from bench.scenarios.node import Node
from fastpath import network_key
from proxy.policy.judge import Verdict
from proxy.replay.node import FORWARDED

SEED = 4


@dataclass(slots=True)
class Tally:
    """What became of the requests of a group.

    Attributes:
        requests: How many were judged.
        denied: How many of them were not answered by the keyserver.
        clients: Who asked.
        clients_denied: Who of them was denied something.
        worst_wait_ns: The longest delay before an answer.
        longest_ns: The longest that one client took for what it had to do.
        different: How many different things were obtained, or uploaded.
        upstream_us: What the keyserver spent on the group.
        networks: Where they came from, by their keys.
        cold_scores: The highest score of each of these networks that obtained certificates; at the end.

    """

    requests: int = 0
    denied: int = 0
    clients: int = 0
    clients_denied: int = 0
    worst_wait_ns: int = 0
    longest_ns: int = 0
    different: int = 0
    upstream_us: int = 0
    networks: set[int] = field(default_factory=set, repr=False)
    cold_scores: list[float] = field(default_factory=list, repr=False)
    _had: set[int] = field(default_factory=set, repr=False)

    def have(self, thing: str) -> None:
        """Note that something was obtained, or uploaded, maybe once more."""
        had = hash(thing)
        if had not in self._had:
            self._had.add(had)
            self.different += 1

    def close(self) -> None:
        """Give back the memory that only counting needs."""
        self._had.clear()

    @property
    def refused_share(self) -> float:
        """Denied of all."""
        return self.denied / self.requests if self.requests else 0.0

    @property
    def answered(self) -> int:
        """How many requests the keyserver got."""
        return self.requests - self.denied


@dataclass(frozen=True, slots=True)
class Group:
    """Visitors of one kind, what should become of them, and what did."""

    title: str
    goal: Goal
    tally: Tally = field(default_factory=Tally)


class Visitor:
    """A client at one address at a time.

    Attributes:
        address: Where it is now; one with many addresses changes it.

    """

    __slots__ = ("_denied", "_node", "_tally", "address")

    def __init__(self, node: Node, tally: Tally, address: bytes) -> None:
        """Belong to the group whose tally it is."""
        self.address = address
        self._node = node
        self._tally = tally
        self._denied = False
        tally.clients += 1

    def ask(self, target: str, now_ns: int) -> Verdict:
        """Ask the node for something, and count what it says."""
        spent_us = self._node.upstream.spent_us
        verdict = self._node.ask(self.address, target, now_ns)
        return self._counted(verdict, target, spent_us)

    def upload(self, certificate: Certificate, now_ns: int) -> Verdict:
        """Give the node a certificate, and count what it says."""
        spent_us = self._node.upstream.spent_us
        verdict = self._node.upload(self.address, certificate, now_ns)
        return self._counted(verdict, certificate.fingerprint, spent_us)

    def _counted(self, verdict: Verdict, wanted: str, spent_us: int) -> Verdict:
        tally = self._tally
        tally.requests += 1
        tally.networks.add(network_key(self.address))
        tally.upstream_us += self._node.upstream.spent_us - spent_us
        if verdict.action in FORWARDED:
            tally.have(wanted)
            tally.worst_wait_ns = max(tally.worst_wait_ns, verdict.wait_ns)
        else:
            tally.denied += 1
            tally.clients_denied += not self._denied
            self._denied = True
        return verdict

    def done(self, took_ns: int) -> None:
        """Say how long it took to do what was to be done."""
        self._tally.longest_ns = max(self._tally.longest_ns, took_ns)


def answered(verdict: Verdict) -> bool:
    """Tell whether a visitor gets what it asks for, maybe later."""
    return verdict.action in FORWARDED


class World:
    """Everything that a scenario needs.

    Attributes:
        clock: Of all.
        node: The one that is asked.
        random: For whatever is drawn.
        certificates: All that there are.
        length_ns: How long the scenario lasts.
        groups: Who is there.

    """

    def __init__(self, environ: Mapping[str, str], length_ns: int) -> None:
        """Make a world with a node with these settings."""
        self.random = Random(SEED)  # noqa: S311 - the same world in every run
        self.clock = Clock()
        self.node = Node(environ, self.random.random)
        self.certificates = Certificates(self.random)
        self.length_ns = length_ns
        self.groups: list[Group] = []

    def group(self, title: str, goal: Goal) -> Group:
        """Add a group."""
        group = Group(title, goal)
        self.groups.append(group)
        return group

    def visitor(self, group: Group, address: bytes) -> Visitor:
        """Add a visitor to a group."""
        return Visitor(self.node, group.tally, address)

    def run(self) -> None:
        """Let the time of the scenario pass."""
        self.clock.run(START_NS + self.length_ns)
        self.node.cold.look(self.clock.now_ns)
        highest = self.node.cold.highest
        for group in self.groups:
            group.tally.cold_scores = sorted(highest[each] for each in group.tally.networks & highest.keys())
            group.tally.close()
