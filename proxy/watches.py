"""All that the analyst keeps an eye on beside the records: the keyserver and its peers, the load, places and lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath import BucketTable, PeerBook
from proxy.budget_watch import BudgetWatch
from proxy.intel.composer import Composer
from proxy.intel.watch import IntelWatch
from proxy.load_watch import LoadWatch
from proxy.locations import Locations
from proxy.peers import PeerWatch
from proxy.upstream_watch import UpstreamWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from fastpath import Region
    from proxy.config import Config
    from proxy.plugins.events import Event


class Watches:
    """Those of one node.

    Attributes:
        watched: Those of them who may have something to say about what does not work.
        collectors: Those of them who have metrics of their own.

    """

    def __init__(self, config: Config, region: Region, *, publish: Callable[[Event], None]) -> None:
        """Take up what each of them has written down; `publish` takes events."""
        self.upstreams = UpstreamWatch(config, region, publish=publish)
        self.budgets = BudgetWatch(config, BucketTable(region.buckets, region.secret), publish=publish)
        self.locations = Locations(config)
        self._peers = PeerWatch(config, PeerBook(region.peers))
        self._load = LoadWatch(config, region, publish=publish)
        self.collectors = (self._load, Composer(config, region), IntelWatch(config), self.locations)
        self.watched = (self._peers, *self.collectors, self.budgets)

    def reload(self, config: Config) -> None:
        """Go on by another configuration."""
        for each in (self.upstreams, *self.watched):
            each.reload(config)

    def turn(self, now_ns: int) -> Iterator[None]:
        """Look at what is in shared memory, step by step; once a second is enough."""
        self.budgets.turn(now_ns)
        yield
        self._load.turn(now_ns)

    def runs(self) -> Iterator[Coroutine[None, None, None]]:
        """Yield what has to run all the time: it waits for others."""
        return (each.run() for each in (self.upstreams, self._peers, *self.collectors))

    def close(self) -> None:
        """Write down what is known."""
        self._load.close()
