"""The plugin `ratelimit-ml`: hands records to models.cohorts, and what it finds to fusion, as evidence.

What else it stands for, prices that follow the load, is in `proxy.load_watch`: that reads counters and writes shared
memory, which plugins do not. Both have one switch, HKPGUARD_ADAPT__MODE.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from models.cohorts import LASTS_S, TEXTS, Cohorts
from proxy.plugins.contract import Plugin
from proxy.policy.fusion import Evidence
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from proxy.plugins.contract import Host, Json, Route


class RatelimitMl(Plugin):
    """Finds clients of many networks that belong together."""

    name = "ratelimit-ml"
    version = version("hkpguard")

    def set_up(self, host: Host) -> None:
        """See `Plugin`."""
        assert host.common is not None  # noqa: S101 - it is built in
        self._lookout = host.common.watch.lookout()
        self._cohorts = Cohorts(host.common.watch.windows, coldness=host.common.coldness)

    def detectors(self) -> Sequence[RatelimitMl]:
        """See `Plugin`."""
        return (self,)

    def look(self, block: NDArray[np.void], now_ns: int) -> Iterator[Evidence | None]:  # noqa: ARG002 - see Common
        """See `contract.Detector`."""
        for due in self._lookout.take():
            self._cohorts.note(due, now_ns)
            yield None
        until_ns = now_ns + LASTS_S * SECOND
        for each in self._cohorts.look(now_ns):
            yield None if each is None else Evidence(each.client, each.kind, each.weight, each.reason, until_ns)

    def metrics(self) -> Mapping[str, float]:
        """See `Plugin`."""
        found = self._cohorts.found
        return {"cohorts": float(len(found)), "members": float(len(self._cohorts.members))}

    def routes(self) -> Mapping[str, Route]:
        """See `Plugin`."""
        return {"cohorts": self._list}

    def _list(self, _query: Mapping[str, str]) -> Json:
        """Tell which cohorts there are, the largest first."""
        found = sorted(self._cohorts.found, key=lambda cohort: -cohort.networks)
        return {
            "cohorts": [
                {
                    "common": TEXTS[each.about],
                    "clients": len(each.clients),
                    "networks": each.networks,
                    "share": round(each.share, 3),
                    "usual_share": round(each.usual, 3),
                }
                for each in found
            ]
        }
