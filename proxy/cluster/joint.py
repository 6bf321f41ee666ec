"""What nodes do jointly: they know each other, and have the same policy and models in force. Part of the analyst."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fastpath import Control, monotonic_ns
from proxy.cluster.beat import PROTOCOL, Capacity, Held
from proxy.cluster.command import StoreDown
from proxy.cluster.follower import Follower
from proxy.cluster.kept import KeptRelease
from proxy.cluster.members import Members
from proxy.cluster.models_keeper import ModelsKeeper
from proxy.cluster.policy_keeper import PolicyKeeper, Reload
from proxy.cluster.releases import Releases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from fastpath import Region
    from proxy.cluster.release import KindName, Release
    from proxy.cluster.roster import Member
    from proxy.cluster.store import Store
    from proxy.config import Config
    from proxy.plugins.events import Event
    from proxy.supervisor import Parent

LEAVE_SECONDS: Final = 0.3
Json = dict[str, Any]


class Kind(NamedTuple):
    """One kind of release: how this node follows, and how it makes one."""

    follower: Follower
    releases: Releases


class Joint(Collector):
    """A node, as one of a cluster.

    Attributes:
        members: The nodes.
        kinds: Of releases, by name.
        figures: What else `hkpguard cluster status` shows, by name: others put in what they know.

    """

    def __init__(
        self,
        store: Store,
        region: Region,
        parent: Parent,
        running: Callable[[], Config],
        publish: Callable[[Event], None],
    ) -> None:
        """Know what was in force last; nothing is done before `run`.

        Args:
            store: Where all meet.
            region: Of this node.
            parent: The supervisor.
            running: Returns the configuration in force.
            publish: Hears of nodes and releases.

        """
        config, control = running(), region.control
        self.figures: dict[str, Callable[[], str | int | float]] = {}
        self._store = store
        policy, models = (KeptRelease(config, kind) for kind in ("policy", "models"))
        self.members = Members(
            store,
            life=parent.life,
            capacity=Capacity(workers=config.workers, clients=config.table_clients),
            folder=policy.folder,
            held=self._held,
            draining=lambda: bool(control[Control.DRAINING]),
            publish=publish,
        )
        keepers = (PolicyKeeper(policy, parent, running, Reload(control, parent)), ModelsKeeper(models))
        followers = [Follower(each, store, self.members, publish=publish) for each in keepers]
        self.kinds = {each.keeper.kind: Kind(each, Releases(each)) for each in followers}

    def _held(self) -> tuple[Held, Held]:
        return self.kinds["policy"].follower.held, self.kinds["models"].follower.held

    async def run(self) -> None:
        """Beat and follow, until cancelled; then say that this node goes."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.members.run())
                for each in self.kinds.values():
                    group.create_task(each.follower.run())
        finally:
            try:
                async with asyncio.timeout(LEAVE_SECONDS):
                    await self.members.leave()
            except (StoreDown, TimeoutError):
                pass  # the others will miss it

    @property
    def degraded(self) -> str:
        """What does not work as it should; empty if all is well."""
        problems = [self.members.degraded, *(each.follower.degraded for each in self.kinds.values())]
        return "; ".join(filter(None, problems))

    def status(self) -> Json:
        """Return what `hkpguard cluster status` shows."""
        members, state, now_ns = self.members, self._store.state, monotonic_ns()
        return {
            "node": members.node,
            "joined": members.joined,
            "problem": self.degraded,
            "nodes": members.live,
            "protocol": PROTOCOL,
            "store": {"up": state.up, "seconds": (now_ns - state.since_ns) // 10**9, "reason": state.reason},
            "self": self._itself(),
            "others": [_shown(each, now_ns) for each in sorted(members.others, key=lambda each: each.beat.node)],
            **{kind: self.release(kind) for kind in self.kinds},
            "figures": {name: figure() for name, figure in self.figures.items()},
        }

    def _itself(self) -> Json:
        members, (policy, models) = self.members, self._held()
        return {
            "node": members.node,
            "state": "this node" if members.joined else "this node, not in the cluster",
            "version": version("hkpguard"),
            "protocol": PROTOCOL,
            "beat_seconds": 0,
            "workers": members.capacity.workers,
            "policy": policy.generation,
            "models": models.generation,
        }

    def release(self, kind: KindName) -> Json:
        """Return what is in force of a kind, here and on the others."""
        follower = self.kinds[kind].follower
        nodes = {each.beat.node: getattr(each.beat, kind) for each in self.members.others if each.counted}
        held = nodes | {self.members.node: follower.held}
        return {
            "active": _of_release(follower.active),
            "problem": follower.problem,
            "nodes": {
                node: {"generation": each.generation, "content": each.content} for node, each in sorted(held.items())
            },
        }

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        yield from self.members.collect()
        text = "Generation of what is in force here of what was released for the cluster; 0: nothing"
        generation = GaugeMetricFamily("hkpguard_release_generation", text, labels=("what",))
        failing = GaugeMetricFamily(
            "hkpguard_release_refused", "1 if the cluster has another in force", labels=("what",)
        )
        for kind, each in self.kinds.items():
            generation.add_metric((kind,), each.follower.held.generation)
            failing.add_metric((kind,), int(bool(each.follower.problem)))
        yield from (generation, failing)


def _shown(member: Member, now_ns: int) -> Json:
    beat = member.beat
    return {
        "node": beat.node,
        "state": member.state,
        "version": beat.version,
        "protocol": beat.protocol,
        "beat_seconds": round((now_ns - member.seen_ns) / 1e9, 1),
        "workers": beat.capacity.workers,
        "policy": beat.policy.generation,
        "models": beat.models.generation,
    }


def _of_release(release: Release | None) -> Json | None:
    if release is None:
        return None
    return {
        "generation": release.generation,
        "content": release.content,
        "bytes": release.size,
        "since": release.at_ms // 1000,
        "by": release.by,
        "rolled_back_because": release.reason,
    }
