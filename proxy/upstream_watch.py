"""Asks the upstreams again and again whether they are there. Part of the analyst."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from fastpath import monotonic_ns
from proxy.http.probe import answers
from proxy.plugins.events import UpstreamDown, UpstreamUp
from proxy.worker import health_of, health_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastpath import Region
    from proxy.config import Config
    from proxy.http.health import Health
    from proxy.plugins.events import Event
    from proxy.settings.kinds import Address


class UpstreamWatch:
    """Watches all upstreams of a node.

    Attributes:
        health: Of each, in shared memory: what is found binds the workers.

    """

    def __init__(self, config: Config, region: Region, *, publish: Callable[[Event], None]) -> None:
        """Take it that all are there; `publish` hears who goes down and who comes back."""
        self._config = config
        self._publish = publish
        self.health = [health_of(config, region, index) for index in range(len(config.upstream))]
        self._up = [True] * len(config.upstream)  # what was told of them

    def reload(self, config: Config) -> None:
        """Go on by another configuration; the upstreams themselves need a restart."""
        self._config = config
        for health in self.health:
            health.rules = health_rules(config)

    async def run(self) -> None:
        """Ask all of them, until cancelled."""
        while True:
            checks = zip(self._config.upstream, self.health, strict=True)
            await asyncio.gather(*(self._check(address, health) for address, health in checks))
            self._tell()
            await asyncio.sleep(self._config.health.interval_ns / 1e9)

    async def _check(self, address: Address, health: Health) -> None:
        ok = await answers(
            address,
            self._config.health.path,
            seconds=self._config.health.timeout_ns / 1e9,
            introduce=self._config.upstream_proxy_protocol == "v2",
        )
        health.checked(ok=ok, now_ns=monotonic_ns())

    def _tell(self) -> None:
        """Publish who went down or came back since the last time."""
        now_ns = monotonic_ns()
        for index, (address, health) in enumerate(zip(self._config.upstream, self.health, strict=True)):
            up = health.up(now_ns)
            if up != self._up[index]:
                self._up[index] = up
                event = UpstreamUp if up else UpstreamDown
                self._publish(event(upstream=str(address)))
