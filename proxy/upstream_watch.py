"""Asks the upstreams again and again whether they are there. Part of the analyst.

What it finds is in shared memory, and binds the workers; they notice by themselves what fails in between.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastpath import monotonic_ns
from proxy.http.health import Health, HealthRules
from proxy.http.probe import answers
from proxy.plugins.events import UpstreamDown, UpstreamUp, unheard

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath import Region
    from proxy.config import Config
    from proxy.plugins.events import Event
    from proxy.settings.addresses import Address


class UpstreamWatch:
    """All upstreams of a node.

    Attributes:
        health: Of each, in the order of the configuration.

    """

    def __init__(
        self,
        config: Config,
        region: Region,
        *,
        publish: Callable[[Event], None] = unheard,
        clock: Callable[[], int] = monotonic_ns,
    ) -> None:
        """Take it that all are there; `publish` hears who goes down and who comes back."""
        self._config = config
        self._publish = publish
        self._clock = clock
        rules = HealthRules.of(config.health)
        self.health = [Health(region.upstream(index), rules) for index in range(len(config.upstream))]
        self._up = [True] * len(config.upstream)  # what was told of them

    def reload(self, config: Config) -> None:
        """Go on by another configuration; other upstreams need a restart."""
        self._config = config
        for health in self.health:
            health.rules = HealthRules.of(config.health)

    async def run(self) -> None:
        """Ask all of them, again and again, until cancelled."""
        while True:
            await self.turn()
            await asyncio.sleep(self._config.health.interval_ns / 1e9)

    async def turn(self) -> None:
        """Ask all of them once, and tell what has changed."""
        checks = zip(self._config.upstream, self.health, strict=True)
        await asyncio.gather(*(self._check(address, health) for address, health in checks))
        self._tell()

    async def _check(self, address: Address, health: Health) -> None:
        ok = await answers(
            address,
            self._config.health.path,
            seconds=self._config.health.timeout_ns / 1e9,
            introduce=self._config.upstream_proxy_protocol == "v2",
        )
        health.checked(ok=ok, now_ns=self._clock())

    def _tell(self) -> None:
        """Publish who went down or came back since the last time."""
        now_ns = self._clock()
        before, self._up = self._up, [health.up(now_ns) for health in self.health]
        for address, was, up in zip(self._config.upstream, before, self._up, strict=True):
            if up != was:
                event = UpstreamUp if up else UpstreamDown
                self._publish(event(upstream=str(address)))
