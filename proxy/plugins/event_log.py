"""Writes events to the log of the analyst, those with a meaning for the operator as warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from proxy.config import Config
    from proxy.plugins.bus import Bus

WARNINGS: Final = frozenset({"plugin.broken", "upstream.down"})


async def write_events(config: Config, bus: Bus) -> None:
    """Write the events that the configuration names until the bus is closed."""
    log = structlog.get_logger().bind(process="analyst")
    with bus.subscribe(*config.events.log) as subscription:
        async for posted in subscription:
            tell = log.warning if posted.event.kind in WARNINGS else log.info
            tell(posted.event.kind, id=posted.id, **posted.event.values(addresses=config.log.addresses))
