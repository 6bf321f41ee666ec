"""A release, and a configuration of a node that keeps it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.cluster.release import Content, Release
from tests.proxy.cluster.stub_for_tests import config_of

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.cluster.release import KindName
    from proxy.config import Config

DATA = b'mode = "shadow"\n'


def release(data: bytes = DATA, kind: KindName = "policy") -> Release:
    """Return a release of a content."""
    content = Content.of(data)
    return Release(
        kind=kind,
        generation=3,
        content=content.hash,
        size=content.size,
        before="",
        before_size=0,
        at_ms=1,
        until_ms=2,
        by="a",
    )


def config(folder: Path, **settings: str) -> Config:
    """Return a configuration of a cluster with this folder for state."""
    return config_of(6379, "", STATE_DIR=str(folder), **settings)
