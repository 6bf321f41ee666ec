"""The step `admit`: whether a connection is taken on; the theory is in `admission.pyx`."""

from fastpath import BanTable, Crowd
from proxy.config import Config
from proxy.policy.networks import NetworkMap
from proxy.policy.policy import Policy

class Admission:
    """Decides from shared memory; connections reach it in C."""

    def __init__(self, bans: BanTable, crowd: Crowd) -> None: ...
    def reload(self, config: Config, policy: Policy, trusted: NetworkMap[bool]) -> None:
        """Decide by a new configuration from the next connection on; `trusted`: the proxies that speak for others."""
