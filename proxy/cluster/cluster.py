"""All that a node has to do with the others of its cluster, put together. Part of the analyst.

    store   Redis, or the state in which it is
    joint   who is there; the policy and the models that all have in force
    limits  what clients spend at other nodes; `strict`: what they may spend here, where that is asked first
    shared  bans, standings, offences, costs, sketches, invalidations

Workers know nothing of it but what it writes into shared memory.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from fastpath import Control
from proxy.cluster.joint import Joint
from proxy.cluster.limits import ClusterLimits
from proxy.cluster.shared import Shared
from proxy.cluster.store import Store
from proxy.cluster.strict import Strict
from proxy.policy.offender import Origin

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fastpath import Region
    from models.steps import Steps
    from proxy.config import Config
    from proxy.courtesy import Courtesy
    from proxy.plugins.events import Event
    from proxy.supervisor import Parent
    from proxy.verdicts import Verdicts
    from proxy.warden import Warden

END_SECONDS: Final = 0.5  # for those who say good-bye


class Cluster:
    """A node, as one of a cluster.

    Attributes:
        joint: For the admin API.
        watched: Who may have something to say about what does not work; each has `degraded`.
        required: Those of them without which the node is not ready.
        collectors: Of metrics.

    """

    def __init__(  # noqa: PLR0913 - all of them are parts of the analyst
        self,
        running: Callable[[], Config],
        region: Region,
        parent: Parent,
        *,
        warden: Warden,
        verdicts: Verdicts,
        courtesy: Courtesy,
        publish: Callable[[Event], None],
        claims: Sequence[socket.socket] = (),
    ) -> None:
        """Begin to collect what there is to tell; nobody is told before `run`."""
        config = running()
        self._store = store = Store(config, publish=publish)
        self._shared = Shared(config, store, region, warden=warden, verdicts=verdicts, courtesy=courtesy)
        self.joint = Joint(store, region, parent, running=running, publish=publish)
        self._limits = ClusterLimits(config, region, store, lambda: self.joint.members.live, courtesy=courtesy)
        self._strict = Strict(self._limits.grants, store, claims, region.control) if claims else None
        if self._strict:
            self._limits.turned = self._strict.flush
        self.joint.figures |= {
            "bans of other nodes": lambda: warden.in_force[Origin.CLUSTER],
            "limits divided by": lambda: max(1, region.control[Control.SHARE]),
            "ms between exchanges of limits": lambda: self._limits.interval_ns // 10**6,
        }
        self.required = (self._shared.gossip,)
        self.watched = self.collectors = (store, self.joint, self._limits, self._shared.gossip)

    def reload(self, config: Config) -> None:
        """Go on by another configuration, after the warden has."""
        self._shared.reload(config)
        self._limits.reload(config)

    def feed(self, block: bytes) -> Steps[None]:
        """Look at records as `Ring.take` gives them, and at what workers did: at once, for neither can wait."""
        self._shared.look()
        return self._limits.feed(block)

    def show(self, made: NDArray[np.void]) -> Steps[None]:
        """Look at many records of RECORD_DTYPE."""
        return self._shared.feed(made)

    def distinct(self, asker: int, now_ns: int) -> float:
        """Return how many subjects an asker has asked all nodes for, as `DistinctTable.estimate`."""
        return self._shared.distinct(asker, now_ns)

    async def run(self) -> None:
        """Take part until cancelled; the others hear that this node goes while there is a store to tell them."""
        joint = asyncio.create_task(self.joint.run())
        working = (self._store, self._shared.gossip, self._limits, *((self._strict,) if self._strict else ()))
        parts = [asyncio.create_task(each.run()) for each in working]
        try:
            ended, _ = await asyncio.wait((joint, *parts), return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # none ends by itself: it raises
        finally:
            joint.cancel()
            await asyncio.wait((joint,), timeout=END_SECONDS)
            for task in parts:
                task.cancel()
            await asyncio.wait(parts, timeout=END_SECONDS)
