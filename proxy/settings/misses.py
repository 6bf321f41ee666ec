"""Settings of searches that find nothing: from when on they cost more, and how much (HKP.md 5.4)."""

from typing import Annotated

from pydantic import Field

from proxy.settings.kinds import DAY, HOUR, MINUTE, Duration, Whole
from proxy.settings.limits import Mode
from proxy.settings.section import Section


class MissesConfig(Section):
    """What a client may miss, in each class for itself."""

    mode: Mode = "enforce"
    minimum: Annotated[int, Whole(10, 1000)] = 20  # misses that cost no more than hits
    per_hit: Annotated[int, Whole(1, 10)] = 4  # misses that a hit makes up for; never above `minimum`
    period_ns: Annotated[int, Duration(MINUTE, DAY)] = Field(default=HOUR, alias="period")  # forgets `minimum` of them
    factor: Annotated[int, Whole(2, 100)] = 3  # tokens of its class that a miss beyond these costs
