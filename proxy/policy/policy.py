"""The policy of a node: what the configuration says of clients and limits, compiled to what the request path reads.

A policy is immutable. A reload builds a new one and puts it in the place of the old; a request keeps the one that
it was judged by.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple, get_args

from fastpath import BUCKETS, Budget, Limit, LimitSet, Mode, NetworkKind, bucket_key
from fastpath.gcra import MAX_PERIOD_NS
from fastpath.origin import MOST_ASN, MOST_RULES, RULE_SHIFT
from proxy.policy.budgets import BudgetKind, Tables
from proxy.policy.judge import (
    AllowedNetwork,
    AllowedOrigin,
    Check,
    Facts,
    NotBanned,
    NotSuspected,
    NotTrapped,
    OperationOffered,
    PeersOnly,
    Verdict,
    WithinLimits,
    decide,
)
from proxy.policy.misses import Misses
from proxy.policy.networks import NetworkMap, network_set
from proxy.policy.origins import ANONYMOUS, SHARED, Pool, digest, kind_in, sayings, without_rule
from proxy.settings.limits import BudgetName, ClassName

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.config import Config, ModeWord
    from proxy.policy.networks import Network
    from proxy.settings.limits import BudgetConfig, LimitConfig, NetworkConfig

MODES = {"off": Mode.OFF, "shadow": Mode.SHADOW, "enforce": Mode.ENFORCE}
CLASS_NAMES: tuple[ClassName, ...] = get_args(ClassName)  # in the order of OperationClass; a test compares them
FAT_OF_CLIENT, FAT_OF_ALL, FAT_QUEUE_NS = 1, 2, 10_000_000_000
LEFT_PART = 8  # of the burst of a network: what those leave who have had much
FRUGAL_KINDS = (BudgetKind.DISTINCT_CERTS, BudgetKind.DISTINCT_IDENTITIES, BudgetKind.NETWORK_UPLOADS)  # the first
BUDGET_NAMES: tuple[BudgetName, ...] = get_args(BudgetName)  # in the order of BudgetKind; likewise
# Who has a budget together with other networks: all of one company, by its ASN, or all of the world.
POOLS = {
    NetworkKind.HOSTING: BudgetKind.HOSTING_CERTS,
    NetworkKind.VPN: BudgetKind.HOSTING_CERTS,
    NetworkKind.TOR: BudgetKind.TOR_CERTS,
}
MOST_ORIGINS = 4096  # whose profiles are kept


class Cap(NamedTuple):
    """How many requests of a class may be upstream at once, and how long one more may wait for a place."""

    client: int  # 0: no cap
    total: int  # all clients of the node; 0: no cap
    queue_ns: int
    enforced: bool


class Profile(NamedTuple):
    """What the policy grants the clients of one network."""

    limits: tuple[Limit | None, ...]  # by bucket, then the budgets by kind; None: no limit
    compiled: LimitSet
    caps: tuple[Cap | None, ...]  # by bucket
    budgets: tuple[Budget | None, ...]  # by kind, from the first on; None: no budget
    frugal: tuple[Budget | None, ...]  # those of networks, for clients that leave something to their neighbours
    exempt: bool = False
    peer: bool = False
    learnt: bool = False  # a peer that only the keyserver names
    shared_exit: bool = False  # many people are behind it: Tor, a carrier's NAT, a VPN
    anonymous: bool = False  # its uploads have one budget with those of others like it
    origin: int = 0  # `fastpath.origin`; the rule in it is one that holds
    pool: Pool | None = None


class Policy:
    """One generation of the policy, over the shared tables."""

    def __init__(
        self, config: Config, tables: Tables, generation: int = 0, exits: Iterable[Network] = (), *, share: int = 1
    ) -> None:
        """Compile `config`, which is valid, so nothing fails here, and take the peers that are known now.

        `exits`: the networks of shared exits, those of the configuration among them.
        `share`: by what limits are divided, of nodes that cannot ask each other; 0 or 1: they are whole.
        """
        self.generation = generation
        self.share = max(1, share)
        self.bans_mode = _mode(config, config.bans.mode)
        self.fat_caps = _fat_caps(MODES[config.mode])
        self.uploads_mode = _mode(config, config.uploads.mode)
        self.checks: tuple[Check, ...] = (
            *([NotBanned(tables.bans, self.bans_mode is Mode.ENFORCE)] if self.bans_mode is not Mode.OFF else []),
            NotTrapped(_mode(config, config.traps.mode) is Mode.ENFORCE),
            *_suspicion(config, tables),
            OperationOffered(),
            AllowedNetwork(),
            PeersOnly(),
            AllowedOrigin(_sayings(config)),
            WithinLimits(tables.clients, tables.buckets, tables.distinct, tables.sightings, tables.tariff),
        )
        self.misses = _misses(config, tables)
        self._everybody = _profile(config, share=self.share)
        self._place = partial(_placed, _pools(self._everybody))
        self._of_origin = lru_cache(MOST_ORIGINS)(partial(self._place, self._everybody))
        self._origins, self._composed_by = tables.origins, tables.origin_rules
        self._rules = digest(config.origin_rules)
        profiles = ((network.cidr, _profile(config, network, self.share)) for network in config.networks)
        self._networks = NetworkMap(profiles)
        self._allow = network_set(config.allow)
        self._peers = network_set(config.peers)
        self._book = tables.peers
        self._edition, learnt = tables.peers.read()
        self._learnt = frozenset(learnt)
        self._exits = network_set(exits)
        self._plain = (
            self._networks.empty and self._allow.empty and self._peers.empty and self._exits.empty and not learnt
        )

    @property
    def outdated(self) -> bool:
        """Whether other peers were learnt meanwhile."""
        return self._book.edition != self._edition

    def judge(self, facts: Facts, now_ns: int) -> Verdict:
        """Decide about one request; `now_ns` is CLOCK_MONOTONIC."""
        return decide(facts, self.checks, now_ns)

    def profile(self, address: bytes) -> Profile:
        """Return what the clients of the network that holds `address` are granted."""
        origin = self._origin(address)
        if self._plain:
            return self._of_origin(origin) if origin else self._everybody
        profile = self._networks.get(address) or self._everybody
        exempt = self._allow.get(address) is not None
        named = self._peers.get(address) is not None
        learnt = not named and address in self._learnt
        listed = self._exits.get(address) is not None
        if exempt or named or learnt or listed:
            profile = profile._replace(
                exempt=exempt, peer=named or learnt, learnt=learnt, shared_exit=listed, anonymous=listed
            )
        return self._place(profile, origin) if origin else profile

    def _origin(self, address: bytes) -> int:
        """Return where an address is, with the rule that holds there: none that was made of other rules than ours.

        The analyst takes the word of the rules away before it puts another set in place, and sets it behind that.
        """
        before = self._composed_by[0]
        origin = self._origins.look_up(address)
        if origin >> RULE_SHIFT > MOST_RULES or before == self._composed_by[0] == self._rules:
            return origin
        return without_rule(origin)


def _mode(config: Config, word: ModeWord) -> Mode:
    """Return the mode of a part of the policy, which is never stricter than that of the whole."""
    return min(MODES[word], MODES[config.mode])


def _sayings(config: Config) -> bytes:
    modes = [_mode(config, rule.mode) for rule in config.origin_rules]
    return sayings(config.origin_rules, modes, _mode(config, config.intel.mode))


def _pools(profile: Profile) -> dict[int, Pool]:
    """Return the pools by kind of network, with the keys of their kinds."""
    pools = {}
    for kind, budget in POOLS.items():
        limit, compiled = profile.limits[budget], profile.budgets[budget - BUCKETS]
        if limit is not None and compiled is not None:
            pools[int(kind)] = Pool(bucket_key(budget, 0), compiled, _frugal(limit, budget))
    return pools


def _placed(pools: Mapping[int, Pool], profile: Profile, origin: int) -> Profile:
    """Return a profile for clients of an origin, whom rules do not touch if they are exempt or peers."""
    kind = kind_in(origin)
    return profile._replace(
        shared_exit=profile.shared_exit or kind in SHARED,
        anonymous=profile.anonymous or kind in ANONYMOUS,
        origin=without_rule(origin) if profile.exempt or profile.peer else origin,
        pool=_pool_of(pools, kind, origin & MOST_ASN),
    )


def _pool_of(pools: Mapping[int, Pool], kind: int, asn: int) -> Pool | None:
    """Return what a client has together with others of its ASN, or with all exits of Tor."""
    pool = pools.get(kind)
    if pool is None or kind == NetworkKind.TOR:
        return pool
    return pool._replace(key=bucket_key(pool.key, asn)) if asn else None


def _frugal(limit: Limit, kind: BudgetKind) -> Budget:
    """Return a budget as those find it who leave something to others."""
    return Budget(replace(limit, burst=limit.burst - limit.burst // LEFT_PART), kind)


def _suspicion(config: Config, tables: Tables) -> tuple[Check, ...]:
    mode = _mode(config, config.verdicts.mode)
    return () if mode is Mode.OFF else (NotSuspected(tables.verdicts, mode is Mode.ENFORCE),)


def _profile(config: Config, network: NetworkConfig | None = None, share: int = 1) -> Profile:
    ceiling = MODES[config.mode]
    limits, budgets = config.limits_for(network), config.budgets_for(network)
    compiled = tuple(_limit(name, limits[name], ceiling, share) for name in CLASS_NAMES)
    caps = tuple(_cap(limits[name], ceiling) for name in CLASS_NAMES)
    if len(compiled) != BUCKETS:
        raise AssertionError(f"{len(compiled)} limits for {BUCKETS} buckets")
    shared = tuple(_limit(name, budgets[name], ceiling, share) for name in BUDGET_NAMES)
    kinds = zip(shared, BudgetKind, strict=True)
    return Profile(
        limits=compiled + shared,
        compiled=LimitSet(compiled),
        caps=caps,
        budgets=tuple(Budget(limit, kind) if limit else None for limit, kind in kinds),
        frugal=tuple(
            _frugal(limit, kind) if limit else None for limit, kind in zip(shared, FRUGAL_KINDS, strict=False)
        ),
    )


def _misses(config: Config, tables: Tables) -> Misses:
    given = config.misses
    limit = Limit(
        name="misses",
        burst=given.minimum,
        count=given.minimum,
        period_ns=given.period_ns,
        mode=_mode(config, given.mode),
    )
    return Misses(tables.clients, tables.buckets, limit, per_hit=given.per_hit, factor=given.factor)


def _fat_caps(mode: Mode) -> tuple[Cap, Cap] | None:
    """Return how many requests for one dear subject may be upstream at once: of one client, and of all."""
    if mode is Mode.OFF:
        return None
    enforced = mode is Mode.ENFORCE
    return Cap(FAT_OF_CLIENT, 0, FAT_QUEUE_NS, enforced), Cap(FAT_OF_ALL, 0, FAT_QUEUE_NS, enforced)


def budget_limit(config: Config, name: BudgetName) -> Limit | None:
    """Return the limit of a budget that is the same in all networks; None if it is off."""
    return _limit(name, config.budgets_for()[name], MODES[config.mode])


def _limit(name: str, limit: BudgetConfig, ceiling: Mode, share: int = 1) -> Limit | None:
    """Return what runs, divided by `share`: a token at least, and never faster than that part of the rate."""
    mode = min(MODES[limit.mode], ceiling)
    if mode is Mode.OFF:
        return None
    period_ns = limit.period_ns * share
    return Limit(
        name=name.replace("_", "-"),
        burst=max(1, limit.burst // share),
        count=limit.count if period_ns <= MAX_PERIOD_NS else max(1, limit.count * MAX_PERIOD_NS // period_ns),
        period_ns=min(period_ns, MAX_PERIOD_NS),
        max_delay_ns=limit.max_delay_ns,
        mode=mode,
    )


def _cap(limit: LimitConfig, ceiling: Mode) -> Cap | None:
    mode = min(MODES[limit.mode], ceiling)
    if mode is Mode.OFF or not (limit.concurrent or limit.concurrent_total):
        return None
    return Cap(limit.concurrent, limit.concurrent_total, limit.queue_ns, mode is Mode.ENFORCE)
