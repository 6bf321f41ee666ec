"""Settings of limits that follow the load."""

from typing import Annotated

from fastpath._table_py import MOST_TIMES
from proxy.settings.kinds import Whole
from proxy.settings.limits import Mode
from proxy.settings.section import Section


class AdaptConfig(Section):
    """How far prices may rise while the site is under attack, and whether cohorts count."""

    mode: Mode = "off"  # the analyst takes turns of some ms for it, and workers on its core wait so long
    most: Annotated[int, Whole(1, MOST_TIMES)] = 4  # tokens of its class that a request may cost
