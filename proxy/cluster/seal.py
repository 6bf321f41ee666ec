"""What nodes write into Redis is sealed: who can write to the database cannot make a node believe anything.

    sealed = MAC (16 bytes) + payload        MAC = BLAKE2b under a key of the cluster, over prefix, kind and payload

A seal says that a node of this cluster (same secret, same prefix) wrote these bytes as this kind of thing. It says
neither when, nor that it still holds: **a sealed value can be kept and put back later** by whoever can write to the
database. So payloads carry their own end (wall time, or Redis's) or a generation that only grows, and readers compare
them; and a payload that is about somebody names him, for a key's name is not under the seal. It is not encrypted
either.

Numbers that scripts calculate with inside Redis (levels of buckets) cannot be sealed. Readers bound these instead.
"""

from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from hmac import compare_digest
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from proxy.cluster.secret import ClusterSecret

MAC_BYTES: Final = 16
MOST_BYTES: Final = 64 * 1024  # of a payload, unless somebody expects more


class Forged(Exception):
    """What was read was not written by a node of this cluster as this kind of thing, or is too large to be."""


class Seal:
    """Seals and opens what one installation shares.

    Attributes:
        forged: How often something was not believed, by kind.

    """

    __slots__ = ("_begun", "_key", "_prefix", "forged")

    def __init__(self, secret: ClusterSecret, prefix: str) -> None:
        """Make one for the nodes that have both in common."""
        self.forged: Counter[str] = Counter()
        self._key = secret.key("seal")
        self._prefix = prefix.encode()
        self._begun: dict[str, blake2b] = {}

    def seal(self, kind: str, payload: bytes) -> bytes:
        """Return a payload under the seal of a kind: a short word of ours, as `ban`."""
        return self._mac(kind, payload) + payload

    def open(self, kind: str, data: object, most: int = MOST_BYTES) -> bytes:
        """Return the payload that was sealed as `kind`.

        Its fields are still to be checked, and its time or generation compared: see above.

        Args:
            kind: As what it must have been sealed.
            data: Whatever Redis gave.
            most: Bytes of a payload that are looked at.

        Raises:
            Forged: It is none such; counted.

        """
        if isinstance(data, bytes) and MAC_BYTES <= len(data) <= MAC_BYTES + most:
            payload = data[MAC_BYTES:]
            if compare_digest(data[:MAC_BYTES], self._mac(kind, payload)):
                return payload
        self.forged[kind] += 1
        raise Forged(f"a forged {kind} in the store")

    def _mac(self, kind: str, payload: bytes) -> bytes:
        begun = self._begun.get(kind)
        if begun is None:
            begun = self._begun[kind] = self._begin(kind)
        mac = begun.copy()
        mac.update(payload)
        return mac.digest()

    def _begin(self, kind: str) -> blake2b:
        """Hash prefix and kind, each with its length before it: no two pairs run together to the same bytes."""
        begun = blake2b(digest_size=MAC_BYTES, key=self._key)
        for part in (self._prefix, kind.encode()):
            begun.update(len(part).to_bytes(4, "big") + part)
        return begun
