"""Names in Redis: of keys, each in one of 64 shards, and of channels.

    PREFIX:{SHARD}:FAMILY:NAME      hkpguard:{17}:limit:9f0c...
    PREFIX:FAMILY                   a channel; all nodes of a Redis Cluster hear all channels

The number in braces is the hash tag of Redis Cluster: keys of one shard are in one slot, so that a script may touch
several of them. What belongs to a client is in the shard of the client (`shard_of`), what belongs to nobody in shard 0.
The 64 tags fall into 64 slots; three masters with a third of all slots each have 21, 22 and 21 of them.

Every key has a time to live: `FAMILIES` has the longest of each family, and `ttl_ms` bounds what is asked for, so that
a node which leaves, or an installation that is taken down, leaves nothing behind for ever.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.cluster.secret import ClusterSecret

SHARDS: Final = 64  # one byte of a hash, without what would favour some
NAME_BYTES: Final = 16
_SECOND_MS: Final = 1000
_HOUR_MS: Final = 3600 * _SECOND_MS
_DAY_MS: Final = 24 * _HOUR_MS


class Family(StrEnum):
    """What kind of thing a key or a channel holds."""

    LIMIT = "limit"  # a bucket of a client, a network or a subject
    BAN = "ban"
    VERDICT = "verdict"
    OFFENCE = "offence"
    SUBJECT = "subject"  # fat ones
    SKETCH = "sketch"  # distinct counters
    CACHE = "cache"  # which answers are stale
    MEMBER = "member"
    RELEASE = "release"  # policies and models
    PROBE = "probe"  # whether the store can be written


# The longest that a key of each may live, unless it is written again.
FAMILIES: Final[Mapping[Family, int]] = {
    Family.LIMIT: 366 * _DAY_MS,  # as long as the slowest bucket fills
    Family.BAN: 31 * _DAY_MS,
    Family.VERDICT: 2 * _DAY_MS,
    Family.OFFENCE: 31 * _DAY_MS,
    Family.SUBJECT: 2 * _DAY_MS,
    Family.SKETCH: 2 * _DAY_MS,
    Family.CACHE: _HOUR_MS,
    Family.MEMBER: 60 * _SECOND_MS,
    Family.RELEASE: 366 * _DAY_MS,
    Family.PROBE: 60 * _SECOND_MS,
}


def ttl_ms(family: Family, wanted_ms: int) -> int:
    """Return for how long a key lives, 1 ms or more, if it should be `wanted_ms`."""
    return min(max(1, wanted_ms), FAMILIES[family])


class Keys:
    """The names that one installation uses.

    Attributes:
        prefix: What all of them begin with; guards with another prefix share nothing with these.

    """

    __slots__ = ("_heads", "_key", "prefix")

    def __init__(self, prefix: str, secret: ClusterSecret) -> None:
        """Name things of `prefix` (`ClusterConfig`)."""
        self.prefix = prefix
        self._key = secret.key("names")
        self._heads: dict[tuple[Family, int], bytes] = {}

    def shard_of(self, data: bytes) -> int:
        """Return the shard of a client or whatever else `data` identifies, 0..63.

        It is hashed under a key of the cluster: nobody can choose addresses that all fall into one shard.
        """
        return blake2b(data, digest_size=8, key=self._key).digest()[0] % SHARDS

    def name_of(self, data: bytes) -> bytes:
        """Return a name for what `data` identifies, 32 hex digits; only who has the secret can tell what that is."""
        return blake2b(data, digest_size=NAME_BYTES, key=self._key).hexdigest().encode()

    def key(self, family: Family, name: bytes | str, shard: int = 0) -> bytes:
        """Return the key of something in a shard.

        Args:
            family: What it is.
            name: Which one; of our making, not of a client's.
            shard: `shard_of` the client that it belongs to; keys that one script touches must agree in it.

        """
        head = self._heads.get((family, shard))
        if head is None:
            head = self._heads[family, shard] = f"{self.prefix}:{{{shard}}}:{family}:".encode()
        return head + (name.encode() if isinstance(name, str) else name)

    def channel(self, family: Family) -> bytes:
        """Return the channel of a family."""
        return f"{self.prefix}:{family}".encode()
