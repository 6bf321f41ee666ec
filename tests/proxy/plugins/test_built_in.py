"""What the plugins that come with hkpguard say of themselves."""

from __future__ import annotations

from proxy.config import Config
from proxy.plugins.built_in import BUILT_IN
from proxy.policy.policy import Policy
from tests.proxy.policy.tables_for_tests import tables_of


def test_checks() -> None:
    """Every check of the request path is that of one plugin, and is named in the order in which it is made."""
    policy = Policy(Config.from_env({}), tables_of())
    named = [check for name in ("antiabuse", "ratelimit-tarpit") for check in BUILT_IN[name].make().checks()]
    assert named == [type(check).__name__ for check in policy.checks]
