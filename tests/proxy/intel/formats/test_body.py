"""What is unpacked of a body."""

from __future__ import annotations

import gzip
import zlib

import pytest

from proxy.intel.formats.body import unpacked
from proxy.intel.formats.reading import NotAList

ZEROS = gzip.compress(bytes(64 << 20))  # 64 KiB on the way


def test_bomb_is_not_unpacked() -> None:
    """No more is unpacked than is allowed, whatever it would become."""
    with pytest.raises(NotAList, match="more than 1000 bytes once it is unpacked"):
        unpacked(ZEROS, 1000)
    assert unpacked(gzip.compress(bytes(1000)), 1000) == bytes(1000)


def test_raw_deflate_is_no_gzip() -> None:
    """Only gzip is read."""
    with pytest.raises(NotAList, match="damaged"):
        unpacked(zlib.compress(b"list"), 1000)
