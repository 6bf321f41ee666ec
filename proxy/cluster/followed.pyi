"""Which buckets records tell of; what is followed is said in `followed.pyx`."""

from collections.abc import Callable
from typing import Final, NamedTuple

from fastpath import Limit
from models.steps import Steps
from proxy.cluster.ledger import Ledger, Place, Size
from proxy.policy.policy import Policy
from proxy.policy.subjects import Subjects

GROUPS_AT_ONCE: Final = 64
"""Groups of requests in a step."""

class Seen(NamedTuple):
    """A bucket that records tell of.

    Args:
        place: Which.
        size: Of its limit.
        since_ns: When the first of the requests began.
        tokens: What they cost, at the least.

    """

    place: Place
    size: Size
    since_ns: int
    tokens: int

def size_of(limit: Limit) -> Size:
    """Return what the ledger knows of a limit."""

class Following:
    """Tells a ledger what records tell."""

    def __init__(self, ledger: Ledger, subjects: Subjects) -> None:
        """Of one node."""

    def feed(self, block: bytes, policy: Policy, clock: Callable[[], int]) -> Steps[None]:
        """Have the ledger look at the buckets that records tell of.

        Args:
            block: Records as `Ring.take` gives them.
            policy: Of the node, with whole limits.
            clock: Monotonic.

        """

    def seen(self, block: bytes, policy: Policy) -> list[Seen]:
        """Return what `feed` would have the ledger look at, of the first 512 records; for tests."""
