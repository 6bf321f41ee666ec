"""The plugin `ratelimit-ml`: hands records to models.cohorts, and what it finds to fusion, as evidence.

What else it stands for, prices that follow the load, is in `proxy.load_watch`: that reads counters and writes shared
memory, which plugins do not. Both have one switch, HKPGUARD_ADAPT__MODE.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from models.cohorts import LASTS_S, TEXTS, Cohorts
from models.coldness import Coldness
from proxy import cold_watch
from proxy.plugins.contract import Plugin
from proxy.policy.fusion import Evidence
from proxy.settings.kinds import SECOND

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from proxy.plugins.contract import Host, Json, Route

SECRET_BYTES: Final = 16


class RatelimitMl(Plugin):
    """Finds clients of many networks that belong together."""

    name = "ratelimit-ml"
    version = version("hkpguard")

    def set_up(self, host: Host) -> None:
        """See `Plugin`."""
        del host
        self._coldness = Coldness(os.urandom(SECRET_BYTES))
        self._cohorts = Cohorts(coldness=self._coldness)

    def detectors(self) -> Sequence[RatelimitMl]:
        """See `Plugin`."""
        return (self,)

    def look(self, block: NDArray[np.void], now_ns: int) -> list[Evidence]:
        """See `contract.Detector`."""
        cold_watch.show(self._coldness, block.tobytes())
        until_ns = now_ns + LASTS_S * SECOND
        return [
            Evidence(finding.client, finding.kind, finding.weight, finding.reason, until_ns)
            for finding in self._cohorts.look(block, now_ns)
        ]

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
