"""Where clients are, for those in the analyst who want to know: one atlas, and a look at its files each minute.

Nothing of it is in the path of a request, and nothing leaves the machine: files are asked, and no service.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from geo.atlas import Atlas
from proxy.geo_files import sources
from proxy.settings.geo import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from prometheus_client.core import Metric

    from geo.place import Location
    from proxy.config import Config

REFRESH_SECONDS: Final = 60.0


class Locations(Collector):
    """The databases of a node."""

    def __init__(self, config: Config, *, wall: Callable[[], float] = time.time) -> None:
        """Open the files; say which there are none of.

        Args:
            config: The configuration.
            wall: The time of day, seconds since 1970.

        """
        self._config = config
        self._wall = wall
        self._log = structlog.get_logger().bind(process="analyst")
        self.atlas = Atlas(sources(config))
        self._told = ""
        for text in self._lacking():
            self._log.info(text)
        self._tell()

    def locate(self, packed: bytes) -> Location:
        """Return what is known of an address; see `Atlas.locate`."""
        return self.atlas.locate(packed)

    def reload(self, config: Config) -> None:
        """Use the files of another configuration, from the next look on."""
        self._config = config

    async def run(self) -> None:
        """Look at the files each minute, until cancelled; in a thread, for a disk may be slow."""
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await asyncio.to_thread(self.refresh)

    def refresh(self) -> None:
        """Look at the files now."""
        if self.atlas.refresh(sources(self._config)):
            self._log.info("other databases of locations are in use", files=len(self.atlas.databases))
        self._tell()

    @property
    def degraded(self) -> str:
        """What is wrong with the files; empty if all that there should be are in use."""
        return "; ".join(self._wrong())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics (prometheus_client's collector interface)."""
        text = "Since the oldest database for it was made"
        age = GaugeMetricFamily("hkpguard_geo_age_seconds", text, labels=("database",))
        for purpose, paths in self.atlas.sources._asdict().items():
            if made := [each.made_s for each in self.atlas.of(paths) if each.made_s]:
                age.add_metric((purpose,), max(0.0, self._wall() - min(made)))
        yield age

    def _wrong(self) -> Iterator[str]:
        for purpose, paths in self.atlas.sources._asdict().items():
            if problems := "; ".join(self.atlas.problems(paths)):
                what = "not all as it should be of the" if self.atlas.of(paths) else "no"
                yield f"locations: {what} {purpose} database ({VARIABLES[purpose]}: {problems})"

    def _lacking(self) -> Iterator[str]:
        for purpose, paths in self.atlas.sources._asdict().items():
            if not paths:
                yield f"locations: no {purpose} database ({VARIABLES[purpose]})"

    def _tell(self) -> None:
        """Log what is wrong, once."""
        if self.degraded != self._told:
            self._told = self.degraded
            self._log.warning(self._told or "locations: all databases are in use")
