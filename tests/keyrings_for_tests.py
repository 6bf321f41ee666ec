"""Debian's keyrings: certificates of a thousand people, some from the nineties, with what thirty years have added."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from proxy.hkp.certs import Cert, UploadBounds
from proxy.hkp.packets import PacketWalk

KEYRINGS = ("debian-keyring", "debian-maintainers", "debian-nonupload", "debian-role-keys")
FOLDER = Path("/usr/share/keyrings")
CERTS = 1_178  # there are more
PIECE = 65_536
NOW_S = 1_800_000_000
UNBOUNDED = UploadBounds(certs=10**4, packets=10**7, cert_bytes=10**9)


def debian_keyrings() -> list[bytes]:
    """Return them as they lie there; without them the test is skipped, or fails under CI=true."""
    paths = [FOLDER / f"{name}.gpg" for name in KEYRINGS]
    if not all(path.exists() for path in paths):
        if os.environ.get("CI") == "true":
            pytest.fail("CI=true, but the package debian-keyring is not installed.")
        pytest.skip("This test needs the package debian-keyring, which this machine does not have.")
    return [path.read_bytes() for path in paths]


def walk(data: bytes, bounds: UploadBounds) -> tuple[Cert, ...]:
    """Walk over certificates in binary form."""
    walking = PacketWalk(bounds, NOW_S)
    for start in range(0, len(data), PIECE):
        walking.feed(data[start : start + PIECE])
    return walking.finish()
