"""The secret of the cluster: where it is read, and the keys that are made of it.

All nodes have the same. Whoever has it may ban, and whoever has Redis alone may not: `seal.py`.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from proxy.settings.cluster import read_secret

if TYPE_CHECKING:
    from proxy.settings.cluster import ClusterConfig

KEY_BYTES: Final = 32
_ROOT: Final = b"hkpguard cluster"  # 16 bytes, as `person` has room for


class ClusterSecret:
    """What all nodes know and nobody else: it makes a key for each purpose, none of which tells another."""

    __slots__ = ("_root",)

    def __init__(self, text: str) -> None:
        """Take what the operator has set: long enough that nobody guesses it (`ClusterConfig`)."""
        self._root = blake2b(text.encode(), digest_size=KEY_BYTES, person=_ROOT).digest()

    @classmethod
    def of(cls, config: ClusterConfig) -> ClusterSecret:
        """Read the setting or the file of a configuration that has one of them.

        Raises:
            OSError, ValueError: The file cannot be used.

        """
        return cls(config.secret or read_secret(config.secret_file or ""))

    def key(self, purpose: str, size: int = KEY_BYTES) -> bytes:
        """Return the key of a purpose, `size` bytes (up to 64): the same on all nodes, today and tomorrow.

        Purposes: `seal`, `names`; `region` for the keyed hashes of shared memory, where subjects must be equal on all
        nodes.
        """
        return blake2b(purpose.encode(), key=self._root, digest_size=size).digest()
