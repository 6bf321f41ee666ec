"""What the admin API tells about a client and a node, as plain data for JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from fastpath import (
    BUCKETS,
    Control,
    Limit,
    Mode,
    bucket_key,
    client_key,
    key_text,
    monotonic_ns,
    network_key,
    parse_address,
    parse_network,
)
from fastpath._gcra_py import spend
from fastpath.origin import LISTED_DENIED, LISTED_PRICED, unpack
from fastpath.record import FLAG_CACHED
from models.coldness import WALKING
from proxy.admin.history import By
from proxy.hkp.operation import OperationClass
from proxy.http.address import Source
from proxy.http.ja4 import ja4_text
from proxy.policy.actions import Reason, TurnedAway
from proxy.policy.budgets import MISSES, BudgetKind, Tables
from proxy.policy.policy import Policy, Profile
from proxy.telemetry.log import action_text, name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath import Record, Region
    from models.coldness import Coldness, Standing
    from models.totals import Total
    from proxy.admin.history import Activity, History
    from proxy.config import Config
    from proxy.http.health import Health
    from proxy.locations import Locations
    from proxy.policy.offender import Ban
    from proxy.telemetry.door import Knocks
    from proxy.verdicts import Verdicts
    from proxy.warden import Warden

MOST_TOP = 100
MOST_LISTED = 1000
MOST_WALKING = 5
MOST_KNOCKING = 5
KNOCKING_NS = 60_000_000_000
NANOSECONDS = 1_000_000_000
MISSABLE = (OperationClass.CERT, OperationClass.IDENTITY, OperationClass.WORDS)
COUNTED = {
    OperationClass.CERT: BudgetKind.DISTINCT_CERTS,
    OperationClass.IDENTITY: BudgetKind.DISTINCT_IDENTITIES,
}
Json = dict[str, Any]


class Watched(Protocol):
    """A part of the node that can work less well than it should."""

    @property
    def degraded(self) -> str:
        """What is wrong; empty if all is well."""


class Required(Protocol):
    """A part of the node without which it may want no traffic."""

    @property
    def unready(self) -> str:
        """Why not; empty if all is well."""


class Known(NamedTuple):
    """What the analyst knows of clients."""

    history: History
    warden: Warden
    coldness: Coldness
    verdicts: Verdicts
    locations: Locations | None = None


class NodeState:
    """Answers questions about one node from shared memory and the recent records, and hands bans to the warden."""

    def __init__(self, config: Config, region: Region, health: list[Health], known: Known) -> None:
        """`health`: of each upstream, in the order of the configuration; `known`: of its clients."""
        self.watched: list[Watched] = [known.warden]
        self.required: list[Required] = []
        self._region = region
        self._tables = Tables.of(region)
        self.distinct: Callable[[int, int], float] = self._tables.distinct.estimate  # in a cluster: of all nodes
        self._health = health
        self._history, self._warden, self._coldness, self._verdicts, self._locations = known
        self.reload(config, 0)

    @property
    def judges(self) -> tuple[Warden, Verdicts]:
        """Who bans, and who weighs evidence."""
        return self._warden, self._verdicts

    def reload(self, config: Config, generation: int) -> None:
        """Answer by a new configuration."""
        self._config = config
        self._generation = generation
        self._policy = Policy(config, self._tables, generation)

    def readiness(self) -> tuple[bool, str]:
        """Return whether the node should get traffic, and why not."""
        if self._region.control[Control.DRAINING]:
            return False, "draining"
        now_ns = monotonic_ns()
        if not any(health.up(now_ns) for health in self._health):
            return False, "no upstream is up"
        if missing := "; ".join(filter(None, (each.unready for each in self.required))):
            return False, missing
        refused = self._region.control[Control.RELOAD_FAILURES] and not self._region.control[Control.RELOAD_OK]
        reload = "the last reload was refused, the configuration before it is in force" if refused else ""
        return True, "; ".join(filter(None, ("ready", reload, *(each.degraded for each in self.watched))))

    def client(self, text: str) -> Json:
        """Explain a client: each limit's state and the last verdicts.

        Raises:
            ValueError: `text` is not an address.

        """
        address = parse_address(text)
        key = client_key(address)
        now_ns = monotonic_ns()
        if self._policy.outdated:
            self.reload(self._config, self._generation)
        profile = self._policy.profile(address)
        stored = self._tables.clients.peek(key)
        tats = stored or (0,) * BUCKETS
        limits = [
            _limit(limit, tat, now_ns) for limit, tat in zip(profile.limits[:BUCKETS], tats, strict=True) if limit
        ]
        return {
            "client": key_text(key),
            "known": stored is not None,
            "allowed_network": profile.exempt,
            "peer": profile.peer,
            "origin": self._origin(profile),
            "location": self._locations.locate(address).as_json() if self._locations else None,
            **self._account(key),
            "turned_away": self._knocks(knocks) if (knocks := self._history.door.of(key)) else None,
            "limits": limits + self._misses(key, now_ns),
            "verdict": self._verdicts.explain(key),
            "network": self._network(network_key(address), profile, now_ns),
            "last": [_verdict(record, now_ns) for record in self._history.verdicts(key)],
        }

    def _origin(self, profile: Profile) -> Json:
        """Tell what workers know of where a client comes from, and by which rule they go."""
        origin, rules = unpack(profile.origin), self._config.origin_rules
        listed = {LISTED_DENIED: "listed: denied", LISTED_PRICED: "listed: priced"}.get(origin.rule)
        rule = rules[origin.rule - 1].name if 0 < origin.rule <= len(rules) else listed
        return {"asn": origin.asn or None, "kind": origin.kind.name.lower(), "rule": rule}

    def _misses(self, client: int, now_ns: int) -> list[Json]:
        """Tell how many more misses cost no more than hits, in the classes in which there were some lately."""
        limit, told = self._policy.misses.limit, []
        for kind in MISSABLE:
            tat_ns = self._tables.buckets.peek(bucket_key(MISSES, client, kind)) or 0
            if limit.mode is not Mode.OFF and tat_ns > now_ns:
                told.append({**_limit(limit, tat_ns, now_ns), "limit": f"misses-{kind.name.lower()}"})
        return told

    def _network(self, network: int, profile: Profile, now_ns: int) -> Json:
        """Tell what the network of a client has asked for lately, and what is left of its budgets."""
        told = []
        for counted, kind in COUNTED.items():
            asker = bucket_key(counted, network)
            limit, tat_ns = profile.limits[kind], self._tables.buckets.peek(asker) or 0
            subjects = round(self.distinct(asker, now_ns))
            told += [{**_limit(limit, tat_ns, now_ns), "distinct": subjects}] if limit else []
        if not (profile.anonymous or profile.peer) and (limit := profile.limits[BudgetKind.NETWORK_UPLOADS]):
            uploads = bucket_key(BudgetKind.NETWORK_UPLOADS, network)
            told.append(_limit(limit, self._tables.buckets.peek(uploads) or 0, now_ns))
        if limit := profile.limits[BudgetKind.NETWORK_PREFIXLOGS]:
            lists = bucket_key(BudgetKind.NETWORK_PREFIXLOGS, network)
            told.append(_limit(limit, self._tables.buckets.peek(lists) or 0, now_ns))
        if profile.pool and (limit := profile.limits[profile.pool.budget.kind]):
            told.append(_limit(limit, self._tables.buckets.peek(profile.pool.key) or 0, now_ns))
        cold = _standing(self._coldness.standing(network, now_ns))
        verdict = self._verdicts.explain(network)
        return {"network": key_text(network), "budgets": told, "cold": cold, "verdict": verdict}

    def _account(self, client: int) -> Json:
        account = self._warden.account(client)
        return {
            "banned": account.ban is not None,
            "ban": None if account.ban is None else self._ban(account.ban),
            "never_banned": account.never,
            "shared_exit": account.shared,
            "rung": account.rung,
            "points": round(account.points, 1),
            "points_for_a_ban": self._config.bans.points,
            "offences": [
                {"kind": kind.name.lower(), "time": self._day_time(time_ns)} for kind, time_ns in account.offences
            ],
        }

    def bans(self, most: int) -> Json:
        """Return the bans in force, the most recent first, `most` 1..MOST_LISTED, and how many there are by origin."""
        in_force = self._warden.in_force
        return {
            "mode": self._warden.mode,
            "bans": [self._ban(ban) for ban in self._warden.latest(min(max(most, 1), MOST_LISTED))],
            "in_force": {origin.value: count for origin, count in in_force.items()},
        }

    def ban(self, network: str, seconds: int | None, reason: str) -> Json:
        """Ban a client or network by hand; see `Warden.ban`, also for what it raises."""
        length_ns = None if seconds is None else seconds * NANOSECONDS
        placed = self._warden.ban(network, length_ns=length_ns, reason=reason)
        return {**self._ban(placed.ban), "warnings": placed.warnings}

    def lift(self, network: str) -> Json:
        """End the bans of a client or network and of what is in it; see `Warden.lift`, also for what it raises."""
        lifted, still = self._warden.lift(network)
        self._verdicts.forget(parse_network(network))  # they may be what bans were for
        return {
            "lifted": [self._ban(ban) for ban in lifted[:MOST_LISTED]],
            "count": len(lifted),
            "still_banned_by": None if still is None else self._ban(still),
        }

    def _ban(self, ban: Ban) -> Json:
        return {
            "network": key_text(ban.key),
            "origin": ban.origin.value,
            "since": self._day_time(ban.since_ns),
            "until": self._day_time(ban.until_ns),
            "seconds_left": self._warden.seconds_left(ban),
            "rung": ban.rung,
            "reason": ban.reason,
            "node": ban.node or None,
        }

    def _day_time(self, time_ns: int) -> str:
        return _utc(self._warden.day_seconds(time_ns))

    def _knocks(self, knocks: Knocks) -> Json:
        return {
            "connections": knocks.connections,
            "held": knocks.held,
            "first": self._day_time(knocks.first_ns),
            "last": self._day_time(knocks.last_ns),
            "reason": name_of(TurnedAway, knocks.reason),
            "tls": knocks.encrypted,
        }

    def captives(self, most: int) -> Json:
        """Return what the clients sent that the tarpit held last, the most recent first, `most` 1..MOST_LISTED."""
        return {
            "clients": [
                {
                    "client": key_text(captive.client),
                    "first": self._day_time(captive.first_ns),
                    "last": self._day_time(captive.last_ns),
                    "connections": captive.connections,
                    "tools": captive.tools,
                    "paths": captive.paths,
                }
                for captive in self._history.captives.list(min(max(most, 1), MOST_LISTED))
            ]
        }

    def top(self, most: int, by: By = By.CLIENT) -> Json:
        """Return the busiest clients, networks or subjects, `most` 1..MOST_TOP, and how the node is."""
        now_ns = monotonic_ns()
        most = min(max(most, 1), MOST_TOP)
        return {
            **self._busiest(by, most, now_ns),
            "upstreams": [
                {"upstream": str(address), "up": health.up(now_ns)}
                for address, health in zip(self._config.upstream, self._health, strict=False)
            ],
            "table": {"used": self._tables.clients.used(now_ns), "capacity": self._tables.clients.capacity},
            "walking": [
                {"network": key_text(each.network), **_standing(each)}
                for each in self._coldness.coldest(MOST_WALKING, now_ns)
                if each.score >= WALKING
            ],
            "turned_away": [
                {"client": key_text(each.client), **self._knocks(each)}
                for each in self._history.door.busiest(MOST_KNOCKING, now_ns - KNOCKING_NS)
            ],
        }

    def _busiest(self, by: By, most: int, now_ns: int) -> Json:
        if by is By.CLIENT:
            return _clients(self._history.top(most, now_ns))
        totals = self._history.totals(by, now_ns)
        tell = _network_total if by is By.NETWORK else _subject_total
        return {
            f"{by}s": [tell(each) for each in totals.busiest(most, now_ns)],
            "seconds": totals.seconds(now_ns),
        }


def _clients(activity: Activity) -> Json:
    """Tell of the busiest clients, and what was done about all of them."""
    return {
        "clients": [
            {"client": key_text(client), "requests": requests, "refused": refused}
            for client, requests, refused in activity.clients
        ],
        "operations": [
            {"operation": name_of(OperationClass, operation), "action": action_text(action), "requests": count}
            for (operation, action), count in sorted(activity.operations.items())
        ],
        "seconds": activity.seconds,
    }


def _utc(day_seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(day_seconds))


def _limit(limit: Limit, tat_ns: int, now_ns: int) -> Json:
    decision = spend(limit, tat_ns, 0, now_ns)
    return {
        "limit": limit.name,
        "mode": Mode(limit.mode).name.lower(),
        "burst": limit.burst,
        "per_second": limit.count * 1e9 / limit.period_ns,
        "max_delay_seconds": limit.max_delay_ns / 1e9,
        "remaining": decision.remaining,
        "full_in_seconds": round(decision.reset_after_ns / 1e9, 3),
    }


def _standing(standing: Standing) -> Json:
    return {
        "score": round(standing.score, 3),
        "asked": round(standing.asked, 1),
        "cold": round(standing.cold, 1),
        "proven_share": round(standing.proven, 3),
        "usual_share": round(standing.usual, 3),
    }


def _network_total(total: Total) -> Json:
    return {
        "network": key_text(total.key),
        "requests": total.requests,
        "distinct_subjects": total.members,
        **_shares(total),
    }


def _subject_total(total: Total) -> Json:
    """Tell of a subject by its keyed hash, which says nothing to others: the words are personal data."""
    return {
        "subject": f"{total.key:016x}",
        "operation": name_of(OperationClass, total.operation),
        "requests": total.requests,
        "distinct_clients": total.members,
        **_shares(total),
    }


def _shares(total: Total) -> Json:
    return {
        "not_found_share": round(total.not_found_share, 3),
        "refused_share": round(total.refused_share, 3),
        "sent_bytes": total.sent_bytes,
    }


def _verdict(record: Record, now_ns: int) -> Json:
    age_ns = now_ns - record.time_ns
    return {
        "time": _utc(time.time() - age_ns / 1e9),
        "request_id": f"{record.request_id:016x}",
        "operation": name_of(OperationClass, record.operation),
        "action": action_text(record.action),
        "reason": name_of(Reason, record.reason),
        "status": record.status,
        "cached": bool(record.flags & FLAG_CACHED),
        "wait_ms": record.wait_us / 1000,
        "upstream_ms": record.upstream_us / 1000,
        "ja4": ja4_text(record.fingerprint),
        "address_source": name_of(Source, record.source),
    }
