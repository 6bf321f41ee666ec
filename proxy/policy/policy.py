"""
The policy of a node: what the configuration says of clients and limits, compiled to what the request path reads.

A policy is immutable. A reload builds a new one and puts it in the place of the old; a request keeps the one that
it was judged by.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from fastpath import BUCKETS, Limit, LimitSet, Mode, Spending
from proxy.config import Config
from proxy.hkp.operation import Operation, OperationClass
from proxy.settings.limits import LimitConfig
from proxy.policy.networks import NetworkMap, network_set
from proxy.policy.verdict import ALLOW, EXEMPT, PEERS_ONLY, Action, Reason, Verdict

MODES = {"off": Mode.OFF, "shadow": Mode.SHADOW, "enforce": Mode.ENFORCE}
CLASS_NAMES = tuple(member.name.lower() for member in OperationClass)
STATUS_LIMITED = 429


class Cap(NamedTuple):
    """How many requests of a class may be upstream at once, and how long one more may wait for a place."""

    client: int  # 0: no cap
    total: int  # all clients of the node; 0: no cap
    queue_ns: int
    enforced: bool


class Profile(NamedTuple):
    """What the policy grants the clients of one network."""

    limits: tuple[Limit | None, ...]  # by bucket; None: no limit
    compiled: LimitSet
    caps: tuple[Cap | None, ...]  # by bucket
    exempt: bool = False
    peer: bool = False


class Client(NamedTuple):
    """Who asks. `source` says where the address came from (`proxy.http.address.Source`)."""

    address: bytes  # network order, 4 or 16 bytes
    key: int  # IPv4 /32 or IPv6 /64, `fastpath.keys`
    source: int
    profile: Profile


class Facts(NamedTuple):
    """All that a check may look at."""

    client: Client
    operation: Operation


Check = Callable[[Facts, int], Verdict | None]  # the int is now, ns; None: no objection


class Table(Protocol):
    """What the limits check needs of the client table."""

    def spend(self, limits: LimitSet, key: int, bucket: int, price: int, now_ns: int) -> Spending | None:
        """Take the tokens, all or nothing."""


def decide(facts: Facts, checks: Sequence[Check], now_ns: int) -> Verdict:
    """Return the first objection, ALLOW if there is none. A refused request has paid nothing."""
    for check in checks:
        if (verdict := check(facts, now_ns)) is not None:
            return verdict
    return ALLOW


def refused_operation(facts: Facts, _now_ns: int) -> Verdict | None:
    """Refuse what no keyserver offers, or what this one does not."""
    operation = facts.operation
    if not operation.refusal:
        return None
    reason = _REASONS.get(operation.refusal, Reason.UNKNOWN)
    return Verdict(Action.DENY, reason, operation.refusal, allow=operation.allow)


_REASONS = {400: Reason.TOO_SHORT, 404: Reason.UNKNOWN, 405: Reason.METHOD, 501: Reason.SWITCHED_OFF}


def allowed_network(facts: Facts, _now_ns: int) -> Verdict | None:
    """Let the networks of HKPGUARD_ALLOW pass all that follows."""
    return EXEMPT if facts.client.profile.exempt else None


def peers_only(facts: Facts, _now_ns: int) -> Verdict | None:
    """Keep reconciliation traffic to peers: a tiny request there costs the server seconds (HKP.md 0, finding 8)."""
    if facts.operation.kind is not OperationClass.SYNC:
        return None
    return EXEMPT if facts.client.profile.peer else PEERS_ONLY


def within_limits(table: Table) -> Check:
    """Return the check of the token buckets: `price` tokens of the total and one of the operation's class."""

    def check(facts: Facts, now_ns: int) -> Verdict | None:
        client, operation = facts
        spending = table.spend(client.profile.compiled, client.key, operation.kind, operation.price, now_ns)
        return None if spending is None else _verdict_of(spending)

    return check


def _verdict_of(spending: Spending) -> Verdict:
    bucket, wait_ns = spending.bucket, spending.wait_ns
    if spending.shadow:
        shadow = Action.LIMIT if spending.retry_after_ns else Action.DELAY
        return Verdict(Action.ALLOW, Reason.LIMIT, 0, 0, bucket, spending, shadow)
    if spending.allowed:
        return Verdict(Action.DELAY, Reason.LIMIT, 0, wait_ns, bucket, spending)
    return Verdict(Action.LIMIT, Reason.LIMIT, STATUS_LIMITED, 0, bucket, spending)


class Policy:
    """One generation of the policy, over the shared client table."""

    def __init__(self, config: Config, table: Table, generation: int = 0) -> None:
        """Compile `config`; it is valid, so nothing fails here."""
        self.generation = generation
        self.checks: tuple[Check, ...] = (refused_operation, allowed_network, peers_only, within_limits(table))
        self._everybody = _profile(config, config.limits_for(None))
        self._networks = NetworkMap(
            (network.cidr, _profile(config, config.limits_for(network))) for network in config.networks
        )
        self._allow = network_set(config.allow)
        self._peers = network_set(config.peers)
        self._plain = self._networks.empty and self._allow.empty and self._peers.empty

    def judge(self, facts: Facts, now_ns: int) -> Verdict:
        """Decide about one request; `now_ns` is CLOCK_MONOTONIC."""
        return decide(facts, self.checks, now_ns)

    def profile(self, address: bytes) -> Profile:
        """Return what the clients of the network that holds `address` are granted."""
        if self._plain:
            return self._everybody
        profile = self._networks.get(address) or self._everybody
        exempt = self._allow.get(address) is not None
        peer = self._peers.get(address) is not None
        return profile._replace(exempt=exempt, peer=peer) if exempt or peer else profile


def _profile(config: Config, limits: dict[str, LimitConfig]) -> Profile:
    ceiling = MODES[config.mode]
    compiled = tuple(_limit(name, limits[name], ceiling) for name in CLASS_NAMES)
    caps = tuple(_cap(limits[name], ceiling) for name in CLASS_NAMES)
    if len(compiled) != BUCKETS:
        raise AssertionError(f"{len(compiled)} limits for {BUCKETS} buckets")
    return Profile(compiled, LimitSet(compiled), caps)


def _limit(name: str, limit: LimitConfig, ceiling: Mode) -> Limit | None:
    mode = min(MODES[limit.mode], ceiling)
    if mode is Mode.OFF:
        return None
    return Limit(
        name=name,
        burst=limit.burst,
        count=limit.count,
        period_ns=limit.period_ns,
        max_delay_ns=limit.max_delay_ns,
        mode=mode,
    )


def _cap(limit: LimitConfig, ceiling: Mode) -> Cap | None:
    mode = min(MODES[limit.mode], ceiling)
    if mode is Mode.OFF or not (limit.concurrent or limit.concurrent_total):
        return None
    return Cap(limit.concurrent, limit.concurrent_total, limit.queue_ns, mode is Mode.ENFORCE)
