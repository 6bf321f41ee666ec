"""Releases that are in force here, as they are kept in HKPGUARD_STATE_DIR over a restart: `cluster/KIND`.

    seal + length of the record (4 bytes) + record + content

So a node comes back with what was in force, whether it reaches the store or not. What cannot be read, was not written
under the secret of the cluster, or does not have the hash that its record names, is as if it were not there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from proxy.cluster.release import MOST_CONTENT_BYTES, MOST_RECORD_BYTES, Release
from proxy.cluster.seal import MAC_BYTES, Forged, Seal
from proxy.cluster.secret import ClusterSecret
from proxy.model_places import CLUSTER_FOLDER

if TYPE_CHECKING:
    from proxy.cluster.release import KindName
    from proxy.config import Config

_LENGTH_BYTES: Final = 4
_MOST: Final = _LENGTH_BYTES + MOST_RECORD_BYTES + MOST_CONTENT_BYTES


class Kept(NamedTuple):
    """A release and its content."""

    release: Release
    data: bytes


class KeptRelease:
    """The file of one kind."""

    def __init__(self, config: Config, kind: KindName) -> None:
        """Of a configuration with a cluster; OSError or ValueError if its secret cannot be read."""
        self._kind = kind
        self._path = Path(config.state_dir) / CLUSTER_FOLDER / kind
        self._seal = Seal(ClusterSecret.of(config.cluster), config.cluster.prefix)

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._path.parent

    def read(self) -> Kept | None:
        """Return what is kept; None if there is none that is good."""
        try:
            with self._path.open("rb") as file:
                payload = self._seal.open(self._sealed_as, file.read(MAC_BYTES + _MOST + 1), _MOST)
            start = _LENGTH_BYTES + int.from_bytes(payload[:_LENGTH_BYTES])
            release = Release.model_validate_json(payload[_LENGTH_BYTES:start])
        except (OSError, Forged, ValidationError):
            return None
        data = payload[start:]
        return Kept(release, data) if release.kind == self._kind and release.named.fits(data) else None

    def write(self, kept: Kept | None) -> None:
        """Keep a release, or none; OSError if that cannot be."""
        if kept is None:
            self._path.unlink(missing_ok=True)
            return
        record = kept.release.model_dump_json().encode()
        payload = len(record).to_bytes(_LENGTH_BYTES) + record + kept.data
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self._path.with_name(f"{self._path.name}.part")
        with open(part, "wb", opener=_private) as file:
            file.write(self._seal.seal(self._sealed_as, payload))
            file.flush()
            os.fsync(file.fileno())
        part.replace(self._path)

    @property
    def _sealed_as(self) -> str:
        return f"kept-{self._kind}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class KeptPolicy(NamedTuple):
    """A policy of the cluster, as TOML."""

    generation: int
    text: str


def kept_policy(config: Config) -> KeptPolicy | None:
    """Return the policy of the cluster that is kept; None if there is none that is good, or the node stands alone."""
    if config.redis_url is None:
        return None
    try:
        kept = KeptRelease(config, "policy").read()
        return KeptPolicy(kept.release.generation, kept.data.decode()) if kept else None
    except (OSError, ValueError):
        return None


def forget_policy(config: Config) -> None:
    """Keep no policy of the cluster any more."""
    with suppress(OSError, ValueError):
        KeptRelease(config, "policy").write(None)
