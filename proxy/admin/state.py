"""What the admin API tells about a client and a node, as plain data for JSON."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from fastpath import ClientTable, Control, Limit, Mode, client_key, key_text, monotonic_ns, parse_address
from fastpath._gcra_py import spend
from proxy.hkp.operation import OperationClass
from proxy.http.address import Source
from proxy.policy.actions import Reason
from proxy.policy.policy import Policy
from proxy.telemetry.log import action_text, name_of

if TYPE_CHECKING:
    from fastpath import Record, Region
    from proxy.admin.history import History
    from proxy.config import Config
    from proxy.http.health import Health

MOST_TOP = 100
Json = dict[str, Any]


class NodeState:
    """Answers questions about one node from shared memory and the recent records."""

    def __init__(self, config: Config, region: Region, history: History, health: list[Health]) -> None:
        """`health`: of each upstream, in the order of the configuration."""
        self._region = region
        self._table = ClientTable(region.table, region.secret)
        self._history = history
        self._health = health
        self.reload(config, 0)

    def reload(self, config: Config, generation: int) -> None:
        """Answer by a new configuration."""
        self._config = config
        self._policy = Policy(config, self._table, generation)

    def readiness(self) -> tuple[bool, str]:
        """Return whether the node should get traffic, and why not."""
        if self._region.control[Control.DRAINING]:
            return False, "draining"
        now_ns = monotonic_ns()
        if not any(health.up(now_ns) for health in self._health):
            return False, "no upstream is up"
        if self._region.control[Control.RELOAD_FAILURES] and not self._region.control[Control.RELOAD_OK]:
            return True, "ready; the last reload was refused, the configuration before it is in force"
        return True, "ready"

    def client(self, text: str) -> Json:
        """Explain a client: each limit's state and the last verdicts.

        Raises:
            ValueError: `text` is not an address.

        """
        address = parse_address(text)
        key = client_key(address)
        now_ns = monotonic_ns()
        profile = self._policy.profile(address)
        stored = self._table.peek(key)
        tats = stored or (0,) * len(profile.limits)
        limits = [_limit(limit, tat, now_ns) for limit, tat in zip(profile.limits, tats, strict=True) if limit]
        return {
            "client": key_text(key),
            "known": stored is not None,
            "allowed_network": profile.exempt,
            "peer": profile.peer,
            "limits": limits,
            "last": [_verdict(record, now_ns) for record in self._history.verdicts(key)],
        }

    def top(self, most: int) -> Json:
        """Return the busiest clients of the last minute and what was done, `most` 1..MOST_TOP."""
        now_ns = monotonic_ns()
        activity = self._history.top(min(max(most, 1), MOST_TOP), now_ns)
        return {
            "clients": [
                {"client": key_text(client), "requests": requests, "refused": refused}
                for client, requests, refused in activity.clients
            ],
            "operations": [
                {
                    "operation": name_of(OperationClass, operation),
                    "action": action_text(action),
                    "requests": count,
                }
                for (operation, action), count in sorted(activity.operations.items())
            ],
            "upstreams": [
                {"upstream": str(address), "up": health.up(now_ns)}
                for address, health in zip(self._config.upstream, self._health, strict=False)
            ],
            "table": {"used": self._table.used(now_ns), "capacity": self._table.capacity},
            "seconds": activity.seconds,
        }


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


def _verdict(record: Record, now_ns: int) -> Json:
    age_ns = now_ns - record.time_ns
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - age_ns / 1e9)),
        "request_id": f"{record.request_id:016x}",
        "operation": name_of(OperationClass, record.operation),
        "action": action_text(record.action),
        "reason": name_of(Reason, record.reason),
        "status": record.status,
        "wait_ms": record.wait_us / 1000,
        "upstream_ms": record.upstream_us / 1000,
        "address_source": name_of(Source, record.source),
    }
