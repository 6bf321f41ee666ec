"""Settings of reconciliation: how much peers may ask for, and how they are learnt."""

from typing import Annotated

from pydantic import Field

from proxy.settings.kinds import DAY, MINUTE, Duration, Switch, Whole
from proxy.settings.section import Section


class SyncConfig(Section):
    """What peers may ask for at a time, and whether the upstream tells who they are."""

    most_digests: Annotated[int, Whole(1, 1000)] = 100  # of a hashquery; for everybody
    learn: Annotated[bool, Switch()] = True  # peers, from the upstream's statistics
    refresh_ns: Annotated[int, Duration(MINUTE, DAY)] = Field(default=5 * MINUTE, alias="refresh")
