"""The plugin `ml-abuse-detector`: hands records to models.detector, and what it finds to fusion, as evidence.

The models that are shipped know nothing of networks. Of what kind that of a client is comes here to what they say of
it, as evidence of its own: who behaves like a scraper is rather one where machines are for rent. By itself it says
nothing. An operator's own model may have learnt it; then it is in what that says, and nothing is added.
"""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from fastpath import NetworkKind
from fastpath.origin_arrays import kinds_of
from models.detector import BEHAVIOUR, Detector
from models.scorer import MAIN, SECOND, SHIPPED, Scorer
from models.shelf import Shelf
from models.text import TEXT, TextScorer
from proxy.model_places import Places
from proxy.plugins.contract import Plugin
from proxy.policy.fusion import MOST_WEIGHT, Evidence
from proxy.settings.kinds import MINUTE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from models.detector import Finding
    from proxy.plugins.contract import Host, Json, Route

REFRESH_NS: Final = MINUTE  # how often it looks for another model
NETWORK: Final = "network"
# Log-odds, not measured: so little that neither an accusation nor a doubt leads to another standing by it.
KINDS: Final = {NetworkKind.HOSTING: 0.4, NetworkKind.VPN: 0.4}


class Settings(BaseModel):
    """Its settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    models_dir: str = Field(
        "", description="Your own models; empty: those of the cluster, and HKPGUARD_STATE_DIR/models"
    )
    most_weight: float = Field(7.0, ge=0.0, le=MOST_WEIGHT, description="Log-odds that an accusation has at most")
    minutes: int = Field(15, ge=1, le=1440, description="How long evidence counts")
    coldness: bool = Field(default=True, description="Whether coldness of a network speaks against its clients")
    network: bool = Field(default=True, description="Whether the kind of a client's network counts")


class MlAbuseDetector(Plugin):
    """Finds who behaves like an abuser."""

    name = "ml-abuse-detector"
    version = version("hkpguard")
    settings = Settings

    def __init__(self, *, brief: bool = False) -> None:
        """Know what is no setting; for `brief` see `models.detector.Detector`."""
        self._brief = brief

    def set_up(self, host: Host) -> None:
        """Load the models; BadModel if not even the shipped ones are good."""
        assert isinstance(host.config, Settings)  # noqa: S101 - the runner made it of this model
        assert host.common is not None  # noqa: S101 - it is built in
        self._settings, self._log = host.config, host.log
        chosen = host.config.models_dir
        own = (Path(chosen),) if chosen else Places.of(host.state_dir.parent.parent)
        self._main = Shelf(MAIN, (*own, SHIPPED), Scorer)
        self._second = Shelf(SECOND, (*own, SHIPPED), Scorer)
        self._text = Shelf(TEXT, (*own, SHIPPED), TextScorer)
        self._shelves = (self._main, self._second, self._text)
        self._lookout = host.common.watch.lookout()
        self._origins = host.common.origins if host.config.network else None
        self._detector = Detector(
            self._main.model,
            second=self._second.model,
            text=self._text.model,
            coldness=host.common.coldness if host.config.coldness else None,
            look_up=self._origins.look_up if self._origins is not None else None,
            most_weight=host.config.most_weight,
            brief=self._brief,
        )
        self._refresh_ns = 0
        self._tell()

    def detectors(self) -> Sequence[MlAbuseDetector]:
        """See `Plugin`."""
        return (self,)

    def look(self, block: NDArray[np.void], now_ns: int) -> Iterator[Evidence | None]:  # noqa: ARG002 - see Common
        """See `contract.Detector`."""
        if now_ns >= self._refresh_ns:
            self._refresh_ns = now_ns + REFRESH_NS
            self._refresh()
        until_ns = now_ns + self._settings.minutes * MINUTE
        for finding in self._detector.read(self._lookout.take_excerpts()):
            yield None if finding is None else _evidence(finding, until_ns)
        for due in self._lookout.take():
            for finding in self._detector.look(due, now_ns):
                yield None if finding is None else _evidence(finding, until_ns)
                if finding is not None and finding.kind == BEHAVIOUR:
                    yield self._network(finding, until_ns)

    def _network(self, finding: Finding, until_ns: int) -> Evidence | None:
        """Return what the network of a client adds to what is said of its behaviour, or takes back with it."""
        if self._origins is None:
            return None
        kind = NetworkKind(int(kinds_of(np.array([finding.client], np.uint64), self._origins.look_up)[0]))
        if kind not in KINDS:
            return None
        counted = bool(self._main.model.manifest.networks)  # what was added before it was, is taken back
        weight = KINDS[kind] if finding.weight and not counted else 0.0
        return Evidence(finding.client, NETWORK, weight, f"in a network of kind {kind.name.lower()}", until_ns)

    def health(self) -> str:
        """See `Plugin`: a model that would be used, and is not good."""
        return "; ".join(shelf.problem for shelf in self._shelves if shelf.problem)

    def metrics(self) -> Mapping[str, float]:
        """See `Plugin`."""
        return {"looks": float(self._detector.looks), "spoken_of": float(len(self._detector.accused))}

    def routes(self) -> Mapping[str, Route]:
        """See `Plugin`."""
        return {"models": self._models}

    def _models(self, _query: Mapping[str, str]) -> Json:
        """Tell which models are in use."""
        return {
            shelf.model.manifest.name: shelf.model.manifest.model_dump(mode="json", exclude={"calibration"})
            for shelf in self._shelves
        }

    def _refresh(self) -> None:
        """Take models that were trained or repaired meanwhile; a damaged one changes nothing."""
        changed = [shelf.refresh() for shelf in self._shelves]
        if any(changed):
            self._detector.scorer = self._main.model
            self._detector.second, self._detector.text = self._second.model, self._text.model
            self._tell()

    def _tell(self) -> None:
        for shelf in self._shelves:
            known = shelf.model.manifest
            self._log.info("model in use", model=known.name, model_version=known.version)
            if shelf.problem:
                self._log.warning("a model is not used", reason=shelf.problem)


def _evidence(finding: Finding, until_ns: int) -> Evidence:
    return Evidence(finding.client, finding.kind, finding.weight, finding.reason, until_ns)
