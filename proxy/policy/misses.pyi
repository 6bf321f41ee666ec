"""Searches that find nothing, and what they cost; the theory is in `misses.pyx`."""

from fastpath import BucketTable, ClientTable, Limit
from proxy.policy.judge import Client

class Misses:
    """Counts the misses of clients; immutable but for the tables."""

    def __init__(self, clients: ClientTable, buckets: BucketTable, limit: Limit, *, per_hit: int, factor: int) -> None:
        """`limit`: misses that cost nothing more; in shadow mode they are counted, and none ever does.

        `per_hit`: misses that a hit makes up for, at most a burst of `limit`.
        `factor`: tokens of its class that a miss beyond `limit` costs in all, 1 or more.
        """

    @property
    def limit(self) -> Limit:
        """As it was given."""

    def note(self, client: Client, kind: int, subject: str, status: int, now_ns: int) -> int:
        """Take note of an answer: of the keyserver, or of the cache.

        Args:
            client: Who asked.
            kind: The class; only identities, words and certificates by key id are looked at.
            subject: What was asked for, as the classifier gives it.
            status: 200 is a hit, 404 a miss, all others are neither.
            now_ns: CLOCK_MONOTONIC.

        """
