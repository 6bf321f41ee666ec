"""All that nodes share but limits, policies and their own lives, put together. Part of the analyst."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath import CostMemory, DistinctTable, Epochs, monotonic_ns
from proxy.cluster.gossip import Gossip
from proxy.cluster.invalidations import Invalidations
from proxy.cluster.outbox import Outbox
from proxy.cluster.shared_bans import SharedBans
from proxy.cluster.shared_costs import SharedCosts
from proxy.cluster.shared_offences import SharedOffences
from proxy.cluster.shared_sketches import SharedSketches
from proxy.cluster.shared_standings import SharedStandings
from proxy.cluster.store_clock import StoreClock

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastpath import Region
    from models.steps import Steps
    from proxy.cluster.store import Store
    from proxy.config import Config
    from proxy.courtesy import Courtesy
    from proxy.verdicts import Verdicts
    from proxy.warden import Warden


class Shared:
    """What one node shares.

    Attributes:
        gossip: Talks about it.

    """

    def __init__(  # noqa: PLR0913 - all of them are parts of the analyst
        self,
        config: Config,
        store: Store,
        region: Region,
        *,
        warden: Warden,
        verdicts: Verdicts,
        courtesy: Courtesy,
    ) -> None:
        """Begin to collect what there is to tell; nothing is told before `gossip` runs."""
        node, now = store.node, monotonic_ns
        clock, warden.outbox = StoreClock(), Outbox()
        bans = SharedBans(config, node, clock, warden, warden.outbox, forget=verdicts.forget)
        offences = SharedOffences(config, node, clock, warden, warden.outbox, lifted_us=bans.lifted_us)
        standings = SharedStandings(config, node, clock, verdicts, now=now)
        self._costs = SharedCosts(clock, CostMemory(region.costs), now=now)
        self._sketches = SharedSketches(node, clock, DistinctTable(region.distinct, region.secret), now=now)
        self._configured = (bans, offences, standings)
        topics = (*self._configured, self._costs, self._sketches)
        invalidations = Invalidations(node, region.epochs, Epochs(region.epochs))
        self.gossip = Gossip(store, clock, topics, invalidations, courtesy=courtesy)
        warden.outbox.changed = standings.changed = self.gossip.wake

    def reload(self, config: Config) -> None:
        """Go on by another configuration, after the warden has."""
        for each in self._configured:
            each.reload(config)

    def look(self) -> None:
        """Notice what workers did; to be called often."""
        self.gossip.look()

    def feed(self, records: NDArray[np.void]) -> Steps[None]:
        """Look at records of RECORD_DTYPE."""
        self._costs.feed(records)
        yield
        self._sketches.feed(records)
        yield

    def distinct(self, asker: int, now_ns: int) -> float:
        """Return how many subjects an asker has asked all nodes for, as `DistinctTable.estimate`."""
        return self._sketches.count(asker, now_ns)
