"""Settings of the verdicts that evidence leads to."""

from proxy.settings.limits import Mode
from proxy.settings.section import Section


class VerdictsConfig(Section):
    """Whether workers obey the verdicts of the analyst."""

    mode: Mode = "enforce"
